"""A saved model on another corpus: matched emotions, and never its own speakers unasked."""

import json

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

import ser_transfer.embed
import ser_transfer.evaluate
import ser_transfer.train
from ser_transfer import embed, load_corpus, load_encoder, train
from ser_transfer.cross_validation import Labels, TrainingError
from ser_transfer.evaluate import Matching, evaluate
from ser_transfer.runs import saved_run
from ser_transfer.train import model_of

PATTERN = "(?P<speaker>p[0-9])_"


@pytest.fixture
def embeddings(corpus, tmp_path):
    return embed(corpus, load_encoder("mfcc"), store=tmp_path / "store", n_workers=1)


@pytest.fixture
def model(corpus, embeddings):
    return model_of(train(corpus, embeddings, split="loso"), corpus, embeddings, load_encoder("mfcc"))


def renamed(tones, old, new):
    (tones / old).rename(tones / new)
    return load_corpus("folder", tones, speaker_pattern=PATTERN.replace("speaker>p", "speaker>p"))


def test_speakers_that_were_trained_on_are_refused_unless_asked_for(model, corpus, embeddings):
    with pytest.raises(TrainingError, match="trained on 4 of the corpus's speakers"):
        evaluate(model, corpus, embeddings)
    run = evaluate(model, corpus, embeddings, allow_shared_speakers=True)
    assert any("NOT SPEAKER-INDEPENDENT" in warning for warning in run.warnings)
    [system] = run.systems
    labels = Labels.of(corpus)
    truth = [labels.emotions[id_] for id_ in embeddings.utterance_ids]
    expected = np.array(model.classes)[model.probabilities_of(embeddings).argmax(axis=1)]
    assert system.scores.uar == pytest.approx(balanced_accuracy_score(truth, expected))


def test_emotions_that_one_side_lacks_are_left_out_and_counted(model, tones, tmp_path):
    other = renamed(tones, "fear", "disgust")
    matching = Matching.of(model, Labels.of(other))
    assert matching.classes == ("neutral", "anger")
    assert matching.left_out == {"disgust": 8}
    assert matching.of_model["fear"] is None
    assert "disgust (8 utterances)" in str(matching)
    assert "never answered here: fear" in str(matching)
    other_embeddings = embed(other, load_encoder("mfcc"), store=tmp_path / "store", n_workers=1)
    run = evaluate(model, other, other_embeddings, allow_shared_speakers=True)
    [system] = run.systems
    assert len(system.predictions.truth) == 16
    np.testing.assert_allclose(system.predictions.probabilities.sum(axis=1), 1.0)
    assert set(system.predictions.predicted) <= {"neutral", "anger"}


def test_a_label_map_merges_the_models_emotions_too(model, corpus):
    merged = Matching.of(
        model, Labels({"a": "neutral", "b": "anger"}, {"a": None, "b": None}, ("neutral", "anger"))
    )
    assert merged.of_model == {"anger": "anger", "fear": None, "neutral": "neutral"}
    with pytest.raises(TrainingError, match="--label-map"):
        Matching.of(model, Labels({"a": "boredom"}, {"a": None}, ("boredom", "disgust")))


def test_the_command_scores_a_saved_model(tones, tmp_path, capsys):
    shared = ["--corpus", "folder", "--root", str(tones), "--speaker-pattern", PATTERN]
    store = ["--store", str(tmp_path / "store")]
    encoder = ["--encoder", "mfcc", "--baseline", "none"]
    assert ser_transfer.embed.main([*shared, *encoder, *store]) == 0
    out = ["--split", "loso", "--out", str(tmp_path / "run"), "--no-plots", "--allow", "near-identical-audio"]
    assert ser_transfer.train.main([*shared, *encoder, *store, *out]) == 0
    arguments = [
        *shared,
        *store,
        "--model",
        str(tmp_path / "run" / "model"),
        "--out",
        str(tmp_path / "scored"),
    ]
    assert ser_transfer.evaluate.main([*arguments, "--no-plots"]) == 1
    assert "--allow shared-speakers" in capsys.readouterr().err
    assert ser_transfer.evaluate.main([*arguments, "--no-plots", "--allow", "shared-speakers"]) == 0
    printed = capsys.readouterr().out
    assert "emotions that both know: neutral, anger, fear" in printed
    metrics = json.loads((tmp_path / "scored" / "metrics.json").read_text())
    assert metrics["search"] is None
    [system] = saved_run(
        tmp_path / "scored", Labels.of(load_corpus(*shared[1:4:2], speaker_pattern=PATTERN))
    ).systems
    assert system.scores.uar == metrics["systems"][system.name]["uar"]
