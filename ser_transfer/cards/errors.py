"""What goes wrong with cards."""

from __future__ import annotations

from ser_transfer.errors import SerTransferError


class CardError(SerTransferError):
    """A run of which no card can be made, or a card that cannot be written."""
