"""A `datasets` repository of results: the leaderboard of finished runs, and every answer it follows from.

README.md                                     the card
results.json                                  the runs, their splits in words, and the hash of every file
leaderboard/test-00000-of-00001.parquet       one row per run and system
predictions/test-00000-of-00001.parquet       one row per run, system and utterance
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ser_transfer import __version__
from ser_transfer.cards.corpus import TrainingCorpus
from ser_transfer.cards.results_card import ToldRun, results_card, split_in_words
from ser_transfer.labels import EMOTIONS
from ser_transfer.sharing.errors import SharingError
from ser_transfer.sharing.finished_runs import FinishedRun, finished_runs
from ser_transfer.sharing.parquet import write_rows
from ser_transfer.sharing.pseudonyms import Pseudonyms, numbered

if TYPE_CHECKING:
    from datasets import Features

FORMAT = 1
DESCRIPTION = "results.json"
SPLIT = "test"  # what datasets calls the only split: all answers are of test sides
LEADERBOARD, ANSWERS = "leaderboard", "predictions"

TEXTS = ("run", "corpus", "system", "role", "split", "split_in_words", "finished")
FLAGS = ("speaker_independent", "speaker_normalised")
COUNTS = ("n_utterances", "n_speakers", "n_folds", "n_classes", "n_parameters")
SCORES = (
    *("uar", "uar_low", "uar_high", "wa", "macro_f1"),
    *("above_baseline", "above_baseline_low", "above_baseline_high", "p_value"),
    *("ece_before", "ece_after", "brier_before", "brier_after", "seconds"),
)
ANSWER_TEXTS = (
    *("run", "corpus", "system", "role", "split", "utterance_id", "speaker", "fold", "truth", "predicted"),
)


def results_repository(
    folders: Sequence[str | Path], folder: str | Path, *, repo_id: str | None = None, title: str | None = None
) -> None:
    """Write the repository of what finished runs scored and answered.

    The scores are those of each run's `metrics.json`, and a run whose answers have others is refused. Rows on
    splits that share speakers say so in a column, and stand apart on the card. No path of this machine is in
    it. People in recordings of someone's own are numbered, alike in all runs on the same recordings.

    Args:
        folders: Of runs, or such as ``outputs/``, which hold runs.
        folder: Empty, or made.
        repo_id: Where it will be, for the card; None leaves a placeholder.
        title: Of the repository; None for one made of its corpora.

    Raises:
        SharingError: If there is no run, one cannot be read or says other scores than its answers have, or
            the folder holds anything or cannot be written.
    """
    folder = Path(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise SharingError(f"{folder} is not empty, and all in it would be shared: name another folder")
    runs = finished_runs(folders)
    hidden = _pseudonyms(runs)
    rows: list[dict[str, Any]] = []
    tables: list[pa.Table] = []
    told: list[ToldRun] = []
    for run in runs:
        names = hidden.get(run.recordings)
        corpus = run.corpus(_speakers(run, names))
        words = split_in_words(run.split, run.n_folds, run.split_description)
        of_run = [_row(run, corpus, words, *system) for system in run.systems()]
        tables += [_answers(run, corpus, names, name, system) for name, system, _ in run.systems()]
        rows += of_run
        known = run.saved.systems[0].predictions.classes
        told.append(ToldRun(run.name, corpus, words, run.split_description, known, names is not None, of_run))
    classes = [each for each in EMOTIONS if any(f"p_{each}" in table.column_names for table in tables)]
    leaderboard, answers = _leaderboard_features(), _answer_features(classes)
    schema = answers.arrow_schema
    columns = pa.concat_tables([_filled(table, schema) for table in tables]).combine_chunks()
    files = {
        LEADERBOARD: write_rows(
            {name: [row[name] for row in rows] for name in leaderboard},
            leaderboard,
            folder / LEADERBOARD,
            SPLIT,
        ),
        ANSWERS: write_rows(
            {name: columns.column(name).combine_chunks() for name in schema.names},
            answers,
            folder / ANSWERS,
            SPLIT,
        ),
    }
    facts = {
        "format": FORMAT,
        "ser_transfer": __version__,
        "runs": [
            {
                "run": run.name,
                "corpus": each.corpus.title,
                "split": run.split,
                "split_in_words": each.split_in_words,
                "speaker_independent": run.saved.speaker_independent,
                "pseudonyms": each.pseudonyms,
            }
            for run, each in zip(runs, told, strict=True)
        ],
        "files": files,
    }
    try:
        text = json.dumps(facts, indent=2, ensure_ascii=False)
        (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise SharingError(f"cannot write to {folder}: {error.strerror}") from error
    results_card(told, len(columns), classes, repo_id, title, __version__).write(folder)


def _pseudonyms(runs: Sequence[FinishedRun]) -> dict[tuple[str, str], Pseudonyms]:
    """Deal numbers to the people of each set of recordings whose names are not public."""
    content: dict[tuple[str, str], dict[str, bytes]] = {}
    speakers: dict[tuple[str, str], dict[str, str | None]] = {}
    for run in runs:
        if run.names_are_public:
            continue
        published, owners = content.setdefault(run.recordings, {}), speakers.setdefault(run.recordings, {})
        for name, system, _ in run.systems():
            answers = system.predictions
            for row, id_ in enumerate(answers.utterance_ids):
                what = f"{run.name} {run.split} {name} {answers.truth[row]}".encode()
                published[id_] = published.get(id_, b"") + what + answers.probabilities[row].tobytes()
                owners[id_] = answers.speakers[row]
    return {key: Pseudonyms.of(content[key], speakers[key]) for key in content}


def _speakers(run: FinishedRun, names: Pseudonyms | None) -> list[str]:
    known = {name for name in run.saved.systems[0].predictions.speakers if name is not None}
    return sorted(known if names is None else {names.speakers[name] for name in known})


def _row(
    run: FinishedRun, corpus: TrainingCorpus, words: str, name: str, system: Any, told: Mapping[str, Any]
) -> dict[str, Any]:
    """Make a row of the leaderboard; its numbers are those of `metrics.json`."""
    low, high = (told["intervals"] or {}).get("uar") or (None, None)
    above = told.get("above_baseline") or {}
    above_low, above_high = above.get("interval") or (None, None)
    calibration = told["calibration"] or {"before": {}, "after": {}}
    return {
        "run": run.name,
        "corpus": corpus.title,
        "system": name,
        "role": system.role,
        "split": run.split,
        "split_in_words": words,
        "speaker_independent": run.saved.speaker_independent,
        "speaker_normalised": run.saved.speaker_normalised,
        "n_utterances": len(system.predictions.truth),
        "n_speakers": told["n_speakers"],
        "n_folds": run.n_folds,
        "n_classes": len(told["classes"]),
        "uar": told["uar"],
        "uar_low": low,
        "uar_high": high,
        "wa": told["wa"],
        "macro_f1": told["macro_f1"],
        "above_baseline": above.get("uar"),
        "above_baseline_low": above_low,
        "above_baseline_high": above_high,
        "p_value": above.get("p_value"),
        **{
            f"{score}_{when}": calibration[when].get(score)
            for score in ("ece", "brier")
            for when in ("before", "after")
        },
        "seconds": told["seconds"],
        "n_parameters": told["n_parameters"],
        "finished": run.described.get("finished"),
    }


def _answers(
    run: FinishedRun, corpus: TrainingCorpus, names: Pseudonyms | None, name: str, system: Any
) -> pa.Table:
    """Make the rows of one system; under pseudonyms, in their order, with folds numbered as they come."""
    answers = system.predictions
    order = list(range(len(answers.utterance_ids)))
    ids, speakers, folds = answers.utterance_ids, answers.speakers, answers.folds
    if names is not None:
        row_of = {id_: row for row, id_ in enumerate(ids)}
        order = [row_of[id_] for id_ in names.utterances if id_ in row_of]
        numbers = numbered("", (folds[row] for row in order))
        ids = [names.utterances[id_] for id_ in ids]
        speakers = [names.speaker(speaker) for speaker in speakers]
        folds = [numbers[fold] for fold in folds]
    columns: dict[str, Any] = {
        "run": [run.name] * len(order),
        "corpus": [corpus.title] * len(order),
        "system": [name] * len(order),
        "role": [system.role] * len(order),
        "split": [run.split] * len(order),
        "speaker_independent": [run.saved.speaker_independent] * len(order),
        "utterance_id": [ids[row] for row in order],
        "speaker": pa.array([speakers[row] for row in order], pa.string()),
        "fold": [folds[row] for row in order],
        "truth": [answers.truth[row] for row in order],
        "predicted": [answers.predicted[row] for row in order],
        "temperature": pa.array(
            [answers.temperatures.get(answers.folds[row]) for row in order], pa.float64()
        ),
    }
    for column, emotion in enumerate(answers.classes):
        columns[f"p_{emotion}"] = answers.probabilities[order, column]
    return pa.table(columns)


def _filled(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Give a table all columns of a schema; an emotion that a run does not know has no probability there."""
    return pa.table(
        [
            table.column(field.name).cast(field.type)
            if field.name in table.column_names
            else pa.nulls(len(table), field.type)
            for field in schema
        ],
        schema=schema,
    )


def _leaderboard_features() -> Features:
    from datasets import Features, Value

    kinds = {
        **dict.fromkeys(TEXTS, "string"),
        **dict.fromkeys(FLAGS, "bool"),
        **dict.fromkeys(COUNTS, "int64"),
        **dict.fromkeys(SCORES, "float64"),
    }
    return Features({name: Value(kind) for name, kind in kinds.items()})


def _answer_features(classes: Sequence[str]) -> Features:
    from datasets import Features, Value

    kinds = {
        **dict.fromkeys(ANSWER_TEXTS, "string"),
        "speaker_independent": "bool",
        "temperature": "float64",
        **{f"p_{emotion}": "float64" for emotion in classes},
    }
    return Features({name: Value(kind) for name, kind in kinds.items()})
