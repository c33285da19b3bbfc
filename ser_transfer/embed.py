"""Fill the embedding store: every recording of a corpus through an encoder, once.

python -m ser_transfer.embed --corpus ravdess --root DIR --encoder yamnet
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ser_transfer._command import CallableModule, command, progress_bar, setting
from ser_transfer._settings import CorpusSettings, EncoderSettings, StoreSettings
from ser_transfer.audio import AudioError, audio_key
from ser_transfer.encoders import Encoder, load_encoder
from ser_transfer.encoders.pooled import Recording, encode_pooled
from ser_transfer.pooling import pooled_dim
from ser_transfer.store import Embeddings, EmbeddingStore, Part
from ser_transfer.tables import text_table

if TYPE_CHECKING:
    from datasets import Dataset

BAD_FILES = "bad_files.tsv"
SOURCE_COLUMNS = ("audio", "start_seconds", "end_seconds")  # in the order of `Recording`'s fields
ROWS_AT_A_TIME = 64


@dataclass(frozen=True, kw_only=True)
class EmbedSettings(StoreSettings, EncoderSettings, CorpusSettings):
    """Fill the embedding store: every recording of a corpus through an encoder, once."""

    baseline: str = setting(
        "mfcc",
        help="handcrafted encoder to embed as well, since train sets every score beside it; or none",
    )
    skip_bad: bool = setting(
        False,
        help=f"go on after a recording that cannot be used; all are listed in {BAD_FILES} in the store, and "
        "the exit code is 1",
    )
    batch_seconds: float | None = setting(
        None, help="seconds of padded audio per batch; 0: each alone; default: 0 on a CPU, 160 on a GPU"
    )
    n_workers: int | None = setting(
        None, help="recordings encoded at once on a CPU, or decoding threads for a GPU; default: one per core"
    )
    list: bool = setting(False, help="list what the store holds, and do nothing else")
    clear: str | None = setting(
        None, help="remove an encoder from the store, by name or by fingerprint, and do nothing else"
    )


@dataclass
class EmbedReport:
    """What one pass over a corpus found and did.

    Attributes:
        keys: Audio key per utterance id, of every recording that could be used, in the corpus's order.
        bad: Why a recording could not be used, per utterance id.
        n_encoded: Recordings that went through the encoder now; the others were in the store.
        audio_seconds: Their duration.
        wall_seconds: What that took.
    """

    keys: dict[str, str] = field(default_factory=dict)
    bad: dict[str, AudioError] = field(default_factory=dict)
    n_encoded: int = 0
    audio_seconds: float = 0.0
    wall_seconds: float = 0.0


def embed(
    corpus: Dataset,
    encoder: Encoder,
    *,
    pooling: str | None = None,
    store: str | Path | EmbeddingStore = StoreSettings.store,
    skip_bad: bool = False,
    batch_seconds: float | None = None,
    n_workers: int | None = None,
) -> Embeddings:
    """Return the embeddings of a corpus, computing those that the store lacks.

    Args:
        corpus: From `ser_transfer.load_corpus`.
        encoder: From `ser_transfer.load_encoder`.
        pooling: A name in `ser_transfer.pooling.POOLINGS`; None for the encoder's own default.
        store: The store, or its folder.
        skip_bad: Leave out recordings that cannot be used, with a warning, instead of stopping at
            the first.
        batch_seconds: Padded audio per batch; see `ser_transfer.encoders.pooled.encode_pooled`.
        n_workers: Threads or processes; see there.

    Returns:
        One row per usable utterance, in the order of the corpus.

    Raises:
        AudioError: At the first recording that cannot be used, unless `skip_bad`. What was encoded
            before it is kept.
    """
    store = store if isinstance(store, EmbeddingStore) else EmbeddingStore(store)
    part = part_of(encoder, pooling)
    report = fill_store(
        corpus, encoder, store, part, skip_bad=skip_bad, batch_seconds=batch_seconds, n_workers=n_workers
    )
    if report.bad:
        first = next(iter(report.bad.values()))
        warnings.warn(f"{len(report.bad)} recordings cannot be used, the first: {first}", stacklevel=2)
    return store.embeddings(part, list(report.keys), list(report.keys.values()))


def part_of(encoder: Encoder, pooling: str | None = None) -> Part:
    """Name the part of the store that holds an encoder's embeddings under a pooling."""
    pooling = pooling or encoder.default_pooling
    return Part(
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        pooling=pooling,
        precision=encoder.precision,
        layer_names=encoder.layer_names,
        dims=tuple(pooled_dim(pooling, dim) for dim in encoder.dims),
    )


def fill_store(
    corpus: Dataset,
    encoder: Encoder,
    store: EmbeddingStore,
    part: Part,
    *,
    skip_bad: bool = False,
    batch_seconds: float | None = None,
    n_workers: int | None = None,
    on_recording: Callable[[int, float], None] = lambda n_missing, seconds: None,
) -> EmbedReport:
    """Encode what the store lacks of a corpus.

    Args:
        corpus: From `ser_transfer.load_corpus`.
        encoder: What to encode with.
        store: Where to.
        part: From `part_of`.
        skip_bad: Go on after a recording that cannot be used.
        batch_seconds: Padded audio per batch; see `ser_transfer.encoders.pooled.encode_pooled`.
        n_workers: Threads or processes; see there.
        on_recording: Called after each recording with how many were missing and this one's seconds.

    Raises:
        AudioError: At the first recording that cannot be used, unless `skip_bad`.
    """
    report = EmbedReport()
    rows_of: dict[str, list[int]] = {}
    ids = corpus["utterance_id"][:]
    for row, (utterance_id, key) in enumerate(zip(ids, audio_keys(corpus), strict=True)):
        if isinstance(key, AudioError):
            _count_bad(report, [utterance_id], key, skip_bad)
            continue
        report.keys[utterance_id] = key
        rows_of.setdefault(key, []).append(row)
    missing = store.missing(part, rows_of)
    if not missing:
        return report
    begun = time.perf_counter()
    sources = corpus.select_columns(list(SOURCE_COLUMNS))
    todo = (Recording(key, *(sources[rows_of[key][0]][name] for name in SOURCE_COLUMNS)) for key in missing)
    with store.writer(part) as writer:
        for pooled in encode_pooled(
            todo, encoder, part.pooling, batch_seconds=batch_seconds, n_workers=n_workers
        ):
            key = pooled.recording.key
            if pooled.error is not None:
                useless = [ids[row] for row in rows_of[key]]
                for utterance_id in useless:
                    del report.keys[utterance_id]
                _count_bad(report, useless, pooled.error, skip_bad)
            else:
                writer.add(key, pooled.layers)
                report.n_encoded += 1
                report.audio_seconds += pooled.seconds
            on_recording(len(missing), pooled.seconds)
    report.wall_seconds = time.perf_counter() - begun
    return report


def _count_bad(report: EmbedReport, utterance_ids: Sequence[str], error: AudioError, skip_bad: bool) -> None:
    if not skip_bad:
        raise error
    report.bad.update(dict.fromkeys(utterance_ids, error))


def audio_keys(corpus: Dataset) -> Iterator[str | AudioError]:
    """Name every recording of a corpus by its content and segment, or say why it cannot be read.

    Rows are read a few at a time: a dataset may hold the audio itself, more of it than memory.
    """
    for batch in corpus.select_columns(list(SOURCE_COLUMNS)).iter(batch_size=ROWS_AT_A_TIME):
        for source, start, end in zip(*(batch[name] for name in SOURCE_COLUMNS), strict=True):
            try:
                yield audio_key(source, start_seconds=start, end_seconds=end)
            except AudioError as error:
                yield error


def keys_by_id(corpus: Dataset) -> dict[str, str]:
    """Name every recording of a corpus by its content, per utterance id, in the corpus's order.

    Raises:
        AudioError: If a recording cannot be read.
    """
    keys = {}
    for utterance_id, key in zip(corpus["utterance_id"][:], audio_keys(corpus), strict=True):
        if isinstance(key, AudioError):
            raise key
        keys[utterance_id] = key
    return keys


def _run(settings: EmbedSettings) -> int:
    store = EmbeddingStore(settings.store)
    if settings.list:
        print(_listing(store))
        return 0
    if settings.clear is not None:
        for stored in store.clear(settings.clear):
            print(
                f"removed {stored.part.describe()}: {stored.n_rows} embeddings, {stored.n_bytes / 1e6:.1f} MB"
            )
        return 0
    corpus = settings.load_corpus()
    encoders = {settings.encoder: settings.load_encoder()}
    if settings.baseline != "none":
        encoders.setdefault(settings.baseline, load_encoder(settings.baseline))
    bad: dict[str, AudioError] = {}
    for name, encoder in encoders.items():
        part = part_of(encoder, settings.pooling if name == settings.encoder else None)
        with progress_bar(f"{settings.corpus}: {encoder.name}") as advance:
            report = fill_store(
                corpus,
                encoder,
                store,
                part,
                skip_bad=settings.skip_bad,
                batch_seconds=settings.batch_seconds,
                n_workers=settings.n_workers,
                on_recording=advance,
            )
        bad |= report.bad
        print(_summary(report, encoder, store))
    return _report_bad(bad, store.root / BAD_FILES)


def _summary(report: EmbedReport, encoder: Encoder, store: EmbeddingStore) -> str:
    n_found = len(report.keys) - report.n_encoded
    if not report.n_encoded:
        return f"{encoder.name}: all {len(report.keys)} utterances were in {store.root}"
    clips, seconds = report.n_encoded / report.wall_seconds, report.audio_seconds / report.wall_seconds
    duration = timedelta(seconds=round(report.audio_seconds))
    more = f"; those of {n_found} more utterances were in {store.root}" if n_found else ""
    return (
        f"{encoder.name}: {report.n_encoded} recordings ({duration} of audio) in {report.wall_seconds:.1f} s "
        f"({clips:.1f} clips/s, {seconds:.0f}x real time){more}"
    )


def _report_bad(bad: Mapping[str, AudioError], path: Path) -> int:
    """List recordings that could not be used; return the exit code."""
    if not bad:
        return 0
    lines = ["utterance_id\treason\tmessage"]
    lines += [f"{id_}\t{error.reason}\t{error}" for id_, error in bad.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"error: {len(bad)} recordings could not be used; they are listed in {path}", file=sys.stderr)
    return 1


def _listing(store: EmbeddingStore) -> str:
    parts = store.parts()
    if not parts:
        example = "python -m ser_transfer.embed --corpus NAME --root DIR --encoder ID"
        return f"{store.root} is empty; fill it with: {example}"
    rows = [("encoder", "fingerprint", "pooling", "precision", "layers", "rows", "MB", "written (UTC)")]
    rows += [
        (
            stored.part.encoder,
            stored.part.fingerprint[:12],
            stored.part.pooling,
            stored.part.precision,
            str(len(stored.part.layer_names)),
            str(stored.n_rows),
            f"{stored.n_bytes / 1e6:.1f}",
            f"{stored.written:%Y-%m-%d %H:%M}",
        )
        for stored in parts
    ]
    return text_table(rows)


main = command(EmbedSettings, _run)
sys.modules[__name__].__class__ = CallableModule

if __name__ == "__main__":
    sys.exit(main())
