"""What has to be true of a run before its card says anything: no number is quoted unchecked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ser_transfer.cards.errors import CardError
from ser_transfer.cards.run import CardRun
from ser_transfer.cross_validation import mean_temperature
from ser_transfer.metrics import worst_group
from ser_transfer.runs import SavedRun
from ser_transfer.runs.files import METRICS

ROUNDING = 1e-9  # by which a score may differ from the same one, computed again
SHARE_SPEAKERS = ("speaker-dependent", "grouped-by:")  # beginnings of the names of splits that may


def check(run: CardRun, model: Path) -> None:
    """Refuse a run that says of itself what its files do not bear out.

    Args:
        run: As it was read.
        model: The folder of what it kept.

    Raises:
        CardError: If a score is not that of its answers, if it calls itself speaker-independent and is not,
            or if the model is of another run.
        KeyError, TypeError, ValueError: If an entry is not there, or not what it should be.
    """
    refuse_other_numbers(run.saved, run.described, run.folder)
    refuse_false_independence(run.saved, run.described, run.folder)
    _refuse_other_model(run, model)
    _refuse_other_groups(run)


def refuse_other_numbers(saved: SavedRun, described: Mapping[str, Any], folder: Path) -> None:
    """Refuse scores that do not follow from the answers beside them: nothing else is published.

    Args:
        saved: The run's systems, scored again; those of its split that leaks are looked at as well.
        described: Its `metrics.json`.
        folder: The run's, for the message.

    Raises:
        CardError: If a score is another.
    """
    for system in saved.systems:
        told = described["systems"][system.name]
        counted = system.to_dict()
        for name in ("groups", "worst_group"):  # want columns of the corpus, which is not at hand
            del counted[name]
        wrong = next(_unlike(counted, told, ""), None)
        if wrong is not None:
            raise CardError(
                f"{folder / METRICS} says other scores of {system.name} than its answers have "
                f"({wrong}): run it again"
            )
    if saved.leak is not None:
        refuse_other_numbers(saved.leak, described["speaker_dependent"], folder)


def _unlike(counted: Any, told: Any, name: str) -> Iterator[str]:
    """Name what differs between two structures of numbers."""
    if isinstance(counted, Mapping):
        for key, value in counted.items():
            yield from _unlike(value, told[key], f"{name} {key}".strip())
    elif isinstance(counted, list | tuple):
        if not isinstance(told, list | tuple) or len(counted) != len(told):
            yield name
        else:
            for pair in zip(counted, told, strict=True):
                yield from _unlike(*pair, name)
    elif isinstance(counted, float) and isinstance(told, int | float):
        if not math.isclose(counted, told, rel_tol=ROUNDING, abs_tol=ROUNDING):
            yield name
    elif counted != told:
        yield name


def refuse_false_independence(run: SavedRun, described: Mapping[str, Any], folder: Path) -> None:
    """Refuse a run that calls itself speaker-independent where its own tables show that it is not.

    Args:
        run: Its systems, scored again; those of its split that leaks are looked at as well.
        described: Its `metrics.json`.
        folder: The run's, for the message.

    Raises:
        CardError: If it does.
    """
    for saved in (run, run.leak):
        if saved is None or not saved.speaker_independent:
            continue
        told = described if saved is run else described["speaker_dependent"]
        split = str(told["split"]["name"])
        tested = saved.systems[0].predictions
        of_fold: dict[str, set[str | None]] = {}
        for fold, speaker in zip(tested.folds, tested.speakers, strict=True):
            of_fold.setdefault(fold, set()).add(speaker)
        owner = dict(zip(tested.utterance_ids, tested.speakers, strict=True))
        shared = {
            owner[id_]
            for system in saved.systems
            for id_, fold in zip(
                system.predictions.validation_ids, system.predictions.validation_folds, strict=True
            )
            if owner.get(id_) is not None and owner[id_] in of_fold.get(fold, ())
        }
        if shared or saved is run.leak or split.startswith(SHARE_SPEAKERS):
            raise CardError(
                f"{folder} calls itself speaker-independent, and its split {split} "
                f"{'shares' if shared else 'may share'} speakers between the sides of a fold: run it again"
            )


def _refuse_other_model(run: CardRun, folder: Path) -> None:
    """Refuse a model that an earlier run left, whose scores are others."""
    told, scores = run.model.training, run.system.scores
    pairs = {
        "UAR": (told.get("uar"), scores.uar),
        "split": (told.get("split"), run.saved.description),
        "speaker-independence": (told.get("speaker_independent"), run.saved.speaker_independent),
        "temperature": (run.model.temperature, mean_temperature(run.system.predictions)),
        "emotions": (sorted(run.model.classes), sorted(scores.classes)),
    }
    for what, (its, ours) in pairs.items():
        if next(_unlike(ours, its, what), None):
            raise CardError(
                f"{folder} is not the model of this run: its {what} is {its}, and the run's is {ours}; "
                "run it again"
            )


def _refuse_other_groups(run: CardRun) -> None:
    """Refuse scores that want columns of the corpus where they do not even fit each other."""
    for scores in run.groups.values():
        for scored in scores.values():
            math.isfinite(scored.uar)
    lowest = [
        (scores[value].uar, column, value)
        for column, scores in run.groups.items()
        if (value := worst_group(scores)) is not None
    ]
    if run.worst_group != (min(lowest)[1:] if lowest else None):
        raise ValueError("another worst group than its groups have")
    if run.above_baseline is not None and run.baseline is not None:
        gap = run.system.scores.uar - run.baseline.scores.uar
        if not math.isclose(run.above_baseline.uar, gap, abs_tol=ROUNDING):
            raise ValueError("another difference to the baseline than their scores have")
