"""The answers of a run's systems as tables: `predictions.parquet` and `validation.parquet`.

Both have one row per system and utterance, and the probabilities in columns ``p_<emotion>``. Those of the
test sides are as the head gave them, with the temperature beside them; those of the validation sides are
calibrated, as the threshold of abstention is found on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ser_transfer.cross_validation import Choice, Predictions
from ser_transfer.runs.system import System

if TYPE_CHECKING:
    import pyarrow

PREDICTIONS, VALIDATION = "predictions.parquet", "validation.parquet"
BY_LAYER = "predicted_by_"  # what a head on one layer alone answers; in the rows of systems that have layers


def write_answers(systems: Sequence[System], folder: Path) -> None:
    """Write both tables.

    Raises:
        OSError: If a file cannot be written.
    """
    import pandas as pd

    for name, table_of in ((PREDICTIONS, _tested), (VALIDATION, _validated)):
        tables = [pd.DataFrame(table_of(system)) for system in systems]
        filled = [table for table in tables if len(table)]
        (pd.concat(filled) if filled else tables[0]).to_parquet(folder / name, index=False)


def _tested(system: System) -> dict[str, Any]:
    """The rows of `predictions.parquet` that one system has."""
    predictions = system.predictions
    return {
        "system": [system.name] * len(predictions.utterance_ids),
        "utterance_id": predictions.utterance_ids,
        "speaker": predictions.speakers,
        "fold": predictions.folds,
        "truth": predictions.truth,
        "predicted": predictions.predicted,
        "temperature": [predictions.temperatures.get(fold) for fold in predictions.folds],
        **_columns(predictions.probabilities, predictions.classes),
        **{f"{BY_LAYER}{layer}": answers for layer, answers in predictions.by_layer.items()},
    }


def _validated(system: System) -> dict[str, Any]:
    """The rows of `validation.parquet` that one system has."""
    predictions, classes = system.predictions, system.predictions.classes
    probabilities = predictions.validation.reshape(-1, len(classes))
    return {
        "system": [system.name] * len(predictions.validation_ids),
        "utterance_id": predictions.validation_ids,
        "fold": predictions.validation_folds,
        "truth": predictions.validation_truth,
        "predicted": [classes[column] for column in probabilities.argmax(axis=1)],
        **_columns(probabilities, classes),
    }


def _columns(
    probabilities: npt.NDArray[np.float64], classes: Sequence[str]
) -> dict[str, npt.NDArray[np.float64]]:
    return {f"p_{emotion}": probabilities[:, column] for column, emotion in enumerate(classes)}


def read_table(path: Path) -> pyarrow.Table:
    """Read one of the tables whole.

    Raises:
        OSError: If there is none.
        ValueError: If it is damaged.
    """
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        return file.read()


def answers_of(
    name: str, described: Mapping[str, Any], tested: pyarrow.Table, validated: pyarrow.Table
) -> Predictions:
    """Put a system's predictions together again; its scores follow from them to the last digit.

    Args:
        name: Of the system.
        described: What `metrics.json` holds of it.
        tested: All rows of `predictions.parquet`.
        validated: All rows of `validation.parquet`.

    Raises:
        KeyError: If a column or an entry is not there.
    """
    rows, validation = (_rows_of(table, name) for table in (tested, validated))
    classes = tuple(described["classes"])
    folds, choices = _texts(rows, "fold"), described["choices_by_fold"]
    temperatures = dict(zip(folds, rows.column("temperature").to_pylist(), strict=True))
    return Predictions(
        utterance_ids=_texts(rows, "utterance_id"),
        folds=folds,
        speakers=_texts(rows, "speaker"),
        truth=_texts(rows, "truth"),
        probabilities=_probabilities(rows, classes),
        classes=classes,
        choices={fold: Choice(**choice) for fold, choice in choices.items()},
        # Where nothing was chosen, nothing was calibrated: the floor, and models from elsewhere.
        temperatures=temperatures if choices else {},
        validation_ids=_texts(validation, "utterance_id"),
        validation_folds=_texts(validation, "fold"),
        validation_truth=_texts(validation, "truth"),
        validation=_probabilities(validation, classes),
        by_layer={layer: _texts(rows, BY_LAYER + layer) for layer in described["layers"]},
        histories={fold: tuple(history) for fold, history in described["history_by_fold"].items()},
        n_parameters=described["n_parameters"],
        seconds=described["seconds"],
    )


def _rows_of(table: pyarrow.Table, name: str) -> pyarrow.Table:
    import pyarrow

    is_its = [system == name for system in table.column("system").to_pylist()]
    return table.filter(pyarrow.array(is_its, pyarrow.bool_()))


def _texts(table: pyarrow.Table, column: str) -> tuple[Any, ...]:
    return tuple(table.column(column).to_pylist())


def _probabilities(table: pyarrow.Table, classes: Sequence[str]) -> npt.NDArray[np.float64]:
    return np.column_stack([table.column(f"p_{emotion}").to_numpy() for emotion in classes]).astype(float)
