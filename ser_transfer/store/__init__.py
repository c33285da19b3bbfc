"""Embeddings and frames on disk: computed once per recording, found again by content."""

from ser_transfer.store.compaction import Compacted, compact
from ser_transfer.store.embeddings import Embeddings
from ser_transfer.store.errors import StoreError
from ser_transfer.store.frames import Frames
from ser_transfer.store.part import FRAMES, Part, StoredPart, stored_table
from ser_transfer.store.store import EmbeddingStore
from ser_transfer.store.verification import Verified, verify
from ser_transfer.store.writer import StoreWriter

__all__ = [
    "FRAMES",
    "Compacted",
    "EmbeddingStore",
    "Embeddings",
    "Frames",
    "Part",
    "StoreError",
    "StoreWriter",
    "StoredPart",
    "Verified",
    "compact",
    "stored_table",
    "verify",
]
