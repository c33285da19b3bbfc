"""What the handcrafted encoders share: an analysis of one clip, made an `Encoder`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from ser_transfer.encoders.base import Encoder, EncoderError, HiddenStates, Waveform
from ser_transfer.encoders.handcrafted.frames import SAMPLING_RATE, Array, Mask

FEATURES_VERSION = 1  # raise it when a change of code changes a number that the settings do not show
# Twice what read_audio lets pass, 32-bit integers left unscaled, since resampling overshoots; squares of much
# more leave float32's range.
FULL_SCALE = 2.0**32
MIN_SECONDS = 0.05  # two to three periods of a low voice; less says nothing of it

Layers = Sequence[tuple[Array, Mask]]


@dataclass(frozen=True)
class Analysis:
    """How one clip becomes frames.

    Attributes:
        layers: Layer name to the names of its features, in order.
        analyse: From a mono waveform at 16 kHz to frames (n, features) and mask (n,) per layer.
        frame_rate: Hz; 0 where a clip gives one frame.
        pooling: The pooling that suits it.
        settings: Every number that the features depend on.
        libraries: Distributions whose arithmetic they depend on.
        min_seconds: The shortest clip.
    """

    layers: Mapping[str, Sequence[str]]
    analyse: Callable[[Waveform], Layers]
    frame_rate: float
    pooling: str
    settings: Mapping[str, object]
    libraries: Sequence[str] = ("librosa", "numpy")
    min_seconds: float = MIN_SECONDS


class HandcraftedEncoder(Encoder):
    """Features that people thought of, under the contract of the networks they are compared with.

    Clips are analysed one by one, so the batch cannot matter; it is padded with zeros outside
    the masks. Every number is finite for every finite waveform.

    Attributes:
        feature_names: For each layer the names of its features.
    """

    runs_on = "processes"
    sampling_rate = SAMPLING_RATE

    def __init__(self, name: str, analysis: Analysis) -> None:
        self.name = name
        self.layer_names = tuple(analysis.layers)
        self.feature_names = tuple(tuple(names) for names in analysis.layers.values())
        self.dims = tuple(len(names) for names in self.feature_names)
        self.frame_rate = analysis.frame_rate
        self.default_pooling = analysis.pooling
        self.min_seconds = analysis.min_seconds
        self.fingerprint = _hash(_content(name, analysis) | {"libraries": _releases(analysis.libraries)})
        self._definition = _hash(_content(name, analysis))
        self._analyse = analysis.analyse

    @property
    def definition(self) -> str:
        """What is computed, whatever release of NumPy and librosa rounds the last digit; see `Encoder`."""
        return self._definition

    def encode(self, waveforms: Sequence[Waveform]) -> HiddenStates:
        """Analyse every waveform and pad each layer to its longest.

        Raises:
            EncoderError: If a waveform is shorter than `min_seconds`, holds NaN or infinity, or
                exceeds the full scale of 32-bit integers.
        """
        import torch

        clips = [self._analyse(self._checked(waveform)) for waveform in waveforms]
        layers, masks = [], []
        for layer, dim in enumerate(self.dims):
            n_frames = max(len(clip[layer][1]) for clip in clips)
            frames = np.zeros((len(clips), n_frames, dim), dtype=np.float32)
            mask = np.zeros((len(clips), n_frames), dtype=bool)
            for row, clip in enumerate(clips):
                values, valid = clip[layer]
                frames[row, : len(values)], mask[row, : len(valid)] = values, valid
            layers.append(torch.from_numpy(frames))
            masks.append(torch.from_numpy(mask))
        return HiddenStates(layers=tuple(layers), frame_masks=tuple(masks))

    def _checked(self, waveform: Waveform) -> Waveform:
        seconds = len(waveform) / self.sampling_rate
        if seconds < self.min_seconds:
            raise EncoderError(
                f"{self.name} needs at least {self.min_seconds} s of audio, not {seconds:.3f} s; "
                "leave the clip out, or take a longer segment"
            )
        if not np.abs(waveform).max() <= FULL_SCALE:  # NaN fails as well
            raise EncoderError(
                f"{self.name} got a waveform with NaN, infinity, or samples beyond {FULL_SCALE:.0f}; "
                "audio lies within -1 and 1, as ser_transfer.audio.read_audio returns it"
            )
        return waveform


def require(distribution: str, extra: str, name: str, licence: str) -> None:
    """Refuse an encoder whose optional library is not installed.

    Raises:
        EncoderError: With what to install, and under which licence it comes.
    """
    try:
        version(distribution)
    except PackageNotFoundError:
        raise EncoderError(
            f"{name} needs {distribution}, which is not installed; "
            f"type: pip install 'ser-transfer[{extra}]' ({licence})"
        ) from None


def _content(name: str, analysis: Analysis) -> dict[str, Any]:
    return {
        "name": name,
        "version": FEATURES_VERSION,
        "layers": {layer: list(names) for layer, names in analysis.layers.items()},
        "settings": dict(analysis.settings),
    }


def _releases(libraries: Sequence[str]) -> dict[str, list[str]]:
    """Patch releases do not change arithmetic; minor ones may."""
    return {library: version(library).split(".")[:2] for library in libraries}


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
