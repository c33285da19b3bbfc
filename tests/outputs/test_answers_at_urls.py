"""What predict and finetune leave at a URL while they work, and that the same command goes on from it."""

import json
from pathlib import Path

import pandas as pd
import pytest

import ser_transfer.predict
from ser_transfer import finetune
from ser_transfer.model import EmotionModel


@pytest.fixture
def clips(tones_at_hand):
    return str(Path(tones_at_hand[3]) / "anger")


@pytest.fixture
def dying(monkeypatch):
    """Let the model die after so many answers, as of a Ctrl-C."""
    answers = EmotionModel.answers

    def die_after(n_answers):
        def some(self, recordings, **options):
            for number, answer in enumerate(answers(self, recordings, **options)):
                if number == n_answers:
                    raise KeyboardInterrupt
                yield answer

        monkeypatch.setattr(EmotionModel, "answers", some)

    return die_after


def predict(*arguments):
    return ser_transfer.predict.main([*map(str, arguments), "--model", "emodb-mfcc", "--n-workers", "1"])


@pytest.mark.parametrize("name", ["results.csv", "results.jsonl", "results.parquet"])
def test_answers_there_are_those_of_a_local_file(machine, s3, clips, tmp_path, name, capsys):
    assert predict(clips, "--out", f"{s3.url}/{name}") == 0
    assert f"written to {s3.url}/{name}" in capsys.readouterr().err
    assert predict(clips, "--out", tmp_path / name) == 0
    assert s3.content(name) == (tmp_path / name).read_bytes()
    assert s3.keys == [name, f"{name}.journal"]
    assert predict(clips, "--out", f"{s3.url}/{name}") == 0
    assert "all of it was there already" in capsys.readouterr().err


def test_an_interrupted_prediction_goes_on_on_another_machine(machine, s3, clips, dying, capsys, monkeypatch):
    monkeypatch.setattr(ser_transfer.predict, "COMMIT_SECONDS", 0.0)
    dying(3)
    out = f"{s3.url}/answers/results.csv"
    assert predict(clips, "--out", out) == 130
    assert s3.keys == ["answers/results.csv.journal"]
    assert len(s3.content("answers/results.csv.journal").splitlines()) == 1 + 3
    machine.move("two")
    dying(5)  # of 8: no more are asked
    assert predict(clips, "--out", out) == 0
    assert len(pd.read_csv(machine_copy(s3, "answers/results.csv"))) == 8


def machine_copy(s3, key):
    import io

    return io.BytesIO(s3.content(key))


def test_timelines_are_written_there_and_not_followed_again(machine, s3, clips, tmp_path, capsys):
    there = f"{s3.url}/timelines"
    assert predict(clips, "--timeline", "--out", there) == 0
    assert predict(clips, "--timeline", "--out", tmp_path / "timelines") == 0
    for path in (tmp_path / "timelines").glob("*.csv"):
        assert s3.content(f"timelines/{path.name}") == path.read_bytes()
    assert str(machine.cache) not in s3.content("timelines/timelines.journal").decode()
    machine.move("two")
    capsys.readouterr()
    assert predict(clips, "--timeline", "--out", there) == 0
    assert "all of it was there already" in capsys.readouterr().err


def test_other_answers_are_refused_by_the_name_of_the_url(machine, s3, clips, capsys):
    assert predict(clips, "--out", f"{s3.url}/results.csv") == 0
    assert predict(clips, "--out", f"{s3.url}/results.csv", "--min-confidence", "0.9") == 1
    error = capsys.readouterr().err
    assert f"{s3.url}/results.csv holds other results" in error
    assert str(machine.cache) not in error
    assert predict(clips, "--out", "s3://results.csv") == 1
    assert "names no file or folder in a bucket" in capsys.readouterr().err


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    import sys

    sys.path.insert(0, str(Path(__file__).parents[1] / "encoders"))
    from tiny_checkpoints import save_checkpoint

    return str(save_checkpoint("wav2vec2-base", tmp_path_factory.mktemp("wav2vec2-base")))


def test_a_stopped_finetuning_goes_on_on_another_machine_and_ends_as_one_that_was_not(
    machine, s3, tones_at_hand, checkpoint, tmp_path, capsys, monkeypatch
):
    flags = ["--encoder", checkpoint, "--split", "loso", "--folds", "p1,p2", "--baseline", "none"]
    flags += [
        "--batch-seconds",
        "3",
        "--max-epochs",
        "2",
        "--tracker",
        "none",
        "--no-plots",
        "--device",
        "cpu",
    ]
    flags += [*tones_at_hand, "--allow", "near-identical-audio"]
    assert finetune.main([*flags, "--out", str(tmp_path / "local")]) == 0

    from ser_transfer.finetuning.state import States

    save = States.save
    n_saved = 0

    def dies_after_the_third(self, *arguments):
        nonlocal n_saved
        n_saved += 1
        if n_saved == 4:  # the second epoch of the second fold
            raise RuntimeError("the machine is gone")
        save(self, *arguments)

    monkeypatch.setattr(States, "save", dies_after_the_third)
    out = f"{s3.url}/runs/tuned"
    with pytest.raises(RuntimeError):
        finetune.main([*flags, "--out", out])
    assert [key for key in s3.keys if "/state-" in key and key.endswith("progress.json")]
    assert [key for key in s3.keys if key.startswith("runs/tuned/folds/p1/model/")]
    assert "runs/tuned/metrics.json" not in s3.keys

    monkeypatch.setattr(States, "save", save)
    machine.move("two")
    assert finetune.main([*flags, "--out", out]) == 1
    assert f"{out} holds an unfinished training: go on with --resume" in capsys.readouterr().err
    s3.forget()
    assert finetune.main([*flags, "--out", out, "--resume"]) == 0
    assert not s3.n_requests("GET", r"folds/p1/model/.*safetensors")  # not needed to go on
    assert not [key for key in s3.keys if "/state-" in key or "/best-" in key]
    mine, theirs = (
        pd.read_parquet(path)
        for path in (
            tmp_path / "local" / "predictions.parquet",
            machine_copy(s3, "runs/tuned/predictions.parquet"),
        )
    )
    pd.testing.assert_frame_equal(mine, theirs)
    assert json.loads(s3.content("runs/tuned/metrics.json"))["systems"]
