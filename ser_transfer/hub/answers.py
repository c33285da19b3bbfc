"""What the Hub answers instead of what was asked for, each in one line."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager

from ser_transfer.errors import SerTransferError

LOGIN = "hf auth login"
_FULL = (errno.ENOSPC, errno.EDQUOT)


class HubError(SerTransferError):
    """A repository that cannot be fetched or pushed, or is not safe."""


class UnreachableError(HubError):
    """There is no network, or the Hub is down or asks for a pause."""


@contextmanager
def in_one_line(
    name: str, *, revision: str | None = None, repo_type: str = "model", instead: str = ""
) -> Iterator[None]:
    """Turn what `huggingface_hub` raises about a repository into a `HubError`.

    Args:
        name: Of the repository, as it was given.
        revision: As it was given.
        repo_type: ``"model"``, ``"dataset"`` or ``"space"``.
        instead: What else the user may give, where the name could have been a folder too.
    """
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError: httpx's, or httpx2's
        HFValidationError,
        HTTPError,
    )

    try:
        yield
    except SerTransferError:
        raise
    except (HTTPError, OSError, HFValidationError, json.JSONDecodeError, RuntimeError) as error:
        raise _explained(error, name, revision, repo_type, instead) from error


def _explained(
    error: BaseException, name: str, revision: str | None, repo_type: str, instead: str
) -> HubError:
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError: httpx's, or httpx2's
        GatedRepoError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    # What went wrong stands behind huggingface_hub's "error while uploading" and "not in the cache".
    while isinstance(error, (RuntimeError, LocalEntryNotFoundError)) and error.__cause__ is not None:
        error = error.__cause__
    status = status_of(error)
    folder, hint = (f"there is no folder {name!r}, and it", f"; {instead}") if instead else (repr(name), "")
    if isinstance(error, HFValidationError):
        return HubError(f"{folder} is no Hub id{' either' if instead else ''} (owner/{repo_type}){hint}")
    if isinstance(error, GatedRepoError):
        return HubError(f"{name} is gated: accept its terms on its page, then type: {LOGIN}")
    if isinstance(error, RevisionNotFoundError):
        return HubError(f"{name} has no revision {revision!r} on the Hub")
    if isinstance(error, RepositoryNotFoundError):
        missing = f"there is no {'folder and no ' if instead else ''}Hub {repo_type} {name!r}"
        return HubError(f"{missing}; a private one needs: {LOGIN}{hint}")
    if status == 401:
        return HubError(
            f"the Hub does not accept your token: type {LOGIN}, or correct HF_TOKEN, which goes before it"
        )
    if status == 403:
        return HubError(
            f"your token may not do this with {name}: log in with one that may ({LOGIN}). To push, it needs "
            "the right to write, and the name of a repository of your own or of your organisation"
        )
    if status == 412:
        return HubError(f"{name} was changed by somebody else meanwhile: push again")
    if status == 429:
        return UnreachableError(f"the Hub asks for a pause (HTTP 429, too many requests): try {name} later")
    if (status is not None and status >= 500) or isinstance(error, json.JSONDecodeError):
        return UnreachableError(
            f"the Hub is out of order ({f'HTTP {status}' if status else 'it answered no JSON'}): try {name} "
            "later, and see https://status.huggingface.co"
        )
    if status is not None:
        return HubError(f"the Hub refuses {name} (HTTP {status}): {_flat(error)}")
    if isinstance(error, OSError) and error.errno in _FULL:
        from huggingface_hub import constants

        return HubError(
            f"the disk is full, and {name} is not here whole: make room where {constants.HF_HUB_CACHE} lies, "
            "or set HF_HOME to a folder on another disk"
        )
    if isinstance(error, OfflineModeIsEnabled):
        return UnreachableError(f"the Hub is not asked, as HF_HUB_OFFLINE is set: unset it to reach {name}")
    unknown = type(error) is OSError and error.errno is None  # a connection's, not a disk's
    if unknown or isinstance(error, (HTTPError, ConnectionError, TimeoutError, LocalEntryNotFoundError)):
        return UnreachableError(
            f"the Hub cannot be reached ({type(error).__name__}): connect, and try {name} again"
        )
    return HubError(f"{name} was not fetched or pushed ({type(error).__name__}: {_flat(error)}): try again")


def status_of(error: BaseException) -> int | None:
    """Give the HTTP status that an error is about; None where there was no answer."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _flat(error: BaseException) -> str:
    """Write what the Hub said in one line."""
    return " ".join(str(getattr(error, "server_message", None) or error).split())
