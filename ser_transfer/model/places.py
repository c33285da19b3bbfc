"""Where a model lies: in the package, in a folder, or on the Hub."""

from __future__ import annotations

from pathlib import Path

from ser_transfer.model.errors import ModelError

# What ships with the package, made by `make shipped-models`: the folder's name is the model's.
_SHIPPED = Path(__file__).parent / "shipped"
SHIPPED_MODEL = "emodb-handcrafted"
MFCC_MODEL = "emodb-mfcc"  # the baseline that every other model is set beside
SHIPPED_MODELS = (SHIPPED_MODEL, MFCC_MODEL)

HUB_TIMEOUT_SECONDS = 10
# What a model can be read from. Pickles are not among them, and are not fetched.
_PATTERNS = ("*.json", "*.safetensors", "*.skops")


def model_folder(name: str | Path, revision: str | None = None) -> Path:
    """Find the folder that holds a model's files.

    Args:
        name: One of `SHIPPED_MODELS`, a folder of a model or of a run, or a Hub id.
        revision: Commit, tag or branch of a Hub id.

    Raises:
        ModelError: If there is none.
    """
    if name in SHIPPED_MODELS:
        if revision is not None:
            raise ModelError(f"{name} ships with this package and has no revision: leave it away")
        return _SHIPPED / str(name).replace("-", "_")
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return _on_hub(str(name), revision)
    if revision is not None:
        raise ModelError(f"{name} is a folder and has no revision {revision!r}: leave the revision away")
    if (folder / "metrics.json").is_file() and not (folder / "config.json").is_file():
        return _of_run(folder)
    return folder


def _of_run(folder: Path) -> Path:
    if not (folder / "model").is_dir():
        raise ModelError(
            f"the run in {folder} kept no model: train again on all folds, without --no-keep-model"
        )
    return folder / "model"


def _on_hub(name: str, revision: str | None) -> Path:
    """Fetch what the local Hub cache lacks of the newest commit; without a network, take what it has."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError: httpx's, or httpx2's
        GatedRepoError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    shipped = " or ".join(SHIPPED_MODELS)
    try:
        # Asking fails at once where there is no network; a download would retry for half a minute.
        commit = HfApi().model_info(name, revision=revision, timeout=HUB_TIMEOUT_SECONDS).sha
        return Path(snapshot_download(name, revision=commit, allow_patterns=list(_PATTERNS)))
    except HFValidationError as error:
        raise ModelError(
            f"there is no folder {name!r}, and it is no Hub id either (owner/model); shipped are {shipped}"
        ) from error
    except GatedRepoError as error:
        raise ModelError(
            f"{name} is gated: accept its terms on its page, then type: hf auth login"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(f"{name} has no revision {revision!r} on the Hub") from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"there is no folder and no Hub model {name!r}; a private one needs: hf auth login. Shipped are "
            f"{shipped}"
        ) from error
    except (HTTPError, OfflineModeIsEnabled, OSError) as error:
        try:
            return Path(
                snapshot_download(
                    name, revision=revision, allow_patterns=list(_PATTERNS), local_files_only=True
                )
            )
        except LocalEntryNotFoundError:
            raise ModelError(
                f"{name} is no folder and not in the local Hub cache, and the Hub cannot be reached "
                f"({type(error).__name__}): give a folder, or one of {shipped}"
            ) from error
