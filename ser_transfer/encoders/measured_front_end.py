"""The front end of a model that only running it tells about: its layers and frames are measured.

For the types in `front_ends.FRONT_ENDS` the config says which frames a clip gives. For any other type that
`AutoModel` knows, the model is loaded when the encoder is made and run on noise of two lengths: that takes
torch, the weights and some seconds, which the listed types do not need.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ser_transfer.encoders.base import EncoderError, HiddenStates, Waveform
from ser_transfer.encoders.checkpoints import Checkpoint
from ser_transfer.encoders.encoder_part import make_feature_extractor, unsupported
from ser_transfer.encoders.frame_grid import FrameGrid
from ser_transfer.encoders.front_ends import MAX_WINDOW_SECONDS, FrontEnd

if TYPE_CHECKING:
    from torch import Tensor, nn

SHORT_SECONDS = 2
# Samples by which the second length is longer, 2^9 · 3^2 · 5 · 7 (10 s at 16 kHz). Strides multiply to a hop
# of small prime factors, which divides this: then it adds the same whole number of frames to any clip.
PERIOD = 161_280
# Largest change of a frame, relative to its norm, that comes of another clip in the batch. Rounding gives
# 1e-6; seeing the neighbour, or dither, a thousand times more.
SAME = 1e-4
# What a model or a feature extractor may raise on input that it was not made for.
REFUSALS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
NO_LAYERS = "it gives no hidden states per layer"
MASK_NAMES = ("attention_mask", "input_features_mask", "padding_mask")


class MeasuredFrontEnd(FrontEnd):
    """A checkpoint's own feature extractor, run clip by clip, and frames as the model was seen to give them.

    Where the extractor fills every clip up to a fixed window, as Whisper's does, a clip has the frames that
    begin on it: its share of the window's. Else it has all that the model gives, but for those that the
    model's or the extractor's own mask marks as padding.

    A mask that the model cannot take as the extractor gives it (Qwen2-Audio's, made for the whole model) is
    left out: the encoder then hears the silence after the clip, as Whisper does.
    """

    mixes_lengths = False

    def __init__(self, checkpoint: Checkpoint, model: nn.Module) -> None:
        self._checkpoint = checkpoint
        self._extractor = make_feature_extractor(checkpoint)
        self._parameters = frozenset(inspect.signature(model.forward).parameters)
        if not {"output_hidden_states", "kwargs"} & self._parameters:
            raise self._unsupported(NO_LAYERS)
        self._window: int | None = None  # samples that every clip is filled up to
        self._options: dict[str, bool] = {}  # what the extractor is called with
        self._without_mask = False
        self._is_measured = False
        self.sampling_rate = self._extractor.sampling_rate
        self._measure(model)

    def prepare(self, waveforms: Sequence[Waveform]) -> dict[str, Tensor]:
        """Run the feature extractor on each clip by itself, so that it sees no other; lengths are equal."""
        import torch

        extracted = [
            self._extractor(
                [waveform], sampling_rate=self.sampling_rate, return_tensors="pt", **self._options
            )
            for waveform in waveforms
        ]
        inputs = {}
        for key, value in extracted[0].items():
            argument = self._argument(key)
            if argument is not None and isinstance(value, torch.Tensor):
                inputs[argument] = torch.cat([of_one[key] for of_one in extracted])
        return inputs

    def read(self, inputs: dict[str, Tensor], output: Any, n_samples: Sequence[int]) -> HiddenStates:
        """Take each layer's real frames; clips of one length have equally many, so none is masked.

        Raises:
            EncoderError: If there are fewer than a clip of this length should give.
        """
        import torch

        layers = tuple(
            layer[:, : self._n_real(layer.shape[1], inputs, output, n_samples[0])].float()
            for layer in self._hidden_states(output)
        )
        masks = tuple(torch.ones(layer.shape[:2], dtype=torch.bool, device=layer.device) for layer in layers)
        if self._cuts_off(layers, n_samples[0]):
            seconds = n_samples[0] / self.sampling_rate
            raise EncoderError(
                f"{self._checkpoint.name} gives too few frames for {seconds:.1f} s: it or its feature "
                f"extractor cuts long clips off; give shorter ones"
            )
        return HiddenStates(layers, masks)

    def _cuts_off(self, layers: Sequence[Tensor], n_samples: int) -> bool:
        """Tell whether layers have fewer frames than a clip gives by its length, once that was measured."""
        if self._window is not None or not self._is_measured:
            return False
        length = self.grid.n_frames(n_samples) * self.grid.hop
        return any(layer.shape[1] < length // hop for layer, hop in zip(layers, self.hops, strict=True))

    def _argument(self, key: str) -> str | None:
        """Name the model's argument for what the extractor calls `key`; None where it has none."""
        if key in MASK_NAMES:
            if self._without_mask:
                return None
            return next((name for name in (key, *MASK_NAMES) if name in self._parameters), None)
        return key if key in self._parameters else None

    def _hidden_states(self, output: Any) -> list[Tensor]:
        """Give all layers, each of shape (batch, frames, dim), the last as the model puts it out.

        Raises:
            EncoderError: If the output has none, or of other shapes.
        """
        layers = list(output.get("hidden_states") or ()) if hasattr(output, "get") else []
        if not layers:
            raise self._unsupported(NO_LAYERS)
        last = output.get("last_hidden_state")
        if last is not None and last.shape == layers[-1].shape:
            layers[-1] = last
        for i, layer in enumerate(layers):
            if layer.ndim != 3:
                raise self._unsupported(
                    f"hidden state {i} has shape {tuple(layer.shape)}, not (batch, frames, features)"
                )
        return layers

    def _n_real(self, n_frames: int, inputs: dict[str, Tensor], output: Any, n_samples: int) -> int:
        """Count a layer's frames that are a clip's own; frames beyond them are filled up or padded."""
        if self._window is not None:
            return min(n_frames, -(-n_samples * n_frames // self._window))
        mask = output.get("attention_mask")
        if mask is not None and mask.shape[-1] == n_frames:
            return int(mask[0].sum())
        for name in MASK_NAMES:
            if name in inputs:
                mask = inputs[name][0]
                return -(-n_frames * int(mask.sum()) // len(mask))
        return n_frames

    def _measure(self, model: nn.Module) -> None:
        """Find layers, hops and window, and see that frames follow time and no clip sees another."""
        random = np.random.default_rng(0)
        noise = 0.1 * random.standard_normal(SHORT_SECONDS * self.sampling_rate + PERIOD).astype(np.float32)
        short = noise[: SHORT_SECONDS * self.sampling_rate]
        inputs, output = self._first_run(model, short)
        whole = self._hidden_states(output)
        self.dims = tuple(layer.shape[2] for layer in whole)
        self._window = self._fixed_window(short, noise)
        if self._window is None:
            alone = self.read(inputs, output, [len(short)]).layers
            n_frames = [layer.shape[1] for layer in alone]
            self.hops = self._hops(alone, self._run(model, [noise]))
            if len(set(zip(self.hops, n_frames, strict=True))) > len(set(self.hops)):
                raise self._unsupported(f"{n_frames} frames per layer at one rate: some stand for no time")
            self._lay_grid(len(short), n_frames)
            self.min_samples = self._shortest(model, len(short))
        else:
            n_frames = [layer.shape[1] for layer in whole]
            if any(self._window % n for n in n_frames):
                raise self._unsupported(f"{n_frames} frames per layer do not divide its window evenly")
            self.hops = tuple(self._window // n for n in n_frames)
            self.grid = FrameGrid(max(self.hops), 1, min(n_frames))
            self.min_samples = 1
        if any(self.grid.hop % hop for hop in self.hops):
            raise self._unsupported(f"its layers' frames, every {self.hops} samples, share no grid")
        self._is_measured = True
        self._check(model, short, noise[len(short) :][: len(short)])

    def _first_run(self, model: nn.Module, waveform: Waveform) -> tuple[dict[str, Tensor], Any]:
        """Run the model on what the extractor gives, else with a mask asked for, else without any."""
        first: Exception | None = None
        for options, without_mask in (({}, False), ({"return_attention_mask": True}, False), ({}, True)):
            self._options, self._without_mask = options, without_mask
            try:
                inputs = self.prepare([waveform])
                return inputs, self._output(model, inputs)
            except REFUSALS as error:
                first = first or error
        reason = str(first).strip().split("\n")[0]
        raise self._unsupported(f"it cannot be run on what its feature extractor gives: {reason}") from first

    def _run(self, model: nn.Module, waveforms: Sequence[Waveform]) -> tuple[Tensor, ...]:
        inputs = self.prepare(waveforms)
        output = self._output(model, inputs)
        return self.read(inputs, output, [len(waveform) for waveform in waveforms]).layers

    def _output(self, model: nn.Module, inputs: dict[str, Tensor]) -> Any:
        import torch

        with torch.inference_mode():
            return model(**inputs, output_hidden_states=True)

    def _fixed_window(self, short: Waveform, long: Waveform) -> int | None:
        """Give the samples that the extractor fills every clip up to; None where it keeps a clip's length."""
        shapes = [{key: x.shape for key, x in self.prepare([clip]).items()} for clip in (short, long)]
        if shapes[0] != shapes[1]:
            return None
        window = getattr(self._extractor, "n_samples", None)
        if window is None:
            raise self._unsupported("its feature extractor does not say how long a clip it fills up to")
        return int(window)

    def _hops(self, short: Sequence[Tensor], long: Sequence[Tensor]) -> tuple[int, ...]:
        """Give the samples per frame in each layer: `PERIOD` samples more are so many frames more."""
        hops = []
        for i, (of_short, of_long) in enumerate(zip(short, long, strict=True)):
            more = of_long.shape[1] - of_short.shape[1]
            if of_long.shape[2] != of_short.shape[2] or more <= 0 or PERIOD % more:
                raise self._unsupported(
                    f"hidden state {i} has shape {tuple(of_short.shape[1:])} for a short clip and "
                    f"{tuple(of_long.shape[1:])} for one {PERIOD} samples longer: no frames at an even rate"
                )
            hops.append(PERIOD // more)
        return tuple(hops)

    def _lay_grid(self, n_samples: int, n_frames: Sequence[int]) -> None:
        """Lay the grid of the slowest layer, from the frames of one clip of `n_samples`.

        A hop of the slowest layer more gives every layer a whole number of frames more. So with k whole
        hops in the clip's frames of every layer, a clip of ``k' · hop + (n_samples - k · hop)`` has k' of
        them for any k'. What is in brackets is what a window needs beyond its own frames.
        """
        hop = max(self.hops)
        whole = min(n * h for n, h in zip(n_frames, self.hops, strict=True)) // hop
        overlap = n_samples - whole * hop
        self.grid = FrameGrid(hop, hop + overlap, MAX_WINDOW_SECONDS * self.sampling_rate // hop)

    def _shortest(self, model: nn.Module, works: int) -> int:
        """Find the shortest clip that gives each layer a frame, by halving."""
        fails = 0
        noise = 0.1 * np.random.default_rng(1).standard_normal(works).astype(np.float32)
        while works - fails > 1:
            middle = (works + fails) // 2
            if self._gives_frames(model, noise[:middle]):
                works = middle
            else:
                fails = middle
        return works

    def _gives_frames(self, model: nn.Module, waveform: Waveform) -> bool:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a variance over one frame, and the like
            try:
                layers = self._run(model, [waveform])
            except REFUSALS:
                return False
        return all(layer.shape[1] > 0 and bool(layer.isfinite().all()) for layer in layers)

    def _check(self, model: nn.Module, waveform: Waveform, other: Waveform) -> None:
        """See that a clip has in a batch what it has alone, and that a frame hears its own time.

        The clip runs beside one that is the same up to its middle, and one that is wholly another. Its
        frames must not change. In the first layer, before frames are mixed, the other clip must change
        every frame, and the half other one the late frames more than the early ones.
        """
        half = len(waveform) // 2
        alone = self._run(model, [waveform])
        batch = self._run(model, [waveform, np.concatenate([waveform[:half], other[half:]]), other])
        if any(_change(layer[0], lone[0]).max() > SAME for layer, lone in zip(batch, alone, strict=True)):
            raise self._unsupported("a clip gives other frames beside another clip than alone")
        late, everywhere = _change(batch[0][1], batch[0][0]), _change(batch[0][2], batch[0][0])
        margin = math.ceil(0.4 * len(late))
        if (
            everywhere.min() < 0.01 * everywhere.median()
            or not late[:margin].mean() < 0.5 * late[-margin:].mean()
        ):
            raise self._unsupported("the frames of its first hidden state do not follow time one by one")

    def _unsupported(self, why: str) -> EncoderError:
        return unsupported(self._checkpoint, why)


def _change(frames: Tensor, reference: Tensor) -> Tensor:
    """Give the distance of each frame from its reference, relative to the mean norm of those."""
    change: Tensor = (frames - reference).norm(dim=-1) / reference.norm(dim=-1).mean()
    return change
