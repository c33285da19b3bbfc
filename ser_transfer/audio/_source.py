"""Where sound comes from: a file or bytes, a segment of it, and the error that says what is wrong with it."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from ser_transfer.audio._containers import CONTAINER_OF_EXTENSION, Container, inspect
from ser_transfer.errors import SerTransferError
from ser_transfer.places import PlaceError, cause_of, is_url, place, read_object

AudioSource = str | os.PathLike[str] | bytes | Mapping[str, Any]
Reason = Literal[
    "missing",  # no file there
    "empty",  # no bytes, or no samples
    "silent",  # nothing above SILENCE_PEAK
    "truncated",  # its headers declare more than is there, or decoding breaks off
    "too_short",  # shorter than min_seconds
    "non_finite",  # NaN or infinite samples
    "mislabelled",  # another format than its extension says
    "segment",  # the segment asked for does not lie inside the recording
    "unreadable",  # whatever else the decoders refuse
]

_ADVICE: dict[Reason, str] = {
    "missing": "Check the path, and the root the corpus was given",
    "empty": "Fetch or export it again, or leave it out",
    "silent": "Check the recording, or leave it out",
    "truncated": "Fetch or export it again, or leave it out",
    "too_short": "Leave it out, or join it to its neighbour",
    "non_finite": "Export it again from its source, or leave it out",
    "mislabelled": "Name it for what it is, or fetch the recording again",
    "segment": "Check the start and the end in the table, in seconds",
    "unreadable": "Convert it, for example with `ffmpeg -i FILE out.wav`, or leave it out",
}

_NOT_FETCHED = "it cannot be fetched"  # how what was found begins where the network is to blame


class AudioError(SerTransferError):
    """A recording that cannot become a waveform.

    Attributes:
        reason: One of the names in `Reason`.
        path: The file, as it was given; ``<bytes>`` for bytes without a path.
    """

    def __init__(self, reason: Reason, path: str, found: str) -> None:
        # All three are args of the exception, so that it passes between processes unchanged.
        super().__init__(reason, path, found)
        self.reason = reason
        self.path = path
        self.found = found

    def __str__(self) -> str:
        advice = "" if self.found.startswith(_NOT_FETCHED) else f" {_ADVICE[self.reason]}."
        return f"{self.path}: {self.reason}: {self.found}.{advice}"


@dataclass(frozen=True)
class Segment:
    """From where to where, in seconds; an open end is the recording's own."""

    start_seconds: float = 0.0
    end_seconds: float | None = None

    @classmethod
    def of(cls, start_seconds: float | None, end_seconds: float | None, name: str) -> Segment:
        start = 0.0 if start_seconds is None else float(start_seconds)
        end = None if end_seconds is None else float(end_seconds)
        if not (0 <= start < (math.inf if end is None else end) and math.isfinite(end or 0.0)):
            raise AudioError("segment", name, f"nothing lies between {start_seconds} s and {end_seconds} s")
        return cls(start, end)

    def frames(self, rate: int) -> tuple[int, float]:
        """The first frame, and the one behind the last, which is infinity for the end of the recording."""
        end = math.inf if self.end_seconds is None else round(self.end_seconds * rate)
        return round(self.start_seconds * rate), end


@dataclass(frozen=True)
class Recording:
    """A file by its path, or the bytes of one; `name` stands in messages.

    What lies at a URL is fetched when it is named, whole and once: looking at its headers and decoding it
    then cost no more requests.
    """

    name: str
    data: bytes | None

    @classmethod
    def of(cls, source: AudioSource) -> Recording:
        if isinstance(source, bytes):
            return cls("<bytes>", source)
        if not isinstance(source, Mapping):
            return cls._named(str(source) if is_url(source) else os.fspath(source), None)
        data, path = source.get("bytes"), source.get("path")
        if data is None and path is None:
            raise AudioError("missing", "<row>", "its audio has neither bytes nor a path")
        return cls._named("<bytes>" if path is None else os.fspath(path), data)

    @classmethod
    def _named(cls, name: str, data: bytes | None) -> Recording:
        if data is not None or not is_url(name):
            return cls(name, data)
        try:
            found = place(name)
            return cls(name, found.read_bytes() if isinstance(found, Path) else read_object(found))
        except PlaceError as error:  # a scheme that nothing here knows
            raise AudioError("missing", name, str(error)) from error
        except FileNotFoundError as error:
            raise AudioError("missing", name, "there is no such file") from error
        except (OSError, ValueError) as error:
            raise AudioError("unreadable", name, f"{_NOT_FETCHED}: {cause_of(error)}") from error

    @property
    def promised_container(self) -> str | None:
        """The container that the extension stands for, if it stands for one."""
        return CONTAINER_OF_EXTENSION.get(Path(self.name).suffix.lower())

    def open(self) -> BinaryIO:
        if self.data is not None:
            return io.BytesIO(self.data)
        path = Path(self.name)
        try:
            if path.is_file():  # and not a folder, nor a pipe, which would wait for its writer
                return path.open("rb")
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise AudioError("unreadable", self.name, f"it cannot be opened ({error})") from error
        found = "this is a folder, not a file" if path.is_dir() else "there is no such file"
        raise AudioError("missing", self.name, found)

    def inspected(self) -> Container:
        """Look at the headers, and refuse what they already tell to be wrong."""
        with self.open() as file:
            container = inspect(file)
        if not container.n_bytes:
            raise AudioError("empty", self.name, "the file has no bytes")
        expected = self.promised_container
        if expected and container.name and container.name != expected:
            found = f"by its name it is {expected}, by its content {container.name}"
            raise AudioError("mislabelled", self.name, found)
        if (container.n_bytes_declared or 0) > container.n_bytes:
            found = f"its headers call for {container.n_bytes_declared} bytes, and it has {container.n_bytes}"
            raise AudioError("truncated", self.name, found)
        return container
