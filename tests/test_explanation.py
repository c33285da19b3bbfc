"""Occlusion, on models whose answers can be worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from ser_transfer.explanation import ExplanationError, occlusion

RATE = 1_000


def model_of(answer, sampling_rate=RATE):
    """A model whose probability of its second class is a function of the waveform."""

    def probabilities_of_waveforms(waveforms):
        second = np.array([answer(waveform) for waveform in waveforms])
        return np.stack([1 - second, second], axis=1)

    return SimpleNamespace(
        classes=("other", "this"),
        sampling_rate=sampling_rate,
        probabilities_of_waveforms=probabilities_of_waveforms,
    )


def test_the_drop_is_where_the_model_listens_and_nowhere_else():
    """The model hears the mean level from 2.0 to 2.5 s only."""
    model = model_of(lambda waveform: np.abs(waveform[2000:2500]).mean())
    found = occlusion(model, np.ones(4000, np.float32), hide_seconds=0.5, hop_seconds=0.25)
    assert (found.emotion, found.probability) == ("this", 1.0)
    assert found.times == pytest.approx(np.arange(0.25, 3.8, 0.25))
    # All of what it hears is hidden once, half of it twice; elsewhere only a fade of 10 ms on either side.
    expected = {2.0: 0.5, 2.25: 1.0, 2.5: 0.5}
    for at, drop in zip(found.times, found.drop, strict=True):
        assert drop == pytest.approx(expected.get(float(at), 0.0), abs=0.011)


def test_what_speaks_against_the_answer_has_a_drop_below_zero():
    model = model_of(lambda waveform: 0.9 - 0.3 * np.abs(waveform[:1000]).mean())
    found = occlusion(model, np.ones(4000, np.float32), hide_seconds=1.0, hop_seconds=1.0)
    assert found.drop == pytest.approx([-0.3, 0, 0, 0], abs=0.01)


def test_the_length_stays_and_the_edges_do_not_click():
    heard = []
    occlusion(
        model_of(lambda waveform: heard.append(waveform) or 0.6, 16_000),
        np.ones(16_000, np.float32),
        hide_seconds=0.25,
        hop_seconds=0.125,
    )
    assert {len(waveform) for waveform in heard} == {16_000}
    for waveform in heard[1:]:
        assert np.abs(np.diff(waveform)).max() < 0.011  # half a cosine of 160 samples is nowhere steeper
        assert 4000 <= np.count_nonzero(waveform == 0) <= 4002


def test_half_of_a_short_recording_is_left():
    heard = []
    model = model_of(lambda waveform: heard.append(np.count_nonzero(waveform)) or 0.6)
    occlusion(model, np.ones(200, np.float32), hide_seconds=0.25, hop_seconds=0.125)
    assert min(heard) >= 80  # half of it, less the fades


@pytest.mark.parametrize("settings", [{"hide_seconds": 0.0}, {"hop_seconds": -1.0}])
def test_stretches_that_are_none_are_refused(settings):
    with pytest.raises(ExplanationError, match="must be above 0"):
        occlusion(model_of(lambda waveform: 0.5), np.ones(4000, np.float32), **settings)
