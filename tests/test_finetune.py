"""The verb: from a recipe and flags to a run folder, a row among others, and one line where it cannot be."""

import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from ser_transfer import compare, finetune

COMMON = ("--tracker", "none", "--no-plots", "--device", "cpu", "--allow", "near-identical-audio")
TINY = ("--batch-seconds", "3", "--max-epochs", "2", "--learning-rate", "1e-3")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    sys.path.insert(0, str(Path(__file__).parent / "encoders"))
    from tiny_checkpoints import save_checkpoint

    return str(save_checkpoint("wav2vec2-base", tmp_path_factory.mktemp("wav2vec2-base")))


@pytest.fixture
def corpus_flags(tones, tmp_path):
    flags = ("--corpus", "folder", "--root", str(tones), "--speaker-pattern", "(?P<speaker>p[0-9])_")
    return (*flags, "--split", "leave-one-speaker-out", "--store", str(tmp_path / "store"))


def printed(capsys):
    return "".join(capsys.readouterr())


def test_a_run_of_all_folds_stands_beside_frozen_ones(corpus_flags, checkpoint, tmp_path, capsys):
    run = tmp_path / "run"
    flags = [*corpus_flags, "--encoder", checkpoint, *TINY, *COMMON, "--name", "tuned", "--out", str(run)]
    assert finetune.main([*flags, "--tracker", "tensorboard", "--plots"]) == 0
    table = printed(capsys)
    assert "tuned" in table
    assert "mfcc (baseline)" in table

    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["search"] is None
    assert metrics["speaker_independent"]
    tuned = metrics["systems"]["tuned"]
    assert [len(curve) for curve in tuned["history_by_fold"].values()] == [2, 2, 2, 2]
    answers = pd.read_parquet(run / "predictions.parquet")
    assert len(answers[answers["system"] == "tuned"]) == 24
    assert (run / "report.html").is_file()
    assert (run / "training_tuned.png").is_file()
    assert list(run.glob("logs/fold-p1/events.out.tfevents.*"))
    for fold in ("p1", "p2", "p3", "p4"):
        heard = json.loads((run / "folds" / fold / "model" / "training.json").read_text())["speakers"]
        assert set(heard) == {"p1", "p2", "p3", "p4"} - {fold}
        assert not list((run / "folds" / fold).glob("state-*"))
    assert (run / "model" / "model.safetensors").is_file()
    assert not (run / "folds" / "all").exists()
    fitted = list(tuned["calibration"]["temperature_by_fold"].values())
    kept = json.loads((run / "model" / "training.json").read_text())
    assert kept["temperature"] == 1.0
    assert kept["temperature_in_weights"] == pytest.approx(statistics.geometric_mean(fitted))
    in_folds = [json.loads(path.read_text()) for path in run.glob("folds/*/model/training.json")]
    assert not any("temperature" in name for told in in_folds for name in told)

    together = [*corpus_flags, "--encoders", "none", "--runs", str(run), "--no-plots"]
    together += ["--allow", "near-identical-audio", "--out", str(tmp_path / "together")]
    assert compare.main(together) == 0
    rows = json.loads((tmp_path / "together" / "metrics.json").read_text())["systems"]
    assert rows["tuned"]["uar"] == tuned["uar"]
    assert rows["mfcc"]["role"] == "baseline"


def test_what_plain_transformers_hears_is_what_was_scored(corpus_flags, checkpoint, tmp_path, tones):
    """In a process that never imports ser_transfer."""
    run = tmp_path / "run"
    flags = [*corpus_flags, "--encoder", checkpoint, *TINY, *COMMON, "--folds", "p1", "--out", str(run)]
    assert finetune.main([*flags, "--name", "tuned", "--baseline", "none"]) == 0
    answers = pd.read_parquet(run / "predictions.parquet").query("system == 'tuned'").iloc[0]
    path = tones / answers["utterance_id"]
    path = path if path.is_file() else next(tones.rglob(f"{Path(answers['utterance_id']).name}*"))
    script = (
        "import json, sys, soundfile\n"
        "from transformers import pipeline\n"
        "heard = pipeline('audio-classification', model=sys.argv[1])\n"
        "samples, rate = soundfile.read(sys.argv[2], dtype='float32')\n"
        "print(json.dumps(heard({'raw': samples, 'sampling_rate': rate}, top_k=None)))\n"
        "assert not any(name.startswith('ser_transfer') for name in sys.modules)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script, str(run / "folds" / "p1" / "model"), str(path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=tmp_path,
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    for told in json.loads(answer.stdout.splitlines()[-1]):
        assert told["score"] == pytest.approx(answers[f"p_{told['label']}"], abs=1e-5)


def test_a_run_that_was_asked_to_stop_goes_on_to_the_same_numbers(corpus_flags, checkpoint, tmp_path, capsys):
    flags = [*corpus_flags, "--encoder", checkpoint, *TINY, *COMMON, "--folds", "p1,p2", "--no-keep-model"]
    flags += ["--max-epochs", "4", "--name", "tuned", "--baseline", "none"]
    assert finetune.main([*flags, "--out", str(tmp_path / "straight")]) == 0
    run = tmp_path / "stopped"

    def stop_when_a_state_is_there():
        while not list(run.glob("folds/p1/state-*[0-9]")):
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=stop_when_a_state_is_there)
    asking.start()
    assert finetune.main([*flags, "--out", str(run)]) == 143
    asking.join()
    assert "--resume" in printed(capsys)
    assert finetune.main([*flags, "--out", str(run)]) == 1
    assert "unfinished training: go on with --resume" in printed(capsys)
    assert finetune.main([*flags, "--out", str(run), "--resume"]) == 0
    tables = [pd.read_parquet(folder / "predictions.parquet") for folder in (tmp_path / "straight", run)]
    pd.testing.assert_frame_equal(*tables)


def test_an_adapter_and_two_speakers_are_trained_on(tones, checkpoint, tmp_path, capsys):
    for path in [*tones.rglob("p3_*"), *tones.rglob("p4_*")]:
        path.unlink()
    flags = ["--corpus", "folder", "--root", str(tones), "--speaker-pattern", "(?P<speaker>p[0-9])_"]
    flags += ["--split", "leave-one-speaker-out", "--store", str(tmp_path / "store"), "--baseline", "none"]
    flags += ["--encoder", checkpoint, *TINY, *COMMON, "--out", str(tmp_path / "run")]
    assert finetune.main([*flags, "--adapter", "lora", "--adapter-settings.r", "2", "--keep-adapter"]) == 0
    alone = tmp_path / "run" / "folds" / "p1" / "adapter"
    assert json.loads((alone / "adapter_config.json").read_text())["peft_type"] == "LORA"
    table = printed(capsys)
    assert "fine-tuned, lora" in table
    assert "no validation speakers: the last epoch stands" in table
    assert finetune.main([*flags, "--patience", "2", "--restart"]) == 1
    assert "leave --patience out" in printed(capsys)
    settings = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert settings["adapter_settings"] == {"r": 2}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "no encoder"),
        (("--encoder", "handcrafted"), "nothing to train in handcrafted"),
        (("--encoder", "CHECKPOINT", "--trained", "top:99"), "top:99"),
        (("--encoder", "CHECKPOINT", "--trained", "some"), "some"),
        (("--encoder", "CHECKPOINT", "--batch-seconds", "0.1"), "raise batch_seconds"),
        (("--encoder", "CHECKPOINT", "--accumulation", "99"), "lower the gradient accumulation"),
        (("--encoder", "CHECKPOINT", "--adapter", "magic"), "magic"),
        (("--encoder", "CHECKPOINT", "--keep-adapter"), "no adapter to save"),
        (("--encoder", "CHECKPOINT", "--tracker", "magic"), "magic"),
        (("--encoder", "CHECKPOINT", "--augment", "magic:3"), "no known kind"),
        (("--encoder", "CHECKPOINT", "--resume", "--restart"), "give one of them"),
        (("--encoder", "CHECKPOINT", "--learning-rate", "1e30", "--clip-norm", "null"), "diverged"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(flags, said, corpus_flags, checkpoint, tmp_path, capsys):
    flags = [checkpoint if flag == "CHECKPOINT" else flag for flag in flags]
    given = [*corpus_flags, *TINY, *COMMON, "--baseline", "none", "--folds", "p1", *flags]
    assert finetune.main([*given, "--out", str(tmp_path / "run")]) == 1
    errors = [line for line in printed(capsys).splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert said in errors[0]
