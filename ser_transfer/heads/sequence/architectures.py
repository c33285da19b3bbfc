"""The four sequence heads; each is a network with its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ser_transfer.heads.sequence import networks
from ser_transfer.heads.sequence.classifier import SequenceHead


@dataclass(kw_only=True, eq=False, repr=False)
class MeanMLP(SequenceHead):
    """Dense layers on the mean frame; what a sequence head has to beat.

    Args:
        hidden_units: Units per hidden layer.
    """

    name: ClassVar[str] = "mean_mlp"
    hidden_units: tuple[int, ...] = (128,)

    def build_network(self, n_features: int, n_classes: int) -> networks.SequenceNetwork:
        """Make the network with its first weights."""
        return networks.MeanNetwork(n_features, n_classes, self.hidden_units, self.dropout)


@dataclass(kw_only=True, eq=False, repr=False)
class AttentivePooling(SequenceHead):
    """Dense layers on the mean and standard deviation of frames that the head weighs by itself.

    Args:
        attention_units: Hidden units of what weighs a frame.
        hidden_units: Units per hidden layer.
    """

    name: ClassVar[str] = "attentive"
    attention_units: int = 64
    hidden_units: tuple[int, ...] = (128,)

    def build_network(self, n_features: int, n_classes: int) -> networks.SequenceNetwork:
        """Make the network with its first weights."""
        return networks.AttentiveNetwork(
            n_features, n_classes, self.attention_units, self.hidden_units, self.dropout
        )


@dataclass(kw_only=True, eq=False, repr=False)
class StackedLSTM(SequenceHead):
    """LSTM layers, then dense ones; the defaults are seed S1's: 256, 128, dropout 0.5, L2 0.01.

    Args:
        units: Units of each LSTM layer, per direction.
        hidden_units: Units per dense hidden layer.
        bidirectional: Read each sequence backwards as well.
    """

    name: ClassVar[str] = "lstm"
    units: tuple[int, ...] = (256, 128)
    hidden_units: tuple[int, ...] = (64,)
    bidirectional: bool = False
    dropout: float = 0.5

    def build_network(self, n_features: int, n_classes: int) -> networks.SequenceNetwork:
        """Make the network with its first weights."""
        return networks.LSTMNetwork(
            n_features, n_classes, self.units, self.hidden_units, self.bidirectional, self.dropout
        )


@dataclass(kw_only=True, eq=False, repr=False)
class ConvolutionBlocks(SequenceHead):
    """A 2-D CNN over time and features; the defaults are seed S2's layout: 100 frames, batches of 64.

    Args:
        n_frames: Frames that the network sees: the middle of a longer sequence, zeros behind a shorter one.
        hidden_units: Units per dense hidden layer.
    """

    name: ClassVar[str] = "cnn"
    n_frames: int = 100
    hidden_units: tuple[int, ...] = (300,)
    batch_size: int = 64

    def build_network(self, n_features: int, n_classes: int) -> networks.SequenceNetwork:
        """Make the network with its first weights."""
        return networks.CNNNetwork(n_classes, self.n_frames, self.hidden_units, self.dropout)
