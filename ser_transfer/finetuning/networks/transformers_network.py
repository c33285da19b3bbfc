"""Networks of the transformers family: the stock classifier, or its encoder under a head of ours."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ser_transfer.encoders.padding import PaddingGuard
from ser_transfer.encoders.transformers_model import quiet
from ser_transfer.finetuning.networks.base import Block, EmotionNetwork, Output
from ser_transfer.finetuning.networks.design import MIX, SETTINGS_KEY, Design
from ser_transfer.finetuning.networks.heads import classify, make_head, make_pooling
from ser_transfer.finetuning.networks.transformers_checkpoint import HEAD_PARTS
from ser_transfer.finetuning.networks.transformers_inputs import TransformersInputs
from ser_transfer.finetuning.networks.transformers_parts import encoder_blocks

HEAD_FILE = "head.safetensors"


class TransformersNetwork(EmotionNetwork):
    """An audio encoder of transformers, kept from seeing the padding of its batches, under a classifier.

    Attributes:
        model: The ``PreTrainedModel`` that it holds.
        design: How it is pooled and classified.
    """

    front_end: TransformersInputs

    def __init__(
        self, name: str, classes: Sequence[str], design: Design, inputs: TransformersInputs, model: Any
    ) -> None:
        super().__init__()
        self.name, self.classes, self.design = name, tuple(classes), design
        self.front_end = inputs
        self.sampling_rate, self.min_samples = inputs.sampling_rate, inputs.min_samples
        self.max_samples, self.filled_samples = inputs.max_samples, inputs.filled_samples
        self.model = model
        self._guard: PaddingGuard | None = None
        if inputs.mixes_lengths and hasattr(self.body, "feature_extractor"):
            self._guard = PaddingGuard(self.body)

    @property
    @abstractmethod
    def body(self) -> Any:
        """The bare encoder, a ``PreTrainedModel``."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Output:
        """Run a batch; each length by itself where the model cannot be kept from seeing the padding."""
        given = dict(inputs)
        n_samples: list[int] = given.pop("n_samples").tolist()
        if self.front_end.mixes_lengths or len(set(n_samples)) == 1:
            return self._run(given, n_samples)
        parts, rows = [], []
        for length in sorted(set(n_samples)):
            members = [row for row, n in enumerate(n_samples) if n == length]
            values = given["input_values"][members, :length]
            parts.append(self._run({"input_values": values}, [length] * len(members)))
            rows += members
        back = torch.tensor(rows).argsort().to(parts[0].logits.device)
        logits, embeddings = (
            torch.cat([getattr(p, part) for p in parts]) for part in ("logits", "embedding")
        )
        return Output(logits[back], embeddings[back])

    def checkpoint_activations(self) -> None:
        """Compute activations again in the backward pass instead of keeping them."""
        settings: dict[str, Any] = {"use_reentrant": False}
        if self._guard is not None:
            settings["context_fn"] = self._guard.recomputation
        # The first name is deprecated in releases that have the second.
        if hasattr(self.model, "activation_checkpointing_enable"):
            self.model.activation_checkpointing_enable(activation_checkpointing_kwargs=settings)
        else:
            self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=settings)

    def _write_model(self, folder: Path) -> None:
        """Write config.json, model.safetensors and preprocessor_config.json, as transformers does."""
        setattr(self.model.config, SETTINGS_KEY, self.design.written(self.name))
        with quiet():
            self.model.save_pretrained(folder)
        self.front_end.save(str(folder))

    def _run(self, inputs: dict[str, Tensor], n_samples: list[int]) -> Output:
        """Run clips that may share a pass."""
        mask = self.front_end.frame_mask(n_samples, next(iter(inputs.values())).device)
        kept_out = nullcontext() if self._guard is None else self._guard.batch(n_samples, mask)
        with kept_out, self._masks_that_fit(mask.shape[1]):
            logits, embedding = self._answer(inputs, mask)
        return Output(logits.float(), embedding.float())

    @abstractmethod
    def _answer(self, inputs: dict[str, Tensor], mask: Tensor) -> tuple[Tensor, Tensor]:
        """Give logits and embedding of clips whose own frames `mask` marks."""

    @contextmanager
    def _masks_that_fit(self, n_frames: int) -> Iterator[None]:
        """Leave SpecAugment out of a batch with no clip as long as one mask, which transformers refuses."""
        config = self.body.config
        if not self.training or n_frames >= getattr(config, "mask_time_length", 0):
            yield
            return
        before, config.apply_spec_augment = config.apply_spec_augment, False
        try:
            yield
        finally:
            config.apply_spec_augment = before


class StockNetwork(TransformersNetwork):
    """The class of `AutoModelForAudioClassification` as it is, so that plain transformers can load it.

    Its class pools: the mean over the clip's own frames in wav2vec2 and its kin, the mean over the whole 30 s
    in Whisper, the class tokens in AST. Dropout before its last layer is ours, and in training only.
    """

    def __init__(
        self, name: str, classes: Sequence[str], design: Design, inputs: TransformersInputs, model: Any
    ) -> None:
        super().__init__(name, classes, design, inputs, model)
        self.dropout = nn.Dropout(design.dropout)
        self.open_all()

    @property
    def body(self) -> Any:
        """The encoder inside the classifier."""
        is_whisper = self.model.config.model_type == "whisper"
        return self.model.encoder if is_whisper else self.model.base_model

    def blocks(self) -> list[Block]:
        """See `EmotionNetwork.blocks`."""
        parts = [found for name in HEAD_PARTS if (found := getattr(self.model, name, None)) is not None]
        modules = tuple(part for part in parts if isinstance(part, nn.Module))
        own = tuple(part for part in parts if isinstance(part, nn.Parameter))
        return [*encoder_blocks(self.body), Block("head", "head", modules, own)]

    def _answer(self, inputs: dict[str, Tensor], mask: Tensor) -> tuple[Tensor, Tensor]:
        read: list[Tensor] = []
        with reading(self._last_layer(), read, self.dropout):
            logits = self.model(**inputs).logits
        return logits, read[0]

    @property
    def logits_layer(self) -> nn.Linear | None:
        """See `EmotionNetwork.logits_layer`; every type in `FRONT_ENDS` has one."""
        last = self._last_layer()
        return last if isinstance(last, nn.Linear) else None

    def _last_layer(self) -> nn.Module:
        classifier = self.model.classifier  # AST's is a norm and a linear layer, named dense
        found: nn.Module = getattr(classifier, "dense", classifier)
        return found

    def write(self, folder: Path) -> None:
        """Write what ``save_pretrained`` does, and the feature extractor: ``pipeline`` loads the folder."""
        self._write_model(folder)


class PooledNetwork(TransformersNetwork):
    """The bare encoder, our pooling over the clip's own frames, and a linear layer over a projection."""

    def __init__(
        self, name: str, classes: Sequence[str], design: Design, inputs: TransformersInputs, model: Any
    ) -> None:
        super().__init__(name, classes, design, inputs, model)
        dim = inputs.dims[-1]
        self.pooling = make_pooling(design.pooling, dim)
        size = design.projection_size or getattr(model.config, "classifier_proj_size", dim)
        self.head = make_head(dim * self.pooling.n_statistics, len(self.classes), design.dropout, size)
        self.layer_weights: nn.Parameter | None = None
        if design.layer == MIX:
            n_layers = model.config.num_hidden_layers + 1
            self.layer_weights = nn.Parameter(torch.ones(n_layers) / n_layers)
        self.open_all()

    @property
    def body(self) -> Any:
        """The whole model."""
        return self.model

    def blocks(self) -> list[Block]:
        """See `EmotionNetwork.blocks`."""
        own = () if self.layer_weights is None else (self.layer_weights,)
        return [*encoder_blocks(self.body), Block("head", "head", (self.pooling, self.head), own)]

    def _answer(self, inputs: dict[str, Tensor], mask: Tensor) -> tuple[Tensor, Tensor]:
        wants_all = self.layer_weights is not None or self.front_end.needs_hidden_states
        output = self.model(**inputs, output_hidden_states=wants_all)
        layers = self.front_end.layers(output, mask.shape[1])
        frames = layers[-1]
        if self.layer_weights is not None:
            shares = self.layer_weights.softmax(dim=0)
            frames = torch.stack([share * layer for share, layer in zip(shares, layers, strict=True)]).sum(
                dim=0
            )
        return classify(self.head, self.pooling(frames, mask))

    def head_state(self) -> dict[str, Tensor]:
        """Give the weights that are not the encoder's, by name."""
        state = self.state_dict()
        return {name: state[name].contiguous() for name in state if not name.startswith("model.")}

    def write(self, folder: Path) -> None:
        """Write the encoder as ``save_pretrained`` does, and the head beside it."""
        from safetensors.torch import save_file

        self._write_model(folder)
        save_file(self.head_state(), folder / HEAD_FILE)


@contextmanager
def reading(layer: nn.Module, read: list[Tensor], change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Note what a layer reads inside the block, and change it on the way in.

    Args:
        layer: Called with one tensor.
        read: Receives that tensor, unchanged.
        change: Applied to it.
    """

    def note(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        read.append(args[0])
        return (change(args[0]),)

    handle = layer.register_forward_pre_hook(note)
    try:
        yield
    finally:
        handle.remove()
