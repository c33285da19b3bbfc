"""One file of weights: given, in the cache, or downloaded once and checked against a pinned hash."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ser_transfer.encoders.base import EncoderError

if TYPE_CHECKING:
    from http.client import HTTPResponse

    from torch import Tensor

TIMEOUT = 30.0  # seconds without an answer before a download counts as failed
CHUNK = 1 << 20  # bytes read at a time


@dataclass(frozen=True)
class PublishedWeights:
    """A file that the authors of a model publish.

    Attributes:
        url: Where it is.
        sha256: Of its content, as 64 hex digits. Another file at that address is refused.
    """

    url: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The last part of the address, under which the cache keeps the file."""
        return self.url.rpartition("/")[2]


def find_weights(given: str | Path | None, published: PublishedWeights) -> Path:
    """Find a file of weights: the one given, else the published one in the cache, else on the network.

    The cache is the folder ``weights`` in ``$SER_TRANSFER_CACHE`` (default ``cache``, in the working
    directory). A file put there by hand serves a machine without a network.

    Args:
        given: A file of the user's choice, whatever its content; None for the published one.
        published: Where to download it, and what it must hash to.

    Raises:
        EncoderError: If the given file is not there, the network cannot be reached, or the published
            file's content is not the pinned one.
    """
    if given is not None:
        path = Path(given).expanduser()
        if not path.is_file():
            raise EncoderError(
                f"there is no file of weights at {given}: give one, or leave --weights out to download "
                f"{published.file_name}"
            )
        return path
    path = weights_folder() / published.file_name
    if not path.is_file():
        _download(published, path)
    elif sha256_of(path) != published.sha256:
        raise EncoderError(
            f"{path} is not the published file (its SHA-256 is not {published.sha256}): remove it, or give "
            f"it with --weights if it is meant"
        )
    return path


def weights_folder() -> Path:
    """Tell where downloaded files of weights are kept."""
    return Path(os.environ.get("SER_TRANSFER_CACHE", "cache")) / "weights"


def sha256_of(path: Path) -> str:
    """Hash a file's content, as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def read_weights(path: Path, readers: dict[str, Callable[[Path], dict[str, Tensor]]]) -> dict[str, Tensor]:
    """Read a file by the reader of its suffix, and say which file it was if it cannot be read.

    Args:
        path: The file.
        readers: What each suffix is read with.

    Raises:
        EncoderError: If no reader takes the suffix, or the file is damaged or of another kind.
    """
    if path.suffix.lower() not in readers:
        raise EncoderError(f"{path} is no file of weights that is known here: {', '.join(readers)}")
    from safetensors import SafetensorError

    try:
        return readers[path.suffix.lower()](path)
    except (OSError, EOFError, KeyError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        if isinstance(error, pickle.UnpicklingError):
            # torch's own text goes on to recommend running the file's code.
            reason = "it holds more than tensors, or none"
        else:
            reason = str(error).strip().split("\n")[0] or "it is empty"
        raise EncoderError(
            f"the weights in {path} cannot be read ({reason}): fetch the file again"
        ) from error


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read every tensor of a safetensors file, on the CPU."""
    from safetensors.torch import load_file

    tensors: dict[str, Tensor] = load_file(path)
    return tensors


def read_torch(path: Path) -> dict[str, Tensor]:
    """Read a state dict that torch saved, with the loader that builds tensors and never runs code."""
    import torch

    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        raise EncoderError(f"{path} holds no state dict, but a {type(content).__name__}: save state_dict()")
    return content


def _download(published: PublishedWeights, path: Path) -> None:
    """Fetch a file and put it in place whole, once its content is the pinned one."""
    import urllib.request
    from http.client import HTTPException

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with urllib.request.urlopen(published.url, timeout=TIMEOUT) as answer, part.open("wb") as file:
            _copy(answer, file, f"downloading {path.name}")
        if (found := sha256_of(part)) != published.sha256:
            raise EncoderError(
                f"what {published.url} gave is not the published file (SHA-256 {found}, not "
                f"{published.sha256}): try again, or get {path.name} elsewhere and give it with --weights"
            )
        part.replace(path)
    except (OSError, HTTPException) as error:  # no network, a time-out, an answer other than 200
        raise EncoderError(
            f"{path} is not there, and {published.url} cannot be downloaded ({error}): connect once, put "
            f"that file there by hand, or give --weights FILE"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _copy(answer: HTTPResponse, file: BinaryIO, description: str) -> None:
    """Write the body of an answer to a file, with a progress bar on the terminal."""
    from rich.console import Console
    from rich.progress import wrap_file

    n_bytes = int(answer.headers.get("Content-Length", 0))
    console = Console(stderr=True)
    with wrap_file(answer, n_bytes, description=description, console=console, transient=True) as body:
        shutil.copyfileobj(body, file, CHUNK)
