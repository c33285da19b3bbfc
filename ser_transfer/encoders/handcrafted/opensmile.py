"""``egemaps`` and ``compare``: openSMILE's reference feature sets, through the extra ``opensmile``.

openSMILE is audEERING's, free for research and education only; a product needs a licence from
them. Nothing of it is part of this package.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np

from ser_transfer.encoders.base import Waveform
from ser_transfer.encoders.handcrafted.encoder import Analysis, Layers, require
from ser_transfer.encoders.handcrafted.frames import SAMPLING_RATE

LICENCE = "openSMILE's licence: research and education only"
N_FUNCTIONALS = {"eGeMAPSv02": 88, "ComParE_2016": 6373}
MIN_SECONDS = 0.06  # below its pitch window of 60 ms openSMILE returns NaN


def egemaps_set() -> Analysis:
    """``egemaps``: the 88 functionals of eGeMAPS v02 (Eyben et al. 2016), one frame per clip."""
    return _functionals("egemaps", "eGeMAPSv02")


def compare_set() -> Analysis:
    """``compare``: the 6373 functionals of ComParE 2016 (Schuller et al. 2016), one frame per clip."""
    return _functionals("compare", "ComParE_2016")


def _functionals(name: str, feature_set: str) -> Analysis:
    require("opensmile", "opensmile", name, LICENCE)
    return Analysis(
        layers={name: [f"{feature_set}_{k}" for k in range(N_FUNCTIONALS[feature_set])]},
        analyse=partial(_analyse, feature_set),
        frame_rate=0.0,
        pooling="mean",
        settings={"feature_set": feature_set, "level": "functionals"},
        libraries=("opensmile",),
        min_seconds=MIN_SECONDS,
    )


def _analyse(feature_set: str, waveform: Waveform) -> Layers:
    values = _smile(feature_set).process_signal(waveform, SAMPLING_RATE).to_numpy(np.float32)
    # A functional of nothing (a percentile of no voiced frame) comes as NaN in some sets.
    return [(np.nan_to_num(values), np.ones(1, dtype=bool))]


@cache
def _smile(feature_set: str) -> Any:
    import opensmile

    return opensmile.Smile(
        feature_set=opensmile.FeatureSet[feature_set],
        feature_level=opensmile.FeatureLevel.Functionals,
    )
