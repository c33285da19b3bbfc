"""The computation behind the tab Listen: what every model says of a recording, and whether they agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser_transfer.audio import AudioError, duration_seconds, read_audio, read_blocks
from ser_transfer.errors import SerTransferError
from ser_transfer.explanation import occlusion
from ser_transfer.interface.limits import Limits

if TYPE_CHECKING:
    from ser_transfer.encoders import Waveform
    from ser_transfer.explanation import Array
    from ser_transfer.model import EmotionModel, Prediction
    from ser_transfer.timeline import Timeline

SHOWN_RATE = 16_000  # Hz, of the waveform that is drawn and played
# From here on a recording is followed through time: shorter ones hold two windows or so.
TIMELINE_SECONDS = 4.0
# Answers about the whole recording that an explanation may take.
MAX_ANSWERS = 60


@dataclass(frozen=True)
class Speaking:
    """A model on the page, and the part it plays there."""

    model: EmotionModel
    is_baseline: bool = False

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name


@dataclass(frozen=True)
class Reading:
    """What one model says of a recording.

    Attributes:
        speaking: The model.
        prediction: Its probabilities; None where it cannot hear the recording.
        error: Why it cannot; None where it can.
    """

    speaking: Speaking
    prediction: Prediction | None
    error: str | None = None


@dataclass(frozen=True)
class Listened:
    """What a model listened to in a recording.

    Attributes:
        name: Of the model.
        times: Seconds, of shape (n,).
        weights: Of each moment, of shape (n,): attention weights, or drops in probability.
        words: What the weights are, for the reader.
    """

    name: str
    times: Array
    weights: Array
    words: str


def speaking_models(models: Sequence[EmotionModel], baseline: EmotionModel | None) -> tuple[Speaking, ...]:
    """Order the models of the page: those asked for, then the baseline, which is listed once."""
    known = [Speaking(model, baseline is not None and _same(model, baseline)) for model in models]
    if baseline is not None and not any(each.is_baseline for each in known):
        known.append(Speaking(baseline, True))
    return tuple(known)


def _same(one: EmotionModel, other: EmotionModel) -> bool:
    return one is other or one.fingerprint == other.fingerprint


def hear(path: str | Path, limits: Limits) -> Waveform:
    """Read a recording for the page, decoding no more of it than the page takes.

    Its header is not trusted: a file that says it is short and is not is refused all the same.

    Args:
        path: Of the file.
        limits: Size and duration that are taken.

    Returns:
        Mono, float32, at `SHOWN_RATE`.

    Raises:
        InterfaceError: If it is larger or longer than the limits.
        AudioError: If it cannot be read, or holds no sound.
    """
    name = Path(path).name
    limits.refuse_size(Path(path).stat().st_size, name)
    limits.refuse_duration(duration_seconds(path), name)
    blocks, n_samples = [], 0
    for block in read_blocks(path, SHOWN_RATE, block_seconds=30.0):
        blocks.append(block)
        n_samples += len(block)
        limits.refuse_duration(n_samples / SHOWN_RATE, name)
    return np.concatenate(blocks)


def read_with(speaking: Speaking, path: str | Path) -> Reading:
    """Ask one model about a recording; that it cannot hear it is a reading too."""
    try:
        return Reading(speaking, speaking.model.predict(str(path)))
    except AudioError as error:
        return Reading(speaking, None, in_their_words(error))


def agreement(readings: Sequence[Reading]) -> str:
    """Say in a sentence whether the models agree."""
    answers = [reading.prediction.emotion for reading in readings if reading.prediction is not None]
    if not answers:
        return "No model could hear this recording."
    if len(answers) == 1:
        return f"One model answers: {answers[0]}."
    every = "Both models" if len(answers) == 2 else f"All {len(answers)} models"
    if agrees(readings):
        return f"{every} hear {answers[0]}."
    heard = sorted(set(answers), key=lambda emotion: (-answers.count(emotion), answers.index(emotion)))
    told = [f"{emotion} ({answers.count(emotion)} of {len(answers)})" for emotion in heard]
    return f"The models disagree: {', '.join(told)}."


def agrees(readings: Sequence[Reading]) -> bool | None:
    """Tell whether all models that could hear the recording name one emotion; None where fewer than two."""
    answers = [reading.prediction.emotion for reading in readings if reading.prediction is not None]
    return len(set(answers)) == 1 if len(answers) > 1 else None


def readings_as_json(readings: Sequence[Reading], seconds: float) -> dict[str, Any]:
    """Give the readings as the API does."""
    told = []
    for reading in readings:
        row: dict[str, Any] = {"model": reading.speaking.name, "baseline": reading.speaking.is_baseline}
        if reading.prediction is None:
            row |= {"emotion": None, "confidence": None, "probabilities": None, "error": reading.error}
        else:
            found = reading.prediction
            row |= {
                "emotion": found.emotion,
                "confidence": found.confidence,
                "probabilities": {emotion: float(value) for emotion, value in found.probabilities.items()},
                "error": None,
            }
        told.append(row)
    return {"seconds": seconds, "agree": agrees(readings), "readings": told}


def timeline_of(
    speaking: Speaking, path: str | Path, on_progress: Callable[[float], object] | None = None
) -> Timeline:
    """Follow a recording with one model.

    Raises:
        AudioError: If the model cannot hear it.
    """
    return speaking.model.timeline(str(path), on_progress=on_progress)


def timeline_as_json(name: str, timeline: Timeline) -> dict[str, Any]:
    """Give a timeline as the API does: segments, and the probabilities in the middle of each window."""
    return {
        "model": name,
        "seconds": float(timeline.seconds),
        "classes": list(timeline.classes),
        "segments": [
            {
                "start": float(segment.start_seconds),
                "end": float(segment.end_seconds),
                "emotion": segment.emotion,
                "confidence": float(segment.confidence),
            }
            for segment in timeline.segments
        ],
        "times": np.asarray(timeline.times).tolist(),
        # JSON knows no NaN: where nothing was answered there is null.
        "probabilities": [
            row.tolist() if np.isfinite(row).all() else None for row in np.asarray(timeline.probabilities)
        ],
    }


def listened_to(speaking: Speaking, path: str | Path) -> Listened:
    """Tell what a model listened to: its own weights over time where it has them, occlusion elsewhere.

    Raises:
        AudioError: If the model cannot hear the recording.
    """
    model = speaking.model
    waveform = read_audio(str(path), model.sampling_rate, min_seconds=model.min_seconds)
    attention = model.attention(waveform)
    if attention is not None:
        times, weights = attention
        return Listened(model.name, times, weights, "attention weights, which the model gives by itself")
    # About a syllable at a time; of a longer recording more, so that the answers stay within `MAX_ANSWERS`.
    hop_seconds = max(0.125, len(waveform) / model.sampling_rate / MAX_ANSWERS)
    found = occlusion(model, waveform, hide_seconds=2 * hop_seconds, hop_seconds=hop_seconds)
    words = (
        f"drop in the probability of {found.emotion} ({100 * found.probability:.0f} %) "
        f"when {found.hide_seconds:.2f} s there are silenced"
    )
    return Listened(model.name, found.times, found.drop, words)


def in_their_words(error: SerTransferError) -> str:
    """Write an error for a visitor: with the name of their file, not with the place where it lies here."""
    if isinstance(error, AudioError):
        return str(AudioError(error.reason, Path(error.path).name, error.found))
    return str(error)


def described(model: EmotionModel) -> str:
    """Say in a line what a model was trained on, and what it reaches on speakers that it had not heard."""
    training = model.training
    corpus, speakers = training.get("corpus"), training.get("speakers")
    words = []
    if corpus and str(corpus) not in model.name:
        words.append(f"trained on {corpus}")
    if speakers:
        words.append(f"{len(speakers)} speakers")
    words.append(f"{len(model.classes)} emotions")
    uar, interval = training.get("uar"), training.get("uar_interval")
    if uar is not None:
        within = f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
        unheard = "unheard" if training.get("speaker_independent", True) else "the same"
        words.append(f"UAR {uar:.3f}{within} on {unheard} speakers")
    return " · ".join(words)
