"""A dataset of the Hub read as it comes: a window of rows at a time, and of all rows their labels.

What is learned from a dataset takes its labels and its embeddings, and its audio only once. So the audio
passes through memory, and what is kept of it is a table of labels and of the store's keys, from which `train`
reads the same corpus as from the downloaded dataset: the same ids, labels and keys, in the same order.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_transfer._files import written_together
from ser_transfer.corpora._columns import ColumnNames, report_unlabelled, utterances_of_columns
from ser_transfer.corpora._names import ids_of_paths
from ser_transfer.corpora._rows import COLUMNS, CorpusError, Utterance, corpus_dataset
from ser_transfer.hub import UnreachableError, in_one_line, patiently
from ser_transfer.places import explaining, is_url, place

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

WINDOW_ROWS = 1024
WINDOW_BYTES = 256 << 20
KEY = "audio_key"  # the column of the store's keys
COMMIT = re.compile("[0-9a-f]{40}")
COLUMN_SETTINGS = tuple(f"{name}_column" for name in ("audio", "emotion", "speaker", "id", "start", "end"))


class StreamedDataset:
    """A dataset whose rows come through in windows, once.

    Args:
        root: A Hub id such as ``owner/name``, or a folder that `datasets.load_dataset` understands.
        settings: Those of `load_hub_dataset`.

    Raises:
        CorpusError: If the dataset, a split or a column is not there.
    """

    def __init__(self, root: str | os.PathLike[str] | None, **settings: Any) -> None:
        if root is None:
            raise CorpusError("corpus dataset needs a Hub id or a folder (root, --root owner/name)")
        self.root, self._where, self._settings = os.fspath(root), f"dataset {root}", settings
        self._place = _kept_at(self.root, settings)
        self._rows = self._opened()
        known = list(self._rows.features or ())
        given = {name: settings.get(name) for name in COLUMN_SETTINGS}
        self._names = ColumnNames(**given).resolved(self._where, known)
        self._utterances: list[Utterance] = []
        self._paths: list[str | None] = []

    @property
    def n_rows(self) -> int | None:
        """How many rows there are, where the dataset says so."""
        splits = self._rows.info.splits or {}
        wanted = (self._settings.get("dataset_split") or str(self._rows.split)).split("+")
        found = [splits[name].num_examples for name in wanted if name in splits]
        return sum(found) if len(found) == len(wanted) and all(found) else None

    def windows(self, *, max_rows: int = WINDOW_ROWS, max_bytes: int = WINDOW_BYTES) -> Iterator[Dataset]:
        """Give the rows that have an emotion, a window at a time, with their audio in memory.

        Ids are the dataset's own where it has a column of them, else the number of the row; `finish` knows
        the others.

        Args:
            max_rows: Of a window.
            max_bytes: Of a window's audio; a single recording may be more.

        Raises:
            CorpusError: If a row cannot be read.
            LabelError: If a label names no emotion.
        """
        window: list[dict[str, Any]] = []
        n_bytes = 0
        for row in self._read():
            audio = _in_memory(row["audio"])
            if window and (len(window) >= max_rows or n_bytes + len(audio["bytes"]) > max_bytes):
                yield from self._corpus(window)
                window, n_bytes = [], 0
            window.append({**row, "audio": audio})
            n_bytes += len(audio["bytes"])
        if window:
            yield from self._corpus(window)
        report_unlabelled(self._where, self._utterances)

    def finish(self, keys: Mapping[str, str]) -> dict[str, str]:
        """Keep labels and keys, for `kept_corpus` to read.

        Args:
            keys: Store key per id, as `windows` gave them, of the recordings that could be used.

        Returns:
            The id that each utterance has in the corpus, per id that `windows` gave.

        Raises:
            CorpusError: If two rows have one id.
            PlaceError: If the disk is full, say.
        """
        import pyarrow.parquet as pq

        ids = [row.utterance_id for row in self._utterances]
        paths = [path for path in self._paths if path is not None]
        if "utterance_id" not in self._names and paths and len(set(paths)) == len(ids):
            segments = [(row.start_seconds, row.end_seconds) for row in self._utterances]
            names = ids_of_paths([_as_absolute(path) for path in paths], segments)
        else:
            names = ids
        usable = [
            (replace(row, utterance_id=name, audio=None), keys[id_])
            for row, id_, name in zip(self._utterances, ids, names, strict=True)
            if id_ in keys
        ]
        if not usable:
            return dict(zip(ids, names, strict=True))
        corpus = corpus_dataset([row for row, _ in usable]).remove_columns("audio")
        corpus = corpus.add_column(KEY, [key for _, key in usable])
        with explaining(self._place), written_together(self._place.parent) as part:
            pq.write_table(corpus.data.table, part / self._place.name)
        return dict(zip(ids, names, strict=True))

    def _opened(self) -> IterableDataset:
        from datasets import Audio, load_dataset
        from datasets.exceptions import DatasetsError

        from ser_transfer.corpora.dataset import chosen_splits

        config, revision = (self._settings.get(f"dataset_{name}") for name in ("config", "revision"))
        state = self._place.stem.rpartition("-")[2]
        revision = state if COMMIT.fullmatch(state) else revision  # what is kept is of this commit
        try:
            splits: Any = load_dataset(self.root, name=config, revision=revision, streaming=True)
            rows: Any = chosen_splits(self._where, splits, self._settings.get("dataset_split"))
            if rows.features is None:
                rows = rows._resolve_features()
        except (OSError, ValueError, DatasetsError) as error:
            cause = " ".join(str(error.__cause__ or error).split())
            raise CorpusError(
                f"dataset {self.root} cannot be streamed: {cause}; check its id and the network"
            ) from None
        audio = [name for name, feature in rows.features.items() if isinstance(feature, Audio)]
        for name in audio:
            rows = rows.cast_column(name, Audio(decode=False))
        return rows

    def _read(self) -> Iterator[dict[str, Any]]:
        """Give the cells of each row under our names."""
        from datasets import ClassLabel
        from datasets.exceptions import DatasetsError

        features: Any = self._rows.features
        labels = {
            ours: features[theirs]
            for ours, theirs in self._names.items()
            if isinstance(features[theirs], ClassLabel)
        }
        try:
            for row in self._rows.select_columns(sorted(set(self._names.values()))):
                cells = {ours: row[theirs] for ours, theirs in self._names.items()}
                for ours, feature in labels.items():
                    # -1 is how datasets without labels for a split say "none".
                    number = cells[ours]
                    cells[ours] = None if number is None or number < 0 else feature.int2str(number)
                yield cells
        except (OSError, DatasetsError) as error:
            cause = " ".join(str(error.__cause__ or error).split())
            raise CorpusError(
                f"{self._where} broke off: {cause}; check the network, and the same command goes on: what is "
                "in the store is not encoded again"
            ) from error

    def _corpus(self, window: list[dict[str, Any]]) -> Iterator[Dataset]:
        """Lay out a window as a corpus, if any row of it has an emotion."""
        import pyarrow as pa
        from datasets import Audio, Dataset, Features, concatenate_datasets

        begin = len(self._utterances)
        columns = {name: [row[name] for row in window] for name in self._names if name != "audio"}
        if "utterance_id" not in columns:
            columns["utterance_id"] = [f"{begin + index:06d}" for index in range(len(window))]
        where = f"{self._where}, from row {begin + 1} on"
        codes, language = (self._settings.get(name) for name in ("emotion_codes", "language"))
        utterances = utterances_of_columns(where, columns, len(window), codes, language)
        self._utterances += utterances
        self._paths += [row["audio"]["path"] for row in window]
        kept = [index for index, row in enumerate(utterances) if row.emotion is not None]
        if not kept:
            return
        schema = Features({"audio": Audio(decode=False)}).arrow_schema
        audio = Dataset(pa.table({"audio": [window[index]["audio"] for index in kept]}, schema=schema))
        told = corpus_dataset([utterances[index] for index in kept]).remove_columns("audio")
        yield concatenate_datasets([told, audio], axis=1).select_columns(list(COLUMNS))


def kept_corpus(root: str | os.PathLike[str] | None, settings: Mapping[str, Any]) -> Dataset:
    """Read the corpus that a streamed dataset has left: labels and keys, and no audio.

    Raises:
        CorpusError: If it was not streamed yet, with these settings, as it is now.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Audio, Dataset, Features, concatenate_datasets

    if root is None:
        raise CorpusError("corpus dataset needs a Hub id or a folder (root, --root owner/name)")
    path = _kept_at(os.fspath(root), settings)
    if not path.is_file():
        raise CorpusError(
            f"dataset {root} was not streamed yet with these settings, as it is now: python -m "
            "ser_transfer.embed with the same --root, columns and --streaming does"
        )
    told = Dataset(pq.read_table(path))
    schema = Features({"audio": Audio(decode=False)}).arrow_schema
    audio = Dataset(pa.table({"audio": [{"bytes": None, "path": None}] * len(told)}, schema=schema))
    return concatenate_datasets([told, audio], axis=1).select_columns([*COLUMNS, KEY])


def _kept_at(root: str, settings: Mapping[str, Any]) -> Path:
    """Name the file of labels and keys: by what was asked for, and by the state of the dataset."""
    cache = Path(os.environ.get("SER_TRANSFER_CACHE", "cache")) / "streamed"
    given = {name: value for name, value in settings.items() if value is not None}
    asked = _digest(json.dumps([root, given], sort_keys=True))
    if Path(root).is_dir():
        files = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in Path(root).rglob("*")]
        return cache / f"{asked}-{_digest(repr(sorted(files)))}.parquet"
    try:
        return cache / f"{asked}-{_commit(root, settings.get('dataset_revision'))}.parquet"
    except UnreachableError:
        known = sorted(cache.glob(f"{asked}-*.parquet"), key=lambda path: path.stat().st_mtime)
        if not known:
            raise
        return known[-1]


def _commit(root: str, revision: str | None) -> str:
    from huggingface_hub import HfApi

    if revision is not None and COMMIT.fullmatch(revision):
        return revision
    with in_one_line(root, revision=revision, repo_type="dataset"):
        return str(patiently(lambda: HfApi().dataset_info(root, revision=revision)).sha)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _in_memory(audio: Any) -> dict[str, Any]:
    """Give a row's audio with its bytes; where the dataset names a file they are read from there."""
    found = dict(audio) if isinstance(audio, Mapping) else {"bytes": None, "path": audio}
    if found.get("bytes") is None and found.get("path") is not None:
        with explaining(found["path"]):
            found["bytes"] = place(found["path"]).read_bytes()
    return {"bytes": found.get("bytes") or b"", "path": found.get("path")}


def _as_absolute(path: str) -> str:
    """Make of a URL what its path is on a disk, so that ids are named as those of the downloaded files."""
    return "/" + path.partition("://")[2] if is_url(path) else path
