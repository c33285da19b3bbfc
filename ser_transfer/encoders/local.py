"""Which pretrained encoders lie on this machine already, so that they can be used without a network."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from ser_transfer.encoders import load_encoder
from ser_transfer.encoders.base import Encoder
from ser_transfer.encoders.weight_files import weights_folder

# The usual small checkpoints of the field, looked for in the local Hub cache.
CHECKPOINTS = (
    "facebook/wav2vec2-base",
    "facebook/hubert-base-ls960",
    "microsoft/wavlm-base-plus",
    "openai/whisper-base",
)


def encoders_at_hand() -> Iterator[Encoder]:
    """Find pretrained encoders without touching the network.

    Yields:
        YAMNet, if its file lies in the folder of weights (``yamnet.safetensors``, or ``yamnet.h5``
        where h5py is installed), and each of `CHECKPOINTS` that the local Hub cache holds.
    """
    from huggingface_hub import try_to_load_from_cache

    endings = (".safetensors", ".h5") if find_spec("h5py") else (".safetensors",)
    files = [weights_folder() / f"yamnet{ending}" for ending in endings]
    for path in [path for path in files if path.is_file()][:1]:
        yield load_encoder("yamnet", weights=path)
    for checkpoint in CHECKPOINTS:
        if isinstance(try_to_load_from_cache(checkpoint, "config.json"), str):
            yield load_encoder(checkpoint)
