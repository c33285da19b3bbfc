"""A fitted sequence head on disk, without a pickle.

<folder>/
  head.json           format, name, settings, classes, features per frame, training curve
  head.safetensors    the network's weights and the training frames' statistics
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError

from ser_transfer.heads.registry import HeadError
from ser_transfer.heads.sequence.registry import make_sequence_head

if TYPE_CHECKING:
    from ser_transfer.heads.sequence.classifier import SequenceHead

FORMAT = 1  # of the folder; a reader refuses any other
CONFIG, WEIGHTS = "head.json", "head.safetensors"
FIELDS = ("format", "name", "settings", "classes", "n_features", "best_epoch", "history")


def save(head: SequenceHead, folder: str | Path) -> None:
    """Write a fitted head.

    Raises:
        HeadError: If the folder cannot be written.
    """
    from safetensors.numpy import save_file

    state = head.state()
    values = (
        FORMAT,
        head.name,
        head.get_params(deep=False),
        head.classes_.tolist(),
        head.n_features_in_,
        head.best_epoch_,
        head.history_,
    )
    config = dict(zip(FIELDS, values, strict=True))
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(state, folder / WEIGHTS)
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise HeadError(f"cannot write the head to {folder}: {error}") from error


def load_sequence_head(folder: str | Path) -> SequenceHead:
    """Read a head that its `save` wrote. Nothing in the folder is run.

    Returns:
        The fitted head; its probabilities are those of the saved one, to the bit.

    Raises:
        HeadError: If there is no head, another version wrote it, a setting is unknown or out of range, or
            the weights are not those of its network.
    """
    folder = Path(folder)
    config = _read_config(folder)
    settings = {name: _tuple(value) for name, value in config["settings"].items()}
    try:
        head = make_sequence_head(config["name"], **settings)
        _restore(head, config, _read_weights(folder))
    except HeadError as error:
        raise HeadError(f"{folder} holds a head that cannot be read: {error}") from error
    return head


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except OSError as error:
        raise HeadError(f"{folder} holds no sequence head: {error.strerror}: {error.filename}") from error
    except ValueError as error:
        raise HeadError(f"{folder / CONFIG} is no JSON: {error}; save the head again") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise HeadError(
            f"{folder / CONFIG} does not say format {FORMAT}, the one that this ser_transfer reads: read it "
            "with the version that wrote it, or train again"
        )
    if missing := [name for name in FIELDS if name not in config]:
        raise HeadError(f"{folder / CONFIG} lacks {', '.join(missing)}; save the head again")
    return config


def _read_weights(folder: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        state: dict[str, Any] = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise HeadError(f"{WEIGHTS} cannot be read: {error}; save the head again") from error
    return state


def _restore(head: SequenceHead, config: dict[str, Any], state: dict[str, Any]) -> None:
    """Bring what was learned back into an unfitted head."""
    import torch

    from ser_transfer.heads.sequence.frames import Standardiser
    from ser_transfer.heads.sequence.settings import check_settings
    from ser_transfer.heads.sequence.training import own_randomness

    check_settings(head)
    head.classes_ = np.array(config["classes"])
    head.n_features_in_ = config["n_features"]
    head.best_epoch_, head.history_ = config["best_epoch"], config["history"]
    with own_randomness(0):  # its first weights are written over
        head.network_ = head.build_network(head.n_features_in_, len(head.classes_))
    weights = {
        name.removeprefix("network."): torch.from_numpy(np.array(value))
        for name, value in state.items()
        if name.startswith("network.")
    }
    try:
        head.standardiser_ = Standardiser(state["standardiser.mean"], state["standardiser.scale"])
        head.network_.load_state_dict(weights)
    except (KeyError, RuntimeError) as error:
        raise HeadError(f"{WEIGHTS} does not hold the weights of its settings: {error}") from error
    head.network_.eval()


def _tuple(value: Any) -> Any:
    """Give JSON's lists back as the tuples that they were."""
    return tuple(value) if isinstance(value, list) else value
