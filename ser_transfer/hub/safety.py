"""Which repositories are refused, and why.

Nothing of a foreign repository is ever run here: weights are read from safetensors, heads by skops from a
fixed list of types, settings from JSON. What is refused is what would tempt another reader to run it.

- A repository of ours (its config.json carries our mark) is refused whole if anything lies in it that can run
  code: we never write such a file, so somebody else planted it. So is one that has no config.json.
- A foreign repository, such as a transformers checkpoint, often keeps a pickle of the same weights beside its
  safetensors, and is harmless so long as nobody reads it: it is refused if its weights are there as a pickle
  only. What is not needed is not fetched.
- Either is refused if its settings ask for code from the repository.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from ser_transfer.hub.answers import HubError

_PICKLES = (
    *(".bin", ".ckpt", ".dill", ".joblib", ".mar", ".nemo", ".npy", ".npz", ".p", ".pickle", ".pkl"),
    *(".pt", ".pt2", ".pth", ".ptl", ".rda", ".rdata", ".rds", ".sav", ".t7", ".th"),
)
_GRAPHS = (".h5", ".hdf5", ".keras", ".pb")
_CODE = (
    *(".bash", ".bat", ".c", ".class", ".cmd", ".cpp", ".cu", ".dll", ".dylib", ".egg", ".exe", ".ipynb"),
    *(".jar", ".js", ".lua", ".mjs", ".php", ".pl", ".ps1", ".py", ".pyc", ".pyd", ".pyo", ".pyw", ".pyx"),
    *(".pyz", ".r", ".rb", ".sh", ".so", ".ts", ".wasm", ".whl", ".zsh"),
)
_ARCHIVES = (".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip", ".zst")

_REASONS = {
    **dict.fromkeys(_PICKLES, "can hold a pickle, which runs code when it is read"),
    **dict.fromkeys(_GRAPHS, "can hold layers that run code when it is read"),
    **dict.fromkeys(_CODE, "is code"),
    **dict.fromkeys(_ARCHIVES, "is an archive, in which any file can lie"),
}
_REMOTE_CODE = ("auto_map", "custom_pipelines", "trust_remote_code")

_MARK = "ser_transfer"  # of a fine-tuned network, in its config.json
_FROZEN = {"format", "kind", "encoder"}  # of a head on a frozen encoder
_TRAINING = "training.json"  # beside an adapter


def check_safe(names: Iterable[str], config: Mapping[str, Any] | None = None) -> None:
    """Refuse a repository that could make a reader run its code.

    Args:
        names: Of all its files.
        config: The content of its config.json or adapter_config.json. It decides how strict the look is; see
            the head of this file.

    Raises:
        HubError: Naming the file or the key, and what is wrong with it.
    """
    names = sorted(names)
    if config is not None:
        for key in _asking(config):
            raise HubError(f"its settings ask for code from the repository ({key})")
    if config is None or _is_ours(names, config):
        for name in names:
            if reason := _REASONS.get(_suffix(name)):
                raise HubError(f"{name} {reason}, and does not belong here")
    elif not any(_suffix(name) == ".safetensors" for name in names):
        for name in names:
            if _suffix(name) in (*_PICKLES, *_GRAPHS):
                raise HubError(f"{name} {_REASONS[_suffix(name)]}, and there are no safetensors of it")


def _is_ours(names: Iterable[str], config: Mapping[str, Any]) -> bool:
    return _MARK in config or config.keys() >= _FROZEN or _TRAINING in names


def _suffix(name: str) -> str:
    return PurePosixPath(name.strip()).suffix.lower()


def _asking(settings: Any) -> Iterator[str]:
    """Find the keys that make transformers or diffusers load code, at any depth."""
    if isinstance(settings, Mapping):
        yield from (key for key in _REMOTE_CODE if settings.get(key))
        for value in settings.values():
            yield from _asking(value)
    elif isinstance(settings, list):
        for value in settings:
            yield from _asking(value)
