"""Finding what hears in a transformers model: its audio encoder, without what speaks or writes.

`AutoModel` gives a whole model for many types: encoder and decoder, or an audio tower beside a language
model of billions of weights. Only the encoder is built and read. The whole is laid out without storage
(torch's meta device), to see which class the encoder has and where it sits.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ser_transfer.encoders.base import EncoderError
from ser_transfer.encoders.checkpoints import Checkpoint
from ser_transfer.encoders.front_ends import FRONT_ENDS

# Where a model made of several keeps the one for audio, as transformers 5 names them.
AUDIO_PARTS = ("audio_tower", "audio_encoder", "speech_encoder", "audio_model")
AUDIO_INPUTS = ("input_values", "input_features")  # a waveform, or spectra

# Types whose `AutoModel` is not what is wanted: Whisper's would bring its decoder, and that of SpeechT5
# has no prenet to take a waveform with. Both encoders lie under "encoder" in the model.
ENCODER_CLASSES = {"whisper": "WhisperEncoder", "speecht5": "SpeechT5EncoderWithSpeechPrenet"}


@dataclass(frozen=True)
class EncoderPart:
    """The audio encoder of a model.

    Attributes:
        model_class: Its class, a ``PreTrainedModel``.
        config: The settings that the class is built from.
        path: Where it sits in the whole model; empty where it is the whole.
        is_in_auto_model: Whether the whole is what `AutoModel` gives.
    """

    model_class: Any
    config: Any
    path: str = ""
    is_in_auto_model: bool = True

    @property
    def key_mapping(self) -> dict[str, str]:
        """Rename weights for ``from_pretrained``: "encoder.*" or "model.encoder.*" to what they are alone."""
        return {rf"^(?:\w+\.){{0,2}}?{self.path}\.": ""} if self.path else {}


def unsupported(checkpoint: Checkpoint, why: str) -> EncoderError:
    """Say that a model cannot be an encoder here, and what can."""
    return EncoderError(
        f"{checkpoint.name} is a model of type {checkpoint.config.get('model_type')!r}, not an audio encoder "
        f"that is supported ({why}): give one of {', '.join(FRONT_ENDS)}, or another that AutoModel loads "
        f"and whose feature extractor is for audio"
    )


def find_encoder(checkpoint: Checkpoint, config: Any) -> EncoderPart:
    """Find the audio encoder of a model.

    Args:
        checkpoint: Where the model lies.
        config: The config object that transformers makes of its settings.

    Raises:
        EncoderError: If `AutoModel` knows no such model, or no part of it takes audio.
    """
    import torch
    from transformers import AutoModel

    model_type = checkpoint.config["model_type"]
    if model_type in ENCODER_CLASSES:
        model_class = _class_beside(config, ENCODER_CLASSES[model_type])
        return EncoderPart(model_class, config, "encoder", is_in_auto_model=False)
    if type(config) not in AutoModel._model_mapping:
        raise unsupported(checkpoint, "AutoModel has no model for this type")
    if model_type in FRONT_ENDS:  # itself an encoder
        return EncoderPart(AutoModel._model_mapping[type(config)], config)
    # Imports the model's file, outside of the context: a constant that torchaudio makes while it is first
    # imported would have no storage either.
    AutoModel._model_mapping[type(config)]
    with torch.device("meta"):
        whole = AutoModel.from_config(config)
    paths = {id(module): path for path, module in whole.named_modules()}
    for part in _candidates(whole):
        if _takes_audio(part) and id(part) in paths:
            return EncoderPart(type(part), part.config, paths[id(part)])
    raise unsupported(checkpoint, "no part of it takes a waveform or spectra")


def make_feature_extractor(checkpoint: Checkpoint) -> Any:
    """Make the feature extractor that a checkpoint was saved with.

    Raises:
        EncoderError: If transformers has no such class, or it is not for audio.
    """
    import transformers
    from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES

    settings, model_type = checkpoint.preprocessor or {}, checkpoint.config["model_type"]
    kind = settings.get("feature_extractor_type", FEATURE_EXTRACTOR_MAPPING_NAMES.get(model_type))
    made = getattr(transformers, kind or "", None)
    extractor = None if made is None else made.from_dict(settings)
    if not hasattr(extractor, "sampling_rate"):
        raise unsupported(checkpoint, f"its feature extractor, {kind}, is not one for audio")
    return extractor


def _class_beside(config: Any, class_name: str) -> Any:
    """Give a class from the file of models that belongs to a config."""
    from importlib import import_module

    module = type(config).__module__.replace(".configuration_", ".modeling_")
    return getattr(import_module(module), class_name)


def _candidates(whole: Any) -> Iterator[Any]:
    """Give what may be the audio encoder, the likeliest first."""
    for name in AUDIO_PARTS:
        if hasattr(whole, name):
            yield getattr(whole, name)
    # Each of these gives the whole where it finds none.
    yield from (part for part in (whole.get_encoder("audio"), whole.get_encoder()) if part is not whole)
    yield whole


def _takes_audio(part: Any) -> bool:
    """Tell whether a module is a model of its own whose ``forward`` starts from audio."""
    from transformers import PreTrainedModel

    if not isinstance(part, PreTrainedModel) or part.main_input_name not in AUDIO_INPUTS:
        return False
    return part.main_input_name in inspect.signature(part.forward).parameters
