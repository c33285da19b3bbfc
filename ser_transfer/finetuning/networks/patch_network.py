"""Networks of the VGGish family: YAMNet or VGGish on log-mel patches, pooled over the clip."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any, cast

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
from ser_transfer.finetuning.networks.patch_inputs import STEP, PatchInputs

PATCH_ENCODERS: dict[str, type[PatchEncoder]] = {"yamnet": YamnetEncoder, "vggish": VggishEncoder}
WEIGHTS_FILE = "model.safetensors"


class PatchNetwork(EmotionNetwork):
    """A convolutional network on patches of 0.96 s; a clip's patches are pooled, then classified.

    Of each patch the chosen layers are averaged over time and frequency, as the published embeddings are, and
    laid side by side. YAMNet's convolutions can run over whole clips instead, and are then averaged over
    frequency and steps of 0.32 s. Layers above the highest chosen one are kept as they are and never run.

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
        self.sampling_rate, self.max_samples = SAMPLING_RATE, None
        self.min_samples = ceil(WINDOW * max(1.0, *design.speeds))  # so that the fastest has a window, too
        self.front_end = PatchInputs(
            kind.log_offset, kind.patch_hop, spec_augment, whole=design.whole, speeds=design.speeds
        )
        self.layer_names = kind.layer_names
        self._read = chosen_layers(name, design.layer)
        if design.whole and not isinstance(encoder, YamnetNetwork):
            raise FinetuneError(f"{name} has dense layers, which read patches: leave --whole out")
        self.encoder = encoder
        self._dims = [kind.dims[i] for i in self._read]
        self.pooling = make_pooling(design.pooling, sum(self._dims))
        of_heads = self._dims if design.exits else [sum(self._dims)]
        heads = [
            make_head(
                dim * self.pooling.n_statistics, len(self.classes), design.dropout, design.projection_size
            )
            for dim in of_heads
        ]
        self.head = nn.ModuleList(heads) if design.exits else heads[0]
        self.open_all()

    @property
    def body(self) -> nn.Module:
        """The convolutional network."""
        return self.encoder

    def forward(self, inputs: Mapping[str, Tensor]) -> Output:
        """Run a batch of clips of any lengths."""
        steps = self._of_whole_clips(inputs) if self.design.whole else self._of_patches(inputs)
        n_steps = torch.tensor([len(each) for each in steps], device=steps[0].device)
        frames = pad_sequence(steps, batch_first=True)
        mask = torch.arange(frames.shape[1], device=frames.device) < n_steps.unsqueeze(1)
        output = self._classified(self.pooling(frames, mask))
        n_clips = len(inputs["n_samples"])
        return output if len(steps) == n_clips else _mean_over_speeds(output, n_clips)

    def _classified(self, pooled: Tensor) -> Output:
        if not isinstance(self.head, nn.ModuleList):
            logits, embedding = classify(self.head, pooled)
            return Output(logits.float(), embedding.float())
        statistics = pooled.view(len(pooled), self.pooling.n_statistics, -1)
        of_layers = [part.flatten(1) for part in torch.split(statistics, self._dims, dim=2)]
        classified = [
            classify(cast(nn.Sequential, head), part) for head, part in zip(self.head, of_layers, strict=True)
        ]
        exits = torch.stack([logits.float().log_softmax(dim=1) for logits, _ in classified])
        embedding = torch.cat([embedding.float() for _, embedding in classified], dim=1)
        return Output(exits.mean(dim=0), embedding, exits)

    def _of_patches(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Give each clip's patches, of shape (patches, dim)."""
        layers = [average(output) for output in self._layers(inputs["patches"])]
        return list(torch.split(torch.cat(layers, dim=1), inputs["n_patches"].tolist()))

    def _of_whole_clips(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Give each clip's steps of 0.32 s, of shape (steps, dim).

        Clips of one length run together. Others would need padding, which the convolutions at their ends
        would read: their answers would depend on their neighbours.
        """
        lengths = inputs["n_frames"].tolist()
        clips = torch.split(inputs["frames"], lengths)
        steps: dict[int, Tensor] = {}
        for length in sorted(set(lengths)):
            places = [i for i, own in enumerate(lengths) if own == length]
            layers = self._layers(torch.stack([clips[i] for i in places]))
            of_steps = [_in_steps(output.float().mean(dim=3), length // STEP) for output in layers]
            steps.update(zip(places, torch.cat(of_steps, dim=1).transpose(1, 2), strict=True))
        return [steps[i] for i in range(len(lengths))]

    def _layers(self, spectrograms: Tensor) -> list[Tensor]:
        """Run the encoder up to the highest layer that is read, and give those that are."""
        assert isinstance(self.encoder, YamnetNetwork | VggishNetwork)
        layers: list[Tensor] = []
        for i, output in enumerate(self.encoder.outputs(spectrograms)):
            if i in self._read:
                layers.append(output)
            if i == max(self._read):
                break
        return layers

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


def _in_steps(frames: Tensor, n_steps: int) -> Tensor:
    """Average (clips, dim, time) to (clips, dim, steps)."""
    return frames.reshape(*frames.shape[:2], n_steps, -1).mean(dim=3)


def _mean_over_speeds(output: Output, n_clips: int) -> Output:
    """Average what `PatchInputs` gave at several speeds, logits as log probabilities."""
    shares, embedding = output.logits.log_softmax(dim=1), output.embedding
    return Output(
        shares.view(n_clips, -1, shares.shape[1]).mean(dim=1),
        embedding.view(n_clips, -1, embedding.shape[1]).mean(dim=1),
    )
