"""What can go wrong while a network is fine-tuned."""

from __future__ import annotations

from ser_transfer.errors import SerTransferError


class FinetuneError(SerTransferError):
    """A network that cannot be built or trained so, or a training that cannot go on."""
