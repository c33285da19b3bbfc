"""Encoders by name: the transformers family, the VGGish family, and the handcrafted ones.

A Hub id (``facebook/wav2vec2-base``) or a folder needs no entry anywhere. For the types of model in
`front_ends.FRONT_ENDS` (wav2vec2 and its kin, WavLM, HuBERT, Whisper, AST) making one reads small files only;
any other that `AutoModel` loads with a feature extractor for audio is run first, to measure its frames
(`measured_front_end`). The names below are the encoders that transformers does not know.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ser_transfer.encoders.base import Encoder, EncoderError, HiddenStates, Precision, Waveform

__all__ = [
    "NAMED_ENCODERS",
    "Encoder",
    "EncoderError",
    "HiddenStates",
    "Precision",
    "Waveform",
    "check_model_name",
    "load_encoder",
]


def _yamnet(**options: Any) -> Encoder:
    from ser_transfer.encoders.yamnet import load_yamnet

    return load_yamnet(**options)


def _vggish(**options: Any) -> Encoder:
    from ser_transfer.encoders.vggish import load_vggish

    return load_vggish(**options)


def _transformers(name: str, **options: Any) -> Encoder:
    from ser_transfer.encoders.transformers_family import load_transformers_encoder

    check_model_name(name)
    return load_transformers_encoder(name, **options)


def check_model_name(name: str) -> None:
    """Refuse what cannot be the name of a transformers model: a misspelt name, or a folder that is not there.

    Raises:
        EncoderError: If it is neither a folder nor shaped like a Hub id.
    """
    from ser_transfer.encoders.checkpoints import ARCHITECTURES

    if "/" not in name and name not in ARCHITECTURES and not Path(name).is_dir():
        named = ", ".join((*NAMED_ENCODERS, *HANDCRAFTED))
        raise EncoderError(
            f"there is no encoder named {name!r} and no such folder: give a Hub id (owner/name), a folder, "
            f"or one of {named}"
        )


NAMED_ENCODERS: dict[str, Callable[..., Encoder]] = {"yamnet": _yamnet, "vggish": _vggish}
HANDCRAFTED = ("mfcc", "seed180", "handcrafted", "egemaps", "compare", "ge2e")


def load_encoder(
    name: str,
    *,
    revision: str | None = None,
    weights: str | Path | None = None,
    untrained: bool = False,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "float32",
) -> Encoder:
    """Find an encoder by name.

    This is cheap: the weights are read, and torch imported, at the first `encode`. Only a transformers model
    of a type that is not in `front_ends.FRONT_ENDS` is loaded and run here.

    Args:
        name: A Hub id, a local folder, or one of `NAMED_ENCODERS` and `HANDCRAFTED`.
        revision: Commit hash, tag or branch of a Hub repository; pins what is loaded.
        weights: File with the weights of YAMNet or VGGish, in place of the download.
        untrained: Random weights in the same architecture: the floor that pretraining must clear.
        seed: Of the random weights.
        device: ``"auto"`` (CUDA, then MPS, then CPU), or a torch device such as ``"cuda:1"``.
        precision: ``"float32"``, or ``"bf16"`` for matrix products in bfloat16.

    Raises:
        EncoderError: If nothing answers to the name, or an option does not fit the encoder.
    """
    if name in HANDCRAFTED:
        from ser_transfer.encoders.handcrafted import load_handcrafted

        _refuse(name, revision=revision, weights=weights, untrained=untrained)
        if precision != "float32":
            raise EncoderError(f"{name} is computed in float32 only; leave --precision out")
        return load_handcrafted(name)
    options = {"untrained": untrained, "seed": seed, "device": device, "precision": precision}
    if name in NAMED_ENCODERS:
        _refuse(name, revision=revision)
        encoder = NAMED_ENCODERS[name](weights=weights, **options)
    else:
        _refuse(name, weights=weights)
        encoder = _transformers(name, revision=revision, **options)
    if untrained:
        encoder.name = f"{name} (untrained)"  # so that no table shows it as the pretrained one
    return encoder


def _refuse(name: str, **options: object) -> None:
    """Refuse options that mean nothing to this encoder, rather than pass over them."""
    given = [key for key, value in options.items() if value]
    if given:
        raise EncoderError(f"{name} takes no --{given[0]}; leave it out")
