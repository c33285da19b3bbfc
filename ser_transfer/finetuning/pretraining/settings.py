"""The settings of a task-adaptive pretraining, each documented once."""

from __future__ import annotations

from dataclasses import dataclass, field

from ser_transfer._setting import setting
from ser_transfer.finetuning.settings import LoadingSettings, Optimisation


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings:
    """Which encoder, and what it is to predict."""

    encoder: str | None = setting(None, help="Hub id or folder of a wav2vec2 or HuBERT model")
    revision: str | None = setting(None, help="commit, tag or branch of the Hub repository")
    mask_share: float | None = setting(
        None,
        help="frames in masked spans, as a share of all, were there no overlaps; default: as published, 0.65 "
        "for wav2vec2 and 0.8 for HuBERT",
    )
    mask_frames: int = setting(10, help="frames of a masked span: 10 are 0.2 s")
    n_units: int | None = setting(
        None,
        help="hubert: clusters of frames, which are what it predicts; default: 100 (500 are published, of a "
        "thousand hours)",
    )
    unit_layer: str | None = setting(
        None, help="hubert: the layer whose frames are clustered; default: the one half way up"
    )
    freeze_front_end: bool = setting(
        False, help="leave the convolutions below the transformer as they are: less memory, fewer weights"
    )
    gradient_checkpointing: bool = setting(
        False, help="compute activations again in the backward pass: a third more time, far less memory"
    )


@dataclass(frozen=True, kw_only=True)
class MaskedBatchSettings(LoadingSettings):
    """How recordings are read, cut and put into batches."""

    crop_seconds: float | None = setting(
        15.0, help="train on a random stretch of at most so many seconds; none for whole clips"
    )


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """All that a task-adaptive pretraining follows from, besides the recordings and the fold.

    Attributes:
        objective: Which encoder, and what it is to predict.
        batches: How recordings are cut and put into batches.
        optimisation: How the weights move.
    """

    objective: ObjectiveSettings
    batches: MaskedBatchSettings = field(default_factory=MaskedBatchSettings)
    optimisation: Optimisation = field(default_factory=Optimisation)
