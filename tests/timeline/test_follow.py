"""Timelines of recordings whose emotion is their pitch, answered by a model that counts zero crossings."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import soundfile

from ser_transfer.audio import AudioError
from ser_transfer.timeline import TimelineError, TimelineSettings, follow, follow_blocks

RATE = 8_000
CLASSES = ("anger", "fear", "neutral")
HERTZ = dict(zip(CLASSES, (300.0, 1200.0, 3000.0), strict=True))


def tones(*parts: tuple[str, float], level: float = 0.3) -> np.ndarray:
    """Tones of the emotions' pitches, one after another; "silence" is one of them."""
    pieces = []
    for emotion, seconds in parts:
        time = np.arange(round(seconds * RATE)) / RATE
        pieces.append(level * np.sin(2 * np.pi * HERTZ.get(emotion, 0.0) * time))
    return np.concatenate(pieces).astype(np.float32)


class Listener:
    """Answers with the share of 10 ms frames whose zero crossings are nearest to each pitch's."""

    def __init__(self, sure: float = 0.96) -> None:
        self.sure = sure
        self.lengths: list[int] = []
        self.most_at_once = 0

    def __call__(self, waveforms):
        self.lengths += [len(waveform) for waveform in waveforms]
        self.most_at_once = max(self.most_at_once, len(waveforms))
        return np.stack([self.answer(waveform) for waveform in waveforms])

    def answer(self, waveform: np.ndarray) -> np.ndarray:
        frames = waveform[: len(waveform) // 80 * 80].reshape(-1, 80)
        heard = frames[np.abs(frames).max(axis=1) > 1e-3]
        crossings = (heard[:, 1:] * heard[:, :-1] < 0).mean(axis=1) * RATE / 2
        nearest = np.abs(crossings[:, None] - np.array(list(HERTZ.values()))).argmin(axis=1)
        shares = np.bincount(nearest, minlength=len(CLASSES)) / max(1, len(nearest))
        return self.sure * shares + (1 - self.sure) / len(CLASSES)


def timeline_of(waveform: np.ndarray, settings: TimelineSettings | None = None, **options):
    listener = options.pop("listener", Listener())
    return follow_blocks(listener, CLASSES, lambda rate: [waveform], RATE, settings, **options)


def emotions(timeline) -> list[str | None]:
    return [segment.emotion for segment in timeline.segments]


@pytest.mark.parametrize("seed", range(20))
def test_segments_are_those_of_the_recording_within_a_hop(seed):
    rng = np.random.default_rng(seed)
    names = [CLASSES[rng.integers(3)]]
    for _ in range(int(rng.integers(1, 6))):
        names.append(str(rng.choice([name for name in CLASSES if name != names[-1]])))
    seconds = rng.uniform(4.0, 9.0, len(names)).round(2)
    timeline = timeline_of(tones(*zip(names, seconds, strict=True)))
    assert emotions(timeline) == names
    ends = [segment.end_seconds for segment in timeline.segments]
    np.testing.assert_allclose(ends, np.cumsum(seconds), atol=0.5)
    assert timeline.segments[0].start_seconds == 0.0
    assert ends[-1] == timeline.seconds == pytest.approx(sum(seconds))
    assert all(left.end_seconds == right.start_seconds for left, right in pairwise(timeline.segments))


def test_the_same_sound_later_gives_the_same_cells_later():
    recording = tones(("anger", 4.0), ("fear", 5.0), ("neutral", 3.0))
    alone = timeline_of(recording)
    later = timeline_of(np.concatenate([tones(("neutral", 3.0)), recording]))
    # A window of 2 s reaches 2 s beyond the seam.
    np.testing.assert_allclose(later.probabilities[6 + 4 :], alone.probabilities[4:], atol=1e-3)
    assert later.times[6:] == pytest.approx(alone.times + 3.0)


def test_rows_of_the_curve_are_probabilities_and_times_are_the_middles_of_cells():
    timeline = timeline_of(tones(("anger", 4.0), ("fear", 3.3)))
    np.testing.assert_allclose(timeline.probabilities.sum(axis=1), 1.0)
    assert timeline.times.tolist() == pytest.approx([0.25 + 0.5 * k for k in range(13)] + [6.9])
    assert timeline.probabilities.shape == (14, 3)


def test_a_flicker_shorter_than_a_segment_is_no_segment():
    timeline = timeline_of(tones(("anger", 5.0), ("fear", 0.4), ("anger", 5.0)))
    assert emotions(timeline) == ["anger"]


def test_no_segment_is_shorter_than_the_least():
    rng = np.random.default_rng(3)
    parts = [(CLASSES[number % 3], float(rng.uniform(0.5, 4.0))) for number in range(30)]
    for least in (0.5, 1.0, 2.5, 6.0):
        settings = TimelineSettings(min_segment_seconds=least, mean_segment_seconds=3.0)
        timeline = timeline_of(tones(*parts), settings)
        lengths = [segment.end_seconds - segment.start_seconds for segment in timeline.segments]
        assert len(lengths) > 1
        assert min(lengths) >= least - 1e-9


def test_where_emotions_are_said_to_last_longer_fewer_switches_are_believed():
    rng = np.random.default_rng(4)
    parts = [(CLASSES[number % 3], float(rng.uniform(1.5, 4.0))) for number in range(30)]
    n_segments = [
        len(timeline_of(tones(*parts), TimelineSettings(mean_segment_seconds=mean)).segments)
        for mean in (1.0, 5.0, 60.0, 1e6)
    ]
    assert n_segments == sorted(n_segments, reverse=True)
    assert n_segments[0] > n_segments[1] > n_segments[2] > n_segments[3]


def test_confidence_is_the_mean_smoothed_probability_and_abstention_follows_it():
    recording = tones(("anger", 6.0), ("fear", 6.0), ("neutral", 6.0))
    sure = timeline_of(recording)
    for segment in sure.segments:
        assert segment.confidence == sure.probabilities_of(segment)[segment.emotion]
        assert 0.8 < segment.confidence < 0.98
    unsure = timeline_of(recording, TimelineSettings(min_confidence=0.99))
    [segment] = unsure.segments  # those without an emotion, side by side, are one
    assert (segment.emotion, segment.start_seconds, segment.end_seconds) == (None, 0.0, 18.0)
    weights = [one.end_seconds - one.start_seconds for one in sure.segments]
    expected = np.average([one.confidence for one in sure.segments], weights=weights)
    assert segment.confidence == pytest.approx(expected)
    between = float(np.median([one.confidence for one in sure.segments]))
    some = timeline_of(recording, TimelineSettings(min_confidence=between))
    assert emotions(some).count(None) == 1


def test_boundaries_are_asked_again_with_shorter_windows_no_shorter_than_the_model_takes():
    recording = tones(("anger", 6.0), ("fear", 6.0))
    listener = Listener()
    timeline_of(recording, listener=listener)
    assert sorted(set(listener.lengths)) == [RATE, 2 * RATE]
    assert listener.lengths.count(RATE) == 7
    listener = Listener()
    timeline_of(recording, listener=listener, min_seconds=1.5)
    assert sorted(set(listener.lengths)) == [round(1.5 * RATE), 2 * RATE]
    listener = Listener()
    timeline_of(recording, listener=listener, min_seconds=2.0)
    assert listener.lengths == [2 * RATE] * 21  # none of them twice


def test_shorter_windows_place_a_boundary_better_where_one_side_drowns_the_other():
    class Loudest(Listener):
        def answer(self, waveform):
            is_loud = np.abs(waveform) > 0.2
            return np.array([0.97, 0.015, 0.015]) if is_loud.any() else super().answer(waveform)

    quiet = tones(("fear", 6.0), level=0.05)
    recording = np.concatenate([quiet, tones(("anger", 6.0)), quiet])
    refined = timeline_of(recording, listener=Loudest())
    coarse = timeline_of(recording, listener=Loudest(), min_seconds=2.0)
    assert emotions(refined) == emotions(coarse) == ["fear", "anger", "fear"]

    def error(timeline):
        found = [segment.end_seconds for segment in timeline.segments[:2]]
        return np.abs(np.array(found) - [6.0, 12.0]).max()

    assert error(refined) < error(coarse)
    assert error(refined) <= 0.5


def test_a_recording_shorter_than_a_window_is_one_segment():
    listener = Listener()
    timeline = timeline_of(tones(("fear", 0.3)), listener=listener)
    assert emotions(timeline) == ["fear"]
    assert listener.lengths == [round(0.3 * RATE)]
    assert timeline.segments[0].end_seconds == timeline.seconds == 0.3


def test_digital_silence_is_not_asked_and_is_a_gap():
    recording = tones(("anger", 5.0), ("silence", 8.0), ("fear", 5.0))
    timeline = timeline_of(recording)
    assert emotions(timeline) == ["anger", "fear"]
    first, second = timeline.segments
    assert 5.0 <= first.end_seconds <= 7.0
    assert 11.0 <= second.start_seconds <= 13.0
    gap = (timeline.times > first.end_seconds) & (timeline.times < second.start_seconds)
    assert gap.any()
    assert np.isnan(timeline.probabilities[gap]).all()
    assert not np.isnan(timeline.probabilities[~gap]).any()


def test_a_file_gives_what_its_samples_give_and_progress_reaches_its_end(tmp_path):
    recording = tones(("anger", 6.0), ("fear", 7.2))
    soundfile.write(tmp_path / "talk.wav", recording, RATE, subtype="FLOAT")
    reported: list[float] = []
    settings = TimelineSettings()
    timeline = follow(Listener(), CLASSES, tmp_path / "talk.wav", RATE, settings, on_progress=reported.append)
    assert timeline.to_json() == timeline_of(recording).to_json()
    assert reported == sorted(reported)
    assert reported[-1] == pytest.approx(13.2)


def test_a_recording_too_short_for_the_model_is_an_audio_error(tmp_path):
    soundfile.write(tmp_path / "blip.wav", tones(("anger", 0.2)), RATE)
    with pytest.raises(AudioError, match="too_short"):
        follow(Listener(), CLASSES, tmp_path / "blip.wav", RATE, min_seconds=0.5)


def test_half_an_hour_is_followed_in_the_memory_of_minutes():
    listener = Listener()
    minute = tones(("anger", 25.0), ("fear", 20.0), ("neutral", 15.0))

    def half_an_hour(rate):
        assert rate == RATE
        for _ in range(30):
            yield minute

    tracemalloc.start()
    timeline = follow_blocks(listener, CLASSES, half_an_hour, RATE, TimelineSettings(hop_seconds=2.0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert timeline.seconds == 1800.0
    assert len(timeline.segments) == 90
    assert listener.most_at_once <= 16
    assert peak < 15e6  # the sound is 58 MB


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"window_seconds": 0.0}, "window_seconds"),
        ({"hop_seconds": -1.0}, "hop_seconds"),
        ({"hop_seconds": float("nan")}, "hop_seconds"),
        ({"window_seconds": 1.0, "hop_seconds": 1.5}, "hop_seconds"),
        ({"mean_segment_seconds": 0.7}, "mean_segment_seconds"),
        ({"max_pause_seconds": 0.0}, "max_pause_seconds"),
        ({"min_confidence": 1.5}, "min_confidence"),
    ],
)
def test_settings_that_fit_no_timeline_are_refused(settings, named):
    with pytest.raises(TimelineError, match=named):
        TimelineSettings(**settings)


def test_windows_shorter_than_the_model_takes_are_refused():
    with pytest.raises(TimelineError, match=r"window_seconds is 1\.0.*2\.500"):
        timeline_of(tones(("anger", 5.0)), TimelineSettings(window_seconds=1.0), min_seconds=2.5)


@pytest.mark.parametrize("wrong", [np.ones((1, 2)), np.full((1, 3), np.nan)])
def test_answers_of_another_shape_or_not_finite_are_a_defect_of_the_model(wrong):
    with pytest.raises(ValueError, match="answered"):
        timeline_of(tones(("anger", 1.0)), listener=lambda waveforms: wrong)
