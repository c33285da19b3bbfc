"""Which device a torch module runs on, and at which precision."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ser_transfer.encoders.base import EncoderError, Precision

if TYPE_CHECKING:
    import torch
    from torch import nn

# Flags of torch.cpu.get_capabilities, any of which means that bfloat16 products are done by the CPU itself.
BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def check_precision(precision: str) -> None:
    """Refuse a precision that is not `Precision`.

    Raises:
        EncoderError: If it is not.
    """
    if precision not in ("float32", "bf16"):
        raise EncoderError(f"precision {precision!r} is not known: float32 or bf16")


def torch_device(name: str) -> torch.device:
    """Resolve ``"auto"`` (CUDA, else MPS, else the CPU), and refuse a device that is not here.

    Raises:
        EncoderError: If torch does not know the name, or cannot use the device.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().split("\n")[0]
        raise EncoderError(
            f"device {name!r} cannot be used here ({reason}): auto, cpu, cuda, cuda:1, mps"
        ) from error
    return device


def warn_of_slow_bf16(device: torch.device) -> None:
    """Warn where bfloat16 would be emulated."""
    import torch

    if device.type == "cpu" and not any(torch.cpu.get_capabilities().get(f) for f in BF16_INSTRUCTIONS):
        warnings.warn(
            "this CPU has no bfloat16 instructions, so bf16 will be many times slower than float32: "
            "type --precision float32",
            stacklevel=3,
        )


def prepare(network: nn.Module, device: torch.device, precision: Precision) -> nn.Module:
    """Bring a network to a device for inference, the weights of its matrix products in the precision.

    Autocast would round those weights in every pass; here it is done once.
    """
    import torch
    from torch import nn

    if precision == "bf16":
        warn_of_slow_bf16(device)
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
                module.to(torch.bfloat16)
    return network.to(device).eval().requires_grad_(False)


@contextmanager
def inference(device: torch.device, precision: Precision) -> Iterator[None]:
    """Run without gradients: bfloat16 by autocast, or float32 that is float32 on every device."""
    import torch

    with torch.inference_mode():
        if precision == "bf16":
            with torch.autocast(device.type, dtype=torch.bfloat16):
                yield
        else:
            # cuDNN rounds float32 convolutions to TF32's 10 bits unless told not to.
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                yield
