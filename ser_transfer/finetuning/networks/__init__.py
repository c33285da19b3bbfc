"""Networks that are fine-tuned: an encoder by name, a head that gives one logit per emotion.

`load_network` puts a new head on a pretrained encoder; `load_saved_network` reads what `EmotionNetwork.save`
wrote.
"""

from __future__ import annotations

from ser_transfer.finetuning.networks.base import Block, EmotionNetwork, Output
from ser_transfer.finetuning.networks.loading import load_network, load_saved_network

__all__ = ["Block", "EmotionNetwork", "Output", "load_network", "load_saved_network"]
