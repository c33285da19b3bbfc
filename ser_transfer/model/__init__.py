"""A trained model in one: recordings in, emotions and their probabilities out."""

from ser_transfer.model.answers import Answer, Prediction
from ser_transfer.model.base import EmotionModel
from ser_transfer.model.errors import ModelError
from ser_transfer.model.frozen import FrozenModel, SequenceModel
from ser_transfer.model.network import NetworkModel
from ser_transfer.model.places import MFCC_MODEL, SHIPPED_MODEL, SHIPPED_MODELS

__all__ = [
    "MFCC_MODEL",
    "SHIPPED_MODEL",
    "SHIPPED_MODELS",
    "Answer",
    "EmotionModel",
    "FrozenModel",
    "ModelError",
    "NetworkModel",
    "Prediction",
    "SequenceModel",
]
