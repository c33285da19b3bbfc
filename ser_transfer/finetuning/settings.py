"""The settings of a fine-tuning, each documented once: commands and recipes take them from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ser_transfer._setting import setting


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """Which network, and which of its weights learn."""

    encoder: str | None = setting(
        None, help="Hub id or folder of a transformers model, or yamnet or vggish; {fold} stands for the fold"
    )
    revision: str | None = setting(None, help="commit, tag or branch of the Hub repository")
    weights: str | None = setting(
        None, help="yamnet, vggish: file with the weights, in place of the download"
    )
    untrained: bool = setting(
        False, help="start from random weights in the same architecture: what pretraining is worth"
    )
    pooling: str = setting(
        "stock",
        help="stock (what the model's own transformers class does, so that plain transformers can load the "
        "result), or, over the clip's own frames: mean, mean_std, attentive",
    )
    layer: str = setting(
        "last", help="layer that is pooled: last, mix (learned, of all), or a name such as layer_06"
    )
    dropout: float = setting(0.1, help="share of the pooled vector that a training step leaves out")
    projection_size: int | None = setting(
        None, help="units between pooling and classifier; default: the model's own"
    )
    whole: bool = setting(
        False, help="yamnet: run the convolutions over the whole clip, not over patches of 0.96 s"
    )
    exits: bool = setting(
        False,
        help="yamnet, vggish: a classifier of its own, with its own loss, on each layer that is read; their "
        "log probabilities are averaged",
    )
    speeds: tuple[float, ...] = setting(
        (1.0,), help="yamnet, vggish: score clips at each of these speeds and average the answers"
    )
    trained: str = setting(
        "all",
        help="what learns: head, top:K (the head and the K layers below it), layers (all but the "
        "convolutional front end), or all",
    )
    adapter: str | None = setting(
        None, help="train an adapter of peft in place of the weights: lora, or another kind that peft knows"
    )
    adapter_settings: dict[str, Any] = setting(
        {}, help="settings of the adapter's peft config: --adapter-settings.r 16"
    )
    keep_adapter: bool = setting(
        False,
        help="keep the adapter alone too, as peft reads it, in adapter beside model, into which it is merged",
    )
    spec_augment: bool = setting(
        True, help="mask time and features in training, as the model's own config says"
    )
    gradient_checkpointing: bool = setting(
        False, help="compute activations again in the backward pass: a third more time, far less memory"
    )


@dataclass(frozen=True, kw_only=True)
class LoadingSettings:
    """How recordings are read and put into batches."""

    batch_seconds: float = setting(
        60.0, help="audio in one batch of one process, in seconds, padding included"
    )
    eval_batch: int = setting(8, help="windows scored at once; no score depends on it")
    n_workers: int = setting(0, help="processes that decode ahead; 0 decodes between the steps")
    keep_waveforms: bool = setting(
        False, help="keep decoded clips in memory, 230 MB per hour of audio at 16 kHz"
    )


@dataclass(frozen=True, kw_only=True)
class BatchSettings(LoadingSettings):
    """How recordings are read, cut, changed and put into batches."""

    crop_seconds: float | None = setting(
        6.0, help="train on a random stretch of at most so many seconds; none for whole clips"
    )
    window_seconds: float = setting(
        30.0, help="clips beyond so many seconds are scored in equal windows, whose answers are averaged"
    )
    augment: str | None = setting(
        None, help="change every training clip anew in every epoch: speed:0.9..1.1,gain:-6..6; see embed"
    )
    augment_share: float = setting(1.0, help="share of the training clips that are changed")
    mixup: float = setting(0.0, help="mix pairs of training clips, shares from Beta(a, a); 0 for none")


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """What is minimised."""

    loss: Literal["cross_entropy", "focal"] = setting("cross_entropy", help="cross_entropy or focal")
    gamma: float = setting(2.0, help="of the focal loss: how much less a clip counts that is known already")
    label_smoothing: float = setting(0.0, help="share of the truth that is spread over all emotions")
    balanced: bool = setting(True, help="weigh the emotions alike in training, as UAR does")
    balanced_sampling: bool = setting(
        False, help="draw the emotions equally often instead, repeating clips of the rarer ones"
    )
    contrastive: float = setting(
        0.0, help="weight of a supervised contrastive term on the pooled vectors; 0 for none"
    )


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """How the weights move, and when they stop."""

    learning_rate: float = setting(1e-4, help="of the layer nearest to the head, at its highest")
    head_learning_rate: float | None = setting(
        None, help="of what is new on top of the encoder; default: ten times learning_rate"
    )
    layer_decay: float = setting(1.0, help="each layer further down learns at so many times the rate")
    weight_decay: float = setting(0.01, help="AdamW's, of all weights but norms and biases")
    schedule: Literal["linear", "cosine", "constant"] = setting(
        "cosine", help="how the rate falls after the warm-up: linear or cosine to 0, or constant"
    )
    warmup: float = setting(0.1, help="share of all steps in which the rate rises from 0")
    max_epochs: int = setting(30, help="passes over the training clips, at most; the schedule's length")
    max_steps: int | None = setting(None, help="stop after so many steps, to try a recipe out")
    patience: int | None = setting(
        None, help="stop after so many epochs without a better validation score; default: never"
    )
    refit: bool = setting(
        False,
        help="with the best epoch known, train a fresh network on training and validation speakers up to it, "
        "as heads on embeddings are; twice the time",
    )
    accumulation: int = setting(
        1, help="batches of each process whose gradients make one step: a larger batch in the same memory"
    )
    clip_norm: float | None = setting(1.0, help="greatest norm of all gradients together; none for no limit")
    average: float = setting(
        0.0, help="score and keep an exponential average of the weights with this decay, 0.999 say; 0: none"
    )
    precision: Literal["float32", "bf16", "fp16"] | None = setting(
        None, help="float32, or mixed: bf16 or fp16; default: what accelerate launch says, else float32"
    )
    seed: int = setting(0, help="of the head's first weights, order, crops, dropout, masks")


@dataclass(frozen=True, kw_only=True)
class Finetuning:
    """All that a training follows from, besides the recordings and the fold.

    Attributes:
        network: Which network, and what of it learns.
        batches: How recordings are cut, changed and put into batches.
        loss: What is minimised.
        optimisation: How the weights move.
    """

    network: NetworkSettings
    batches: BatchSettings = field(default_factory=BatchSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    optimisation: Optimisation = field(default_factory=Optimisation)


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Lay the parts of a `Finetuning`, given as mappings, into one; their settings have distinct names."""
    return {name: value for part in settings.values() for name, value in part.items()}
