"""Finding a transformers checkpoint: in a folder, in the local Hub cache, or on the Hub.

Only files are looked at here, never torch: what the config says and what the weights hash to is all that
a run needs whose embeddings lie in the store already.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_transfer.encoders.base import EncoderError
from ser_transfer.encoders.weight_files import sha256_of
from ser_transfer.hub import HubError, UnreachableError, fetch_from_url, in_one_line, patiently
from ser_transfer.places import is_url

SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")
# Read with torch's weights_only loader, which builds tensors and runs no code of the file.
TORCH_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
HUB_TIMEOUT_SECONDS = 10
PREPROCESSORS = ("preprocessor_config.json", "processor_config.json")

# Architectures that need no file at all, for the untrained control. What is not said is the default of
# the config class, which is the published model's.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "wav2vec2-base": {
        "model_type": "wav2vec2",
        "feat_extract_norm": "group",
        "conv_dim": [512] * 7,
        "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
        "conv_stride": [5, 2, 2, 2, 2, 2, 2],
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
    },
}


@dataclass(frozen=True)
class Checkpoint:
    """What lies behind the name of a transformers model.

    Attributes:
        name: What the user asked for.
        config: The content of ``config.json``.
        preprocessor: The feature extractor's settings; None where the checkpoint has none.
        folder: Where the files lie; None for an architecture of `ARCHITECTURES`.
        weights: The files of weights, sorted; empty where they are not wanted.
        revision: The commit on the Hub; None for a plain folder.
    """

    name: str
    config: dict[str, Any]
    preprocessor: dict[str, Any] | None
    folder: Path | None = None
    weights: tuple[Path, ...] = ()
    revision: str | None = None

    @property
    def safetensors(self) -> bool:
        """Whether the weights are safetensors, not a torch pickle."""
        return all(path.suffix == ".safetensors" for path in self.weights)

    def files(self) -> tuple[Path, ...]:
        """List all that has to lie in a folder for it to be this checkpoint."""
        if self.folder is None:
            return ()
        settings = ("config.json", *PREPROCESSORS, *(SAFETENSORS[1:] if len(self.weights) > 1 else ()))
        found = [self.folder / name for name in settings]
        return (*(path for path in found if path.is_file()), *self.weights)

    def content(self) -> dict[str, Any]:
        """Give all that the model's numbers follow from: settings, and the hash of each file of weights."""
        weights = [_sha256(path) for path in self.weights]
        return {"config": self.config, "preprocessor": self.preprocessor, "weights": weights}


def find_checkpoint(name: str, *, revision: str | None = None, with_weights: bool = True) -> Checkpoint:
    """Find the files of a model.

    A folder is taken as it is. Of a Hub id, what the local Hub cache has is used without asking the
    network; only what is missing is downloaded.

    Args:
        name: A folder, its URL, a Hub id such as ``microsoft/wavlm-large``, or, without weights, a name of
            `ARCHITECTURES`.
        revision: Branch, tag or commit of the Hub id. Without it ``main``, as the cache last saw it.
        with_weights: False where the architecture alone is wanted.

    Raises:
        EncoderError: If there is no such folder or model, it has no config or weights, or the Hub cannot
            be reached and no copy lies here.
    """
    if name in ARCHITECTURES and not with_weights:
        return Checkpoint(name, ARCHITECTURES[name], preprocessor=None)
    folder = _from_url(name) if is_url(name) else Path(name).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise EncoderError(
                f"{name} is a folder and has no revision {revision!r}: leave the revision away"
            )
        return _read_folder(name, folder, with_weights, revision=None)
    return _find_on_hub(name, revision, with_weights)


def _from_url(url: str) -> Path:
    try:
        return fetch_from_url(url, ("*.json", "*.safetensors"))
    except HubError as error:
        raise EncoderError(str(error)) from error


def _find_on_hub(name: str, revision: str | None, with_weights: bool) -> Checkpoint:
    """Look into the local Hub cache, then fetch what it lacks."""
    hint = f"built in, with --untrained: {', '.join(ARCHITECTURES)}"
    try:
        with in_one_line(name, revision=revision, instead=hint):
            folder = _cached(name, revision, with_weights) or _download(name, revision, with_weights)
    except UnreachableError as error:
        at = f" at revision {revision!r}" if revision else ""
        raise EncoderError(
            f"{name!r} is no folder, the local Hub cache has no whole copy of it{at}, and the Hub cannot be "
            f"reached: connect once, or give a folder that holds the model; {hint}"
        ) from error
    except HubError as error:
        raise EncoderError(str(error)) from error
    return _read_folder(name, folder, with_weights, revision=folder.name)


def _cached(name: str, revision: str | None, with_weights: bool) -> Path | None:
    """Give the local Hub cache's copy, if all that is wanted of it is there."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(name, "config.json", revision=revision)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    prepared = any((folder / file).is_file() for file in PREPROCESSORS)
    return folder if prepared and (not with_weights or _weight_files(folder)) else None


def _download(name: str, revision: str | None, with_weights: bool) -> Path:
    """Download the config, the preprocessor and the best form of the weights into the Hub cache."""
    from huggingface_hub import HfApi, hf_hub_download

    # The listing fails at once where there is no network; a download would retry for half a minute.
    info = patiently(lambda: HfApi().model_info(name, revision=revision, timeout=HUB_TIMEOUT_SECONDS))
    files = [file.rfilename for file in info.siblings or []]
    if "config.json" not in files:
        raise EncoderError(f"{name} on the Hub has no config.json: it is no transformers model")
    # Under the revision's own name, so that the cache remembers which commit it was.
    folder = Path(hf_hub_download(name, "config.json", revision=revision)).parent
    commit = folder.name
    for file in PREPROCESSORS:
        if file in files:
            hf_hub_download(name, file, revision=commit)
    weights = [file for file in SAFETENSORS + TORCH_PICKLES if file in files]
    if with_weights and weights:
        for shard in _shards(Path(hf_hub_download(name, weights[0], revision=commit))):
            hf_hub_download(name, shard, revision=commit)
    return folder


def _read_folder(name: str, folder: Path, with_weights: bool, revision: str | None) -> Checkpoint:
    """Read the settings of a folder and list its weights."""
    if not (folder / "config.json").is_file():
        raise EncoderError(
            f"{name} has no config.json: save the model there with save_pretrained, or give a Hub id"
        )
    weights = _weight_files(folder) if with_weights else ()
    if with_weights and not weights:
        raise EncoderError(
            f"{name} has neither model.safetensors nor pytorch_model.bin: save the model there with "
            f"save_pretrained, or take its random weights with --untrained"
        )
    return Checkpoint(
        name, _read_json(folder / "config.json"), _preprocessor(folder), folder, weights, revision
    )


def _preprocessor(folder: Path) -> dict[str, Any] | None:
    """Read the feature extractor's settings, which a processor keeps in a part of its own file."""
    for file in PREPROCESSORS:
        if (folder / file).is_file():
            settings = _read_json(folder / file)
            part: dict[str, Any] = settings.get("feature_extractor", settings)
            return part
    return None


def _weight_files(folder: Path) -> tuple[Path, ...]:
    """List the files of the first form of weights that is there whole."""
    for file in SAFETENSORS + TORCH_PICKLES:
        if (folder / file).is_file():
            files = tuple(folder / shard for shard in _shards(folder / file))
            if all(path.is_file() for path in files):
                return files
    return ()


def _shards(path: Path) -> list[str]:
    """Name the files of weights: those that an index lists, or the file itself."""
    if path.name.endswith(".index.json"):
        return sorted(set(_read_json(path)["weight_map"].values()))
    return [path.name]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EncoderError(f"{path} is not JSON ({error}): fetch or save the model again") from error
    if not isinstance(content, dict):
        raise EncoderError(f"{path} holds no settings: fetch or save the model again")
    return content


def _sha256(path: Path) -> str:
    """Hash a file; a blob of the Hub cache is named by its hash already."""
    blob = path.resolve()
    if blob.parent.name == "blobs" and re.fullmatch("[0-9a-f]{64}", blob.name):
        return blob.name
    return sha256_of(path)
