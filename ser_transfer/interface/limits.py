"""What the page takes, so that no visitor costs the others theirs."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ser_transfer.errors import SerTransferError


class InterfaceError(SerTransferError):
    """What the page cannot take or show, in words for the person in front of it."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much one visitor may ask for.

    Attributes:
        max_seconds: Of one recording; also how long the microphone of the tab Live stays on.
        max_megabytes: Of one upload, in units of 10^6 bytes.
        max_explained_seconds: Longest recording of which it is shown what the model listened to: that takes
            dozens of answers about the whole of it.
        n_at_once: Requests that are worked on at the same time; the others wait in line.
        n_live: Microphones that are listened to at the same time.
    """

    max_seconds: float = 600.0
    max_megabytes: float = 100.0
    max_explained_seconds: float = 30.0
    n_at_once: int = 2
    n_live: int = 4

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not value > 0:
                raise InterfaceError(f"{item.name} must be above 0, not {value}")

    @property
    def max_bytes(self) -> int:
        """`max_megabytes`, in bytes."""
        return int(self.max_megabytes * 1_000_000)

    def refuse_size(self, n_bytes: int, name: str) -> None:
        """Refuse an upload that is too large.

        Raises:
            InterfaceError: If it is.
        """
        if n_bytes > self.max_bytes:
            raise InterfaceError(
                f"{name}: {n_bytes / 1e6:.1f} MB, and this page takes {self.max_megabytes:g} MB at most. Cut "
                "it, save it as FLAC or MP3, or start the page with a larger --max-megabytes."
            )

    def refuse_duration(self, seconds: float, name: str) -> None:
        """Refuse a recording that is too long.

        Args:
            seconds: Of the recording, or as many as were read before that was clear.
            name: Of the file, as its owner knows it.

        Raises:
            InterfaceError: If it is.
        """
        if seconds > self.max_seconds:
            raise InterfaceError(
                f"{name}: longer than the {self.max_seconds:g} s that this page takes. Cut it, start the "
                "page with a larger --max-seconds, or use: python -m ser_transfer.predict FILE --timeline"
            )
