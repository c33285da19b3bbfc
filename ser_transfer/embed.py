"""Fill the embedding store: every recording of a corpus through an encoder, once.

python -m ser_transfer.embed --corpus ravdess --root DIR --encoder yamnet
python -m ser_transfer.embed --corpus ravdess --root DIR --encoder yamnet --engine ray --address auto
torchrun --nproc-per-node 8 -m ser_transfer.embed --corpus ravdess --root DIR --encoder facebook/wav2vec2-base
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ser_transfer._command import CallableModule, SettingsError, command
from ser_transfer._engine import EngineSettings
from ser_transfer._passes import BAD_FILES, Pass, Passes
from ser_transfer._ranks import Ranks, local_device, local_share
from ser_transfer._setting import setting
from ser_transfer._settings import CorpusSettings, EncoderSettings, StoreSettings
from ser_transfer.augment import Augmentation, Copies
from ser_transfer.clusters import Cluster, ClusterEncoder
from ser_transfer.corpora.streamed import StreamedDataset
from ser_transfer.encoders import Encoder, load_encoder
from ser_transfer.fill import (
    FillReport,
    encode_here,
    fill_store,
    frames_part_of,
    frames_parts_of,
    part_of,
)
from ser_transfer.store import Embeddings, EmbeddingStore, Frames, Part, stored_table

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, kw_only=True)
class EmbedSettings(EngineSettings, StoreSettings, EncoderSettings, CorpusSettings):
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
    settings.check_engine(
        n_workers=settings.n_workers, device=None if settings.device == "auto" else settings.device
    )
    cluster = settings.cluster()
    with Ranks.joined() as ranks, nullcontext() if cluster is None else cluster:
        if ranks is not None and cluster is not None:
            raise SettingsError("--engine ray starts its own processes: leave torchrun or accelerate away")
        return _embed_all(settings, store, ranks, cluster)


def _embed_all(
    settings: EmbedSettings, store: EmbeddingStore, ranks: Ranks | None, cluster: Cluster | None
) -> int:
    """Encode what is missing for all that is asked for: alone, as one of several processes, or by actors."""
    if ranks is not None:
        n_workers = settings.n_workers or local_share(os.cpu_count() or 1)
        settings = replace(settings, device=local_device(settings.device), n_workers=n_workers)
    copies = settings.copies()
    if settings.streaming and (ranks is not None or copies is not None):
        what = "several processes" if ranks is not None else "augmented copies"
        raise SettingsError(f"--streaming goes without {what}: leave one of the two out")
    corpus = settings.stream_corpus() if settings.streaming else settings.load_corpus()
    passes = Passes(
        str(settings.corpus), store, settings.skip_bad, settings.batch_seconds, settings.n_workers, ranks
    )
    wanted = _wanted(settings, cluster)
    if isinstance(corpus, StreamedDataset):
        bad = passes.as_it_comes(corpus, wanted)
    else:
        bad = passes.over(corpus, wanted, copies)
    if ranks is not None and not ranks.is_first:
        return 0
    return passes.report_bad(bad)


def _wanted(settings: EmbedSettings, cluster: Cluster | None) -> list[Pass]:
    """Name the encoders, what is wanted of each, and who is to encode."""
    encoder = settings.load_encoder()
    parts = {encoder: [settings.kept_part(encoder)]}
    loading: dict[Encoder, Callable[..., Encoder]] = {encoder: settings.loading()}
    if settings.frames is not None:
        parts[encoder] += frames_parts_of(encoder, settings.frames)
    if settings.baseline not in ("none", settings.encoder):
        baseline = load_encoder(settings.baseline)
        parts[baseline] = [part_of(baseline)]
        loading[baseline] = partial(load_encoder, settings.baseline)
    return [
        Pass(
            encoder,
            of_encoder,
            encode_here if cluster is None else ClusterEncoder(cluster, loading[encoder]).encode,
        )
        for encoder, of_encoder in parts.items()
    ]


main = command(EmbedSettings, _run)
sys.modules[__name__].__class__ = CallableModule

if __name__ == "__main__":
    sys.exit(main())
