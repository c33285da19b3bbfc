"""Speech emotion recognition by transfer learning, where the honest number is the easy one to get.

    from ser_transfer import embed, load_corpus, load_encoder, train

    corpus = load_corpus("ravdess", "data/ravdess")
    embeddings = embed(corpus, load_encoder("yamnet"))
    print(train(corpus, embeddings, split="leave-one-speaker-out"))

    from ser_transfer import EmotionModel

    print(EmotionModel.from_pretrained().predict("call.wav"))

Importing this imports nothing heavy; each name below is loaded at its first use.
"""

from __future__ import annotations

import importlib
import signal
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ser_transfer.corpora import load_corpus
    from ser_transfer.embed import embed
    from ser_transfer.encoders import load_encoder
    from ser_transfer.errors import SerTransferError
    from ser_transfer.model import EmotionModel
    from ser_transfer.train import train

if sys.argv[:1] == ["-m"]:  # python -m ser_transfer.VERB: Ctrl-C while it imports is no traceback
    from ser_transfer._interrupts import before_the_work

    signal.signal(signal.SIGINT, before_the_work)

__version__ = "0.1.0"
__all__ = ["EmotionModel", "SerTransferError", "embed", "load_corpus", "load_encoder", "train"]

_HOME = {
    "EmotionModel": "model",
    "SerTransferError": "errors",
    "embed": "embed",
    "load_corpus": "corpora",
    "load_encoder": "encoders",
    "train": "train",
}


def __getattr__(name: str) -> Any:
    """Load a public name at its first use."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
