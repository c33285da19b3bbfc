"""A folder on the Hub, as one commit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_transfer.hub.answers import LOGIN, HubError, in_one_line
from ser_transfer.hub.patience import patiently
from ser_transfer.hub.safety import check_safe

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_KEPT = ".gitattributes"  # the Hub's own: which files are large


def push_folder(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    repo_type: str = "model",
    message: str,
    exist_ok: bool = False,
) -> str:
    """Make a repository hold what a folder holds, in one commit.

    The repository is made if it is not there. Files that are not in the folder are deleted from it. Readers
    see the commit before until this one is whole, wherever the push breaks off; pushing again sends only what
    is not there yet. The token is that of ``hf auth login`` (or ``HF_TOKEN``). Hidden files are left out.

    Args:
        folder: What to push; of a model, `check_safe` looks at it first.
        repo_id: ``owner/name``.
        private: Only the owner may read it. One that is there already keeps who may read it, so a public one
            is refused.
        repo_type: ``"model"``, ``"dataset"`` or ``"space"`` (of Gradio).
        message: Of the commit.
        exist_ok: Whether a repository that holds files already is replaced by a new commit.

    Returns:
        The commit's URL; of the newest one if the repository holds just this already.

    Raises:
        HubError: If there is no token, or none that may write there, the name is taken, the Hub cannot be
            reached or refuses the card, or the folder holds what does not belong into a model.
    """
    from huggingface_hub import HfApi, get_token

    files = _files(Path(folder))
    if repo_type == "model":
        try:
            check_safe(files)
        except HubError as error:
            raise HubError(f"{folder} is not pushed: {error}") from error
    token = get_token()
    if token is None:
        raise HubError(
            f"you are not logged in to the Hub: type {LOGIN}, with a token that has the right to write, from "
            "https://huggingface.co/settings/tokens"
        )
    if repo_id.count("/") != 1:
        raise HubError(f"{repo_id!r} is no Hub id: give owner/{repo_type}")
    api = HfApi(token=token)
    with in_one_line(repo_id, repo_type=repo_type):
        patiently(
            lambda: api.create_repo(
                repo_id,
                private=private or None,  # else as the owner's settings say
                repo_type=repo_type,
                exist_ok=True,
                space_sdk="gradio" if repo_type == "space" else None,
            )
        )
        info: Any = patiently(lambda: api.repo_info(repo_id, repo_type=repo_type))
        if not exist_ok and any(file.rfilename != _KEPT for file in info.siblings or []):
            raise HubError(
                f"{repo_id} is taken, it holds files already: give another name, or say that they may be "
                "replaced"
            )
        if private and not info.private:
            raise HubError(
                f"{repo_id} is there already, for all to read: make it private in its settings first, or "
                "give another name"
            )
        # The whole of it may be asked for again: an answer that got lost is then found as the newest commit.
        return patiently(lambda: _commit(api, files, repo_id, repo_type, message))


def _files(folder: Path) -> dict[str, Path]:
    """List a folder by the names that its files will have."""
    if not folder.is_dir():
        raise HubError(f"there is no folder {folder} to push")
    found = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    files = {
        name.as_posix(): path
        for name, path in found.items()
        if not any(part.startswith(".") for part in name.parts)
    }
    if not files:
        raise HubError(f"the folder {folder} is empty: there is nothing to push")
    return files


def _commit(api: HfApi, files: Mapping[str, Path], repo_id: str, repo_type: str, message: str) -> str:
    """Send what changed, then one commit.

    Not by `upload_folder`, which makes several commits of many files: readers could see a half.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete
    from huggingface_hub.errors import HFValidationError

    info: Any = api.repo_info(repo_id, repo_type=repo_type)
    gone = {file.rfilename for file in info.siblings or []} - files.keys() - {_KEPT}
    try:
        made = api.create_commit(
            repo_id,
            [
                *(CommitOperationDelete(name, is_folder=False) for name in sorted(gone)),
                *(CommitOperationAdd(name, path) for name, path in files.items()),
            ],
            commit_message=message,
            repo_type=repo_type,
            parent_commit=info.sha,
        )
    except HFValidationError:
        raise
    except ValueError as error:
        if "README.md" not in str(error):
            raise
        raise HubError(f"the Hub refuses the card README.md: {' '.join(str(error).split())}") from error
    return str(made.commit_url)
