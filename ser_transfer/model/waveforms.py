"""Samples that the caller holds already, as the waveforms that a model hears."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ser_transfer.encoders import Waveform
from ser_transfer.model.errors import ModelError


def waveform_of(
    samples: npt.NDArray[Any], sampling_rate: int, wanted_rate: int, *, min_seconds: float = 0.0
) -> Waveform:
    """Bring an array of samples to mono float32 at a model's rate, as `read_audio` does files.

    Args:
        samples: Of shape (samples,), or (samples, channels), which are averaged; floats of full scale 1, or
            signed integers of their own full scale.
        sampling_rate: Hz, of the array.
        wanted_rate: Hz, of the result.
        min_seconds: A shorter array is an error.

    Returns:
        Float32 array of shape (samples,).

    Raises:
        ModelError: If the array has another shape or type, is too short, or holds NaN or infinity.
    """
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[1] > samples.shape[0]):
        raise ModelError(
            f"an array of shape {samples.shape} is no recording: give (samples,) or (samples, channels), "
            "such as soundfile.read returns"
        )
    if np.issubdtype(samples.dtype, np.signedinteger):
        samples = samples / -float(np.iinfo(samples.dtype).min)
    elif not np.issubdtype(samples.dtype, np.floating):
        raise ModelError(
            f"an array of {samples.dtype} is no recording: give floats within -1 and 1, or int16"
        )
    mono = np.ascontiguousarray(samples if samples.ndim == 1 else samples.mean(axis=1), np.float32)
    if not np.isfinite(mono).all():
        raise ModelError("the array holds NaN or infinity: clean it before it is asked about")
    if sampling_rate != wanted_rate and len(mono):
        import soxr

        mono = soxr.resample(mono, sampling_rate, wanted_rate, quality="HQ")
    if len(mono) < max(1.0, min_seconds * wanted_rate):
        raise ModelError(
            f"the array lasts {len(mono) / wanted_rate:.3f} s, and the model needs {min_seconds:.3f} s: give "
            "a longer one, and its sampling_rate if that is not "
            f"{wanted_rate}"
        )
    return mono
