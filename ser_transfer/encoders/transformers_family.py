"""Pretrained speech encoders of the transformers library, and the same ones left untrained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from itertools import pairwise
from statistics import mode
from typing import TYPE_CHECKING, Any

from ser_transfer.encoders.base import Encoder, EncoderError, HiddenStates, Precision, Waveform
from ser_transfer.encoders.checkpoints import Checkpoint, find_checkpoint
from ser_transfer.encoders.devices import check_precision, inference, prepare, torch_device
from ser_transfer.encoders.encoder_part import unsupported
from ser_transfer.encoders.front_ends import FRONT_ENDS, FrontEnd, ListedFrontEnd

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor, nn

    from ser_transfer.encoders.padding import PaddingGuard

# Part of the fingerprint. Raise it when the same waveform would give other hidden states than before.
PREPROCESSING_VERSION = 1


def load_transformers_encoder(
    name: str,
    *,
    revision: str | None = None,
    untrained: bool = False,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "float32",
) -> TransformersEncoder:
    """Make an encoder of a model that transformers knows.

    Of a type in `front_ends.FRONT_ENDS` only the small files are read and the weights hashed; torch is
    imported at the first `encode`. Any other type is loaded and run at once, since only that tells its
    layers and frames (`measured_front_end`). A folder or a copy in the local Hub cache needs no network.

    Args:
        name: A Hub id, a folder, or, untrained, an architecture of `checkpoints.ARCHITECTURES`.
        revision: Branch, tag or commit of the Hub id.
        untrained: Random weights in place of the pretrained ones, as the floor that pretraining must
            clear. The config alone is then enough.
        seed: Of the random weights.
        device: ``"auto"`` (CUDA, else MPS, else the CPU) or a name that torch knows.
        precision: ``"float32"``, or ``"bf16"`` for matrix products and convolutions in bfloat16.

    Raises:
        EncoderError: If the model cannot be found, or is no audio encoder that is supported.
    """
    check_precision(precision)
    checkpoint = find_checkpoint(name, revision=revision, with_weights=not untrained)
    drawn_from = seed if untrained else None
    model: Any = None
    front_end: FrontEnd
    if checkpoint.config.get("model_type") in FRONT_ENDS:
        front_end = listed_front_end(checkpoint, untrained)
    else:
        model, front_end = _load_and_measure(checkpoint, drawn_from)
    return TransformersEncoder(
        checkpoint, front_end, seed=drawn_from, device=device, precision=precision, model=model
    )


def listed_front_end(checkpoint: Checkpoint, untrained: bool) -> ListedFrontEnd:
    """Choose the front end for a checkpoint of a type in `FRONT_ENDS`.

    Raises:
        EncoderError: If the checkpoint's files do not say how its input is made, or say something unheard of.
    """
    name, config = checkpoint.name, checkpoint.config
    if checkpoint.preprocessor is None and not untrained:
        raise EncoderError(
            f"{name} has no preprocessor_config.json, so how its input is scaled would be a guess: put "
            f"that of the model it was made from beside its config.json"
        )
    model_type = config["model_type"]
    kind, preprocessor = FRONT_ENDS[model_type], checkpoint.preprocessor or {}
    extractor = preprocessor.get("feature_extractor_type", kind.extractor_class)
    if extractor != kind.extractor_class:
        raise EncoderError(
            f"{name} has a {extractor}, and {kind.extractor_class} is what {model_type} is run with"
        )
    try:
        return kind(config, preprocessor)
    except (KeyError, TypeError) as error:
        raise EncoderError(
            f"the config.json of {name} is not whole ({error}): save the model again"
        ) from error


def _load_and_measure(checkpoint: Checkpoint, seed: int | None) -> tuple[nn.Module, FrontEnd]:
    """Load the audio encoder of a model whose type is not listed, and measure its frames."""
    if "auto_map" in checkpoint.config:
        raise unsupported(checkpoint, "it brings its own code, which is never run")
    if checkpoint.preprocessor is None:
        raise unsupported(checkpoint, "it has no preprocessor_config.json")
    from ser_transfer.encoders.measured_front_end import MeasuredFrontEnd
    from ser_transfer.encoders.transformers_model import build_model, quiet

    model = build_model(checkpoint, seed)
    with quiet():
        return model, MeasuredFrontEnd(checkpoint, model)


class TransformersEncoder(Encoder):
    """A transformer over waveforms or spectrograms, frozen.

    Its layers are ``layer_00``, what enters the first transformer layer (after positions are added), then
    the output of each transformer layer. The last one is the model's output: where a final layer norm
    follows the last layer (the large wav2vec2, HuBERT, WavLM, Whisper, AST, conformer) it is the normed
    one, as in the published protocols, though transformers 5 keeps the bare one in ``hidden_states[-1]``.

    A clip beyond 30 s (10 s for AST) is cut into equal windows which are encoded as clips of their own;
    their frames follow one another as if it had been whole.

    Of a type that is not in `front_ends.FRONT_ENDS` the layers are what transformers calls
    ``hidden_states``, and a layer may have fewer frames per second than `frame_rate`, the rate of most.

    Attributes:
        revision: The commit on the Hub that was loaded; None for a folder.
        untrained: Whether the weights are random.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        front_end: FrontEnd,
        *,
        seed: int | None,
        device: str,
        precision: Precision,
        model: nn.Module | None = None,
    ) -> None:
        self.name = checkpoint.name
        self.revision = checkpoint.revision
        self.untrained = seed is not None
        self.fingerprint = _fingerprint(checkpoint, seed)
        self.sampling_rate = front_end.sampling_rate
        self.frame_rate = front_end.sampling_rate / mode(front_end.hops)
        self.layer_names = tuple(f"layer_{i:02d}" for i in range(len(front_end.dims)))
        self.dims = front_end.dims
        self.precision = precision
        self.min_seconds = front_end.min_samples / front_end.sampling_rate
        self._checkpoint = checkpoint
        self._front_end = front_end
        self._seed = seed
        self._device_name = device
        self._device: torch.device
        self._measured_model = model  # loaded already, on the CPU; None where it is not
        self._model: Any = None
        self._guard: PaddingGuard | None = None

    @property
    def on_accelerator(self) -> bool:
        """Whether it runs on a GPU, where padded batches pay; on a CPU they do not."""
        return self._device_name != "cpu" and torch_device(self._device_name).type != "cpu"

    def files(self) -> dict[str, Path]:
        """See `Encoder.files`."""
        return {} if self.untrained else {path.name: path for path in self._checkpoint.files()}

    def encode(self, waveforms: Sequence[Waveform]) -> HiddenStates:
        """Encode a batch in one pass.

        Args:
            waveforms: Mono float32 arrays of shape (samples,) at `sampling_rate`, of any lengths.

        Returns:
            Float32 hidden states of every layer, with their masks, on the encoder's device.

        Raises:
            EncoderError: If a waveform is shorter than `min_seconds`, or the weights cannot be loaded.
        """
        self._check_lengths(waveforms)
        if self._model is None:
            self._load()
        windows = [self._front_end.grid.windows(len(waveform)) for waveform in waveforms]
        batches = self._batches(waveforms, windows)
        if len(batches) == 1:
            return self._run([waveforms[row][window] for row, window in batches[0]])
        return self._run_in_parts(waveforms, windows, batches)

    def _check_lengths(self, waveforms: Sequence[Waveform]) -> None:
        if not waveforms:
            raise EncoderError("there is no waveform in the batch: give at least one")
        needed = self._front_end.min_samples
        for i, waveform in enumerate(waveforms):
            if len(waveform) < needed:
                raise EncoderError(
                    f"waveform {i} of the batch has {len(waveform)} samples, and {self.name} needs {needed} "
                    f"({self.min_seconds:.3f} s) for its first frame: leave shorter clips out"
                )

    def _batches(
        self, waveforms: Sequence[Waveform], windows: list[list[slice]]
    ) -> list[list[tuple[int, slice]]]:
        """Group (row, window) pairs into what runs at once.

        Clips of one window run together, of equal lengths only where the model cannot mix lengths. Each
        window of a longer clip runs by itself, so memory does not grow with the clip.
        """
        together: dict[int, list[tuple[int, slice]]] = {}
        alone: list[list[tuple[int, slice]]] = []
        for row, parts in enumerate(windows):
            if len(parts) == 1:
                length = 0 if self._front_end.mixes_lengths else len(waveforms[row])
                together.setdefault(length, []).append((row, parts[0]))
            else:
                alone.extend([(row, part)] for part in parts)
        return [*together.values(), *alone]

    def _run(self, waveforms: Sequence[Waveform]) -> HiddenStates:
        """Encode clips that fit one window and may share a batch."""
        n_samples = [len(waveform) for waveform in waveforms]
        inputs = {key: value.to(self._device) for key, value in self._front_end.prepare(waveforms).items()}
        with ExitStack() as stack:
            stack.enter_context(inference(self._device, self.precision))
            if self._guard is not None:
                mask = self._front_end.frame_mask(n_samples, self._device)
                stack.enter_context(self._guard.batch(n_samples, mask))
            output = self._model(**inputs, output_hidden_states=True)
            return self._front_end.read(inputs, output, n_samples)

    def _run_in_parts(
        self,
        waveforms: Sequence[Waveform],
        windows: list[list[slice]],
        batches: list[list[tuple[int, slice]]],
    ) -> HiddenStates:
        """Encode batch after batch and lay each clip's frames end to end."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        # Samples from the start of a window to that of the next one, in which its own frames begin.
        spans = {
            (row, window.start): following.start - window.start
            for row, parts in enumerate(windows)
            for window, following in pairwise(parts)
        }
        parts: list[list[list[Tensor]]] = [[[] for _ in waveforms] for _ in self.layer_names]
        for batch in batches:
            states = self._run([waveforms[row][window] for row, window in batch])
            for layer, hop, frames, mask in zip(
                parts, self._front_end.hops, states.layers, states.frame_masks, strict=True
            ):
                for i, (row, window) in enumerate(batch):
                    span = spans.get((row, window.start))
                    layer[row].append(frames[i, mask[i]][: None if span is None else span // hop])
        layers, masks = [], []
        for layer in parts:
            rows = [torch.cat(row) for row in layer]
            layers.append(pad_sequence(rows, batch_first=True))
            n_frames = torch.tensor([len(row) for row in rows], device=self._device)
            masks.append(torch.arange(layers[-1].shape[1], device=self._device) < n_frames.unsqueeze(1))
        return HiddenStates(tuple(layers), tuple(masks))

    def _load(self) -> None:
        """Read or draw the weights, and bring them to the device in the precision asked for."""
        from ser_transfer.encoders.padding import PaddingGuard
        from ser_transfer.encoders.transformers_model import build_model

        model = self._measured_model or build_model(self._checkpoint, self._seed)
        self._measured_model = None
        if self._front_end.mixes_lengths and hasattr(model, "feature_extractor"):
            self._guard = PaddingGuard(model)
        self._device = torch_device(self._device_name)
        self._model = prepare(model, self._device, self.precision)


def _fingerprint(checkpoint: Checkpoint, seed: int | None) -> str:
    """Hash what the hidden states follow from: weights or seed, config, preprocessing.

    Random weights follow from torch's generator and transformers' initialisers as well. Neither promises
    the same numbers in its next release, so their versions count for an untrained model.
    """
    content = {"preprocessing_version": PREPROCESSING_VERSION, **checkpoint.content()}
    if seed is not None:
        content["untrained"] = {
            "seed": seed,
            "torch": version("torch"),
            "transformers": version("transformers"),
        }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
