"""Silero's voice activity detector, with the weights in its package, a block at a time."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ser_transfer.timeline.settings import TimelineError
from ser_transfer.timeline.windows import Waveform

if TYPE_CHECKING:
    from torch import Tensor

SAMPLING_RATE = 16_000  # Hz
FRAME_SAMPLES = 512  # 32 ms, of which it says one probability
_CONTEXT_SAMPLES = 64  # of the frame before, which it hears again
_STRIDE = 128  # samples from one of its spectra to the next, four to a frame
_CONVOLUTION_STRIDES = (1, 2, 2, 1)
# At once: the spectra of 8 s fit a processor's cache, and more gain nothing.
_FRAMES_AT_ONCE = 256
_ADVICE = 'type pip install "ser-transfer[vad]"'


class SileroSpeech:
    """Tells of every 32 ms how probably someone speaks in them.

    The network is Silero VAD 6 for 16 kHz (https://github.com/snakers4/silero-vad, MIT): spectra, four
    convolutions, an LSTM that carries on from frame to frame. Its package runs it through TorchScript frame
    by frame; here a block's frames go through the convolutions together, which takes an eighth of the time.
    The package is not imported, for that sets the number of threads of the whole process.

    Raises:
        TimelineError: If the package, or the network in it, is not there.
    """

    sampling_rate = SAMPLING_RATE
    frame_samples = FRAME_SAMPLES

    def __init__(self) -> None:
        self._weights = _weights(_network_file())
        self.reset()

    def reset(self) -> None:
        """Begin a new recording."""
        import torch

        self._context = torch.zeros(_CONTEXT_SAMPLES)
        self._state = (torch.zeros(1, 128), torch.zeros(1, 128))

    def probabilities(self, waveform: Waveform) -> npt.NDArray[np.float32]:
        """Go on in the recording by a whole number of frames.

        Args:
            waveform: Mono at 16 kHz, full scale 1, of shape (n_frames * 512,).

        Returns:
            Array of shape (n_frames,).
        """
        import torch

        frames = torch.from_numpy(np.ascontiguousarray(waveform, np.float32)).reshape(-1, FRAME_SAMPLES)
        found = []
        with torch.inference_mode():
            for first in range(0, len(frames), _FRAMES_AT_ONCE):
                some = frames[first : first + _FRAMES_AT_ONCE]
                before = torch.cat([self._context[None], some[:-1, -_CONTEXT_SAMPLES:]])
                found.append(self._remembered(self._heard(torch.cat([before, some], dim=1))))
                self._context = some[-1, -_CONTEXT_SAMPLES:].clone()
        return torch.cat(found).numpy() if found else np.zeros(0, np.float32)

    def _heard(self, frames: Tensor) -> Tensor:
        """From frames with their context, (n, 576), to what the convolutions make of each, (n, 128)."""
        from torch.nn.functional import conv1d, pad, relu

        weights = self._weights
        padded = pad(frames[:, None], (0, _CONTEXT_SAMPLES), mode="reflect")
        real, imaginary = conv1d(padded, weights["stft.forward_basis_buffer"], stride=_STRIDE).chunk(2, dim=1)
        hidden = (real.square() + imaginary.square()).sqrt()
        for number, stride in enumerate(_CONVOLUTION_STRIDES):
            layer = f"encoder.{number}.reparam_conv"
            weight, bias = weights[f"{layer}.weight"], weights[f"{layer}.bias"]
            hidden = relu(conv1d(hidden, weight, bias, stride=stride, padding=1))
        return hidden.squeeze(-1)

    def _remembered(self, hidden: Tensor) -> Tensor:
        """Through the LSTM, frame after frame, to a probability each, (n,)."""
        import torch
        from torch.nn.functional import conv1d, relu

        weights = self._weights
        cell = [weights[f"decoder.rnn.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        outputs = []
        for frame in hidden[:, None]:
            self._state = torch.lstm_cell(frame, self._state, *cell)
            outputs.append(self._state[0])
        remembered = relu(torch.cat(outputs))[:, :, None]
        logits = conv1d(remembered, weights["decoder.decoder.2.weight"], weights["decoder.decoder.2.bias"])
        return logits.sigmoid().flatten()


def _network_file() -> Path:
    """Find the network without importing its package."""
    found = find_spec("silero_vad")
    if found is None or found.origin is None:
        raise TimelineError(f"to hear only where someone speaks, silero-vad is needed: {_ADVICE}")
    path = Path(found.origin).parent / "data" / "silero_vad.jit"
    if not path.is_file():
        raise TimelineError(f"{path} is not there, as it is in silero-vad 6: {_ADVICE}")
    return path


def _weights(path: Path) -> dict[str, Tensor]:
    """Read the weights of the network for 16 kHz out of its archive, which holds one for 8 kHz too.

    The package's safetensors file is of another training (6.2.3), so it will not do.
    """
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript, as of torch 2.12
        network = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    prefix = "_model."
    return {
        name.removeprefix(prefix): weight.detach()
        for name, weight in network.state_dict().items()
        if name.startswith(prefix)
    }
