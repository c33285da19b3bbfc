"""Networks of the VGGish family: YAMNet or VGGish on log-mel patches, pooled over the clip."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ser_transfer.encoders.audioset_networks import VggishNetwork, YamnetNetwork
from ser_transfer.encoders.log_mel import SAMPLING_RATE, WINDOW
from ser_transfer.encoders.patch_encoder import PatchEncoder, average
from ser_transfer.encoders.vggish import VggishEncoder
from ser_transfer.encoders.yamnet import YamnetEncoder
from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.networks.base import Block, EmotionNetwork, Output
from ser_transfer.finetuning.networks.design import LAST, MIX, SETTINGS_KEY, Design
from ser_transfer.finetuning.networks.heads import classify, make_head, make_pooling
from ser_transfer.finetuning.networks.patch_inputs import PatchInputs

PATCH_ENCODERS: dict[str, type[PatchEncoder]] = {"yamnet": YamnetEncoder, "vggish": VggishEncoder}
WEIGHTS_FILE = "model.safetensors"


class PatchNetwork(EmotionNetwork):
    """A convolutional network on patches of 0.96 s; a clip's patches are pooled, then classified.

    Of each patch the chosen layers are averaged over time and frequency, as the published embeddings are, and
    laid side by side. Layers above the highest chosen one are kept as they are and never run.

    Args:
        name: In `PATCH_ENCODERS`.
        classes: The emotions.
        design: ``layer`` may name several, with commas.
        encoder: The `YamnetNetwork` or `VggishNetwork`, with its weights.
        spec_augment: Mask bands and stretches of time in training.

    Raises:
        FinetuneError: If there is no such layer.
    """

    front_end: PatchInputs

    def __init__(
        self,
        name: str,
        classes: Sequence[str],
        design: Design,
        encoder: nn.Module,
        *,
        spec_augment: bool,
    ) -> None:
        super().__init__()
        kind = PATCH_ENCODERS[name]
        self.name, self.classes, self.design = name, tuple(classes), design
        self.sampling_rate, self.min_samples, self.max_samples = SAMPLING_RATE, WINDOW, None
        self.front_end = PatchInputs(kind.log_offset, kind.patch_hop, spec_augment)
        self.layer_names = kind.layer_names
        self._read = chosen_layers(name, design.layer)
        self.encoder = encoder
        dim = sum(kind.dims[i] for i in self._read)
        self.pooling = make_pooling(design.pooling, dim)
        n_pooled = dim * self.pooling.n_statistics
        self.head = make_head(n_pooled, len(self.classes), design.dropout, design.projection_size)
        self.open_all()

    @property
    def body(self) -> nn.Module:
        """The convolutional network."""
        return self.encoder

    def forward(self, inputs: Mapping[str, Tensor]) -> Output:
        """Run a batch of clips of any lengths."""
        layers: list[Tensor] = []
        assert isinstance(self.encoder, YamnetNetwork | VggishNetwork)
        for i, output in enumerate(self.encoder.outputs(inputs["patches"])):
            if i in self._read:
                layers.append(average(output))
            if i == max(self._read):
                break
        of_clips = torch.split(torch.cat(layers, dim=1), inputs["n_patches"].tolist())
        patches = pad_sequence(list(of_clips), batch_first=True)
        mask = torch.arange(patches.shape[1], device=patches.device) < inputs["n_patches"].unsqueeze(1)
        logits, embedding = classify(self.head, self.pooling(patches, mask))
        return Output(logits.float(), embedding.float())

    def blocks(self) -> list[Block]:
        """See `EmotionNetwork.blocks`: the encoder's layers, and the head."""
        highest = max(self._read)
        blocks = [
            Block(name, "layer" if i <= highest else "fixed", own)
            for i, (name, own) in enumerate(zip(self.layer_names, _layers_of(self.encoder), strict=True))
        ]
        return [*blocks, Block("head", "head", (self.pooling, self.head))]

    def write(self, folder: Path) -> None:
        """Write config.json and one file of weights, the encoder's under the names `load_encoder` takes."""
        from safetensors.torch import save_file

        state = {name.removeprefix("encoder."): value for name, value in self.state_dict().items()}
        save_file({name: value.contiguous() for name, value in state.items()}, folder / WEIGHTS_FILE)
        config = {
            "model_type": self.name,
            "id2label": dict(enumerate(self.classes)),
            SETTINGS_KEY: {**self.design.written(self.name), "spec_augment": self.front_end.spec_augment},
        }
        text = json.dumps(config, indent=2, ensure_ascii=False)
        (folder / "config.json").write_text(text + "\n", encoding="utf-8")


def chosen_layers(name: str, layer: str) -> tuple[int, ...]:
    """Find the layers that a setting names, lowest first.

    Raises:
        FinetuneError: If there is no such layer, or a mix is asked for.
    """
    names = PATCH_ENCODERS[name].layer_names
    if layer == LAST:
        return (len(names) - 1,)
    if layer == MIX:
        raise FinetuneError(
            f"the layers of {name} differ in width and cannot be mixed: name some, "
            f"--layer {names[-3]},{names[-1]}, which are laid side by side"
        )
    wanted = [each.strip() for each in layer.split(",")]
    unknown = [each for each in wanted if each not in names]
    if unknown:
        raise FinetuneError(f"{name} has no layer {unknown[0]!r}: last, or of {', '.join(names)}")
    return tuple(sorted({names.index(each) for each in wanted}))


def _layers_of(encoder: Any) -> list[tuple[nn.Module, ...]]:
    """Give the modules of each layer that `PatchEncoder.layer_names` names."""
    if isinstance(encoder, YamnetNetwork):
        return [(layer,) for layer in encoder.children()]
    layers: list[tuple[nn.Module, ...]] = []
    own: list[nn.Module] = []
    for module in encoder.features:
        own.append(module)
        if isinstance(module, nn.MaxPool2d):
            layers.append(tuple(own))
            own = []
    embeddings = list(encoder.embeddings)
    return layers + [tuple(embeddings[i : i + 2]) for i in range(0, len(embeddings), 2)]
