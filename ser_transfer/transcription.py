"""The words of a recording, by any speech-recognition checkpoint of transformers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ser_transfer.encoders.devices import torch_device
from ser_transfer.encoders.transformers_model import quiet
from ser_transfer.errors import SerTransferError
from ser_transfer.hub import HubError, fetch

if TYPE_CHECKING:
    import torch

Waveform = npt.NDArray[np.float32]

# Settings, vocabulary, and the weights whole or in shards: no other precision of them, and no pickle.
_PATTERNS = ("*.json", "*.txt", "*.model", "model.safetensors", "model-*-of-*.safetensors")
# What Whisper hears at once (Radford et al. 2022, 2.1). Networks with CTC could hear more, in memory that
# grows with the square of it.
PIECE_SECONDS = 30.0
MIN_SECONDS = 0.1  # a shorter piece is padded with zeros: the convolutions of wav2vec 2.0 span 25 ms
PAUSE_SECONDS = 0.1  # over which the quietest place is sought where a long piece is cut
_EXAMPLES = "such as openai/whisper-small or facebook/wav2vec2-base-960h"


class TranscriptionError(SerTransferError):
    """A checkpoint that cannot be found, or writes no words."""


class Transcriber:
    """A speech-recognition network, with what prepares its input and spells its output.

    Each piece is heard alone, so that its words do not depend on its neighbours' lengths.

    Attributes:
        name: Of the checkpoint, with its revision where that was asked for.
        sampling_rate: Hz, of the waveforms that it hears.
        piece_seconds: What it hears at once; longer waveforms are cut where they are quietest.
    """

    def __init__(
        self, name: str, model: Any, feature_extractor: Any, tokenizer: Any, device: torch.device
    ) -> None:
        self.name = name
        self.sampling_rate = int(feature_extractor.sampling_rate)
        self.piece_seconds = float(getattr(feature_extractor, "chunk_length", PIECE_SECONDS))
        self._model, self._device = model, device
        self._feature_extractor, self._tokenizer = feature_extractor, tokenizer

    @classmethod
    def load(cls, checkpoint: str | Path, revision: str | None = None, device: str = "auto") -> Transcriber:
        """Load a checkpoint with a CTC layer (wav2vec 2.0, HuBERT, ...) or a decoder (Whisper, ...).

        Args:
            checkpoint: A folder, or a Hub id. What the local Hub cache has is used where the Hub cannot be
                reached.
            revision: Commit, tag or branch of a Hub id.
            device: ``"auto"`` (CUDA, then MPS, then CPU), or a torch device.

        Raises:
            TranscriptionError: If there is no such checkpoint, it is none for speech recognition, or it lacks
                weights.
            EncoderError: If the device is not here.
        """
        import torch
        from transformers import AutoConfig, AutoFeatureExtractor, AutoTokenizer

        name = str(checkpoint) if revision is None else f"{checkpoint} at {revision}"
        on = torch_device(device)
        path = str(_found(checkpoint, revision))
        try:
            with quiet():
                loader = _loader(AutoConfig.from_pretrained(path, local_files_only=True), name)
                # Not by AutoProcessor: one with a language model would want packages that are not installed.
                feature_extractor = AutoFeatureExtractor.from_pretrained(path, local_files_only=True)
                tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
                model, report = loader.from_pretrained(
                    path, local_files_only=True, dtype=torch.float32, output_loading_info=True
                )
        except (OSError, ValueError, ImportError) as error:
            if isinstance(error, TranscriptionError):
                raise
            found = " ".join(str(error).split())
            raise TranscriptionError(
                f"{name} cannot be loaded for speech recognition ({found}): give a folder or a Hub id, "
                f"{_EXAMPLES}"
            ) from error
        if report["missing_keys"]:
            missing = ", ".join(sorted(report["missing_keys"])[:3])
            raise TranscriptionError(
                f"{name} lacks weights ({missing}): give a whole checkpoint, {_EXAMPLES}"
            )
        return cls(name, model.to(on).eval(), feature_extractor, tokenizer, on)

    def transcribe(self, waveforms: Sequence[Waveform]) -> list[str]:
        """Write down what is said in each waveform.

        Args:
            waveforms: Mono, float32, full scale 1, at `sampling_rate`, of any length.

        Returns:
            The words of each, as the checkpoint spells them; empty where it heard none.
        """
        return [self.transcribe_blocks([waveform]) for waveform in waveforms]

    def transcribe_blocks(self, blocks: Iterable[Waveform]) -> str:
        """Write down what is said in a recording that comes in blocks, in memory that does not grow with it.

        Args:
            blocks: As `ser_transfer.audio.read_blocks` gives them, at `sampling_rate`.
        """
        n_most = round(self.piece_seconds * self.sampling_rate)
        pieces = _pieces(blocks, n_most, round(PAUSE_SECONDS * self.sampling_rate))
        return " ".join(filter(None, map(self._words, pieces)))

    def _words(self, piece: Waveform) -> str:
        import torch

        missing = round(MIN_SECONDS * self.sampling_rate) - len(piece)
        if missing > 0:
            piece = np.pad(piece, (0, missing))
        inputs = self._feature_extractor(piece, sampling_rate=self.sampling_rate, return_tensors="pt")
        with torch.inference_mode(), quiet():
            inputs = inputs.to(self._device)
            if self._model.can_generate():
                tokens = self._model.generate(**inputs)
                [text] = self._tokenizer.batch_decode(tokens, skip_special_tokens=True)
            else:
                tokens = self._model(**inputs).logits.argmax(dim=-1)
                [text] = self._tokenizer.batch_decode(tokens)
        return str(text).strip()


def _found(checkpoint: str | Path, revision: str | None) -> Path:
    """Find the folder of a checkpoint; of a Hub id, fetch it, or take the local Hub cache's copy."""
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise TranscriptionError(
                f"{checkpoint} is a folder and has no revision {revision!r}: leave it away"
            )
        return folder
    try:
        return fetch(str(checkpoint), revision=revision, patterns=_PATTERNS, instead=f"give one {_EXAMPLES}")
    except HubError as error:
        raise TranscriptionError(str(error)) from error


def _loader(config: Any, name: str) -> Any:
    """Find the class of `transformers` that loads the checkpoint as what it was saved as."""
    from transformers import (
        MODEL_FOR_CTC_MAPPING,
        MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING,
        AutoModelForCTC,
        AutoModelForSpeechSeq2Seq,
    )

    saved_as = (config.architectures or ["nothing that it names"])[0]
    for mapping, loader in (
        (MODEL_FOR_CTC_MAPPING, AutoModelForCTC),
        (MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING, AutoModelForSpeechSeq2Seq),
    ):
        if type(config) in mapping and mapping[type(config)].__name__ == saved_as:
            return loader
    raise TranscriptionError(f"{name} is {saved_as}, and no network for speech recognition, {_EXAMPLES}")


def _pieces(blocks: Iterable[Waveform], n_most: int, n_pause: int) -> Iterator[Waveform]:
    """Cut a stream into pieces of at most `n_most` samples, each cut where its last third is quietest."""
    held = np.zeros(0, np.float32)
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) > n_most:
            first = n_most - n_most // 3
            # Sums over every stretch of a pause's length, by differences of running sums.
            sums = np.concatenate([[0.0], np.cumsum(np.square(held[first:n_most], dtype=np.float64))])
            n = min(n_pause, len(sums) - 1)
            cut = first + int(np.argmin(sums[n:] - sums[:-n])) + n // 2
            yield held[:cut]
            held = held[cut:]
    if len(held):
        yield held
