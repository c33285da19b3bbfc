"""Embeddings on disk: computed once per recording, found again by content."""

from ser_transfer.store.embeddings import Embeddings
from ser_transfer.store.files import StoreError
from ser_transfer.store.part import Part, StoredPart
from ser_transfer.store.store import EmbeddingStore
from ser_transfer.store.writer import StoreWriter

__all__ = ["EmbeddingStore", "Embeddings", "Part", "StoreError", "StoreWriter", "StoredPart"]
