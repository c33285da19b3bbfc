"""Which part of the store holds what an encoder says, pooled or frame by frame."""

from __future__ import annotations

from collections.abc import Sequence

from ser_transfer.encoders import Encoder, EncoderError
from ser_transfer.pooling import pooled_dim
from ser_transfer.store import FRAMES, Part


def part_of(
    encoder: Encoder,
    pooling: str | None = None,
    *,
    layers: Sequence[str] | None = None,
    kept: str | None = None,
) -> Part:
    """Name the part of the store that holds an encoder's embeddings under a pooling.

    Args:
        encoder: Whose.
        pooling: None for its own.
        layers: The layers that are kept; None for all.
        kept: ``"float16"`` or ``"bf16"`` for half the bytes; None for float32.

    Raises:
        EncoderError: If it has no such layer.
        StoreError: If nothing is kept so, or a layer is named twice.
    """
    pooling = pooling or encoder.default_pooling
    dims = dict(zip(encoder.layer_names, encoder.dims, strict=True))
    names = tuple(encoder.layer_names if layers is None else layers)
    for name in names:
        if name not in dims:
            raise EncoderError(
                f"{encoder.name} has no layer {name!r} to keep; its layers are {', '.join(dims)}: --layers "
                f"{encoder.layer_names[-1]}"
            )
    return Part(
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        pooling=pooling,
        precision=encoder.precision,
        layer_names=names,
        dims=tuple(pooled_dim(pooling, dims[name]) for name in names),
        kept=kept,
    )


def frames_part_of(encoder: Encoder, layer: str) -> Part:
    """Name the part of the store that holds the frames of one layer of an encoder.

    Raises:
        EncoderError: If it has no such layer.
    """
    if layer not in encoder.layer_names:
        raise EncoderError(
            f"{encoder.name} has no layer {layer!r} to keep frames of; its layers are "
            f"{', '.join(encoder.layer_names)}, or all of them: --frames all"
        )
    return Part(
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        pooling=FRAMES,
        precision=encoder.precision,
        layer_names=(layer,),
        dims=(encoder.dims[encoder.layer_names.index(layer)],),
        frame_rate=encoder.frame_rate,
    )


def frames_parts_of(encoder: Encoder, layers: str) -> list[Part]:
    """Name the parts that hold the frames of ``all`` layers, or of ``layer_06,layer_12``."""
    names = encoder.layer_names if layers == "all" else dict.fromkeys(layers.split(","))
    return [frames_part_of(encoder, name) for name in names]
