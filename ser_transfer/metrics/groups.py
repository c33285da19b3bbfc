"""Scores of each group of utterances: of a gender, a language, an intensity, a sentence, a speaker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ser_transfer.metrics.intervals import Interval
from ser_transfer.metrics.scores import MetricError, score

# Of so few, half of them right, the share that is right has a standard error of sqrt(0.25 / 20) = 0.11, and
# the lowest of several such groups is named by chance.
MIN_ROWS = 20


@dataclass(frozen=True)
class GroupScore:
    """How well one group is recognised.

    Attributes:
        n: Its utterances.
        n_speakers: Its speakers; None where they are unknown.
        classes: The emotions that its truth has. UARs over unlike emotions are not alike: RAVDESS has no
            neutral speech of strong intensity.
        uar: Unweighted average recall over those emotions.
        wa: Share of its utterances that are right.
        interval: 95 % interval of ``uar`` over its speakers; None where they are unknown or there is one.
    """

    n: int
    n_speakers: int | None
    classes: tuple[str, ...]
    uar: float
    wa: float
    interval: Interval | None


def scores_by_group(
    truth: Sequence[str],
    predicted: Sequence[str],
    classes: Sequence[str],
    groups: Sequence[str | None],
    speakers: Sequence[str | None] | None = None,
) -> dict[str, GroupScore]:
    """Score each group of utterances by itself, sorted by name.

    Args:
        truth: Emotion per utterance.
        predicted: Predicted emotion per utterance.
        classes: All emotions.
        groups: Group per utterance; where it is None, the utterance is left out.
        speakers: Speaker per utterance, where they are known.

    Raises:
        MetricError: If lengths differ, or a label is not among `classes`.
    """
    owners = [None] * len(truth) if speakers is None else speakers
    lengths = [len(column) for column in (truth, predicted, groups, owners)]
    if len(set(lengths)) > 1:
        raise MetricError(
            "scores of groups want one truth, one prediction, one group and one speaker per utterance: "
            f"there are {', '.join(map(str, lengths[:-1]))} and {lengths[-1]}"
        )
    rows: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        if group is not None:
            rows.setdefault(str(group), []).append(row)
    return {
        group: _score_of(
            [truth[row] for row in rows[group]],
            [predicted[row] for row in rows[group]],
            classes,
            [owners[row] for row in rows[group]],
        )
        for group in sorted(rows)
    }


def worst_group(scores: Mapping[str, GroupScore]) -> str | None:
    """Name the group of the lowest UAR, the first in the alphabet among equals.

    A group of fewer than `MIN_ROWS` utterances is never named; None where there is no larger one.
    """
    large = [group for group, scored in scores.items() if scored.n >= MIN_ROWS]
    return min(large, key=lambda group: (scores[group].uar, group), default=None)


def _score_of(
    truth: Sequence[str], predicted: Sequence[str], classes: Sequence[str], speakers: Sequence[str | None]
) -> GroupScore:
    scored = score(truth, predicted, classes, speakers)
    return GroupScore(
        n=len(truth),
        n_speakers=scored.n_speakers,
        classes=tuple(name for name, r in zip(scored.classes, scored.recall, strict=True) if r is not None),
        uar=scored.uar,
        wa=scored.wa,
        interval=None if scored.intervals is None else scored.intervals["uar"],
    )
