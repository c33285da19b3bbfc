"""Building the torch module of a checkpoint: pretrained or random, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from ser_transfer.encoders.base import EncoderError
from ser_transfer.encoders.checkpoints import Checkpoint

if TYPE_CHECKING:
    from torch import nn

# Parameters that only pretraining uses: they may be missing.
UNUSED_PARAMETERS = {"masked_spec_embed"}

# Whisper's encoder alone: its decoder is never built nor read. Checkpoints name the encoder's weights
# "encoder.*" (bare, or with an audio classifier) or "model.encoder.*" (with the language model's head).
WHISPER_KEYS = {r"^(?:model\.)?encoder\.": ""}


def load_model(checkpoint: Checkpoint) -> nn.Module:
    """Load the encoder of a checkpoint, without the head it may have been saved with.

    Args:
        checkpoint: With its weights.

    Returns:
        The module in float32, on the CPU, in evaluation mode.

    Raises:
        EncoderError: If a file cannot be read, or the checkpoint lacks weights of the encoder, which
            transformers would fill with random numbers.
    """
    auto_class, config, arguments = _model_class(checkpoint)
    import torch
    from safetensors import SafetensorError

    try:
        with _quiet():
            model, report = auto_class.from_pretrained(
                checkpoint.folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=checkpoint.safetensors,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                **arguments,
            )
    except UnpicklingError as error:
        raise EncoderError(
            f"the torch pickle of {checkpoint.name} holds more than tensors, so it could run code: not "
            f"loaded. Convert it to safetensors where you trust it"
        ) from error
    except (OSError, ValueError, RuntimeError, EOFError, SafetensorError) as error:
        reason = str(error).strip().split("\n")[0]
        raise EncoderError(
            f"the weights of {checkpoint.name} cannot be loaded ({reason}): fetch or save the model again"
        ) from error
    missing = sorted(key for key in report["missing_keys"] if key.split(".")[-1] not in UNUSED_PARAMETERS)
    if missing:
        raise EncoderError(
            f"{checkpoint.name} lacks {len(missing)} weights of its encoder ({', '.join(missing[:3])}, ...), "
            f"which would be random numbers: give the whole checkpoint, or take all random with --untrained"
        )
    return _prepared(model)


def random_model(checkpoint: Checkpoint, seed: int) -> nn.Module:
    """Build a checkpoint's architecture with random weights, as before its pretraining.

    Drawn on the CPU, so a seed gives the same weights for every device, and without touching the
    generator that others draw from.
    """
    auto_class, config, _ = _model_class(checkpoint)
    import torch

    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(seed)
        build = getattr(auto_class, "from_config", None) or auto_class._from_config
        return _prepared(build(config))


def _model_class(checkpoint: Checkpoint) -> tuple[Any, Any, dict[str, Any]]:
    """Give the class that loads a checkpoint, its config, and what else the class must be told."""
    model_type = checkpoint.config["model_type"]
    try:
        from transformers import AutoModel
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        config = CONFIG_MAPPING[model_type].from_dict(checkpoint.config)
        if model_type == "whisper":
            from transformers.models.whisper.modeling_whisper import WhisperEncoder

            return WhisperEncoder, config, {"key_mapping": WHISPER_KEYS}
        # Looked up here, as transformers imports a model's file when it is first asked for.
        AutoModel._model_mapping[type(config)]
    except (ImportError, OSError, RuntimeError) as error:
        raise EncoderError(_broken_installation(error)) from error
    return AutoModel, config, {}


def _broken_installation(error: BaseException) -> str:
    """Say which versions do not fit, where importing transformers fails."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    reason = str(cause).strip().split("\n")[0]
    versions = ", ".join(f"{name} {_version(name)}" for name in ("torch", "torchaudio", "transformers"))
    return (
        f"transformers cannot be imported here ({reason}). Installed: {versions}; torch and torchaudio "
        f"must be built for each other, type: pip install --upgrade ser-transfer torch torchaudio"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _prepared(model: nn.Module) -> nn.Module:
    """Freeze a model for inference and take off what no layer's output needs."""
    import torch
    from torch.nn.utils import parametrize

    if getattr(model, "adapter", None) is not None:
        # It shortens the output for a decoder; the layers below it are what is embedded.
        model.adapter = None  # type: ignore[assignment]  # nn.Module declares no such attribute
    for module in model.modules():
        if parametrize.is_parametrized(module):
            # Weight norm of the positional convolution: multiplied out once, not in every forward pass.
            for name in list(module.parametrizations):  # type: ignore[arg-type]  # a ModuleDict, untyped
                with torch.no_grad():
                    parametrize.remove_parametrizations(module, name)
    return model.eval().requires_grad_(False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' progress bars and load report off the screen; what matters of them is checked."""
    from transformers.utils import logging

    verbosity, shows_progress = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shows_progress:
            logging.enable_progress_bar()
