"""Say what the sides of a split share, before anything is trained.

python -m ser_transfer.audit --corpus ravdess --root DIR --split emobox
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ser_transfer._bars import progress_bar
from ser_transfer._command import CallableModule, command
from ser_transfer._setting import setting
from ser_transfer._settings import CorpusSettings, SplitSettings, StoreSettings
from ser_transfer.encoders import load_encoder
from ser_transfer.fill import fill_store, part_of
from ser_transfer.splits import Audit, allowed_leaks, audit_split, make_split, refuse_leaks
from ser_transfer.store import EmbeddingStore

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, kw_only=True)
class AuditSettings(StoreSettings, SplitSettings, CorpusSettings):
    """Say what the sides of a split share, before anything is trained."""

    seed: int = setting(0, help="of the split")


def audit(
    corpus: Dataset,
    *,
    split: str = "speaker-folds",
    n_folds: int = 5,
    folds: Sequence[str] | None = None,
    seed: int = 0,
    store: str | Path | EmbeddingStore = StoreSettings.store,
) -> Audit:
    """Say what the folds of a corpus share: speakers, recordings, takes, sentences.

    The `mfcc` baseline's embeddings, by which takes are found, are computed where the store lacks them.

    Args:
        corpus: From `ser_transfer.load_corpus`.
        split: A kind of split; see `ser_transfer.splits.make_split`.
        n_folds: Folds, where the kind has a choice.
        folds: Names of the folds to look at; None for all.
        seed: Of the split.
        store: The store, or its folder.

    Returns:
        The audit; printing it prints a short text, and `ser_transfer.splits.refuse_leaks` stops at its leaks.

    Raises:
        SplitError: If the corpus cannot be split so.
        AudioError: If a recording cannot be used.
    """
    made = make_split(corpus, split, n_folds=n_folds, seed=seed, corpus_name=corpus.info.dataset_name)
    if folds is not None:
        made = made.only(folds)
    opened = store if isinstance(store, EmbeddingStore) else EmbeddingStore(store)
    encoder = load_encoder("mfcc")
    part = part_of(encoder)
    with progress_bar(encoder.name) as advance:
        keys = fill_store(corpus, encoder, opened, part, on_recording=advance).keys
    (mfcc,) = opened.embeddings(part, list(keys), list(keys.values())).layers.values()
    return audit_split(corpus, made, keys, dict(zip(keys, mfcc, strict=True)), within_sides=True)


def _run(settings: AuditSettings) -> None:
    allowed = allowed_leaks(settings.allow)
    found = audit(
        settings.load_corpus(),
        split=settings.split,
        n_folds=settings.n_folds,
        folds=settings.fold_names,
        seed=settings.seed,
        store=settings.store,
    )
    print(found)
    refuse_leaks(found, allowed)


main = command(AuditSettings, _run)
sys.modules[__name__].__class__ = CallableModule

if __name__ == "__main__":
    sys.exit(main())
