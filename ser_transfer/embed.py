"""Fill the embedding store: every recording of a corpus through an encoder, once.

python -m ser_transfer.embed --corpus ravdess --root DIR --encoder yamnet
torchrun --nproc-per-node 8 -m ser_transfer.embed --corpus ravdess --root DIR --encoder facebook/wav2vec2-base
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ser_transfer._bars import progress_bar
from ser_transfer._command import CallableModule, SettingsError, command
from ser_transfer._ranks import Ranks, local_device, local_share
from ser_transfer._setting import setting
from ser_transfer._settings import CorpusSettings, EncoderSettings, StoreSettings
from ser_transfer._together import Together
from ser_transfer.audio import AudioError
from ser_transfer.augment import Augmentation, Copies
from ser_transfer.encoders import Encoder, load_encoder
from ser_transfer.fill import FillReport, fill_store, frames_part_of, frames_parts_of, part_of
from ser_transfer.places import explaining
from ser_transfer.store import Embeddings, EmbeddingStore, Frames, Part, stored_table

if TYPE_CHECKING:
    from datasets import Dataset

BAD_FILES = "bad_files.tsv"


@dataclass(frozen=True, kw_only=True)
class EmbedSettings(StoreSettings, EncoderSettings, CorpusSettings):
    """Fill the embedding store: every recording of a corpus through an encoder, once."""

    baseline: str = setting(
        "mfcc",
        help="handcrafted encoder to embed as well, since train sets every score beside it; or none",
    )
    frames: str | None = setting(
        None,
        help="layers whose frames are kept as well, for heads on sequences: layer_06,layer_12 or all; in "
        "float16, 0.1 MB a second and layer for 1024 features 50 times a second",
    )
    keep: str = setting(
        "float32",
        help="float32, or float16 or bf16 to keep embeddings in half the bytes; what it costs is told",
    )
    layers: str | None = setting(
        None, help="keep only these layers of the embeddings: layer_06,layer_12; default: all"
    )
    augment: str | None = setting(
        None,
        help="embed augmented copies too, to train on: noise:10..20,pitch:-2..2 and so on; noise (dB SNR), "
        "pitch (semitones), stretch and speed (times as fast), shift (share), crop (seconds), gain (dB)",
    )
    n_copies: int = setting(1, help="augmented copies of each recording; --seed is the seed of their draws")
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
        None,
        help="remove an encoder from the store, by name or by fingerprint, and do nothing else; --pooling "
        "keeps it to one pooling, or to the frames: --pooling frames",
    )

    def kept_part(self, encoder: Encoder) -> Part:
        """Name the part of the store that these settings ask for."""
        return part_of(
            encoder,
            self.pooling,
            layers=None if self.layers is None else self.layers.split(","),
            kept=None if self.keep == "float32" else self.keep,
        )

    def copies(self) -> Copies | None:
        """Read which augmented copies these settings ask for."""
        if self.augment is not None:
            return Copies(Augmentation.parse(self.augment), self.n_copies, self.seed)
        if self.n_copies != 1:
            raise SettingsError(
                f"--n-copies {self.n_copies} of what? Say how to augment them, such as --augment noise:10..20"
            )
        return None


def embed(
    corpus: Dataset,
    encoder: Encoder,
    *,
    pooling: str | None = None,
    layers: Sequence[str] | None = None,
    keep: str | None = None,
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
        layers: Names of the layers to keep; None for all.
        keep: ``"float16"`` or ``"bf16"`` to keep them in half the bytes; None for float32.
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
    opened, part = _opened(store), part_of(encoder, pooling, layers=layers, kept=keep)
    report = fill_store(
        corpus, encoder, opened, part, skip_bad=skip_bad, batch_seconds=batch_seconds, n_workers=n_workers
    )
    return opened.embeddings(part, *_usable(report))


def embed_augmented(
    corpus: Dataset,
    encoder: Encoder,
    augmentation: Augmentation | str,
    n_copies: int = 1,
    *,
    seed: int = 0,
    pooling: str | None = None,
    store: str | Path | EmbeddingStore = StoreSettings.store,
    skip_bad: bool = False,
    batch_seconds: float | None = None,
    n_workers: int | None = None,
) -> Embeddings:
    """Return the embeddings of augmented copies of a corpus, to train on, computing what the store lacks.

    Args:
        corpus: From `ser_transfer.load_corpus`.
        encoder: From `ser_transfer.load_encoder`.
        augmentation: What changes, or its text; see `ser_transfer.augment.Augmentation.parse`.
        n_copies: Copies of each utterance.
        seed: Of the draws.
        pooling: As in `embed`, like all that follow.
        store: The store, or its folder.
        skip_bad: Leave out copies that cannot be used.
        batch_seconds: Padded audio per batch.
        n_workers: Threads or processes.

    Returns:
        Copies in the order of the corpus, ids ``<utterance id>#<number>``; `Embeddings.originals` tells what
        each is a copy of, and `ser_transfer.augment.with_copies` adds them to the training side of a fold.

    Raises:
        AugmentationError: If the text is no augmentation, or no copy is asked for.
        AudioError: As `embed`.
    """
    opened, part = _opened(store), part_of(encoder, pooling)
    report = fill_store(
        corpus,
        encoder,
        opened,
        part,
        copies=Copies(Augmentation.parse(str(augmentation)), n_copies, seed),
        skip_bad=skip_bad,
        batch_seconds=batch_seconds,
        n_workers=n_workers,
    )
    return replace(opened.embeddings(part, *_usable(report)), originals=report.originals)


def embed_frames(
    corpus: Dataset,
    encoder: Encoder,
    layer: str,
    *,
    copies: Copies | None = None,
    store: str | Path | EmbeddingStore = StoreSettings.store,
    skip_bad: bool = False,
    batch_seconds: float | None = None,
    n_workers: int | None = None,
) -> Frames:
    """Return the frames of one layer for a corpus, or for augmented copies, computing what the store lacks.

    The command with ``--frames layer_06,layer_12`` fills the store with several layers in one pass.

    Args:
        corpus: From `ser_transfer.load_corpus`.
        encoder: From `ser_transfer.load_encoder`.
        layer: One of the encoder's `layer_names`.
        copies: Augmented copies to encode in place of the recordings.
        store: As in `embed`, like all that follow.
        skip_bad: Leave out recordings that cannot be used.
        batch_seconds: Padded audio per batch.
        n_workers: Threads or processes.

    Returns:
        One sequence per usable utterance or copy, in the order of the corpus, mapped from the store.

    Raises:
        EncoderError: If there is no such layer.
        StoreError: If a frame is beyond float16, or not finite.
        AudioError: As `embed`.
    """
    opened, part = _opened(store), frames_part_of(encoder, layer)
    report = fill_store(
        corpus,
        encoder,
        opened,
        None,
        frames=[part],
        copies=copies,
        skip_bad=skip_bad,
        batch_seconds=batch_seconds,
        n_workers=n_workers,
    )
    return replace(opened.frames(part, *_usable(report)), originals=report.originals)


def _opened(store: str | Path | EmbeddingStore) -> EmbeddingStore:
    return store if isinstance(store, EmbeddingStore) else EmbeddingStore(store)


def _usable(report: FillReport) -> tuple[list[str], list[str]]:
    """The ids and store keys that a pass could use; it warns of the others."""
    if report.bad:
        first = next(iter(report.bad.values()))
        warnings.warn(f"{len(report.bad)} recordings cannot be used, the first: {first}", stacklevel=3)
    return list(report.keys), list(report.keys.values())


def _run(settings: EmbedSettings) -> int:
    store = EmbeddingStore(settings.store)
    if settings.list:
        example = "python -m ser_transfer.embed --corpus NAME --root DIR --encoder ID"
        print(stored_table(store.parts()) or f"{store.root} is empty; fill it with: {example}")
        return 0
    if settings.clear is not None:
        for stored in store.clear(settings.clear, pooling=settings.pooling):
            print(
                f"removed {stored.part.describe()}: {stored.n_rows} embeddings, {stored.n_bytes / 1e6:.1f} MB"
            )
        return 0
    with Ranks.joined() as ranks:
        return _embed_all(settings, store, ranks)


def _embed_all(settings: EmbedSettings, store: EmbeddingStore, ranks: Ranks | None) -> int:
    """Encode what is missing for all that is asked for, alone or as one of several processes."""
    if ranks is not None:
        n_workers = settings.n_workers or local_share(os.cpu_count() or 1)
        settings = replace(settings, device=local_device(settings.device), n_workers=n_workers)
    copies = settings.copies()
    if settings.streaming:
        return _embed_streamed(settings, store, ranks, copies)
    corpus = settings.load_corpus()
    parts = _parts(settings)
    bad: dict[str, AudioError] = {}
    for encoder in parts:
        bad |= _fill(settings, corpus, store, encoder, parts[encoder], copies, ranks)
    if ranks is not None and not ranks.is_first:
        return 0
    return _report_bad(bad, store.root / BAD_FILES)


def _parts(settings: EmbedSettings) -> dict[Encoder, list[Part]]:
    """Name what is wanted of the store, per encoder."""
    encoder = settings.load_encoder()
    parts = {encoder: [settings.kept_part(encoder)]}
    if settings.frames is not None:
        parts[encoder] += frames_parts_of(encoder, settings.frames)
    if settings.baseline not in ("none", settings.encoder):
        baseline = load_encoder(settings.baseline)
        parts[baseline] = [part_of(baseline)]
    return parts


def _embed_streamed(
    settings: EmbedSettings, store: EmbeddingStore, ranks: Ranks | None, copies: Copies | None
) -> int:
    """Encode a dataset as it comes, each window by all encoders before the next."""
    if ranks is not None or copies is not None:
        what = "several processes" if ranks is not None else "augmented copies"
        raise SettingsError(f"--streaming goes without {what}: leave one of the two out")
    streamed = settings.stream_corpus()
    parts = _parts(settings)
    reports = {encoder: FillReport() for encoder in parts}
    n_seen = 0
    with progress_bar(f"{settings.corpus}: {', '.join(encoder.name for encoder in parts)}") as advance:
        for window in streamed.windows():
            n_seen += len(window)
            advance_by = partial(_advance, advance, streamed.n_rows or n_seen)
            for number, (encoder, wanted) in enumerate(parts.items()):
                report = fill_store(
                    window,
                    encoder,
                    store,
                    wanted[0],
                    frames=wanted[1:],
                    skip_bad=settings.skip_bad,
                    batch_seconds=settings.batch_seconds,
                    n_workers=settings.n_workers,
                    on_recording=advance_by if number == 0 else lambda n_missing, seconds: None,
                )
                reports[encoder].add(report)
                for _ in range(len(window) - report.n_encoded if number == 0 else 0):
                    advance_by(0, 0.0)  # it was in the store
    bad: dict[str, AudioError] = {}
    for encoder, report in reports.items():
        print(report.summary(encoder.name, str(store.root)))
        bad |= report.bad
    first = next(iter(reports.values()))
    names = streamed.finish({id_: key for id_, key in first.keys.items() if id_ not in bad})
    return _report_bad({names[id_]: error for id_, error in bad.items()}, store.root / BAD_FILES)


def _advance(advance: Callable[[int, float], None], n_rows: int, n_missing: int, seconds: float) -> None:
    advance(n_rows, seconds)


def _fill(
    settings: EmbedSettings,
    corpus: Dataset,
    store: EmbeddingStore,
    encoder: Encoder,
    parts: Sequence[Part],
    copies: Copies | None,
    ranks: Ranks | None,
) -> dict[str, AudioError]:
    """Encode the recordings, then their copies where there are to be any; return what is bad."""
    bad: dict[str, AudioError] = {}
    for of_these in (None,) if copies is None else (None, copies):
        with progress_bar(f"{settings.corpus}: {encoder.name}") as advance:
            together = None if ranks is None else Together(ranks, advance)
            report = fill_store(
                corpus,
                encoder,
                store,
                parts[0],
                frames=parts[1:],
                copies=of_these,
                skip_bad=settings.skip_bad,
                batch_seconds=settings.batch_seconds,
                n_workers=settings.n_workers,
                on_recording=advance if together is None else together.on_recording,
                share=None if together is None else together.share,
            )
            if together is not None:
                report = together.report(report)
        if ranks is None or ranks.is_first:
            print(report.summary(encoder.name, str(store.root)))
        bad |= report.bad
        if report.bad:  # and so are its copies
            corpus = corpus.select([row for row, id_ in enumerate(corpus["utterance_id"]) if id_ not in bad])
    return bad


def _report_bad(bad: Mapping[str, AudioError], path: Path) -> int:
    """List recordings that could not be used; return the exit code."""
    if not bad:
        return 0
    lines = ["utterance_id\treason\tmessage"]
    lines += [f"{id_}\t{error.reason}\t{error}" for id_, error in bad.items()]
    with explaining(path):
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"error: {len(bad)} recordings could not be used; they are listed in {path}", file=sys.stderr)
    return 1


main = command(EmbedSettings, _run)
sys.modules[__name__].__class__ = CallableModule

if __name__ == "__main__":
    sys.exit(main())
