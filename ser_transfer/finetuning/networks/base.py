"""What every network that is fine-tuned promises."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ser_transfer.encoders import Waveform
from ser_transfer.encoders.heard import TRAINING_FILE
from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.places import put_together

if TYPE_CHECKING:
    from ser_transfer.finetuning.adapters import Adapter

# What calibrates a network, in training.json beside it: what its logits are yet to be divided by, and what
# the weights behind them were divided by already.
TEMPERATURE, IN_WEIGHTS = "temperature", "temperature_in_weights"

BlockKind = Literal["front_end", "input", "layer", "head", "fixed"]


@dataclass(frozen=True)
class Output:
    """What a network makes of a batch.

    Attributes:
        logits: Float32, of shape (batch, n_classes), columns in the order of `EmotionNetwork.classes`.
        embedding: What is classified, before norm and dropout: float32, of shape (batch, dim).
        exits: The log probabilities of each classifier where a network has several, whose mean the logits
            are: float32, of shape (n_exits, batch, n_classes).
    """

    logits: Tensor
    embedding: Tensor
    exits: Tensor | None = None


@dataclass(frozen=True)
class Block:
    """A part of a network that is frozen, or learns at a rate, as a whole.

    Attributes:
        name: Such as ``front_end``, ``layer_03`` or ``head``.
        kind: ``"front_end"`` (the convolutions below a transformer), ``"input"`` (what lies between them and
            the first layer: projection and positions), ``"layer"``, ``"head"``, or ``"fixed"`` (what never
            learns: Whisper's table of sines, layers above the one that is read).
        modules: Together with `parameters` they hold the parameters of the part, each once.
        parameters: Parameters that belong to no module of the part.
    """

    name: str
    kind: BlockKind
    modules: tuple[nn.Module, ...]
    parameters: tuple[nn.Parameter, ...] = ()

    def all_parameters(self) -> Iterator[nn.Parameter]:
        """Give every parameter of the part."""
        for module in self.modules:
            yield from module.parameters()
        yield from self.parameters


class FrontEnd(Protocol):
    """Makes a network's input on the CPU; small and picklable, so that loader workers can have it."""

    def prepare(self, waveforms: Sequence[Waveform], *, training: bool = False) -> dict[str, Tensor]:
        """Make what `EmotionNetwork.forward` takes, ``n_samples``, int64 of shape (batch,), among it."""


class Divided(Protocol):
    """A network that is divided into blocks, each of which learns at a rate of its own."""

    name: str

    def blocks(self) -> list[Block]:
        """Divide the network from input to output; every parameter belongs to exactly one block."""


class EmotionNetwork(nn.Module, ABC):
    """Recordings in, one logit per emotion out, and every weight open to training.

    In evaluation mode an utterance's logits do not depend on its batch: alone and beside any neighbours they
    agree to 1e-5 in float32.

    Attributes:
        name: The encoder that it starts from.
        revision: Commit on the Hub that it starts from; None where it comes from elsewhere.
        classes: The emotions, in the order of the columns of the logits.
        sampling_rate: Hz.
        min_samples: The shortest recording that gives a frame.
        max_samples: The longest stretch that may be run at once; None for any.
        filled_samples: What every clip is filled up to with silence; None where it keeps its length.
        front_end: Makes its input.
        adapter: What `ser_transfer.finetuning.adapters.add_adapter` put into it; None where it did not.
    """

    name: str
    revision: str | None = None
    classes: tuple[str, ...]
    sampling_rate: int
    min_samples: int
    max_samples: int | None
    filled_samples: int | None = None
    front_end: FrontEnd

    def __init__(self) -> None:
        super().__init__()
        self.adapter: Adapter | None = None
        self._frozen: tuple[nn.Module, ...] = ()

    @property
    @abstractmethod
    def body(self) -> nn.Module:
        """The encoder below the head."""

    @abstractmethod
    def forward(self, inputs: Mapping[str, Tensor]) -> Output:
        """Run a batch that `front_end` prepared and that lies on the network's device."""

    @abstractmethod
    def blocks(self) -> list[Block]:
        """Divide the network from input to output; every parameter belongs to exactly one block."""

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Write the files of a network without an adapter into a folder that is there."""

    @property
    def logits_layer(self) -> nn.Linear | None:
        """The linear layer that gives the logits, where others than this package read the network.

        They know of no temperature, so `save` divides this layer by it. None where only this package reads
        the network, or its logits are no linear layer's: the temperature then stays beside it.
        """
        return None

    def open_all(self) -> None:
        """Let everything learn that ever does."""
        for block in self.blocks():
            for parameter in block.all_parameters():
                parameter.requires_grad_(block.kind != "fixed")

    def save(self, folder: str | Path, training: Mapping[str, Any]) -> None:
        """Write the network, without a pickle, for `load_saved_network`.

        Where it has an adapter, a copy is written into which that is merged; `adapters.save_adapter` writes
        the adapter alone.

        A ``temperature`` among the facts is divided into `logits_layer` as it is written, so that whoever
        reads the folder answers calibrated; ``training.json`` then says 1, and under
        ``temperature_in_weights`` what it was. The network itself stays as it is. Of a recording that is
        heard in windows, the answer to each is then calibrated, where it was their mean before.

        What lies in the folder already stays whole until this is.

        Args:
            folder: Made if it is not there.
            training: What it was trained on, kept beside it in ``training.json``.

        Raises:
            FinetuneError: If the folder cannot be written.
        """
        from ser_transfer.finetuning.adapters import merged

        network = self if self.adapter is None else merged(self)
        facts = dict(training)
        temperature = float(facts.get(TEMPERATURE, 1.0))
        layer = None if temperature == 1.0 else network.logits_layer
        if layer is not None:
            facts |= {TEMPERATURE: 1.0, IN_WEIGHTS: temperature * float(facts.get(IN_WEIGHTS, 1.0))}
        try:
            with put_together(folder, last="config.json") as part:
                with divided(layer, temperature):
                    network.write(part)
                text = json.dumps(facts, indent=2, ensure_ascii=False)
                (part / TRAINING_FILE).write_text(text + "\n", encoding="utf-8")
        except (OSError, SafetensorError) as error:
            raise FinetuneError(f"the network cannot be written to {folder}: {error}") from error

    def train(self, mode: bool = True) -> EmotionNetwork:
        """Switch to training; what is frozen stays in evaluation, so that no statistic of it moves."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def keep_frozen(self, modules: Sequence[nn.Module]) -> None:
        """Name the modules that stay in evaluation mode from now on."""
        self._frozen = tuple(modules)
        self.train(self.training)


@contextmanager
def divided(layer: nn.Linear | None, divisor: float) -> Iterator[None]:
    """Divide what a linear layer gives inside the block; afterwards its weights are as before, bit for bit.

    Args:
        layer: None for nothing to divide.
        divisor: Not 0.
    """
    parameters = [] if layer is None else list(layer.parameters())
    before = [parameter.detach().clone() for parameter in parameters]
    try:
        with torch.no_grad():
            for parameter in parameters:
                parameter.div_(divisor)
        yield
    finally:
        with torch.no_grad():
            for parameter, values in zip(parameters, before, strict=True):
                parameter.copy_(values)
