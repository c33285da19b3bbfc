"""Only where someone speaks: with a stand-in that takes loud frames for speech, and with Silero's."""

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest

from ser_transfer.audio import read_audio
from ser_transfer.timeline import TimelineError, TimelineSettings, follow_blocks
from ser_transfer.timeline.smoothing import doubted_logs
from ser_transfer.timeline.speech import PADDING_SECONDS, SpeechTrack

RATE = 16_000
FRAME_SECONDS = 0.01


class Loudness:
    """Speech is what is loud: 1 above -40 dBFS, 0.4 above -60, 0 below."""

    sampling_rate = RATE
    frame_samples = 160

    def __init__(self) -> None:
        self.n_frames = 0

    def reset(self) -> None:
        self.n_frames = 0

    def probabilities(self, waveform):
        frames = waveform.reshape(-1, self.frame_samples)
        self.n_frames += len(frames)
        peak = np.abs(frames).max(axis=1)
        return np.select([peak > 0.01, peak > 0.001], [1.0, 0.4], 0.0).astype(np.float32)


def speech(*parts: tuple[float, float]) -> np.ndarray:
    """Noise of given levels and seconds, after each other."""
    rng = np.random.default_rng(0)
    return np.concatenate(
        [level * rng.uniform(-1, 1, round(seconds * RATE)) for level, seconds in parts]
    ).astype(np.float32)


def track_of(waveform: np.ndarray, n_block: int = 5_000) -> SpeechTrack:
    return SpeechTrack([waveform[i : i + n_block] for i in range(0, len(waveform), n_block)], Loudness())


def follow_speech(waveform: np.ndarray, settings: TimelineSettings, detector=None, asked=None):
    def answer(waveforms):
        if asked is not None:
            asked.extend(waveforms)
        return np.tile([0.8, 0.2], (len(waveforms), 1))

    return follow_blocks(
        answer, ("anger", "calm"), lambda rate: [waveform], RATE, settings, detector=detector or Loudness()
    )


def test_intervals_are_where_speech_is_padded_and_parted_by_long_pauses_only():
    waveform = speech((1e-5, 2.0), (0.3, 1.0), (1e-5, 0.6), (0.3, 1.0), (1e-5, 3.0), (0.3, 2.0))
    intervals = track_of(waveform).intervals(max_pause_seconds=1.0)
    expected = [(2.0 - PADDING_SECONDS, 4.6 + PADDING_SECONDS), (7.6 - PADDING_SECONDS, 9.6)]
    np.testing.assert_allclose(intervals, expected, atol=FRAME_SECONDS)


def test_speech_goes_on_at_a_probability_at_which_it_does_not_begin():
    begun = track_of(speech((1e-5, 1.0), (0.3, 0.5), (0.005, 0.5), (1e-5, 1.0))).intervals(0.5)
    np.testing.assert_allclose(begun, [(0.9, 2.1)], atol=0.015)
    assert track_of(speech((1e-5, 1.0), (0.005, 0.5), (1e-5, 1.0))).intervals(0.5) == []


def test_a_click_is_no_speech():
    assert track_of(speech((1e-5, 1.0), (0.3, 0.2), (1e-5, 1.0))).intervals(0.5) == []


@pytest.mark.parametrize("n_block", [1, 159, 160, 777, 100_000])
def test_what_is_heard_does_not_depend_on_the_blocks(n_block):
    waveform = speech((1e-5, 0.3), (0.3, 0.5), (1e-5, 0.73))[: RATE * 3 // 2 - 7]
    if n_block == 1:
        waveform = waveform[: RATE // 2]
    assert track_of(waveform, n_block).intervals(0.5) == track_of(waveform).intervals(0.5)


def test_it_listens_no_further_than_it_is_asked():
    detector = Loudness()
    waveform = speech((0.3, 60.0))
    track = SpeechTrack([waveform[i : i + RATE] for i in range(0, len(waveform), RATE)], detector)
    assert track.seconds_of_speech(1.0, 3.0) == pytest.approx(2.0)
    assert detector.n_frames == 300


def test_segments_lie_where_someone_speaks_and_never_span_a_long_pause():
    waveform = speech((1e-4, 3.0), (0.3, 4.0), (1e-4, 0.7), (0.3, 2.0), (1e-4, 5.0), (0.3, 3.0), (1e-4, 4.0))
    asked: list[np.ndarray] = []
    timeline = follow_speech(waveform, TimelineSettings(speech_only=True), asked=asked)
    bounds = [(segment.start_seconds, segment.end_seconds) for segment in timeline.segments]
    np.testing.assert_allclose(bounds, [(2.9, 9.8), (14.6, 17.8)], atol=0.02)
    assert all(np.abs(window).max() > 0.01 for window in asked)
    everything = follow_speech(waveform, TimelineSettings())
    assert [(one.start_seconds, one.end_seconds) for one in everything.segments] == [(0.0, 21.7)]
    longer = follow_speech(waveform, TimelineSettings(speech_only=True, max_pause_seconds=6.0))
    [segment] = longer.segments
    assert (segment.start_seconds, segment.end_seconds) == pytest.approx((2.9, 17.8), abs=0.02)


def test_emotions_on_the_two_sides_of_a_pause_that_parts_nothing_meet_in_it():
    waveform = speech((1e-4, 2.0), (0.3, 4.0), (1e-4, 5.0), (0.1, 4.0))

    def by_loudness(waveforms):
        is_loud = [np.abs(one).max() > 0.2 for one in waveforms]
        return np.where(np.array(is_loud)[:, None], [0.9, 0.1], [0.1, 0.9])

    settings = TimelineSettings(speech_only=True, max_pause_seconds=6.0)
    timeline = follow_blocks(
        by_loudness, ("anger", "calm"), lambda rate: [waveform], RATE, settings, detector=Loudness()
    )
    assert [segment.emotion for segment in timeline.segments] == ["anger", "calm"]
    first, second = timeline.segments
    assert 6.0 <= first.end_seconds == second.start_seconds <= 11.0


def test_a_window_counts_by_the_share_of_it_that_is_speech_by_hand():
    # Windows of 2 s every second, speech from 2 s to 4 s: half of the second and of the fourth is speech, all
    # of the third. The middle of the cell from 2 s to 3 s lies as far from the second's as from the third's.
    waveform = speech((1e-4, 2.0), (0.3, 2.0), (1e-4, 2.0))

    def by_share(waveforms):
        shares = [(np.abs(one) > 0.001).mean() for one in waveforms]
        return np.where(np.array(shares)[:, None] > 0.7, [0.9, 0.1], [0.4, 0.6])

    settings = TimelineSettings(hop_seconds=1.0, speech_only=True)
    timeline = follow_blocks(
        by_share, ("anger", "calm"), lambda rate: [waveform], RATE, settings, detector=Loudness()
    )
    half, whole = (np.exp(doubted_logs(np.array([row])))[0] for row in ([0.4, 0.6], [0.9, 0.1]))
    expected = half ** (1 / 3) * whole ** (2 / 3)
    np.testing.assert_allclose(timeline.probabilities[2], expected / expected.sum(), rtol=1e-6)


def test_the_curve_is_nan_exactly_in_the_cells_without_a_segment():
    waveform = speech((1e-4, 3.2), (0.3, 4.0), (1e-4, 6.1), (0.3, 3.3), (1e-4, 0.9))
    timeline = follow_speech(waveform, TimelineSettings(speech_only=True))
    for start, end, row in zip(timeline.edges[:-1], timeline.edges[1:], timeline.probabilities, strict=True):
        in_segment = any(one.start_seconds < end and one.end_seconds > start for one in timeline.segments)
        assert np.isnan(row).any() != in_segment
    assert timeline.mean_probabilities == pytest.approx({"anger": 0.8, "calm": 0.2}, abs=0.01)


def test_where_nobody_speaks_nothing_is_asked_and_there_is_no_segment():
    timeline = follow_speech(speech((1e-3 / 2, 9.0)), TimelineSettings(speech_only=True))
    assert timeline.segments == ()
    assert np.isnan(timeline.probabilities).all()
    assert timeline.to_webvtt() == "WEBVTT\n"


def test_without_the_package_the_error_says_what_to_type(monkeypatch):
    monkeypatch.setattr("ser_transfer.timeline.silero.find_spec", lambda name: None)
    settings = TimelineSettings(speech_only=True)
    with pytest.raises(TimelineError, match=r'pip install "ser-transfer\[vad\]"') as caught:
        follow_blocks(lambda waveforms: None, ("a", "b"), lambda rate: [speech((0.3, 3.0))], RATE, settings)
    assert "\n" not in str(caught.value)


@pytest.fixture
def silero():
    pytest.importorskip("silero_vad", reason='needs pip install "ser-transfer[vad]"')
    from ser_transfer.timeline.silero import SileroSpeech

    return SileroSpeech()


@pytest.fixture
def clip(shared: Path) -> np.ndarray:
    """A sentence of RAVDESS, about 1.1 s of speech in 3.3 s, between two silences of 4 s."""
    path = shared / "corpora" / "ravdess" / "Actor_01" / "03-01-05-01-01-01-01.flac"
    hum = 1e-4 * np.random.default_rng(0).normal(size=4 * RATE).astype(np.float32)
    return np.concatenate([hum, read_audio(path, RATE), hum])


def test_silero_says_what_its_own_package_says(silero, clip):
    import torch

    path = Path(importlib.util.find_spec("silero_vad").origin).parent / "data" / "silero_vad.jit"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        reference = torch.jit.load(str(path)).eval()
    whole = clip[: len(clip) // 512 * 512]
    with torch.inference_mode():
        expected = [float(reference(torch.from_numpy(frame)[None], RATE)) for frame in whole.reshape(-1, 512)]
    np.testing.assert_allclose(silero.probabilities(whole), expected, atol=1e-4)


def test_silero_carries_on_from_block_to_block_and_begins_anew(silero, clip):
    whole = clip[: len(clip) // 512 * 512]
    at_once = silero.probabilities(whole)
    silero.reset()
    parts = [silero.probabilities(whole[i : i + 512 * 37]) for i in range(0, len(whole), 512 * 37)]
    np.testing.assert_allclose(np.concatenate(parts), at_once, atol=1e-6)
    assert len(silero.probabilities(whole[:0])) == 0


def test_silero_finds_the_sentence_between_two_silences(silero, clip):
    timeline = follow_speech(clip, TimelineSettings(speech_only=True), detector=silero)
    [segment] = timeline.segments
    loud = np.flatnonzero(np.abs(clip) > 0.1 * np.abs(clip).max()) / RATE
    assert segment.start_seconds == pytest.approx(loud[0], abs=0.4)
    assert segment.end_seconds == pytest.approx(loud[-1], abs=0.4)
