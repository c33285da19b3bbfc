"""The comparison: one table, resumed, with what the leak is worth."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import ser_transfer.compare
from ser_transfer import contest, embed
from ser_transfer._command import SettingsError
from ser_transfer.compare import CompareSettings, compare, parse_encoders
from ser_transfer.contest import (
    Contender,
    Corpus,
    common_classes,
    cross_corpora,
    restricted,
    run_contest,
    save_crossing,
)
from ser_transfer.cross_validation import HeadChoice, Labels, Search, TrainingError
from ser_transfer.splits import make_split
from ser_transfer.store import StoreError

PATTERN = "(?P<speaker>p[0-9])_"
QUICK = Search((HeadChoice("lda"),))


@pytest.fixture
def embeddings(corpus, encoder, tmp_path):
    return embed(corpus, encoder, store=tmp_path / "store")


@pytest.fixture
def contenders(embeddings):
    noise = np.random.default_rng(0).normal(size=(len(embeddings.utterance_ids), 4)).astype(np.float32)
    baseline = replace(embeddings, layers={"noise": noise}, encoder="noise", fingerprint="1" * 64)
    return [
        Contender("tones", "encoder", (embeddings,)),
        Contender("tones+noise", "fusion", (embeddings, baseline)),
        Contender("noise", "baseline", (baseline,)),
    ]


def test_the_table_is_sorted_and_ends_with_the_floor(corpus, contenders):
    run = compare(corpus, contenders, split="loso", search=QUICK)
    uars = [system.scores.uar for system in run.systems[:-1]]
    assert uars == sorted(uars, reverse=True)
    assert run.systems[-1].role == "floor"
    assert {system.name for system in run.systems} == {"tones", "tones+noise", "noise", "majority class"}
    header, *rows = run.rows()
    assert all(len(row) == len(header) for row in rows)
    assert run.best.name in ("tones", "tones+noise")
    assert run.differences["tones"].uar == pytest.approx(
        run.systems[[s.name for s in run.systems].index("tones")].scores.uar - run.baseline.scores.uar
    )
    assert "noise" not in run.differences


def test_what_is_done_is_not_done_again(corpus, contenders, tmp_path, monkeypatch):
    labels, split = Labels.of(corpus), make_split(corpus, "loso")
    first = run_contest(contenders, labels, split, QUICK, cache=tmp_path / "folds")
    monkeypatch.setattr(contest.contest, "run_fold", lambda *_: pytest.fail("a fold was run again"))
    again = run_contest(contenders, labels, split, QUICK, cache=tmp_path / "folds")
    for name, predictions in first.items():
        np.testing.assert_array_equal(again[name].probabilities, predictions.probabilities)
        np.testing.assert_array_equal(again[name].validation, predictions.validation)
        assert again[name].choices == predictions.choices
        assert again[name].temperatures == predictions.temperatures
        assert again[name].by_layer == predictions.by_layer


def test_an_interrupted_comparison_goes_on_where_it_stopped(corpus, contenders, tmp_path, monkeypatch):
    labels, split = Labels.of(corpus), make_split(corpus, "loso")
    run_fold, n_run = contest.contest.run_fold, []

    def stops(*arguments):
        n_run.append(1)
        if len(n_run) == 4:
            raise KeyboardInterrupt
        return run_fold(*arguments)

    monkeypatch.setattr(contest.contest, "run_fold", stops)
    with pytest.raises(KeyboardInterrupt):
        run_contest(contenders, labels, split, QUICK, cache=tmp_path / "folds")
    run_contest(contenders, labels, split, QUICK, cache=tmp_path / "folds")
    assert len(n_run) == 1 + len(contenders) * len(split.folds)


@pytest.mark.parametrize("change", ["a number", "a label", "the head", "the fold"])
def test_whatever_a_result_follows_from_makes_it_another_one(
    change, corpus, contenders, tmp_path, monkeypatch
):
    labels, split, search = Labels.of(corpus), make_split(corpus, "loso").only(["p1"]), QUICK
    run_contest(contenders[:1], labels, split, search, cache=tmp_path / "folds")
    [embeddings] = contenders[0].members
    if change == "a number":
        layers = {name: layer.copy() for name, layer in embeddings.layers.items()}
        layers["energy"][3] += 1e-3
        contenders = [Contender("tones", "encoder", (replace(embeddings, layers=layers),))]
    elif change == "a label":
        emotions = dict(labels.emotions)
        emotions[split.folds[0].train_ids[0]] = "fear"
        labels = replace(labels, emotions=emotions)
    elif change == "the head":
        search = Search((HeadChoice("lda", {"shrinkage": 0.5}),))
    else:
        split = make_split(corpus, "loso").only(["p2"])
    run_contest(contenders[:1], labels, split, search, cache=tmp_path / "folds")
    assert len(list((tmp_path / "folds").glob("*.npz"))) == 2


def test_a_damaged_result_is_computed_again(corpus, contenders, tmp_path):
    labels, split = Labels.of(corpus), make_split(corpus, "loso").only(["p1"])
    first = run_contest(contenders[:1], labels, split, QUICK, cache=tmp_path / "folds")
    [path] = (tmp_path / "folds").glob("*.npz")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    again = run_contest(contenders[:1], labels, split, QUICK, cache=tmp_path / "folds")
    np.testing.assert_array_equal(again["tones"].probabilities, first["tones"].probabilities)


def test_several_processes_give_what_one_gives(corpus, contenders):
    labels, split = Labels.of(corpus), make_split(corpus, "loso")
    one = run_contest(contenders, labels, split, QUICK)
    two = run_contest(contenders, labels, split, QUICK, n_jobs=2)
    for name, predictions in one.items():
        np.testing.assert_allclose(two[name].probabilities, predictions.probabilities, atol=1e-9)


def test_the_leak_is_shown_beside_the_honest_number_and_stamped(corpus, contenders):
    run = compare(corpus, contenders[:1], split="loso", search=QUICK, show_leak=True)
    assert run.split.speaker_independent
    assert not run.leak.split.speaker_independent
    assert any("NOT SPEAKER-INDEPENDENT" in warning for warning in run.leak.warnings)
    printed = str(run)
    assert "speaker-dependent" in printed
    assert "gap" in printed
    gap = run.leak.systems[0].scores.uar - run.systems[0].scores.uar
    assert f"{gap:+.3f}" in printed
    assert run.metrics()["speaker_dependent"]["speaker_independent"] is False


def test_systems_are_read_from_names_with_commas_and_pluses():
    assert parse_encoders("yamnet, handcrafted,yamnet+handcrafted,yamnet") == [
        ("yamnet",),
        ("handcrafted",),
        ("yamnet", "handcrafted"),
    ]
    for wrong in ("yamnet,", "+yamnet", "yamnet+yamnet"):
        with pytest.raises(SettingsError, match="no encoder and no fusion"):
            parse_encoders(wrong)


def test_unknown_encoders_heads_and_layers_are_named():
    with pytest.raises(TrainingError, match="random_forest"):
        _ = CompareSettings(heads="lda,random_forest").search


def test_compare_embeds_what_is_missing_and_writes_the_run(tones, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ser_transfer.compare, "CACHE", tmp_path / "cache")
    arguments = [
        *("--corpus", "folder", "--root", str(tones), "--speaker-pattern", PATTERN, "--split", "loso"),
        *("--encoders", "seed180,seed180+mfcc", "--heads", "lda", "--n-jobs", "1"),
        *("--allow", "near-identical-audio"),  # one tone is like another
        *("--store", str(tmp_path / "store"), "--out", str(tmp_path / "run"), "--show-leak"),
    ]
    assert ser_transfer.compare.main(arguments) == 0
    printed = capsys.readouterr().out
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert set(metrics["systems"]) == {"seed180", "seed180+mfcc", "mfcc", "majority class"}
    assert metrics["systems"]["seed180+mfcc"]["choices_by_fold"]["p1"]["fusion"] in (
        "features",
        "probabilities",
    )
    assert metrics["systems"]["seed180"]["above_baseline"]["p_value"] is not None
    for name, system in metrics["systems"].items():
        assert f"{system['uar']:.3f}" in printed
        assert name in (tmp_path / "run" / "leaderboard.md").read_text()
    table = pd.read_csv(tmp_path / "run" / "leaderboard.csv")
    assert list(table["uar"][:-1]) == sorted(table["uar"][:-1], reverse=True)
    report = (tmp_path / "run" / "report.html").read_text()
    assert "seed180+mfcc" in report
    assert "http://" not in report.replace("http://www.w3.org", "").replace("http://purl.org", "")
    assert {"leaderboard.png", "layers.png"} & {path.name for path in (tmp_path / "run").iterdir()}


class TestAcrossCorpora:
    def crossed(self, corpus, embeddings):
        """The corpus and a copy of it whose speakers are others."""
        labels, split = Labels.of(corpus), make_split(corpus, "loso")
        return [Corpus(name, labels, split, {"tones": embeddings}) for name in ("first", "second")]

    def test_every_pair_is_scored_and_the_diagonal_leaves_speakers_out(self, corpus, embeddings):
        crossing = cross_corpora(self.crossed(corpus, embeddings), {"tones": ["tones"]}, QUICK)
        assert set(crossing.scores["tones"]) == {(a, b) for a in crossing.corpora for b in crossing.corpora}
        within = compare(corpus, [Contender("tones", "encoder", (embeddings,))], split="loso", search=QUICK)
        assert crossing.scores["tones"]["first", "first"].uar == within.systems[0].scores.uar
        # Trained on the same recordings under another name.
        assert crossing.scores["tones"]["first", "second"].uar > 0.9
        assert "first" in str(crossing)

    def test_it_is_written_with_a_page(self, corpus, embeddings, tmp_path):
        crossing = cross_corpora(self.crossed(corpus, embeddings), {"tones": ["tones"]}, QUICK)
        save_crossing(crossing, tmp_path / "cross", {})
        kept = json.loads((tmp_path / "cross" / "cross.json").read_text())
        cell = kept["systems"]["tones"]["first"]["second"]["uar"]
        assert cell == crossing.scores["tones"]["first", "second"].uar
        assert f"{cell:.3f}" in (tmp_path / "cross" / "report.html").read_text()
        assert (tmp_path / "cross" / "cross_tones.svg").exists()

    def test_only_shared_emotions_are_kept(self, corpus):
        labels = Labels.of(corpus)
        fewer = restricted(labels, ("neutral", "fear"))
        assert common_classes([labels, fewer]) == ("neutral", "fear")
        assert set(fewer.emotions.values()) == {"neutral", "fear"}
        with pytest.raises(TrainingError, match="--label-map"):
            common_classes([labels, replace(labels, classes=("boredom",))])


def test_rows_without_an_embedding_are_refused(corpus, contenders):
    [embeddings] = contenders[0].members
    short = Contender("short", "encoder", (embeddings.select(embeddings.utterance_ids[1:]),))
    with pytest.raises((TrainingError, StoreError), match="no embedding"):
        compare(corpus, [short], split="loso", search=QUICK)
