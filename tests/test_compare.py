"""The comparison: one table, resumed, with what the leak is worth."""

import json
import re
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
from ser_transfer.cross_validation import (
    Choice,
    FoldResult,
    HeadChoice,
    Labels,
    Search,
    TrainingError,
    joined,
    majority_floor,
)
from ser_transfer.runs import MAJORITY, Run, RunError, System, save_run, saved_run
from ser_transfer.runs.figures import figures
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


def network_run(corpus, name="net", split="loso", n_wrong=3, **options):
    """A finished run whose one system answers some utterances of each fold wrongly, with a training curve."""
    labels, made = Labels.of(corpus), make_split(corpus, split, **options)
    results = []
    for fold in made.folds:
        validation, test = (
            np.array(
                [[0.9 if labels.emotions[id_] == each else 0.05 for each in labels.classes] for id_ in ids]
            )
            for ids in (fold.validation_ids, fold.test_ids)
        )
        test[:n_wrong] = np.roll(test[:n_wrong], 1, axis=1)
        history = ({"epoch": 1, "train_loss": 1.0, "validation_loss": 1.0, "validation_uar": 1.0},)
        choice = Choice({name: {"layers": ["last"], "pooling": "mean"}}, "fine-tuned", {}, None, 1.0)
        temperature = 1.5 if len(validation) else None
        results.append(FoldResult(choice, (), validation, test, temperature, {}, 1000, 60.0, history))
    systems = [
        System.scored(name, "encoder", joined(labels, made, results), labels),
        System.scored(MAJORITY, "floor", majority_floor(labels, made), labels),
    ]
    return Run("tones", made, None, False, tuple(systems))


class TestFinishedRuns:
    """Systems of finished runs in the table of a comparison."""

    def saved(self, corpus, folder, **options):
        save_run(network_run(corpus, **options), folder, {}, plots=False)
        return saved_run(folder, Labels.of(corpus))

    def test_they_stand_in_the_table_with_their_own_scores(self, corpus, contenders, tmp_path):
        saved = self.saved(corpus, tmp_path / "net")
        run = compare(corpus, contenders, saved=[saved], split="loso", search=QUICK)
        assert [each.name for each in run.systems].count(MAJORITY) == 1
        net = next(each for each in run.systems if each.name == "net")
        assert net.scores == network_run(corpus).systems[0].scores
        uars = [each.scores.uar for each in run.systems[:-1]]
        assert uars == sorted(uars, reverse=True)
        assert run.differences["net"].uar == pytest.approx(net.scores.uar - run.baseline.scores.uar)
        without = compare(corpus, contenders, split="loso", search=QUICK)
        for system in without.systems:
            assert system.scores == next(each for each in run.systems if each.name == system.name).scores

    def test_without_a_leak_of_theirs_its_columns_are_empty(self, corpus, contenders, tmp_path):
        saved = self.saved(corpus, tmp_path / "net")
        [net] = saved.entrants
        run = compare(corpus, contenders[:1], saved=[saved], split="loso", search=QUICK, show_leak=True)
        header, *rows = run.rows()
        cells = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
        assert (cells["net"]["speaker-dependent"], cells["net"]["gap"]) == ("", "")
        assert cells["tones"]["speaker-dependent"]
        save_run(run, tmp_path / "run", {})
        assert "net" in (tmp_path / "run" / "leaderboard.csv").read_text()
        assert (tmp_path / "run" / "leaderboard.png").exists()
        report = re.sub("<[^>]+>", "|", (tmp_path / "run" / "report.html").read_text())
        assert re.search(rf"\|net\|+{net.scores.uar:.3f}\|+(?!\d)", report)
        again = saved_run(tmp_path / "run", Labels.of(corpus))
        assert {each.name for each in again.systems} - {each.name for each in again.leak.systems} == {"net"}

    @pytest.mark.parametrize(("seed", "told"), [(0, True), (1, False)])
    def test_their_leak_is_shown_if_it_is_the_same_leak(self, seed, told, corpus, contenders, tmp_path):
        options = {"n_folds": 3, "seed": seed}
        leak = network_run(corpus, split="speaker-dependent", n_wrong=1, **options)
        save_run(replace(network_run(corpus), leak=leak), tmp_path, {}, plots=False)
        saved = saved_run(tmp_path, Labels.of(corpus))
        run = compare(
            corpus, contenders[:1], saved=[saved], split="loso", search=QUICK, show_leak=True, n_folds=3
        )
        row = next(row for row in run.rows() if row[0] == "net")
        expected = f"{leak.systems[0].scores.uar:.3f}"
        assert (expected in row) is told
        assert len(list(figures(run))) > 0

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (
                {"split": "leave-one-speaker-out", "folds": ["p1", "p2"]},
                "its folds are p1, p2, p3, p4, here p1, p2",
            ),
            ({"split": "speaker-folds", "n_folds": 4}, "its folds are p1, p2, p3, p4, here 1, 2, 3, 4"),
            ({"split": "speaker-dependent"}, "it is speaker-independent, and this is not"),
            ({"split": "loso", "speaker_normalise": True}, "it is not speaker-normalised, and this is"),
        ],
    )
    def test_scores_of_other_folds_are_refused(self, options, told, corpus, contenders, tmp_path):
        saved = self.saved(corpus, tmp_path / "net")
        with pytest.raises(RunError, match=told):
            compare(corpus, contenders, saved=[saved], search=QUICK, **options)

    def test_a_name_that_is_there_twice_is_refused(self, corpus, contenders, tmp_path):
        first, second = (self.saved(corpus, tmp_path / str(number)) for number in range(2))
        with pytest.raises(RunError, match=r"net is there twice, the second time in .*1: leave"):
            compare(corpus, contenders, saved=[first, second], split="loso", search=QUICK)
        tones = self.saved(corpus, tmp_path / "tones", name="tones")
        with pytest.raises(RunError, match="tones is there twice"):
            compare(corpus, contenders, saved=[tones], split="loso", search=QUICK)

    def test_a_run_with_nothing_but_the_floor_is_refused(self, corpus, contenders, tmp_path):
        whole = network_run(corpus)
        save_run(replace(whole, systems=whole.systems[1:]), tmp_path, {}, plots=False)
        with pytest.raises(RunError, match="nothing but baseline and floor"):
            compare(corpus, contenders, saved=[saved_run(tmp_path, Labels.of(corpus))], split="loso")

    def arguments(self, tones, tmp_path, *more):
        return [
            *("--corpus", "folder", "--root", str(tones), "--speaker-pattern", PATTERN, "--split", "loso"),
            *("--heads", "lda", "--n-jobs", "1", "--allow", "near-identical-audio"),
            *("--store", str(tmp_path / "store"), "--out", str(tmp_path / "run"), *more),
        ]

    def test_the_command_lists_them_without_any_encoder_of_its_own(
        self, tones, corpus, tmp_path, capsys, monkeypatch
    ):
        monkeypatch.setattr(ser_transfer.compare, "CACHE", tmp_path / "cache")
        for number, name in enumerate(("first net", "second net")):
            self.saved(corpus, tmp_path / name, name=name, n_wrong=2 + number)
        folders = f"{tmp_path / 'first net'}, {tmp_path / 'second net'}"
        arguments = self.arguments(tones, tmp_path, "--runs", folders, "--encoders", "none")
        assert ser_transfer.compare.main([*arguments, "--show-leak", "--n-folds", "3", "--no-plots"]) == 0
        printed = capsys.readouterr().out
        assert "first net" in printed
        metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
        assert set(metrics["systems"]) == {"first net", "second net", "mfcc", "majority class"}
        assert metrics["systems"]["first net"]["history_by_fold"]["p1"][0]["epoch"] == 1
        assert ser_transfer.compare.main([*arguments, "--baseline", "none"]) == 0
        metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
        assert metrics["search"] is None
        assert set(metrics["systems"]) == {"first net", "second net", "majority class"}
        assert (tmp_path / "run" / "training_first_net.png").exists()
        assert not (tmp_path / "run" / "map.png").exists()  # there are no embeddings to draw it from

    def test_the_command_refuses_before_anything_is_embedded(
        self, tones, corpus, tmp_path, capsys, monkeypatch
    ):
        def refuse(*_, **__):
            pytest.fail("was embedded")

        monkeypatch.setattr(ser_transfer.compare, "computed_embeddings", refuse)
        self.saved(corpus, tmp_path / "net", split="speaker-folds", n_folds=2)
        arguments = self.arguments(tones, tmp_path)
        for wrong, told in (
            (["--runs", str(tmp_path / "net")], "cannot stand beside"),
            (["--runs", str(tmp_path / "nowhere")], "no run in"),
            (["--encoders", "none"], "nothing to compare"),
            (["--runs", str(tmp_path / "net"), "--cross.a", "A", "--cross.b", "B"], "not with --cross"),
        ):
            assert ser_transfer.compare.main([*arguments, *wrong]) == 1
            error = capsys.readouterr().err
            assert told in error
            assert error.count("\n") == 1


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
