"""A run read back from its folder: its systems with the very scores that it was saved with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_transfer.cross_validation import Labels
from ser_transfer.errors import SerTransferError
from ser_transfer.places import local_folder
from ser_transfer.runs.answers import PREDICTIONS, VALIDATION, answers_of, read_table
from ser_transfer.runs.files import LEAK, METRICS, TABLES, RunError
from ser_transfer.runs.run import FORMAT
from ser_transfer.runs.system import WANTED_ACCURACY, System
from ser_transfer.splits import Split

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True, eq=False)
class SavedRun:
    """A finished run, from its folder.

    Attributes:
        folder: Where it lies.
        corpus: Its corpus's name, as in its tables.
        description: Of its split, as in its tables.
        speaker_independent: Whether every fold's sides share no speaker.
        speaker_normalised: Whether features were standardised within each speaker.
        systems: Best first; the baseline where there is one, and the floor at the end.
        leak: The same systems under the speaker-dependent split, where the run was asked for it.
    """

    folder: Path
    corpus: str
    description: str
    speaker_independent: bool
    speaker_normalised: bool
    systems: tuple[System, ...]
    leak: SavedRun | None = None

    @property
    def entrants(self) -> tuple[System, ...]:
        """What may stand in another table: all but the baseline and the floor, which every table has."""
        return tuple(system for system in self.systems if system.role not in ("baseline", "floor"))

    def unlike(self, split: Split, labels: Labels, *, speaker_normalised: bool = False) -> str | None:
        """Say in a few words why its scores may not stand beside those of a split; None if they may.

        Args:
            split: Of the others.
            labels: Of their corpus.
            speaker_normalised: Whether features are standardised within each speaker there.
        """
        for what, ours, theirs in (
            ("speaker-independent", self.speaker_independent, split.speaker_independent),
            ("speaker-normalised", self.speaker_normalised, speaker_normalised),
        ):
            if ours != theirs:
                return f"it is {'' if ours else 'not '}{what}, and this is{' not' if ours else ''}"
        predictions = self.systems[0].predictions
        if predictions.classes != labels.classes:
            return f"its emotions are {', '.join(predictions.classes)}, here {', '.join(labels.classes)}"
        folds = tuple(dict.fromkeys(predictions.folds))
        if folds != (names := tuple(fold.name for fold in split.folds)):
            return f"its folds are {', '.join(folds)}, here {', '.join(names)}"
        rows = zip(predictions.folds, predictions.utterance_ids, predictions.truth, strict=True)
        tested: dict[str, dict[str, str]] = {name: {} for name in folds}
        for name, id_, emotion in rows:
            tested[name][id_] = emotion
        for fold in split.folds:
            found = tested[fold.name]
            other = sorted(found.keys() ^ set(fold.test_ids))
            if other or tuple(found) != fold.test_ids:
                told = f", {other[0]} in one of them only" if other else " in another order"
                return f"its fold {fold.name} tests other utterances{told}"
            wrong = [id_ for id_, emotion in found.items() if labels.emotions[id_] != emotion]
            if wrong:
                return f"{wrong[0]} is {found[wrong[0]]} there and {labels.emotions[wrong[0]]} here"
        return None

    def refuse_unlike(self, split: Split, labels: Labels, *, speaker_normalised: bool = False) -> None:
        """Stop before rows stand in one table that were scored on other utterances; see `unlike`.

        Raises:
            RunError: If the run was tested otherwise, or has no system to show but baseline and floor.
        """
        if not self.entrants:
            raise RunError(f"{self.folder} holds nothing but baseline and floor: leave it out of --runs")
        why = self.unlike(split, labels, speaker_normalised=speaker_normalised)
        if why is not None:
            raise RunError(
                f"{self.folder} ({self.description}) cannot stand beside {split.description}: {why}. Compare "
                "with the corpus, --label-map, --split, --n-folds, --folds and --seed of its recipe.yaml"
            )


def saved_run(folder: str | Path, labels: Labels, wanted_accuracy: float | None = None) -> SavedRun:
    """Read a run that `save_run` wrote.

    The systems are scored again from the answers that the folder keeps, and their scores are those of its
    `metrics.json` to the last digit.

    Args:
        folder: The run's, or its URL.
        labels: Of its corpus, under the run's label map; for the scores by group.
        wanted_accuracy: See `System.scored`; None for the run's own.

    Raises:
        RunError: If there is no run, its files are damaged or of another version, or it tested utterances
            that the corpus lacks.
    """
    folder = local_folder(folder, TABLES)
    described = _metrics(folder)
    try:
        return _read(folder, folder, described, labels, wanted_accuracy)
    except RunError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, SerTransferError) as error:
        told = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise RunError(
            f"{folder / METRICS} and the tables beside it do not fit together ({told}): run it again"
        ) from error


def _metrics(folder: Path) -> dict[str, Any]:
    path = folder / METRICS
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(
            f"no run in {folder}: it has no {METRICS}; give the folder that train, compare or finetune wrote"
        ) from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged: run it again") from error
    if not isinstance(described, dict):
        raise RunError(f"{path} is damaged: run it again")
    number = described.get("format")
    if not isinstance(number, int):
        raise RunError(f"{folder} was written before runs could be read back: run it again")
    if number > FORMAT:
        raise RunError(f"{folder} was written by a newer ser_transfer: pip install -U ser-transfer")
    return described


def _read(
    folder: Path, tables: Path, described: Mapping[str, Any], labels: Labels, wanted_accuracy: float | None
) -> SavedRun:
    tested, validated = (_table(tables / name) for name in (PREDICTIONS, VALIDATION))
    systems = [
        _system(name, told, tested, validated, labels, wanted_accuracy, folder)
        for name, told in described["systems"].items()
    ]
    leak = described["speaker_dependent"]
    return SavedRun(
        folder,
        described["corpus"],
        described["split"]["description"],
        described["speaker_independent"],
        described["speaker_normalised"],
        tuple(systems),
        None if leak is None else _read(folder, folder / LEAK, leak, labels, wanted_accuracy),
    )


def _table(path: Path) -> pyarrow.Table:
    try:
        return read_table(path)
    except FileNotFoundError as error:
        raise RunError(f"{path} is not there, which belongs to the run: run it again") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged: run it again") from error


def _system(
    name: str,
    described: Mapping[str, Any],
    tested: pyarrow.Table,
    validated: pyarrow.Table,
    labels: Labels,
    wanted_accuracy: float | None,
    folder: Path,
) -> System:
    predictions = answers_of(name, described, tested, validated)
    strange = [id_ for id_ in predictions.utterance_ids if id_ not in labels.emotions]
    if strange:
        raise RunError(
            f"{folder} tested {len(strange)} utterances that the corpus lacks, the first {strange[0]}: give "
            "the corpus, part and label map of its recipe.yaml"
        )
    calibration = described["calibration"]
    if wanted_accuracy is None:
        told = None if calibration is None else calibration["abstention"]["wanted_accuracy"]
        wanted_accuracy = WANTED_ACCURACY if told is None else told
    system = System.scored(
        name, described["role"], predictions, labels, described["embeddings"], wanted_accuracy
    )
    # A run that was cut short while it replaced another leaves tables beside the other's scores.
    if [list(row) for row in system.scores.confusion] != described["confusion"]:
        raise ValueError(f"{name} has other answers than scores")
    if predictions.is_calibrated != (calibration is not None) or (
        predictions.is_calibrated and not predictions.validation_ids
    ):
        raise ValueError(f"{name} has scores of calibration, and no answers that they could be of")
    return system
