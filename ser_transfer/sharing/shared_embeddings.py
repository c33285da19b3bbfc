"""Shared embeddings read again: a corpus without audio, and what encoders said of it while it had some."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser_transfer.cards.corpus import UNTITLED
from ser_transfer.corpora import CORPUS_CARDS, Utterance, corpus_dataset
from ser_transfer.encoders import Encoder, EncoderError, HiddenStates, Waveform
from ser_transfer.hub import HubError, fetch
from ser_transfer.sharing.corpus_rows import RECORDING
from ser_transfer.sharing.embeddings import DESCRIPTION, FORMAT, SPLIT
from ser_transfer.sharing.errors import SharingError
from ser_transfer.sharing.parquet import layer_of, read_rows
from ser_transfer.store import Embeddings

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset

PATTERNS = ("*.parquet", "*.json")
_CONFIG = re.compile(r"[\w.-]*\w")  # a folder's name, and no way out of the repository
_TOLD = frozenset(item.name for item in fields(Utterance)) - {"audio"}
_SHA256 = re.compile(r"[0-9a-f]{64}")


class SharedEncoder(Encoder):
    """An encoder of which only its embeddings are here: it says what it is, and hears nothing.

    A model that is trained on the embeddings names it as it names any other encoder.

    Args:
        told: What `embeddings.json` says of it.
        where: Names the repository in messages.
    """

    def __init__(self, told: Mapping[str, Any], where: str) -> None:
        self.name, self.revision = str(told["name"]), told["revision"]
        self.fingerprint, self._definition = str(told["fingerprint"]), str(told["definition"])
        self.sampling_rate, self.frame_rate = int(told["sampling_rate"]), float(told["frame_rate"])
        self.layer_names = tuple(map(str, told["frame_dims"]))
        self.dims = tuple(map(int, told["frame_dims"].values()))
        self.default_pooling, self.precision = str(told["default_pooling"]), told["precision"]
        self.min_seconds = float(told["min_seconds"])
        self._where = where

    @property
    def definition(self) -> str:
        """See `Encoder.definition`."""
        return self._definition

    def encode(self, waveforms: Sequence[Waveform]) -> HiddenStates:
        """Refuse to: the weights are not in the repository."""
        raise self._absent()

    def files(self) -> dict[str, Path]:
        """Refuse to name any."""
        raise self._absent()

    def _absent(self) -> EncoderError:
        return EncoderError(
            f"of {self.name}, {self._where} holds embeddings alone: load the encoder itself to hear "
            "recordings, or to copy it"
        )


@dataclass(frozen=True, eq=False)
class SharedEmbeddings:
    """What a repository of embeddings holds.

    Attributes:
        corpus: As from `ser_transfer.load_corpus`, but the audio is None in every row.
        tables: Embeddings by name of the encoder, the one that is meant to be trained on first.
        encoders: By the same names.
        keys: By utterance id; equal where the bytes of the audio were.
        heard_speakers: By name of the encoder, the speakers of the corpus that it was trained on.
        where: The repository's id, or the folder.
        revision: Its commit on the Hub; None of a folder.
        about: What `embeddings.json` says of the corpus.
    """

    corpus: Dataset
    tables: Mapping[str, Embeddings]
    encoders: Mapping[str, SharedEncoder]
    keys: Mapping[str, str]
    heard_speakers: Mapping[str, tuple[str, ...]]
    where: str
    revision: str | None
    about: Mapping[str, Any]

    @property
    def embeddings(self) -> Embeddings:
        """Those by the first encoder."""
        return next(iter(self.tables.values()))

    @property
    def title(self) -> str | None:
        """What the corpus was called by whoever shared it; None where it is its usual name."""
        name, title = self.about["name"], str(self.about["title"])
        published = CORPUS_CARDS.get(name)
        usual = UNTITLED.get(name, name) if published is None else published.title
        return None if title == usual else title

    def settings(self, encoder: str) -> dict[str, Any]:
        """Give the settings with which corpus and encoder were made; the others were the defaults."""
        table, told = self.tables[encoder], self.encoders[encoder]
        return {
            **{name: self.about[name] for name in ("part", "label_map", "language")},
            "corpus": self.about["name"],
            "encoder": encoder,
            "revision": told.revision,
            "pooling": table.pooling,
            "precision": table.precision,
        }


def load_shared_embeddings(name_or_folder: str | Path, revision: str | None = None) -> SharedEmbeddings:
    """Read a repository that `embeddings_repository` wrote; nothing in it is run.

    Numbers and order of the rows are those that were shared, to the last bit.

    Args:
        name_or_folder: A folder, or a dataset's id on the Hub: what the local cache lacks is fetched.
        revision: Commit, tag or branch on the Hub.

    Raises:
        SharingError: If it is no repository of embeddings, a newer version wrote it, or it is damaged.
        HubError: If it cannot be fetched.
    """
    folder, commit = _folder(name_or_folder, revision)
    where = str(name_or_folder)
    told = _description(folder, where)
    try:
        return _read(folder, told, where, commit)
    except SharingError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OSError, IndexError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise SharingError(
            f"{where} is damaged: {DESCRIPTION} and its files do not fit together ({what}); fetch it again"
        ) from error


def _folder(name_or_folder: str | Path, revision: str | None) -> tuple[Path, str | None]:
    folder = Path(name_or_folder).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise SharingError(
                f"{name_or_folder} is a folder and has no revision {revision!r}: leave the revision away"
            )
        return folder, None
    try:
        found = fetch(
            str(name_or_folder),
            revision=revision,
            patterns=PATTERNS,
            repo_type="dataset",
            instead="give the folder of shared embeddings, or the id of their dataset",
        )
    except HubError as error:
        if "holds none of" in str(error):
            raise _not_ours(str(name_or_folder)) from error
        raise
    return found, found.name


def _not_ours(where: str) -> SharingError:
    return SharingError(
        f"{where} is no repository of embeddings, which has a file {DESCRIPTION}: make one with "
        "python -m ser_transfer.share RUN user/name --part embeddings"
    )


def _description(folder: Path, where: str) -> dict[str, Any]:
    try:
        told = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _not_ours(where) from error
    except (OSError, ValueError, RecursionError) as error:
        raise SharingError(
            f"{where} is damaged: {DESCRIPTION} cannot be read ({type(error).__name__}); fetch it again"
        ) from error
    version = told.get("format") if isinstance(told, dict) else None
    if not isinstance(version, int):
        raise _not_ours(where)
    if version > FORMAT:
        raise SharingError(
            f"{where} was written by a newer ser_transfer (format {version}; this one reads {FORMAT}): "
            "pip install -U ser-transfer"
        )
    return dict(told)


def _read(folder: Path, told: Mapping[str, Any], where: str, commit: str | None) -> SharedEmbeddings:
    about, tables, encoders, heard = told["corpus"], {}, {}, {}
    corpus: Dataset | None = None
    keys: dict[str, str] = {}
    for each in told["encoders"]:
        rows = _rows(folder, each, where)
        if len(rows) != about["n_utterances"]:
            raise ValueError(f"{len(rows)} rows in place of {about['n_utterances']}")
        encoder = SharedEncoder(each, where)
        if corpus is None:
            corpus, keys = _corpus(rows, about)
        tables[encoder.name] = _embeddings(rows, each, encoder)
        if tables[encoder.name].utterance_ids != tuple(corpus["utterance_id"][:]):
            raise ValueError(f"{encoder.name} has other utterances than the first")
        encoders[encoder.name] = encoder
        heard[encoder.name] = tuple(map(str, each["heard_speakers"]))
    if corpus is None:
        raise ValueError("it names no encoder")
    return SharedEmbeddings(corpus, tables, encoders, keys, heard, where, commit, about)


def _rows(folder: Path, each: Mapping[str, Any], where: str) -> pyarrow.Table:
    config, hashes = str(each["config"]), [str(hash_) for hash_ in each["files"]]
    if not _CONFIG.fullmatch(config) or not hashes or not all(map(_SHA256.fullmatch, hashes)):
        raise ValueError(f"{config!r} is no configuration")
    return read_rows(folder / config, SPLIT, hashes, where)


def _corpus(rows: pyarrow.Table, about: Mapping[str, Any]) -> tuple[Dataset, dict[str, str]]:
    """Make the rows a corpus again, as its loader would give it, and the keys of its audio."""
    cells = {name: rows.column(name).to_pylist() for name in rows.column_names if name in _TOLD}
    classes, numbers = about["classes"], rows.column(RECORDING).to_pylist()
    cells["emotion"] = [classes[code] for code in cells["emotion"]]
    utterances = [
        Utterance(audio=None, **dict(zip(cells, row, strict=True)))
        for row in zip(*cells.values(), strict=True)
    ]
    corpus = corpus_dataset(utterances)
    corpus.info.dataset_name = str(about["name"])
    keys = {row.utterance_id: f"recording {number}" for row, number in zip(utterances, numbers, strict=True)}
    return corpus, keys


def _embeddings(rows: pyarrow.Table, each: Mapping[str, Any], encoder: SharedEncoder) -> Embeddings:
    layers = {str(name): layer_of(rows, str(name)) for name in each["layers"]}
    for name, layer in layers.items():
        if layer.dtype != np.float32 or layer.shape[1] != each["layers"][name]:
            raise ValueError(f"layer {name} is {layer.dtype} of {layer.shape[1]} numbers")
        if not np.isfinite(layer).all():
            raise ValueError(f"layer {name} holds numbers that are none")
    if not layers:
        raise ValueError(f"{encoder.name} has no layers")
    return Embeddings(
        utterance_ids=tuple(map(str, rows.column("utterance_id").to_pylist())),
        layers=layers,
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        pooling=str(each["pooling"]),
        precision=str(each["precision"]),
    )
