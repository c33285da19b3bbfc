"""Where a model lies: in the package, in a folder, at a URL, or on the Hub."""

from __future__ import annotations

from pathlib import Path

from ser_transfer.hub import HubError, fetch, fetch_from_url
from ser_transfer.model.errors import ModelError
from ser_transfer.places import is_url

# What ships with the package, made by `make shipped-models`: the folder's name is the model's.
_SHIPPED = Path(__file__).parent / "shipped"
SHIPPED_MODEL = "emodb-handcrafted"
MFCC_MODEL = "emodb-mfcc"  # the baseline that every other model is set beside
SHIPPED_MODELS = (SHIPPED_MODEL, MFCC_MODEL)

# What a model can be read from. Pickles are not among them, and are not fetched.
_PATTERNS = ("*.json", "*.safetensors", "*.skops")


def model_folder(name: str | Path, revision: str | None = None) -> Path:
    """Find the folder that holds a model's files.

    Args:
        name: One of `SHIPPED_MODELS`, a folder of a model or of a run, here or at a URL, or a Hub id.
        revision: Commit, tag or branch of a Hub id.

    Raises:
        ModelError: If there is none, or one on the Hub or at a URL is not safe (see `hub.check_safe`).
        PlaceError: If a URL cannot be read.
    """
    if name in SHIPPED_MODELS:
        if revision is not None:
            raise ModelError(f"{name} ships with this package and has no revision: leave it away")
        return _SHIPPED / str(name).replace("-", "_")
    if is_url(name):
        if revision is not None:
            raise ModelError(f"{name} is a URL and has no revision {revision!r}: leave the revision away")
        try:
            return fetch_from_url(str(name), _PATTERNS, of_run="model")
        except HubError as error:
            raise ModelError(str(error)) from error
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
    shipped = " or ".join(SHIPPED_MODELS)
    try:
        return fetch(name, revision=revision, patterns=_PATTERNS, instead=f"shipped are {shipped}")
    except HubError as error:
        raise ModelError(str(error)) from error
