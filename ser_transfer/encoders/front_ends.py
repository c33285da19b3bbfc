"""What stands between a waveform and a transformer, for each kind of audio encoder.

A front end knows, from the config alone, which frames and layers a model gives, and prepares the model's
inputs as the feature extractor of its checkpoint does.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ser_transfer.encoders.base import EncoderError, HiddenStates, Waveform
from ser_transfer.encoders.frame_grid import FrameGrid

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# The longest stretch encoded at once. Attention needs memory quadratic in it. Whisper knows no other length,
# and the others were trained on crops of 10 to 20 s.
MAX_WINDOW_SECONDS = 30

SAMPLING_RATE = 16_000  # Hz, where the checkpoint does not say: every published one has it
MEL_HOP = 160  # samples between two spectra: 10 ms at 16 kHz, in all three spectrogram front ends
MEL_WINDOW = 400  # samples of one spectrum in Kaldi's front end: 25 ms, with no centring


class FrontEnd(ABC):
    """Prepares waveforms for one model, and reads its output.

    Attributes:
        sampling_rate: Hz.
        grid: Which frames a clip gives, and where long audio is cut between them.
        min_samples: The shortest clip that gives a frame.
        dims: Features of each layer: what enters the first transformer layer, then each layer's output.
        hops: Samples from one frame to the next, in each layer.
        mixes_lengths: Whether clips of unlike lengths may share a batch. Where the model cannot be kept
            from seeing the padding, each length is encoded by itself.
    """

    sampling_rate: int
    grid: FrameGrid
    min_samples: int
    dims: tuple[int, ...]
    hops: tuple[int, ...]
    mixes_lengths = True

    @abstractmethod
    def prepare(self, waveforms: Sequence[Waveform]) -> dict[str, Tensor]:
        """Make the arguments of the model's ``forward`` for a batch."""

    @abstractmethod
    def read(self, inputs: dict[str, Tensor], output: Any, n_samples: Sequence[int]) -> HiddenStates:
        """Take the frames of every layer out of the model's output.

        Args:
            inputs: What `prepare` made, on the model's device.
            output: What the model made of it.
            n_samples: Length of each clip of the batch.
        """

    def frame_mask(self, n_samples: Sequence[int], device: torch.device) -> Tensor:
        """Mark the frames of `grid` that lie on each clip: bool, of shape (batch, frames)."""
        import torch

        n_frames = torch.tensor([self.grid.n_frames(n) for n in n_samples], device=device)
        return torch.arange(int(n_frames.max()), device=device) < n_frames.unsqueeze(1)


class ListedFrontEnd(FrontEnd):
    """The front end of a type of model in `FRONT_ENDS`: its config says which frames and layers it gives.

    Attributes:
        extractor_class: The feature extractor that checkpoints of this kind are saved with.
        ends_with_output: Whether the last layer is the model's output, after its final layer norm where it
            has one, and not the bare last layer of the transformer.
    """

    extractor_class = "Wav2Vec2FeatureExtractor"
    ends_with_output = True

    def __init__(self, config: dict[str, Any], preprocessor: dict[str, Any], grid: FrameGrid) -> None:
        self.sampling_rate = preprocessor.get("sampling_rate", SAMPLING_RATE)
        self.grid = grid
        self._settings = preprocessor
        self.min_samples = grid.receptive_field
        is_whisper = "d_model" in config
        n_layers = config["encoder_layers" if is_whisper else "num_hidden_layers"] + 1
        self.dims = (config["d_model" if is_whisper else "hidden_size"],) * n_layers
        self.hops = (grid.hop,) * n_layers

    def feature_extractor(self) -> Any:
        """Make the checkpoint's own feature extractor, of transformers."""
        import transformers

        return getattr(transformers, self.extractor_class).from_dict(self._settings)

    def read(self, inputs: dict[str, Tensor], output: Any, n_samples: Sequence[int]) -> HiddenStates:
        """Take every layer's frames on the longest clip, with one mask for all layers."""
        layers = list(output.hidden_states)
        if self.ends_with_output:
            layers[-1] = output.last_hidden_state
        mask = self.frame_mask(n_samples, layers[0].device)
        # Whisper and AST return the frames of their whole fixed window: keep those of the longest clip.
        kept = tuple(self.frames(layer)[:, : mask.shape[1]].float() for layer in layers)
        return HiddenStates(kept, (mask,) * len(kept))

    def frames(self, hidden_states: Tensor) -> Tensor:
        """Lay a layer's output out as (batch, frames, dim)."""
        return hidden_states


class WaveformFrontEnd(ListedFrontEnd):
    """Samples into a stack of convolutions: wav2vec2, HuBERT, WavLM and their kin."""

    def __init__(self, config: dict[str, Any], preprocessor: dict[str, Any]) -> None:
        # SEW averages this many frames of its convolutions into one before the transformer.
        squeeze = config.get("squeeze_factor", 1)
        hop = math.prod(config["conv_stride"])
        receptive_field = 1
        for kernel, stride in zip(
            reversed(config["conv_kernel"]), reversed(config["conv_stride"]), strict=True
        ):
            receptive_field = (receptive_field - 1) * stride + kernel
        sampling_rate = preprocessor.get("sampling_rate", SAMPLING_RATE)
        grid = FrameGrid(
            hop=hop * squeeze,
            receptive_field=receptive_field + (squeeze - 1) * hop,
            max_frames=MAX_WINDOW_SECONDS * sampling_rate // (hop * squeeze),
        )
        super().__init__(config, preprocessor, grid)
        self._normalises: bool = preprocessor.get("do_normalize", True)

    def prepare(self, waveforms: Sequence[Waveform]) -> dict[str, Tensor]:
        """Normalise each clip over its own samples, and pad.

        The mask is made for checkpoints too whose feature extractor makes none
        (``return_attention_mask`` false): those were trained to read padding as silence, but then a clip's
        embedding would hang on its neighbours.
        """
        import torch

        longest = max(len(waveform) for waveform in waveforms)
        values = np.zeros((len(waveforms), longest), dtype=np.float32)
        for row, waveform in zip(values, waveforms, strict=True):
            row[: len(waveform)] = self._normalise(waveform)
        inputs = {"input_values": torch.from_numpy(values)}
        lengths = torch.tensor([len(waveform) for waveform in waveforms])
        if int(lengths.min()) < longest:
            inputs["attention_mask"] = (torch.arange(longest) < lengths.unsqueeze(1)).long()
        return inputs

    def _normalise(self, waveform: Waveform) -> Waveform:
        """Scale to zero mean and unit variance, where the checkpoint was trained so."""
        if not self._normalises:
            return waveform
        # 1e-7 as in Wav2Vec2FeatureExtractor: it keeps digital silence finite.
        scaled: Waveform = (waveform - waveform.mean()) / np.sqrt(waveform.var() + 1e-7)
        return scaled


class SqueezedFrontEnd(WaveformFrontEnd):
    """SEW and SEW-D, whose transformer runs at half the rate of their convolutions.

    A clip with an odd number of convolution frames leaves one over. Alone it is dropped; in a batch the
    model's own mask keeps it as a frame half of padding, so lengths are not mixed. The output that is
    stretched back to the full rate, with zeros for the dropped frame, is not taken.
    """

    mixes_lengths = False
    ends_with_output = False


class SpectrogramFrontEnd(ListedFrontEnd):
    """A log-mel spectrogram, as the checkpoint's own feature extractor computes it, clip by clip."""

    def __init__(self, config: dict[str, Any], preprocessor: dict[str, Any], grid: FrameGrid) -> None:
        super().__init__(config, preprocessor, grid)
        if preprocessor.get("hop_length", MEL_HOP) != MEL_HOP:
            raise EncoderError(
                f"hop_length {preprocessor['hop_length']} in preprocessor_config.json is not supported: only "
                f"{MEL_HOP} samples are"
            )
        self._extractor: Any = None

    def prepare(self, waveforms: Sequence[Waveform]) -> dict[str, Tensor]:
        """Run the feature extractor."""
        if self._extractor is None:
            self._extractor = self.feature_extractor()
        return dict(self._extractor(list(waveforms), sampling_rate=self.sampling_rate, return_tensors="pt"))


class WhisperFrontEnd(SpectrogramFrontEnd):
    """Whisper always sees 30 s, silence after the clip: only the clip's own frames are given out."""

    extractor_class = "WhisperFeatureExtractor"

    def __init__(self, config: dict[str, Any], preprocessor: dict[str, Any]) -> None:
        preprocessor = {"feature_size": config["num_mel_bins"], **preprocessor}
        hop = 2 * MEL_HOP  # its second convolution has stride 2
        # The spectrum is centred, so a frame needs no more than to begin inside the clip.
        super().__init__(config, preprocessor, FrameGrid(hop, 1, config["max_source_positions"]))


class Wav2Vec2BertFrontEnd(SpectrogramFrontEnd):
    """Kaldi's log-mel spectra, normalised over the clip per band, two side by side in a frame."""

    extractor_class = "SeamlessM4TFeatureExtractor"

    def __init__(self, config: dict[str, Any], preprocessor: dict[str, Any]) -> None:
        stride = preprocessor.get("stride", 2)
        hop = stride * MEL_HOP
        max_frames = MAX_WINDOW_SECONDS * preprocessor.get("sampling_rate", SAMPLING_RATE) // hop
        super().__init__(config, preprocessor, FrameGrid(hop, MEL_WINDOW + hop - MEL_HOP, max_frames))


class ASTFrontEnd(SpectrogramFrontEnd):
    """The Audio Spectrogram Transformer's patches, averaged over frequency into one frame per time step.

    The model always sees about 10 s, silence after the clip, and attends to it as it was trained to. Given
    out are the time steps whose patches lie on the clip; its two class tokens stand for no time and are
    left out.
    """

    extractor_class = "ASTFeatureExtractor"

    def __init__(self, config: dict[str, Any], preprocessor: dict[str, Any]) -> None:
        sizes = {"num_mel_bins": config["num_mel_bins"], "max_length": config["max_length"]}
        patch, stride = config["patch_size"], config["time_stride"]
        self._n_steps = (config["max_length"] - patch) // stride + 1
        grid = FrameGrid(stride * MEL_HOP, (patch - 1) * MEL_HOP + MEL_WINDOW, self._n_steps)
        super().__init__(config, {**preprocessor, **sizes}, grid)

    def frames(self, hidden_states: Tensor) -> Tensor:
        """Average over frequency: (batch, 2 + bands * steps, dim) to (batch, steps, dim)."""
        n_clips, _, dim = hidden_states.shape
        return hidden_states[:, 2:].reshape(n_clips, -1, self._n_steps, dim).mean(dim=1)


FRONT_ENDS: dict[str, type[WaveformFrontEnd | WhisperFrontEnd | Wav2Vec2BertFrontEnd | ASTFrontEnd]] = {
    "audio-spectrogram-transformer": ASTFrontEnd,
    "data2vec-audio": WaveformFrontEnd,
    "hubert": WaveformFrontEnd,
    "sew": SqueezedFrontEnd,
    "sew-d": SqueezedFrontEnd,
    "unispeech": WaveformFrontEnd,
    "unispeech-sat": WaveformFrontEnd,
    "wav2vec2": WaveformFrontEnd,
    "wav2vec2-bert": Wav2Vec2BertFrontEnd,
    "wav2vec2-conformer": WaveformFrontEnd,
    "wavlm": WaveformFrontEnd,
    "whisper": WhisperFrontEnd,
}
