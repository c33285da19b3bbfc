"""Vectors kept in half the bytes, and what that costs.

float16 keeps 11 bits of every number (3 digits) and ends at 65504; bf16 keeps 8 bits (2 digits) and reaches
as far as float32. bf16, which NumPy has no name for, is the upper half of a float32 number, in uint16.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

KEPT = ("float16", "bf16")
UPPER = 16  # bits of a float32 that bf16 is made of


def halved(vectors: npt.NDArray[np.float32], kept: str | None) -> npt.NDArray[Any]:
    """Round float32 to the nearest number that is kept, ties to even; None keeps float32 as it is."""
    if kept is None:
        return vectors
    if kept == "float16":
        with np.errstate(over="ignore"):  # what becomes inf is refused by the writer
            return vectors.astype(np.float16)
    bits = np.ascontiguousarray(vectors).view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> UPPER) & 1))) >> UPPER).astype(np.uint16)


def restored(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Give kept vectors back in float32, exactly."""
    if vectors.dtype == np.uint16:
        return (vectors.astype(np.uint32) << UPPER).view(np.float32)
    return vectors.astype(np.float32, copy=False)


def cosine_costs(vectors: npt.NDArray[np.float32], kept: str) -> npt.NDArray[np.float64]:
    """Tell what keeping vectors in half the bytes costs: 1 less the cosine of each and what is kept of it.

    Args:
        vectors: Of shape (rows, dim).
        kept: A name of `KEPT`.

    Returns:
        One cost per row, 0 for a vector of zeros that stays one.
    """
    full, half = vectors.astype(np.float64), restored(halved(vectors, kept)).astype(np.float64)
    # From the difference, as 1 - cosine would be all rounding: |a/|a| - b/|b||^2 = 2 (1 - cosine).
    units = [each / np.maximum(np.linalg.norm(each, axis=1, keepdims=True), 1e-300) for each in (full, half)]
    costs: npt.NDArray[np.float64] = ((units[0] - units[1]) ** 2).sum(axis=1) / 2
    return costs
