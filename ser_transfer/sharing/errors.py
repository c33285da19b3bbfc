"""What goes wrong where runs, embeddings and results are made ready to be shared, or are read again."""

from __future__ import annotations

from ser_transfer.errors import SerTransferError


class SharingError(SerTransferError):
    """What cannot be shared as asked, or a repository that is not what it is taken for."""
