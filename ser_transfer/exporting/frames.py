"""A frozen encoder in a graph: one waveform in, the frames of the layers that a head reads out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ser_transfer.encoders import Encoder
from ser_transfer.encoders.front_ends import FrontEnd, WaveformFrontEnd, WhisperFrontEnd
from ser_transfer.encoders.patch_encoder import PatchEncoder, average
from ser_transfer.encoders.transformers_family import TransformersEncoder
from ser_transfer.encoders.transformers_model import build_model
from ser_transfer.exporting.errors import ExportError
from ser_transfer.exporting.spectra import Patches, WhisperLogMel
from ser_transfer.exporting.tracing import counted, floored, length

EXPORTED = "wav2vec2, HuBERT, WavLM and their kin, Whisper, YAMNet and VGGish"


class NormalisedWaveform(nn.Module):
    """What `WaveformFrontEnd.prepare` does to one waveform, in torch."""

    def __init__(self, front_end: WaveformFrontEnd) -> None:
        super().__init__()
        self.normalises = front_end._normalises

    def forward(self, waveform: Tensor) -> Tensor:
        """Bring (1, samples) to zero mean and unit variance, where the model was trained so."""
        if not self.normalises:
            return waveform
        centred = waveform - waveform.mean()
        return centred / ((centred * centred).mean() + 1e-7).sqrt()


class ModelInput(nn.Module):
    """Makes the arguments of a transformers model of one waveform.

    Args:
        front_end: Of the model.
        name: What to call the model in an error.

    Raises:
        ExportError: If the graph cannot hold what the front end computes.
    """

    def __init__(self, front_end: FrontEnd, name: str) -> None:
        super().__init__()
        self.prepared: nn.Module
        if isinstance(front_end, WaveformFrontEnd):
            self.argument, self.prepared = "input_values", NormalisedWaveform(front_end)
        elif isinstance(front_end, WhisperFrontEnd):
            extractor = front_end.feature_extractor()
            if extractor.dither:
                raise ExportError(f"{name} adds random noise (dither) to its input, which no graph repeats")
            # Named as those of YAMNet, which are left in float32 where the rest becomes int8.
            self.argument, self.log_mel = "input_features", WhisperLogMel(extractor)
            self.prepared = self.log_mel
        else:
            raise ExportError(
                f"the spectrogram that {name} reads is computed by transformers and is in no graph: exported "
                f"are {EXPORTED}"
            )
        self.hop, self.receptive_field = front_end.grid.hop, front_end.grid.receptive_field

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        """Make them of (1, samples)."""
        return {self.argument: self.prepared(waveform)}

    def frame_mask(self, waveform: Tensor) -> Tensor:
        """Mark the clip's own frames, all of them: True, of shape (1, frames)."""
        n_frames = 1 + floored(length(waveform) - self.receptive_field, self.hop)
        return counted(n_frames).unsqueeze(0) >= 0


class TransformerLayers(nn.Module):
    """The frames of some layers of a transformers encoder, each of shape (1, frames, dim)."""

    def __init__(self, model: Any, front_end: Any, read: Sequence[int], name: str) -> None:
        super().__init__()
        self.model, self.read = model, tuple(read)
        self.input = ModelInput(front_end, name)
        self.front_end = front_end

    def forward(self, waveform: Tensor) -> list[Tensor]:
        """Run the encoder on (1, samples)."""
        output = self.model(**self.input(waveform), output_hidden_states=True)
        layers = list(output.hidden_states)
        if self.front_end.ends_with_output:
            layers[-1] = output.last_hidden_state
        n_frames = self.input.frame_mask(waveform).shape[1]
        return [self.front_end.frames(layers[i])[:, :n_frames] for i in self.read]


class PatchLayers(nn.Module):
    """The patches of some layers of YAMNet or VGGish, each of shape (1, patches, dim)."""

    def __init__(self, network: Any, patches: Patches, read: Sequence[int]) -> None:
        super().__init__()
        self.network, self.patches, self.read = network, patches, tuple(read)

    def forward(self, waveform: Tensor) -> list[Tensor]:
        """Run the network on (1, samples)."""
        layers = []
        for i, output in enumerate(self.network.outputs(self.patches(waveform))):
            layers.append(average(output).unsqueeze(0))
            if i == max(self.read):
                break
        return [layers[i] for i in self.read]


def layers_of(encoder: Encoder, names: Sequence[str]) -> tuple[nn.Module, int | None]:
    """Build an encoder again, in float32 and on the CPU, for a graph.

    Args:
        encoder: That a model reads.
        names: Of its layers.

    Returns:
        What gives the frames of those layers, and the most samples that it may be run on at once.

    Raises:
        ExportError: If no graph can hold the encoder.
    """
    read = [encoder.layer_names.index(name) for name in names]
    if encoder.precision != "float32":
        raise ExportError(
            f"the head was trained on {encoder.name} in {encoder.precision}, and a graph is float32: embed "
            "and train again in float32"
        )
    if isinstance(encoder, PatchEncoder):
        patches = Patches(encoder.log_offset, encoder.patch_hop)
        return PatchLayers(encoder.build(), patches, read), None
    if isinstance(encoder, TransformersEncoder):
        front_end, grid = encoder._front_end, encoder._front_end.grid
        ModelInput(front_end, encoder.name)  # refuses before the weights are read
        model = build_model(encoder._checkpoint, encoder._seed)
        longest = grid.max_frames * grid.hop + grid.receptive_field - 1
        return TransformerLayers(model, front_end, read, encoder.name), longest
    raise ExportError(
        f"{encoder.name} is computed by other means than a network, and no graph holds it: exported are "
        f"{EXPORTED}"
    )
