"""Building the torch module of a checkpoint: pretrained or random, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from ser_transfer.encoders.base import EncoderError
from ser_transfer.encoders.checkpoints import Checkpoint
from ser_transfer.encoders.encoder_part import EncoderPart, find_encoder, unsupported
from ser_transfer.encoders.front_ends import FRONT_ENDS

if TYPE_CHECKING:
    from torch import nn

# Parameters that only pretraining uses: they may be missing.
UNUSED_PARAMETERS = {"masked_spec_embed"}


def build_model(checkpoint: Checkpoint, seed: int | None) -> nn.Module:
    """Load a checkpoint's encoder, or draw its weights where there is a seed."""
    return load_model(checkpoint) if seed is None else random_model(checkpoint, seed)


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
    part = _encoder_part(checkpoint)
    model, missing = read_weights(checkpoint, part.model_class, part.config, part.key_mapping)
    if missing and part.path and part.is_in_auto_model:
        # transformers renames the weights of some types, which it knows how to only for the whole model.
        from transformers import AutoModel

        whole, missing = read_weights(checkpoint, AutoModel, None, {})
        model = whole.get_submodule(part.path)
        missing = [key for key in missing if key.startswith(f"{part.path}.")]
    if missing:
        raise EncoderError(
            f"{checkpoint.name} lacks {len(missing)} weights of its encoder ({', '.join(missing[:3])}, ...), "
            f"which would be random numbers: give the whole checkpoint, or take all random with --untrained"
        )
    return _prepared(model, checkpoint)


def read_weights(
    checkpoint: Checkpoint,
    model_class: Any,
    config: Any,
    key_mapping: dict[str, str],
    *,
    ignore_mismatched_sizes: bool = False,
) -> tuple[nn.Module, list[str]]:
    """Build a model of a class around a checkpoint's weights, and name those that it lacks.

    Args:
        checkpoint: With its weights.
        model_class: A ``PreTrainedModel``.
        config: To build it from; None for the checkpoint's own.
        key_mapping: Renames weights for ``from_pretrained``.
        ignore_mismatched_sizes: Take a weight of another shape for one that is lacking.

    Raises:
        EncoderError: If a file cannot be read.
    """
    import torch
    from safetensors import SafetensorError

    try:
        with quiet():
            model, report = model_class.from_pretrained(
                checkpoint.folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=checkpoint.safetensors,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                key_mapping=key_mapping or None,
                ignore_mismatched_sizes=ignore_mismatched_sizes,
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
    lacking = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    return model, sorted(key for key in lacking if key.split(".")[-1] not in UNUSED_PARAMETERS)


def random_model(checkpoint: Checkpoint, seed: int) -> nn.Module:
    """Build a checkpoint's architecture with random weights, as before its pretraining.

    Drawn on the CPU, so a seed gives the same weights for every device, and without touching the
    generator that others draw from.
    """
    part = _encoder_part(checkpoint)
    import torch

    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        return _prepared(part.model_class._from_config(part.config), checkpoint)


def _encoder_part(checkpoint: Checkpoint) -> EncoderPart:
    """Find the class that a checkpoint's encoder is built with."""
    model_type = checkpoint.config.get("model_type")
    try:
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        if model_type not in CONFIG_MAPPING:
            raise unsupported(checkpoint, "this version of transformers does not know it")
        config = CONFIG_MAPPING[model_type].from_dict(checkpoint.config)
        # Here too transformers imports: a model's file when it is first asked for.
        with quiet():
            return find_encoder(checkpoint, config)
    except (ImportError, OSError, RuntimeError) as error:
        raise EncoderError(_broken_installation(error)) from error


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


def _prepared(model: nn.Module, checkpoint: Checkpoint) -> nn.Module:
    """Freeze a model for inference and take off what no layer's output needs."""
    import torch
    from torch.nn.utils import parametrize

    if checkpoint.config["model_type"] in FRONT_ENDS and getattr(model, "adapter", None) is not None:
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
def quiet() -> Iterator[None]:
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
