"""What is wrong with a model."""

from __future__ import annotations

from ser_transfer.errors import SerTransferError


class ModelError(SerTransferError):
    """A model that cannot be saved, or a folder that holds none that can be trusted."""
