"""The recordings of a corpus through an encoder into the store: what is there is not computed again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from ser_transfer.audio import AudioError, audio_key, duration_seconds
from ser_transfer.augment import AugmentedCopy, Copies
from ser_transfer.corpora.streamed import KEY
from ser_transfer.encoders import Encoder, EncoderError
from ser_transfer.encoders.pooled import Pooled, Recording, encode_pooled
from ser_transfer.pooling import pooled_dim
from ser_transfer.store import FRAMES, EmbeddingStore, Part, StoreWriter
from ser_transfer.store.writer import MAX_BYTES

if TYPE_CHECKING:
    from datasets import Dataset

SOURCE_COLUMNS = ("audio", "start_seconds", "end_seconds")
ROWS_AT_A_TIME = 64
FRAMES_BYTES = 256 << 20  # waiting to be written, over all layers whose frames are kept


@dataclass
class FillReport:
    """What one pass over a corpus found and did.

    Attributes:
        keys: Store key per utterance id, of every recording that could be used, in the corpus's order; where
            copies were asked for, per id of a copy.
        originals: Utterance id per id of a copy; empty where none were asked for.
        bad: Why a recording could not be used, per id.
        n_encoded: Recordings that went through the encoder now; the others were in the store.
        audio_seconds: Their duration.
        wall_seconds: What that took.
        kept: What the embeddings are kept in, if not in float32.
        cosine_cost: 1 less the cosine of an embedding and what is kept of it, the largest found.
    """

    keys: dict[str, str] = field(default_factory=dict)
    originals: dict[str, str] = field(default_factory=dict)
    bad: dict[str, AudioError] = field(default_factory=dict)
    n_encoded: int = 0
    audio_seconds: float = 0.0
    wall_seconds: float = 0.0
    kept: str | None = None
    cosine_cost: float = 0.0

    def count_bad(self, ids: Iterable[str], error: AudioError, *, skip_bad: bool) -> None:
        """Note recordings that cannot be used, or stop there."""
        if not skip_bad:
            raise error
        for id_ in ids:
            self.bad[id_] = error
            self.keys.pop(id_, None)
            self.originals.pop(id_, None)

    def add(self, other: FillReport) -> None:
        """Take in what another pass found and did."""
        self.keys |= other.keys
        self.bad |= other.bad
        self.n_encoded += other.n_encoded
        self.audio_seconds += other.audio_seconds
        self.wall_seconds += other.wall_seconds
        self.kept = other.kept or self.kept
        self.cosine_cost = max(self.cosine_cost, other.cosine_cost)

    def summary(self, encoder: str, store: str) -> str:
        """Say in a line what an encoder had to do, and how quickly it did."""
        things = "augmented copies" if self.originals else "utterances"
        if not self.n_encoded:
            return f"{encoder}: all {len(self.keys)} {things} were in {store}"
        n_found = len(self.keys) - self.n_encoded
        clips, seconds = self.n_encoded / self.wall_seconds, self.audio_seconds / self.wall_seconds
        duration = timedelta(seconds=round(self.audio_seconds))
        more = f"; those of {n_found} more {things} were in {store}" if n_found else ""
        encoded = "augmented copies" if self.originals else "recordings"
        if self.kept:
            more += (
                f"; kept in {self.kept}, at a cosine to float32 of no less than 1 - {self.cosine_cost:.1e}"
            )
        return (
            f"{encoder}: {self.n_encoded} {encoded} ({duration} of audio) in {self.wall_seconds:.1f} s "
            f"({clips:.1f} clips/s, {seconds:.0f}x real time){more}"
        )


@dataclass
class _Wanted:
    """One thing that the store should hold: a row of the corpus, or a copy of it, and who asks for it."""

    row: int
    copy: AugmentedCopy | None
    ids: list[str]


def part_of(
    encoder: Encoder,
    pooling: str | None = None,
    *,
    layers: Sequence[str] | None = None,
    kept: str | None = None,
) -> Part:
    """Name the part of the store that holds an encoder's embeddings under a pooling.

    Args:
        encoder: Whose.
        pooling: None for its own.
        layers: The layers that are kept; None for all.
        kept: ``"float16"`` or ``"bf16"`` for half the bytes; None for float32.

    Raises:
        EncoderError: If it has no such layer.
        StoreError: If nothing is kept so, or a layer is named twice.
    """
    pooling = pooling or encoder.default_pooling
    dims = dict(zip(encoder.layer_names, encoder.dims, strict=True))
    names = tuple(encoder.layer_names if layers is None else layers)
    for name in names:
        if name not in dims:
            raise EncoderError(
                f"{encoder.name} has no layer {name!r} to keep; its layers are {', '.join(dims)}: --layers "
                f"{encoder.layer_names[-1]}"
            )
    return Part(
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        pooling=pooling,
        precision=encoder.precision,
        layer_names=names,
        dims=tuple(pooled_dim(pooling, dims[name]) for name in names),
        kept=kept,
    )


def frames_part_of(encoder: Encoder, layer: str) -> Part:
    """Name the part of the store that holds the frames of one layer of an encoder.

    Raises:
        EncoderError: If it has no such layer.
    """
    if layer not in encoder.layer_names:
        raise EncoderError(
            f"{encoder.name} has no layer {layer!r} to keep frames of; its layers are "
            f"{', '.join(encoder.layer_names)}, or all of them: --frames all"
        )
    return Part(
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        pooling=FRAMES,
        precision=encoder.precision,
        layer_names=(layer,),
        dims=(encoder.dims[encoder.layer_names.index(layer)],),
        frame_rate=encoder.frame_rate,
    )


def frames_parts_of(encoder: Encoder, layers: str) -> list[Part]:
    """Name the parts that hold the frames of ``all`` layers, or of ``layer_06,layer_12``."""
    names = encoder.layer_names if layers == "all" else dict.fromkeys(layers.split(","))
    return [frames_part_of(encoder, name) for name in names]


def fill_store(
    corpus: Dataset,
    encoder: Encoder,
    store: EmbeddingStore,
    part: Part | None,
    *,
    frames: Sequence[Part] = (),
    copies: Copies | None = None,
    skip_bad: bool = False,
    batch_seconds: float | None = None,
    n_workers: int | None = None,
    on_recording: Callable[[int, float], None] = lambda n_missing, seconds: None,
    share: Callable[[Sequence[float]], Sequence[int]] | None = None,
) -> FillReport:
    """Encode what the store lacks of a corpus, each recording once for all that is wanted of it.

    Args:
        corpus: From `ser_transfer.load_corpus`.
        encoder: What to encode with.
        store: Where to.
        part: Which embeddings, from `part_of`; None for frames alone.
        frames: Which layers' frames, from `frames_part_of`.
        copies: Encode these augmented copies of the recordings, in place of the recordings themselves.
        skip_bad: Go on after a recording that cannot be used.
        batch_seconds: Padded audio per batch; see `ser_transfer.encoders.pooled.encode_pooled`.
        n_workers: Threads or processes; see there.
        on_recording: Called after each recording with how many were missing and this one's seconds.
        share: Where several processes fill the store: given the seconds of what is missing, it says which of
            them this one is to encode.

    Raises:
        AudioError: At the first recording that cannot be used, unless `skip_bad`.
        StoreError: If a layer is not finite, or its frames are beyond float16.
    """
    report = FillReport()
    wanted = _wanted(corpus, copies, report, skip_bad=skip_bad)
    parts = [*frames] if part is None else [part, *frames]
    lacking = {each: set(store.missing(each, wanted)) for each in parts}
    missing = [key for key in wanted if any(key in keys for keys in lacking.values())]
    if not missing:
        return report
    n_missing = len(missing)
    if share is not None:
        missing = [missing[number] for number in share(_seconds(corpus, missing, wanted))]
    begun = time.perf_counter()
    with ExitStack() as stack:
        writers: dict[Part, StoreWriter] = {}
        for each in (each for each in parts if lacking[each]):
            n_bytes = min(MAX_BYTES, FRAMES_BYTES // len(frames)) if each.holds_frames else MAX_BYTES
            writers[each] = stack.enter_context(store.writer(each, max_bytes=n_bytes))
        for pooled in encode_pooled(
            _recordings(corpus, missing, wanted),
            encoder,
            next((each.pooling for each in writers if not each.holds_frames), None),
            frame_layers=[each.layer_names[0] for each in writers if each.holds_frames],
            batch_seconds=batch_seconds,
            n_workers=n_workers,
        ):
            key = pooled.recording.key
            if pooled.error is not None:
                report.count_bad(wanted[key].ids, pooled.error, skip_bad=skip_bad)
            else:
                _write(pooled, encoder.layer_names, writers, lacking)
                report.n_encoded += 1
                report.audio_seconds += pooled.seconds
            on_recording(n_missing, pooled.seconds)
    report.wall_seconds = time.perf_counter() - begun
    report.kept = None if part is None else part.kept
    report.cosine_cost = max((writer.cosine_cost for writer in writers.values()), default=0.0)
    return report


def _wanted(
    corpus: Dataset, copies: Copies | None, report: FillReport, *, skip_bad: bool
) -> dict[str, _Wanted]:
    """Find what the store should hold, by key, and note in the report which id asks for which key."""
    wanted: dict[str, _Wanted] = {}
    for row, (utterance_id, key) in enumerate(
        zip(corpus["utterance_id"][:], audio_keys(corpus), strict=True)
    ):
        if isinstance(key, AudioError):
            report.count_bad([utterance_id], key, skip_bad=skip_bad)
        elif copies is None:
            report.keys[utterance_id] = key
            wanted.setdefault(key, _Wanted(row, None, [])).ids.append(utterance_id)
        else:
            for copy_id, copy in copies.of(utterance_id, key):
                report.keys[copy_id], report.originals[copy_id] = copy.key, utterance_id
                wanted.setdefault(copy.key, _Wanted(row, copy, [])).ids.append(copy_id)
    return wanted


def _recordings(
    corpus: Dataset, missing: Iterable[str], wanted: Mapping[str, _Wanted]
) -> Iterator[Recording]:
    sources = corpus.select_columns(list(SOURCE_COLUMNS))
    for key in missing:
        source = sources[wanted[key].row]
        audio, start, end = (source[name] for name in SOURCE_COLUMNS)
        yield Recording(key, audio, start, end, wanted[key].copy)


def _seconds(corpus: Dataset, missing: Iterable[str], wanted: Mapping[str, _Wanted]) -> list[float]:
    """Look up how long recordings are, from their headers; one that cannot be read counts as nothing."""
    found = []
    for recording in _recordings(corpus, missing, wanted):
        try:
            start, end = recording.start_seconds or 0.0, recording.end_seconds
            found.append((duration_seconds(recording.source) if end is None else end) - start)
        except AudioError:
            found.append(0.0)
    return found


def _write(
    pooled: Pooled,
    layer_names: Sequence[str],
    writers: Mapping[Part, StoreWriter],
    lacking: Mapping[Part, set[str]],
) -> None:
    """Hand each part what it lacks of one recording."""
    frames = iter(pooled.frames)
    for part, writer in writers.items():
        if part.holds_frames:
            layers = [next(frames)]
        else:
            layers = [pooled.layers[layer_names.index(name)] for name in part.layer_names]
        if pooled.recording.key in lacking[part]:
            writer.add(pooled.recording.key, layers)


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

    Of a corpus that was streamed they are known without its audio.

    Raises:
        AudioError: If a recording cannot be read.
    """
    if KEY in corpus.column_names:
        return dict(zip(corpus["utterance_id"][:], corpus[KEY][:], strict=True))
    keys = {}
    for utterance_id, key in zip(corpus["utterance_id"][:], audio_keys(corpus), strict=True):
        if isinstance(key, AudioError):
            raise key
        keys[utterance_id] = key
    return keys
