import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_transfer.audio import read_audio
from ser_transfer.corpora import _speech_synthesis as synthesis
from ser_transfer.corpora._rows import CorpusError
from ser_transfer.corpora.synthetic import MANNERS, SENTENCES, load_synthetic, synthesise_corpus
from ser_transfer.errors import SerTransferError
from ser_transfer.labels import EMOTIONS

RATE = synthesis.RATE


def hashes(root: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*.wav")}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic")
    assert synthesise_corpus(root) == 240
    return root


@pytest.fixture(scope="module")
def waveforms(corpus):
    return [read_audio(audio) for audio in load_synthetic(corpus)["audio"]]


@pytest.fixture
def voice() -> synthesis.Voice:
    """A voice without room, noise or flaws: what is measured is what was asked for."""
    return synthesis.Voice(
        f0_hz=130.0, tract=1.0, syllables_per_second=4.5, brightness=0.0, breath=0.0, jitter=0.0,
        room=np.array([1.0]), noise=0.0, gain_db=0.0,
    )  # fmt: skip


def spoken(voice, manner=synthesis.Manner(), sentence="s2", seed=0):  # noqa: B008 - frozen
    rng = np.random.default_rng(seed)
    track = synthesis.articulate(*SENTENCES[sentence], voice, manner, rng)
    return track, synthesis.speak(track, voice, manner, rng)


def test_every_voice_says_every_sentence_in_every_emotion(corpus):
    rows = load_synthetic(corpus)
    emotions = rows.features["emotion"].names
    assert emotions == [emotion for emotion in EMOTIONS if emotion in MANNERS]
    cells = set(zip(rows["speaker"], rows["sentence"], rows["emotion"], strict=True))
    assert len(cells) == len(rows) == len(set(rows["utterance_id"])) == 8 * 5 * 6
    assert all("synthetic" in text for text in [*rows["utterance_id"], *rows["speaker"], *rows["sentence"]])
    genders = dict(zip(rows["speaker"], rows["gender"], strict=True))
    assert sorted(genders.values()) == ["female"] * 4 + ["male"] * 4
    assert set(rows["language"]) == {None}


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(corpus, tmp_path):
    for seed in (0, 1):
        synthesise_corpus(tmp_path / str(seed), n_speakers=1, seed=seed)
    whole, same, other = hashes(corpus), hashes(tmp_path / "0"), hashes(tmp_path / "1")
    assert same.items() <= whole.items()
    assert not set(other.values()) & set(whole.values())
    assert len(set(whole.values())) == 240


def test_clips_are_16_bit_at_16_khz_and_last_one_to_three_seconds(corpus, waveforms):
    info = soundfile.info(next(corpus.rglob("*.wav")))
    assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
    seconds = [len(waveform) / RATE for waveform in waveforms]
    assert min(seconds) > 0.9
    assert max(seconds) < 3.0
    assert 1.2 < np.mean(seconds) < 2.2


def test_nothing_is_clipped_offset_or_torn(waveforms):
    for waveform in waveforms:
        assert np.abs(waveform).max() <= 0.951
        assert abs(waveform.mean()) < 1e-4
        # A click is a jump in quiet surroundings: at the ends of the speech, and of the clip.
        assert np.abs(waveform[: RATE // 50]).max() < 0.01
        assert np.abs(waveform[-RATE // 50 :]).max() < 0.02


@pytest.mark.parametrize("emotion", MANNERS)
def test_the_measured_fundamental_is_the_one_asked_for(emotion, voice):
    import librosa

    manner = replace(MANNERS[emotion], breath=0.0, jitter=0.0)
    track, clip = spoken(voice, manner)
    f0, is_voiced, _ = librosa.pyin(clip, fmin=60, fmax=500, sr=RATE)
    asked = np.median(track.f0[track.voicing > 0.9])
    assert np.median(f0[is_voiced]) == pytest.approx(asked, rel=0.03)
    assert 12 * np.log2(asked / voice.f0_hz) == pytest.approx(manner.f0_semitones, abs=1.5)


@pytest.mark.parametrize("vowel", synthesis.VOWELS)
@pytest.mark.parametrize("tract", [1.0, 1.17])
def test_the_spectrum_of_a_vowel_peaks_at_its_formants(vowel, tract):
    asked = np.array([*synthesis.VOWELS[vowel], *synthesis.HIGHER_FORMANTS]) * tract
    impulse = np.zeros(100 * synthesis.STEP)
    impulse[4000] = 1.0
    spectrum = np.abs(np.fft.rfft(synthesis._resonated(impulse, np.tile(asked, (100, 1))), 2**15))
    peaks = np.flatnonzero((spectrum[1:-1] > spectrum[:-2]) & (spectrum[1:-1] > spectrum[2:])) + 1
    for formant in asked[:3]:
        assert np.abs(peaks * RATE / 2**15 - formant).min() < 0.02 * formant + 20


def test_resonators_that_stand_still_are_klatts_filters():
    from scipy.signal import lfilter

    source = np.random.default_rng(0).standard_normal(40 * synthesis.STEP)
    source[: synthesis.STEP] = 0  # the first step is faded in
    formants = np.array([500.0, 1500, 2500, 3500, 4500])
    expected = source
    for formant, bandwidth in zip(formants, synthesis.BANDWIDTHS, strict=True):
        c = -np.exp(-2 * np.pi * bandwidth / RATE)
        b = 2 * np.exp(-np.pi * bandwidth / RATE) * np.cos(2 * np.pi * formant / RATE)
        expected = lfilter([1 - b - c], [1, -b, -c], expected)
    heard = synthesis._resonated(source, np.tile(formants, (40, 1)))[: len(source)]
    # But for the last step, which is faded out, and for what rings longer than 64 ms.
    error = (heard - expected)[: -synthesis.STEP]
    assert np.abs(error).max() < 1e-3 * np.abs(expected).max()


def test_emotions_differ_as_the_literature_says(voice):
    clips = {emotion: spoken(voice, manner) for emotion, manner in MANNERS.items()}
    seconds = {emotion: len(track.f0) for emotion, (track, _) in clips.items()}
    level = {emotion: np.std(clip) for emotion, (_, clip) in clips.items()}
    spread = {emotion: np.std(np.log(track.f0)) for emotion, (track, _) in clips.items()}
    brightness = {}
    for emotion, (_, clip) in clips.items():
        power = np.abs(np.fft.rfft(clip)) ** 2
        brightness[emotion] = power[np.fft.rfftfreq(len(clip), 1 / RATE) > 1000].sum() / power.sum()
    assert seconds["fear"] < seconds["anger"] < seconds["neutral"] < seconds["sadness"]
    assert level["sadness"] < level["neutral"] < level["happiness"] < level["anger"]
    assert spread["sadness"] < spread["neutral"] < min(spread["anger"], spread["happiness"])
    assert brightness["sadness"] < brightness["neutral"] < brightness["anger"]


def test_known_speakers_are_easier_than_new_ones_and_neither_is_perfect(corpus, waveforms):
    import librosa
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import recall_score
    from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = load_synthetic(corpus)
    coefficients = [librosa.feature.mfcc(y=waveform, sr=RATE, n_mfcc=40) for waveform in waveforms]
    X = np.array([np.concatenate([frames.mean(axis=1), frames.std(axis=1)]) for frames in coefficients])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    uar = {}
    by_speaker = LeaveOneGroupOut().split(X, groups=rows["speaker"])
    at_random = StratifiedKFold(5, shuffle=True, random_state=0).split(X, rows["emotion"])
    for name, folds in {"new speakers": by_speaker, "known speakers": at_random}.items():
        predicted = cross_val_predict(model, X, rows["emotion"], cv=list(folds))
        uar[name] = recall_score(rows["emotion"], predicted, average="macro")
    assert 0.5 < uar["new speakers"] < 0.85
    assert uar["known speakers"] > uar["new speakers"] + 0.05
    assert uar["known speakers"] < 0.97


def test_a_folder_without_synthetic_clips_says_how_to_write_them(tmp_path):
    with pytest.raises(CorpusError, match="synthesise_corpus"):
        load_synthetic(tmp_path)
    with pytest.raises(CorpusError, match="--root"):
        load_synthetic(None)
    with pytest.raises(SerTransferError, match="at least 1 speaker"):
        synthesise_corpus(tmp_path, n_speakers=0)
