"""A scored system: one row of every table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from ser_transfer.cross_validation import Labels, Predictions
from ser_transfer.metrics import (
    GroupScore,
    Scores,
    abstention,
    abstention_at,
    brier,
    confusion_by_speaker,
    expected_calibration_error,
    score,
    scores_by_group,
    uar,
    worst_group,
)

if TYPE_CHECKING:
    from ser_transfer.store import Embeddings, Frames

# In the order in which tables list systems of one score: what is tested, then what it is held against.
Role = Literal["encoder", "fusion", "baseline", "untrained", "floor"]

MAJORITY = "majority class"  # the name of the floor

WANTED_ACCURACY = 0.8  # unless asked otherwise: the share of given answers that shall be right


@dataclass(frozen=True, eq=False)
class System:
    """One row of the table: an encoder, a fusion of several, or what they are held against.

    Attributes:
        name: The encoder's name, those of a fusion joined by a plus, or ``majority class``.
        role: ``"encoder"``, ``"fusion"``, ``"baseline"`` (the handcrafted one that differences are taken
            to), ``"untrained"`` (random weights) or ``"floor"``.
        predictions: Its answers on the test sides.
        scores: Of those answers, all folds pooled.
        embeddings: What it was computed from, per encoder: fingerprint, pooling, precision.
        groups: Per column of the corpus such as ``gender``, and value, the scores of those utterances.
        wanted_accuracy: For which the share of recordings is told that can be answered.
    """

    name: str
    role: Role
    predictions: Predictions
    scores: Scores
    embeddings: Mapping[str, Any] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, GroupScore]] = field(default_factory=dict)
    wanted_accuracy: float = WANTED_ACCURACY

    @classmethod
    def scored(
        cls,
        name: str,
        role: Role,
        predictions: Predictions,
        labels: Labels,
        embeddings: Mapping[str, Any] | None = None,
        wanted_accuracy: float = WANTED_ACCURACY,
    ) -> System:
        """Score a system's answers, with intervals over speakers, in all and by group."""
        answers = (predictions.truth, predictions.predicted, predictions.classes)
        groups = {
            column: scores_by_group(
                *answers, [values[id_] for id_ in predictions.utterance_ids], predictions.speakers
            )
            for column, values in labels.groups.items()
        }
        scores = score(*answers, predictions.speakers)
        return cls(name, role, predictions, scores, embeddings or {}, groups, wanted_accuracy)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the UAR over speakers; None where there is none."""
        return (self.scores.intervals or {}).get("uar")

    def uar_by_speaker(self) -> dict[str, float]:
        """UAR of each speaker, over the emotions that the speaker has; empty where speakers are unknown."""
        speakers = [str(speaker) for speaker in self.predictions.speakers if speaker is not None]
        if len(speakers) < len(self.predictions.speakers):
            return {}
        counts = confusion_by_speaker(
            self.predictions.truth, self.predictions.predicted, speakers, self.predictions.classes
        )
        return dict(zip(sorted(set(speakers)), uar(counts).tolist(), strict=True))

    def layer_curve(self) -> dict[str, Scores]:
        """Score each layer by itself; empty where layers were not chosen among."""
        predictions = self.predictions
        return {
            layer: score(predictions.truth, answers, predictions.classes, predictions.speakers)
            for layer, answers in predictions.by_layer.items()
        }

    @cached_property
    def worst(self) -> tuple[str, str] | None:
        """Column and value of the group with the lowest UAR; None where the corpus tells of no group."""
        found = []
        for column, scores in self.groups.items():
            name = worst_group(scores)
            if name is not None:
                found.append((scores[name].uar, column, name))
        return min(found)[1:] if found else None

    @cached_property
    def calibration(self) -> dict[str, Any] | None:
        """Say how far the probabilities can be trusted; None without validation speakers.

        The temperature and the threshold of abstention are fitted on validation speakers; what is told of
        them is measured on the test speakers.
        """
        predictions = self.predictions
        if not predictions.is_calibrated:
            return None
        truth, classes = predictions.truth, predictions.classes
        told: dict[str, Any] = {"temperature_by_fold": dict(predictions.temperatures)}
        for when, probabilities in (("before", predictions.probabilities), ("after", predictions.calibrated)):
            told[when] = {
                "ece": expected_calibration_error(probabilities, truth, classes),
                "brier": brier(probabilities, truth, classes),
            }
        told["abstention"] = {"wanted_accuracy": self.wanted_accuracy, **self._abstention()}
        return told

    def _abstention(self) -> dict[str, float | None]:
        """Answer above the threshold that reached the wanted accuracy on validation speakers."""
        predictions = self.predictions
        found = abstention(
            predictions.validation, predictions.validation_truth, predictions.classes, self.wanted_accuracy
        )
        if found is None:
            return {"threshold": None, "coverage": 0.0, "accuracy": None}
        return asdict(
            abstention_at(predictions.calibrated, predictions.truth, predictions.classes, found.threshold)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what `metrics.json` holds of it."""
        return {
            "role": self.role,
            "embeddings": dict(self.embeddings),
            **self.scores.to_dict(),
            "uar_by_speaker": self.uar_by_speaker(),
            "groups": {
                column: {value: asdict(scored) for value, scored in scores.items()}
                for column, scores in self.groups.items()
            },
            "worst_group": None
            if self.worst is None
            else dict(zip(("column", "value"), self.worst, strict=True)),
            "calibration": self.calibration,
            "layers": {
                layer: {"uar": scores.uar, "interval": (scores.intervals or {}).get("uar")}
                for layer, scores in self.layer_curve().items()
            },
            "choices_by_fold": {name: asdict(choice) for name, choice in self.predictions.choices.items()},
            "history_by_fold": {
                name: [dict(epoch) for epoch in history]
                for name, history in self.predictions.histories.items()
            },
            "n_parameters": self.predictions.n_parameters,
            "seconds": self.predictions.seconds,
        }


def ranked(systems: Sequence[System]) -> list[System]:
    """Sort systems by UAR, best first; the floor closes the table."""
    return sorted(systems, key=lambda system: (system.role == "floor", -system.scores.uar))


def provenance(members: Sequence[Embeddings | Frames]) -> dict[str, Any]:
    """Say what a system was computed from, per encoder."""
    return {
        embeddings.encoder: {
            "fingerprint": embeddings.fingerprint,
            "pooling": getattr(embeddings, "pooling", "frames"),
            "precision": embeddings.precision,
        }
        for embeddings in members
    }
