"""A dataset of the Hugging Face Hub, or a folder that `datasets` can load."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_transfer.corpora._columns import ColumnNames, report_unlabelled, utterances_of_columns
from ser_transfer.corpora._names import ids_of_paths
from ser_transfer.corpora._rows import COLUMNS, CorpusError, corpus_dataset
from ser_transfer.corpora._scan import checked_place, is_file
from ser_transfer.corpora.streamed import COLUMN_SETTINGS, kept_corpus
from ser_transfer.places import is_url

if TYPE_CHECKING:
    from datasets import Dataset


def load_hub_dataset(
    root: str | os.PathLike[str] | None,
    *,
    dataset_config: str | None = None,
    dataset_split: str | None = None,
    dataset_revision: str | None = None,
    audio_column: str | None = None,
    emotion_column: str | None = None,
    speaker_column: str | None = None,
    id_column: str | None = None,
    start_column: str | None = None,
    end_column: str | None = None,
    emotion_codes: Mapping[str, str | None] | None = None,
    language: str | None = None,
    streaming: bool = False,
) -> Dataset:
    """Load a dataset that has a column of audio and a column of emotions.

    Audio stays where it is, undecoded. A column that already has our name needs no setting.

    Args:
        root: A Hub id such as ``owner/name``, or a folder: one written by `save_to_disk`, which may be at a
            URL, or one that `datasets.load_dataset` understands (a folder per label, a ``metadata.csv``,
            Parquet files).
        dataset_config: Which configuration of the dataset.
        dataset_split: Which split, or several: ``train+test``. Needed where there are several.
        dataset_revision: Commit of the Hub repository.
        audio_column: Audio, or paths of recordings.
        emotion_column: Emotions: class labels, words, or codes.
        speaker_column: Speakers; without it they are unknown.
        id_column: Ids of the rows; without it they are named after the files, or else numbered.
        start_column: Start of the segment, in seconds.
        end_column: End of the segment, in seconds.
        emotion_codes: The dataset's names or codes to emotions; None leaves rows out.
        language: ISO 639-1 code of all recordings, where no column tells it.
        streaming: Take what `StreamedDataset` has kept of it: labels and store keys, and no audio. Nothing is
            downloaded.

    Raises:
        CorpusError: If the dataset, a split or a column is not there, or ids repeat.
        LabelError: If a label names no emotion.
    """
    from datasets import concatenate_datasets

    if streaming:
        named = (audio_column, emotion_column, speaker_column, id_column, start_column, end_column)
        given: dict[str, Any] = dict(zip(COLUMN_SETTINGS, named, strict=True))
        given |= {"dataset_config": dataset_config, "dataset_split": dataset_split}
        given |= {"dataset_revision": dataset_revision, "emotion_codes": emotion_codes, "language": language}
        return kept_corpus(root, given)
    where = f"dataset {root}"
    rows = chosen_splits(where, _splits(root, dataset_config, dataset_revision), dataset_split)
    names = ColumnNames(
        audio_column, emotion_column, speaker_column, id_column, start_column, end_column
    ).resolved(where, rows.column_names)
    audio = _audio(where, rows, names.pop("audio"))
    columns = {ours: _cells(rows, theirs) for ours, theirs in names.items()}
    if "utterance_id" not in columns:
        columns["utterance_id"] = [f"{index:06d}" for index in range(len(rows))]
    utterances = utterances_of_columns(where, columns, len(rows), emotion_codes, language)
    if "utterance_id" not in names and (paths := _paths(audio)):
        ids = ids_of_paths(paths, [(row.start_seconds, row.end_seconds) for row in utterances])
        utterances = [replace(row, utterance_id=name) for row, name in zip(utterances, ids, strict=True)]
    report_unlabelled(where, utterances)
    told = corpus_dataset(utterances).remove_columns("audio")
    # Side by side, so that audio of any size stays memory-mapped and is never copied.
    corpus = concatenate_datasets([told, audio], axis=1).select_columns(list(COLUMNS))
    return corpus.select([index for index, row in enumerate(utterances) if row.emotion is not None])


def _splits(
    root: str | os.PathLike[str] | None, config: str | None, revision: str | None
) -> Mapping[str, Dataset]:
    """Load all splits, by name."""
    from datasets import Dataset, load_dataset, load_from_disk
    from datasets.exceptions import DatasetsError

    if root is None:
        raise CorpusError("corpus dataset needs a Hub id or a folder (root, --root owner/name)")
    path = str(root) if is_url(root) else os.fspath(root)
    folder = checked_place(path)
    saved = any(is_file(folder / name) for name in ("dataset_dict.json", "state.json"))
    if is_url(path) and not saved:
        raise CorpusError(
            f"dataset {root}: at a URL only what Dataset.save_to_disk wrote can be loaded, and there is no "
            "state.json; give the Hub id of a dataset on the Hub, and read a Parquet or CSV file as corpus "
            "table"
        )
    try:
        loaded = load_from_disk(path) if saved else load_dataset(path, name=config, revision=revision)
    except (OSError, ValueError, DatasetsError) as error:
        cause = " ".join(str(error.__cause__ or error).split())
        advice = "check its address and the network" if is_url(path) else "check its id and the network"
        if Path(path).is_dir():  # of plain audio files, as a rule: datasets wants torchcodec for those
            advice = "read a folder per emotion as corpus folder, a metadata.csv as corpus table"
        raise CorpusError(f"dataset {root} cannot be loaded: {cause}; {advice}") from None
    return {"train": loaded} if isinstance(loaded, Dataset) else loaded


def chosen_splits(where: str, splits: Mapping[str, Dataset], names: str | None) -> Dataset:
    """Return the splits that the user named, one after another, or the only one."""
    from datasets import concatenate_datasets

    if names is None and len(splits) > 1:
        raise CorpusError(
            f"{where} has the splits {', '.join(splits)}; say which (dataset_split, --dataset-split), or "
            f"all: {'+'.join(splits)}"
        )
    wanted = list(splits) if names is None else names.split("+")
    unknown = [name for name in wanted if name not in splits]
    if unknown:
        raise CorpusError(f"{where} has no split {unknown[0]!r}; it has {', '.join(splits)}")
    return concatenate_datasets([splits[name] for name in wanted])


def _audio(where: str, rows: Dataset, column: str) -> Dataset:
    """Return the one column of audio, undecoded and under our name."""
    from datasets import Audio, Value

    feature = rows.features[column]
    if not isinstance(feature, Audio) and feature not in (Value("string"), Value("large_string")):
        raise CorpusError(
            f"{where}: column {column!r} holds {feature}, not audio; name the one that does (audio_column, "
            f"--audio-column): {', '.join(rows.column_names)}"
        )
    return (
        rows.select_columns([column])
        .rename_columns({column: "audio"})
        .cast_column("audio", Audio(decode=False))
    )


def _cells(rows: Dataset, column: str) -> list[Any]:
    """Return a column as Python values, class labels by name."""
    from datasets import ClassLabel

    values: list[Any] = rows[column][:]
    feature = rows.features[column]
    if isinstance(feature, ClassLabel):
        # -1 is how datasets without labels for a split say "none".
        return [None if value is None or value < 0 else feature.int2str(value) for value in values]
    return values


def _paths(audio: Dataset) -> list[str] | None:
    """Return the audio's paths, read without its bytes; None unless they tell the rows apart."""
    import pyarrow.compute as pc

    column = audio.with_format("arrow")[:]["audio"]
    paths = pc.struct_field(column, "path").to_pylist()
    return paths if None not in paths and len(set(paths)) == len(paths) else None
