"""A repository of the Hub, or the part of it that is needed, in the local Hub cache."""

from __future__ import annotations

import fnmatch
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from ser_transfer.hub.answers import HubError, UnreachableError, in_one_line
from ser_transfer.hub.patience import patiently
from ser_transfer.hub.safety import check_safe

TIMEOUT_SECONDS = 10
_CONFIGS = ("config.json", "adapter_config.json")  # which say what the repository is; it may hold both
_SETTINGS = "config.json"  # preprocessor_config.json, tokenizer_config.json, ...


def fetch(
    repo_id: str,
    *,
    revision: str | None = None,
    patterns: Sequence[str],
    repo_type: str = "model",
    instead: str = "",
) -> Path:
    """Fetch what the local Hub cache lacks of the newest commit of a revision.

    The Hub is asked for the commit first, which fails at once where there is no network; then the cached copy
    is taken. All files are of that one commit. Settings are fetched first and looked at: of a repository that
    `check_safe` refuses, nothing else is fetched.

    Args:
        repo_id: ``owner/name``.
        revision: Commit, tag or branch; without it ``main``.
        patterns: Of the files that are wanted, as of a shell; ``*`` matches ``/`` too.
        repo_type: ``"model"``, ``"dataset"`` or ``"space"``.
        instead: What else the user may give, for the error line, where the name could have been a folder.

    Returns:
        The folder of the commit in the local Hub cache.

    Raises:
        UnreachableError: If the Hub cannot be reached, and the cache holds no whole copy.
        HubError: If there is no such repository or revision, it may not be read, it is not safe, or the disk
            is full.
    """
    from huggingface_hub import HfApi, snapshot_download

    api = HfApi()
    try:
        with in_one_line(repo_id, revision=revision, repo_type=repo_type, instead=instead):
            info: Any = patiently(  # of a kernel, which is not asked for, it would have no siblings
                lambda: api.repo_info(
                    repo_id, revision=revision, repo_type=repo_type, timeout=TIMEOUT_SECONDS
                )
            )
    except UnreachableError as error:
        return _cached(repo_id, revision, patterns, repo_type, instead, error)
    names = [file.rfilename for file in info.siblings or []]
    wanted = [name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]
    if not wanted:
        raise HubError(f"{repo_id} holds none of {', '.join(patterns)}: it is no {repo_type} of this kind")
    settings = [name for name in names if name in _CONFIGS or (name in wanted and name.endswith(_SETTINGS))]
    download = partial(snapshot_download, repo_id, revision=info.sha, repo_type=repo_type)
    with in_one_line(repo_id, revision=revision, repo_type=repo_type):
        read = {}
        if settings:
            read = _read(Path(patiently(partial(download, allow_patterns=settings))), settings)
        _check(repo_id, names, read)
        folder = Path(patiently(partial(download, allow_patterns=list(patterns))))
    _remember(folder, revision or "main")
    return folder


def check_settings(name: str, names: Iterable[str], folder: Path) -> None:
    """Look at what a repository elsewhere holds, and at the settings of it that lie in a folder.

    Raises:
        HubError: If it is not safe.
    """
    names = list(names)
    _check(name, names, _read(folder, [each for each in names if each.endswith(_SETTINGS)]))


def _check(repo_id: str, names: Iterable[str], read: Mapping[str, dict[str, Any]]) -> None:
    """Look at what a repository holds and what its settings say."""
    config = {key: value for name in _CONFIGS for key, value in read.get(name, {}).items()}
    try:
        check_safe(names, config or None)
        for settings in read.values():
            check_safe([], settings)
    except HubError as error:
        raise HubError(f"{repo_id} is refused: {error}") from error


def _read(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Read settings; who loads the model says it if some are broken."""
    read = {}
    for name in names:
        with suppress(OSError, ValueError):
            found = json.loads((folder / name).read_text(encoding="utf-8"))
            if isinstance(found, dict):
                read[name] = found
    return read


def _remember(folder: Path, revision: str) -> None:
    """Note in the Hub cache which commit a revision was, for when there is no network.

    Only now, when the commit is here whole: one that broke off leaves the copy before it in place.
    """
    if re.fullmatch("[0-9a-f]{40}", revision):
        return
    note = folder.parents[1] / "refs" / revision
    with suppress(OSError):  # a cache that nobody may write to is good for reading
        note.parent.mkdir(parents=True, exist_ok=True)
        part = note.with_name(f"{note.name}.{os.getpid()}")
        part.write_text(folder.name, encoding="utf-8")
        part.replace(note)


def _cached(
    repo_id: str,
    revision: str | None,
    patterns: Sequence[str],
    repo_type: str,
    instead: str,
    unreachable: UnreachableError,
) -> Path:
    """Take the local Hub cache's copy, if it is whole."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(
                repo_id,
                revision=revision,
                repo_type=repo_type,
                allow_patterns=list(patterns),
                local_files_only=True,
            )
        )
    except LocalEntryNotFoundError:
        if not instead:
            raise unreachable from None
        at = f" at revision {revision!r}" if revision else ""
        raise UnreachableError(
            f"{repo_id} is no folder, the local Hub cache has no whole copy of it{at}, and {unreachable}; "
            f"{instead}"
        ) from unreachable
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    _check(repo_id, names, _read(folder, [name for name in names if name.endswith(_SETTINGS)]))
    return folder
