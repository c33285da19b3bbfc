"""The verb `pretrain`, from a recipe to the models that `finetune` takes."""

import json
import os
import shlex
import signal

import pytest
import yaml
from encoders.tiny_checkpoints import save_checkpoint

import ser_transfer.pretrain
from ser_transfer._command import parse_settings
from ser_transfer.encoders import load_encoder
from ser_transfer.finetune import FinetuneSettings
from ser_transfer.finetuning.pretraining import MaskedBatchSettings, ObjectiveSettings, Pretraining
from ser_transfer.finetuning.settings import Optimisation
from ser_transfer.pretrain import PretrainSettings, default_folder, main, pretrain
from ser_transfer.splits import make_split

PATTERN = "(?P<speaker>p[0-9])_"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(save_checkpoint("wav2vec2-pretraining", tmp_path_factory.mktemp("wav2vec2")))


@pytest.fixture
def flags(tones, tmp_path, checkpoint):
    recipe = {"corpus": "folder", "speaker_pattern": PATTERN, "encoder": checkpoint, "title": "Tones"}
    recipe |= {"n_folds": 2, "max_epochs": 1, "batch_seconds": 2.0, "learning_rate": 1e-3}
    path = tmp_path / "tapt.yaml"
    path.write_text(yaml.safe_dump(recipe))
    out = ("--out", str(tmp_path / "run"))
    return [str(path), "--root", str(tones), "--device", "cpu", "--tracker", "none", *out]


def test_every_fold_leaves_a_model_that_has_heard_none_of_its_test_speakers(
    flags, corpus, checkpoint, tmp_path, capsys
):
    assert main(flags) == 0
    printed = capsys.readouterr().out
    # What is printed is read by `finetune`, and makes the same folds.
    command = shlex.split(printed.splitlines()[-1])
    assert command[:3] == ["python", "-m", "ser_transfer.finetune"]
    told = parse_settings(FinetuneSettings, command[3:], "finetune")
    assert told.encoder == f"{tmp_path}/run/folds/{{fold}}/model"
    again = told.make_split(told.load_corpus(), told.seed)
    assert again.folds == make_split(corpus, "speaker-folds", n_folds=2).folds
    speaker_of = dict(zip(corpus["utterance_id"][:], corpus["speaker"][:], strict=True))
    before = load_encoder(checkpoint).fingerprint
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["hears_test_speakers"] is False
    for fold in make_split(corpus, "speaker-folds", n_folds=2).folds:
        folder = tmp_path / "run/folds" / fold.name / "model"
        assert load_encoder(str(folder)).fingerprint != before
        told = json.loads((folder / "training.json").read_text())
        assert told["corpus"] == "Tones"
        assert not set(told["speakers"]) & {speaker_of[id_] for id_ in fold.test_ids}
        figures = metrics["folds"][fold.name]
        assert len(figures["history"]) == 1
        assert figures["before"]["n_frames"] == figures["after"]["n_frames"] > 0
        assert "uar" not in json.dumps(figures).lower()
        row = next(line for line in printed.splitlines() if line.startswith(f"{fold.name} "))
        for side in ("before", "after"):
            assert f"{figures[side]['loss']:.3f}" in row
            assert f"{figures[side]['accuracy']:.3f}" in row
    assert yaml.safe_load((tmp_path / "run/recipe.yaml").read_text())["n_folds"] == 2


def test_all_speakers_are_named_where_a_score_would_be_transductive(flags, tmp_path, capsys):
    assert main([*flags, "--all-speakers", "--max-steps", "1"]) == 0
    told = json.loads((tmp_path / "run/transductive/model/training.json").read_text())
    assert told["hears_test_speakers"] is True
    assert json.loads((tmp_path / "run/metrics.json").read_text())["hears_test_speakers"] is True
    assert "transductive" in capsys.readouterr().out.splitlines()[0]
    assert not (tmp_path / "run/folds").exists()


def test_a_stopped_run_goes_on_only_when_asked_to(flags, tmp_path, monkeypatch, capsys):
    plain = ser_transfer.pretrain.pretrain

    def stopped(*args, on_step, **options):
        def stop(fold, step):
            on_step(fold, step)
            if step.step == 1:
                os.kill(os.getpid(), signal.SIGTERM)

        return plain(*args, on_step=stop, **options)

    monkeypatch.setattr(ser_transfer.pretrain, "pretrain", stopped)
    assert main([*flags, "--folds", "1", "--max-epochs", "2"]) == 128 + signal.SIGTERM
    assert "--resume" in capsys.readouterr().err
    monkeypatch.undo()
    assert main([*flags, "--folds", "1", "--max-epochs", "2"]) == 1
    assert "go on with --resume, or start over with --restart" in capsys.readouterr().err
    assert main([*flags, "--folds", "1", "--max-epochs", "2", "--resume"]) == 0
    assert (tmp_path / "run/folds/1/model/config.json").is_file()
    assert main([*flags, "--folds", "1", "--max-epochs", "2"]) == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--all-speakers", "--folds", "1"], "leave --folds out"),
        (["--resume", "--restart"], "give one of them"),
        (["--encoder", "yamnet"], "wav2vec2 and HuBERT only"),
        (["--loss", "focal"], "unrecognized"),
        (["--n-units", "9"], "leave --n-units out"),
    ],
)
def test_what_means_nothing_is_refused_in_a_line(flags, capsys, more, message):
    assert main([*flags, *more]) == 1
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error


def test_a_notebook_gets_the_same_figures_as_the_command(flags, corpus, checkpoint, tmp_path):
    assert main([*flags, "--folds", "1"]) == 0
    settings = Pretraining(
        objective=ObjectiveSettings(encoder=checkpoint),
        batches=MaskedBatchSettings(batch_seconds=2.0),
        optimisation=Optimisation(max_epochs=1, learning_rate=1e-3),
    )
    run = pretrain(corpus, settings, tmp_path / "notebook", n_folds=2, folds=["1"])
    mine = json.loads(json.dumps(run.metrics()))["folds"]["1"]
    theirs = json.loads((tmp_path / "run/metrics.json").read_text())["folds"]["1"]
    assert mine["before"] == theirs["before"]
    assert mine["after"] == theirs["after"]


def test_the_folder_is_named_after_who_is_heard():
    options = {"corpus": "ravdess", "encoder": "facebook/wav2vec2-base", "split": "emobox"}
    assert (
        str(default_folder(PretrainSettings(**options)))
        == "outputs/pretrain-ravdess-facebook_wav2vec2_base-emobox"
    )
    heard = str(default_folder(PretrainSettings(**options, all_speakers=True)))
    assert heard == "outputs/pretrain-ravdess-facebook_wav2vec2_base-transductive"
