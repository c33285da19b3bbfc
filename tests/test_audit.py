import json
import shutil
from dataclasses import replace
from pathlib import Path

import av
import librosa
import numpy as np
import pytest
import scipy.fft
import scipy.signal
import soundfile
import soxr
from scipy.spatial.distance import pdist, squareform

import ser_transfer.audit
from ser_transfer import load_corpus
from ser_transfer._stored import refused_if_leaky
from ser_transfer.audit import audit
from ser_transfer.corpora._rows import Utterance, corpus_dataset
from ser_transfer.corpora.synthetic import synthesise_corpus
from ser_transfer.encoders.handcrafted import baselines
from ser_transfer.fill import keys_by_id
from ser_transfer.splits import (
    Fold,
    LeakError,
    Split,
    SplitError,
    allowed_leaks,
    audit_split,
    make_split,
    refuse_leaks,
    takes,
)
from ser_transfer.splits import audit as audit_module

PATTERN = r"(?P<speaker>v\d\d)[fm]-[a-z]+-(?P<sentence>s\d)"
RATE = 16_000
# The clip that is copied, and where the copies go: the same emotion, another speaker and sentence.
ORIGINAL = "anger/synthetic-v01f-anger-s1"
COPY = "anger/synthetic-v04m-anger-s9"


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    """120 clips of four voices, and a store that fills as tests go along."""
    root = tmp_path_factory.mktemp("voices")
    synthesise_corpus(root / "clips", n_speakers=4)
    stored(load(root / "clips"), root)
    return root


@pytest.fixture
def clips(voices, tmp_path):
    return Path(shutil.copytree(voices / "clips", tmp_path / "clips"))


def load(clips):
    return load_corpus("folder", clips, speaker_pattern=PATTERN)


def audited(clips, voices, split="speaker-folds", n_folds=4):
    return audit(load(clips), split=split, n_folds=n_folds, store=voices / "store")


def encode_aac(path, samples, rate):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis].astype(np.float32), "fltp", "mono")
        frame.sample_rate = rate
        for piece in [*av.AudioResampler("fltp", "mono", rate).resample(frame), None]:
            for packet in stream.encode(piece):
                container.mux(packet)


def plant(clips, kind, original=ORIGINAL, copy=COPY):
    """Write the same take once more, and return the path of the copy."""
    samples, rate = soundfile.read(clips / f"{original}.wav")
    path = clips / f"{copy}.{kind if kind in ('flac', 'ogg', 'mp3', 'm4a') else 'wav'}"
    if kind == "m4a":
        encode_aac(path, samples, rate)
        return path
    if kind.startswith("gain"):
        samples = samples * float(kind.split()[1])
    elif kind == "8 kHz":
        samples, rate = soxr.resample(samples, rate, 8_000), 8_000
    elif kind == "silence before":
        samples = np.concatenate([np.zeros(rate // 20), samples])
    soundfile.write(path, samples, rate)
    return path


def crossing(found, kind):
    """What is shared on two sides, as sets of ids."""
    return {
        frozenset(ids) for each in found.of(kind) if each.fold is not None for ids in each.groups.values()
    }


KINDS_OF_COPY = ["flac", "gain 0.1", "gain 0.5", "gain 1.05", "8 kHz", "silence before", "ogg", "mp3", "m4a"]


@pytest.mark.parametrize("kind", KINDS_OF_COPY)
def test_a_copy_of_a_take_in_another_fold_is_found_whatever_became_of_it(kind, clips, voices):
    plant(clips, kind)
    found = audited(clips, voices)
    assert crossing(found, "near-identical-audio") == {frozenset({ORIGINAL, COPY})}
    assert {leak.kind for leak in found.leaks} == {"near-identical-audio"}
    with pytest.raises(LeakError, match="near-identical audio on two sides of a fold: fold 1, "):
        refuse_leaks(found)


def test_equal_bytes_under_another_speaker_are_identical_and_nothing_else(clips, voices):
    shutil.copy(clips / f"{ORIGINAL}.wav", clips / f"{COPY}.wav")
    found = audited(clips, voices)
    assert crossing(found, "identical-audio") == {frozenset({ORIGINAL, COPY})}
    assert {leak.kind for leak in found.leaks} == {"identical-audio"}
    assert all(finding.fold is not None for finding in found.findings)


def test_a_corpus_without_copies_has_no_leak_and_shares_sentences_in_every_fold(clips, voices):
    found = audited(clips, voices)
    assert found.leaks == ()
    assert {finding.kind for finding in found.findings} == {"sentences"}
    assert len(found.of("sentences")) == 4 * 3
    assert len(found.of("sentences")[0].groups) == 5
    refuse_leaks(found)
    assert "no speakers and no identical audio and no near-identical audio on two sides" in str(found)


def test_copies_on_one_side_are_named_and_stop_nothing(clips, voices):
    shutil.copy(clips / f"{ORIGINAL}.wav", clips / "anger/synthetic-v01f-anger-s8.wav")
    plant(clips, "flac", "fear/synthetic-v02m-fear-s1", "fear/synthetic-v02m-fear-s9")
    found = audited(clips, voices)
    assert found.leaks == ()
    assert f"identical audio, on one side: {ORIGINAL} = anger/synthetic-v01f-anger-s8" in str(found)
    named = "near-identical audio, on one side: fear/synthetic-v02m-fear-s1 = fear/synthetic-v02m-fear-s9"
    assert named in str(found)


def test_takes_of_one_speaker_are_compared_only_when_asked_or_when_a_fold_parts_them(
    clips, voices, monkeypatch
):
    plant(clips, "flac", copy="anger/synthetic-v01f-anger-s9")
    corpus = load(clips)
    keys, mfcc = stored(corpus, voices)
    decoded = []
    read = audit_module.read_audio
    monkeypatch.setattr(
        audit_module,
        "read_audio",
        lambda source, *rest, **more: decoded.append(1) or read(source, *rest, **more),
    )
    apart = make_split(corpus, "speaker-folds", n_folds=4)
    assert audit_split(corpus, apart, keys, mfcc).of("near-identical-audio") == []
    assert not decoded
    assert audit_split(corpus, apart, keys, mfcc, within_sides=True).of("near-identical-audio")
    mixed = make_split(corpus, "speaker-dependent")
    assert audit_split(corpus, mixed, keys, mfcc).of("near-identical-audio")
    assert decoded


def stored(corpus, voices):
    """Keys and MFCC of a corpus, as `train` has them."""
    from ser_transfer import embed, load_encoder
    from ser_transfer.fill import keys_by_id

    embeddings = embed(corpus, load_encoder("mfcc"), store=voices / "store", n_workers=1)
    return keys_by_id(corpus), dict(zip(embeddings.utterance_ids, embeddings.layers["mfcc"], strict=True))


def test_three_formats_of_a_take_are_one_finding(clips, voices):
    plant(clips, "mp3")
    plant(clips, "gain 0.5", copy="anger/synthetic-v03f-anger-s9")
    found = audited(clips, voices, "leave-one-speaker-out")
    whole = frozenset({ORIGINAL, COPY, "anger/synthetic-v03f-anger-s9"})
    assert set().union(*crossing(found, "near-identical-audio")) == whole
    assert [set(finding.groups) for finding in found.leaks] == [{min(whole)}] * len(found.leaks)


def test_segments_are_compared_and_not_the_recordings_they_are_cut_from(voices, tmp_path):
    clips = [
        soundfile.read(voices / "clips" / "anger" / f"synthetic-v0{v}-anger-s1.wav")[0] for v in ("1f", "2m")
    ]
    soundfile.write(tmp_path / "session.wav", np.concatenate(clips), RATE)
    soundfile.write(tmp_path / "again.flac", clips[1], RATE)
    cut, end = len(clips[0]) / RATE, sum(map(len, clips)) / RATE
    rows = [
        Utterance("first", str(tmp_path / "session.wav"), "anger", "a", start_seconds=0.0, end_seconds=cut),
        Utterance("second", str(tmp_path / "session.wav"), "fear", "a", start_seconds=cut, end_seconds=end),
        Utterance("again", str(tmp_path / "again.flac"), "fear", "b"),
        Utterance("other", str(voices / "clips/anger/synthetic-v03f-anger-s2.wav"), "anger", "b"),
    ]
    found = audit(corpus_dataset(rows), split="leave-one-speaker-out", store=voices / "store")
    assert crossing(found, "near-identical-audio") == {frozenset({"second", "again"})}


def test_different_takes_of_real_actors_are_no_copies_though_some_sound_alike(shared, voices):
    root = shared / "corpora" / "ravdess"
    corpus = load_corpus("ravdess", root)
    corpus = corpus.select([row for row, name in enumerate(corpus["speaker"]) if name in ("05", "07")])
    _, mfcc = stored(corpus, voices)
    found = audit(corpus, split="leave-one-speaker-out", store=voices / "store")
    sketches = takes.sketch(np.array(list(mfcc.values())))
    assert takes.similar_pairs(sketches, lambda first, second: first != second, 100)[1] > 1
    assert found.of("near-identical-audio") == []
    # These two files are one recording, in the corpus as published.
    assert [finding.groups for finding in found.of("identical-audio")] == [
        {next(iter(found.of("identical-audio")[0].groups)): ("03-01-03-01-02-01-07", "03-01-03-01-02-02-07")}
    ]
    assert found.leaks == ()


# Small corpora without sound: keys say what is the same.
def rows_of(*places):
    """Utterances from "id speaker sentence"; a dash for what nobody knows."""
    rows = []
    for place in places:
        name, speaker, sentence = (None if word == "-" else word for word in place.split())
        rows.append(Utterance(name, "nowhere.wav", "anger", speaker, sentence))
    return corpus_dataset(rows)


def split_of(train, validation, test, **changes):
    fold = Fold("1", tuple(train.split()), tuple(validation.split()), tuple(test.split()))
    return replace(Split("by-hand", (fold,), True, "one fold by hand"), **changes)


CORPUS = rows_of("a1 a s1", "a2 a s2", "b1 b s1", "b2 b s3", "c1 c s1", "c2 c s4")
KEYS = {id_: id_.upper() for id_ in CORPUS["utterance_id"]}


@pytest.mark.parametrize(
    ("sides", "pair", "speaker"),
    [
        (("a1 b1", "a2", "c1"), ("train", "validation"), "a"),
        (("a1 b1", "c1", "b2"), ("train", "test"), "b"),
        (("a1 b1", "c1", "c2"), ("validation", "test"), "c"),
    ],
)
def test_a_shared_speaker_is_a_leak_between_any_two_sides(sides, pair, speaker):
    found = audit_split(CORPUS, split_of(*sides), KEYS)
    (leak,) = found.leaks
    assert (leak.kind, leak.sides, set(leak.groups)) == ("speakers", pair, {speaker})
    with pytest.raises(
        LeakError, match=f"fold 1, {pair[0]} and {pair[1]}: {speaker}.*--split speaker-dependent"
    ):
        refuse_leaks(found, ["identical-audio", "near-identical-audio"])


@pytest.mark.parametrize("pair", [("a1", "b1"), ("a1", "c1"), ("b1", "c1")])
def test_identical_audio_is_a_leak_between_any_two_sides(pair):
    keys = KEYS | dict.fromkeys(pair, "same")
    found = audit_split(CORPUS, split_of("a1 a2", "b1 b2", "c1 c2"), keys)
    assert crossing(found, "identical-audio") == {frozenset(pair)}
    assert [leak.kind for leak in found.leaks] == ["identical-audio"]


def test_what_a_split_asks_for_by_name_is_reported_and_stops_nothing():
    keys = KEYS | {"a1": "same", "a2": "same"}
    sides = ("a1 b1", "", "a2 b2")
    asked = split_of(*sides, name="speaker-dependent", speaker_independent=False)
    found = audit_split(CORPUS, asked, keys)
    assert {"speakers", "identical-audio"} <= {finding.kind for finding in found.findings}
    assert found.leaks == ()
    assert "speakers and identical audio on two sides of a fold, as the split speaker-dependent asks" in str(
        found
    )
    refuse_leaks(found)


def test_a_split_grouped_by_something_else_may_share_speakers_and_not_recordings():
    sides = ("a1 b1", "", "a2 b2")
    grouped = split_of(*sides, name="grouped-by:sentence", speaker_independent=False)
    refuse_leaks(audit_split(CORPUS, grouped, KEYS))
    found = audit_split(CORPUS, grouped, KEYS | {"a1": "same", "b2": "same"})
    assert [leak.kind for leak in found.leaks] == ["identical-audio"]


def test_a_name_is_not_enough_where_the_split_calls_itself_speaker_independent():
    claimed = split_of("a1 b1", "", "a2 b2", name="speaker-dependent")
    assert {leak.kind for leak in audit_split(CORPUS, claimed, KEYS).leaks} == {"speakers"}


def test_only_the_kind_that_was_allowed_is_let_through(clips, voices):
    plant(clips, "flac")
    shutil.copy(clips / "fear/synthetic-v01f-fear-s1.wav", clips / "fear/synthetic-v04m-fear-s9.wav")
    found = audited(clips, voices)
    with pytest.raises(LeakError, match="--allow identical-audio,near-identical-audio") as caught:
        refuse_leaks(found)
    assert str(caught.value).count("two sides of a fold") == 2
    with pytest.raises(LeakError) as caught:
        refuse_leaks(found, allowed_leaks("identical-audio"))
    assert "fear" not in str(caught.value)
    assert "--allow identical-audio,near-identical-audio" in str(caught.value)
    with pytest.raises(LeakError) as caught:
        refuse_leaks(found, allowed_leaks("near-identical-audio"))
    assert "anger" not in str(caught.value)
    refuse_leaks(found, allowed_leaks("identical-audio,near-identical-audio"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("everything", "--allow takes identical-audio or near-identical-audio, or both, not 'everything'$"),
        ("identical-audio,speakers", "not 'speakers'; .*--split speaker-dependent"),
        ("", "not ''"),
    ],
)
def test_what_cannot_be_allowed_is_refused_with_what_can(text, message):
    with pytest.raises(SplitError, match=message):
        allowed_leaks(text)
    with pytest.raises(SplitError, match=message):
        refuse_leaks(audit_split(CORPUS, split_of("a1", "", "b1"), KEYS), text.split(","))


def test_without_the_baseline_the_text_says_that_takes_were_not_looked_for():
    found = audit_split(CORPUS, split_of("a1 a2", "b1", "c1"), KEYS)
    assert "near-identical-audio" not in found.looked_for
    assert "near-identical audio was not looked for" in str(found)
    assert "no speakers and no identical audio on two sides of a fold" in str(found)
    (row,) = [line for line in str(found).splitlines() if line.startswith("near-identical audio  ")]
    assert row.split()[2:] == ["unknown"] * 3


def test_unknown_speakers_and_sentences_are_called_unknown_and_not_clean():
    corpus = rows_of("a1 - -", "b1 - -")
    text = str(
        audit_split(corpus, split_of("a1", "", "b1", speaker_independent=False), {"a1": "A", "b1": "B"})
    )
    assert "2 of 2 utterances have no known speaker" in text
    assert "no speakers" not in text
    assert text.count("unknown") == 3 * 3


def test_the_text_counts_what_is_shared_and_names_no_more_than_a_few():
    names = [f"{speaker}{number}" for speaker in "ab" for number in range(10)]
    corpus = rows_of(*(f"{name} {name[0]} s{name[1]}" for name in names))
    keys = {name: f"take {name[1]}" for name in names}
    split = split_of(" ".join(names[:10]), "", " ".join(names[10:]))
    lines = str(audit_split(corpus, split, keys)).splitlines()
    assert "identical audio, fold 1, train and test: a0 = b0; a1 = b1; a2 = b2; 7 more" in lines
    assert [line for line in lines if "10 in fold 1" in line and line.startswith(("identical", "sentences"))]
    assert lines[-1] == "LEAK: identical audio on two sides of a fold"
    assert max(map(len, lines)) < 120


@pytest.mark.parametrize("lacking", ["row in the corpus", "audio key", "mfcc embedding"])
def test_an_utterance_that_something_lacks_is_named(lacking):
    split, mfcc = split_of("a1", "", "b1"), dict.fromkeys(KEYS, np.zeros(80))
    corpus, keys = CORPUS, dict(KEYS)
    if lacking == "audio key":
        del keys["b1"]
    elif lacking == "mfcc embedding":
        del mfcc["b1"]
    else:
        corpus = CORPUS.select([0])
    with pytest.raises(SplitError, match=f"1 utterances of the split have no {lacking}, the first b1"):
        audit_split(corpus, split, keys, mfcc)


def test_more_pairs_than_are_compared_are_said_to_be_more(clips, voices, monkeypatch):
    for voice in ("v02m", "v03f", "v04m"):
        plant(clips, "flac", copy=f"anger/synthetic-{voice}-anger-s9")
        samples, rate = soundfile.read(clips / f"{ORIGINAL}.wav")
        soundfile.write(clips / f"anger/synthetic-{voice}-anger-s9.flac", samples * 0.5, rate)
    monkeypatch.setattr(audit_module, "MOST_PAIRS", 1)
    found = audited(clips, voices)
    assert len(crossing(found, "near-identical-audio")) == 1
    assert "the nearest 1 were compared, and " in str(found)


# The two stages on their own.
def test_the_sketch_reads_the_coefficients_that_the_baseline_writes():
    assert (takes.N_MFCC, takes.N_MELS) == (baselines.N_MFCC, baselines.N_MELS)
    assert baselines.SAMPLING_RATE == RATE


def test_products_of_sketches_are_correlations_of_smooth_mean_spectra_in_the_band():
    rng = np.random.default_rng(0)
    # 40 cosines make a spectrum that 40 coefficients tell exactly.
    cosines = np.pad(rng.normal(0, 10, (6, 40, 7)), ((0, 0), (0, 88), (0, 0)))
    decibels = scipy.fft.idct(cosines, norm="ortho", axis=1)
    means = np.array([librosa.feature.mfcc(S=each, n_mfcc=40).mean(axis=1) for each in decibels])
    sketches = takes.sketch(np.hstack([means, rng.normal(size=(6, 40))]))
    hertz = librosa.mel_frequencies(130, fmax=RATE / 2)[1:-1]
    in_band = (hertz > 490) & (hertz < 2780)
    steps = np.arange(in_band.sum())
    residuals = [
        band - np.polyval(np.polyfit(steps, band, 1), steps) for band in decibels[:, in_band].mean(axis=2)
    ]
    assert sketches.shape == (6, 65)
    assert sketches.dtype == np.float32
    np.testing.assert_allclose(sketches @ sketches.T, np.corrcoef(residuals), atol=1e-5)


def test_gain_slope_and_added_silence_leave_a_sketch_as_it_is():
    rng = np.random.default_rng(0)
    bands = rng.normal(0, 10, (1, 40)) @ scipy.fft.idct(np.eye(40, 128), norm="ortho", axis=1)
    silence = -100.0
    changed = np.concatenate([bands, bands - 20, bands + 0.1 * np.arange(128), 0.9 * bands + 0.1 * silence])
    coefficients = scipy.fft.dct(changed, norm="ortho", axis=1)[:, :40]
    whole = takes.sketch(coefficients)
    assert (whole[0] @ whole[[1, 3]].T).min() > 1 - 1e-6
    assert whole[0] @ whole[2] > 0.999  # a slope is not exactly 40 cosines


@pytest.mark.parametrize("rows_at_a_time", [7, 64, 1000])
def test_similar_pairs_are_all_that_scipy_finds(rows_at_a_time, monkeypatch):
    monkeypatch.setattr(takes, "ROWS_AT_A_TIME", rows_at_a_time)
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 1, 65) + rng.normal(0, 0.17, (200, 65))
    sketches = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    likeness = 1 - squareform(pdist(rows, "cosine"))
    allowed = rng.random((200, 200)) < 0.5
    expected = {(i, j) for i, j in np.argwhere(np.triu(likeness >= takes.ALIKE, 1) & allowed).tolist()}
    assert 1_000 < len(expected) < 9_000
    pairs, n_pairs = takes.similar_pairs(sketches, lambda i, j: allowed[i, j], 10_000)
    assert set(pairs) == expected
    assert n_pairs == len(pairs) == len(expected)
    few, n_pairs = takes.similar_pairs(sketches, lambda i, j: allowed[i, j], 10)
    assert n_pairs == len(expected)
    assert few == sorted(expected, key=lambda pair: -likeness[pair])[:10]


def in_band(rng, n):
    """Noise between 400 and 3000 Hz at 8 kHz."""
    sections = scipy.signal.butter(8, (400, 3000), "bandpass", fs=takes.RATE, output="sos")
    return scipy.signal.sosfilt(sections, rng.normal(size=n)).astype(np.float32)


def test_the_correlation_is_scipys_at_its_best_lag():
    rng = np.random.default_rng(0)
    common = in_band(rng, 6_000)
    first, second = common + 0.7 * in_band(rng, 6_000), np.roll(common, 300) - 0.4 * in_band(rng, 6_000)
    expected = np.abs(scipy.signal.correlate(first, second)).max()
    expected /= np.linalg.norm(first) * np.linalg.norm(second)
    assert 0.4 < expected < 0.9
    assert takes.correlation(first, second) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("delay", [0, 0.5, 13.25, -200.5])
@pytest.mark.parametrize("gain", [0.01, -1.0])
def test_a_delay_a_gain_and_a_sign_leave_the_correlation_at_1(delay, gain):
    samples = np.pad(in_band(np.random.default_rng(0), 4_000), 400)
    turned = np.exp(-2j * np.pi * np.fft.rfftfreq(len(samples)) * delay)
    delayed = np.fft.irfft(np.fft.rfft(samples) * turned, len(samples))
    assert takes.correlation(samples, (gain * delayed).astype(np.float32)) > 0.99


def test_a_common_hum_makes_no_one_take_and_silence_is_like_nothing():
    rng = np.random.default_rng(0)
    hum = np.sin(2 * np.pi * 100 * np.arange(16_000) / takes.RATE)
    first, second = ((hum + 0.01 * in_band(rng, 16_000)).astype(np.float32) for _ in range(2))
    assert scipy.signal.correlate(first, second).max() > 0.9 * np.linalg.norm(first) * np.linalg.norm(second)
    assert takes.correlation(first, second) < 0.3
    assert takes.correlation(first, np.zeros(100, np.float32)) == 0


# The command.
def run_command(clips, voices, *arguments):
    base = ["--corpus", "folder", "--root", str(clips), "--speaker-pattern", PATTERN]
    return ser_transfer.audit.main([*base, "--store", str(voices / "store"), "--n-folds", "4", *arguments])


def test_the_command_says_that_all_is_well_and_exits_with_0(clips, voices, capsys):
    assert run_command(clips, voices) == 0
    printed = capsys.readouterr()
    assert "what is shared in 4 speaker-disjoint folds:" in printed.out
    assert "near-identical audio on two sides" in printed.out
    assert printed.err == ""


def test_the_command_stops_at_a_leak_unless_it_is_allowed(clips, voices, capsys):
    plant(clips, "mp3")
    assert run_command(clips, voices) == 1
    printed = capsys.readouterr()
    assert "LEAK: near-identical audio" in printed.out
    assert printed.err.startswith("error: the split speaker-folds shares near-identical audio")
    assert all(word in printed.err for word in (ORIGINAL, COPY, "--allow near-identical-audio"))
    assert run_command(clips, voices, "--allow", "near-identical-audio") == 0
    assert "LEAK: near-identical audio" in capsys.readouterr().out
    assert run_command(clips, voices, "--split", "speaker-dependent") == 0


def test_the_command_looks_at_the_folds_it_is_given(clips, voices, capsys):
    assert run_command(clips, voices, "--folds", "1,2") == 0
    assert "5 in 2 folds" in capsys.readouterr().out
    assert run_command(clips, voices, "--allow", "all") == 1
    assert "--allow takes identical-audio or near-identical-audio" in capsys.readouterr().err


class TestEncodersThatHeardTestSpeakers:
    """A network that we fine-tuned says in training.json whom it heard."""

    @pytest.fixture
    def of_p1(self, tmp_path):
        folder = tmp_path / "network"
        folder.mkdir()
        (folder / "training.json").write_text(json.dumps({"corpus_name": "folder", "speakers": ["p1", "p2"]}))
        return folder

    def refuse(self, corpus, split, encoders):
        refused_if_leaky(corpus, split, keys_by_id(corpus), None, "identical-audio", encoders)

    def test_it_is_refused_where_one_of_them_is_tested(self, corpus, of_p1):
        split = make_split(corpus, "loso")
        with pytest.raises(LeakError, match=r"was trained on 2 of the speakers .*\(p1, p2\)"):
            self.refuse(corpus, split, {str(of_p1): None})
        with pytest.raises(LeakError, match="was trained on 2"):
            self.refuse(corpus, split, {"yamnet": str(of_p1 / "model.safetensors")})

    def test_it_may_be_tested_on_others(self, corpus, of_p1):
        self.refuse(corpus, make_split(corpus, "loso").only(["p3", "p4"]), {str(of_p1): None})
        self.refuse(corpus, make_split(corpus, "loso"), {"mfcc": None})

    def test_another_corpus_has_other_speakers(self, corpus, of_p1):
        (of_p1 / "training.json").write_text(json.dumps({"corpus_name": "emodb", "speakers": ["p1"]}))
        self.refuse(corpus, make_split(corpus, "loso"), {str(of_p1): None})
