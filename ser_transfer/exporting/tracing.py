"""Arithmetic with lengths that tracing follows, where it would write Python's numbers down as they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def length(tensor: Tensor) -> Tensor:
    """Give the size of the second dimension: samples of (1, samples), frames of (1, frames, dim)."""
    found: Tensor = torch._shape_as_tensor(tensor)[1]
    return found


def counted(n: Any) -> Tensor:
    """Count from 0 up to, not including, a number that may be a tensor."""
    numbers: Tensor = torch.arange(n)
    return numbers


def floored(count: Tensor, size: int) -> Tensor:
    """Divide and round down."""
    return torch.div(count, size, rounding_mode="floor")


def ceiled(count: Tensor, size: int) -> Tensor:
    """Divide and round up."""
    return floored(count + size - 1, size)
