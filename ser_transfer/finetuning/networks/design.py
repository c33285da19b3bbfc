"""What is built on top of an encoder: which layer is read, how it is pooled, what classifies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ser_transfer.finetuning.errors import FinetuneError

# Of a network, in the config.json of its folder; the format rises when an older reader would misread it.
SETTINGS_KEY, FORMAT = "ser_transfer", 1

POOLINGS = ("stock", "mean", "mean_std", "attentive")
LAST, MIX = "last", "mix"


@dataclass(frozen=True)
class Design:
    """The settings of a network that its weights do not tell.

    Attributes:
        pooling: ``"stock"`` (what the model's own class does) or ours over the clip's own frames: ``"mean"``,
            ``"mean_std"``, ``"attentive"``.
        layer: ``"last"``, ``"mix"`` (learned, of all), or names of the encoder's layers.
        dropout: Share of the pooled vector that a training step leaves out.
        projection_size: Units between pooling and classifier; None for the model's own.

    Raises:
        FinetuneError: If there is no such pooling, or a number is out of range.
    """

    pooling: str = "stock"
    layer: str = LAST
    dropout: float = 0.1
    projection_size: int | None = None

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise FinetuneError(f"there is no pooling {self.pooling!r} here: {', '.join(POOLINGS)}")
        if not 0 <= self.dropout < 1:
            raise FinetuneError(f"dropout is {self.dropout}: give a share from 0 up to, not including, 1")
        if self.projection_size is not None and self.projection_size < 1:
            raise FinetuneError(f"projection_size is {self.projection_size}: give a whole number from 1 on")

    def written(self, name: str) -> dict[str, Any]:
        """Give what a config.json keeps of a network: format, encoder, settings."""
        return {"format": FORMAT, "name": name, **asdict(self)}


def read_design(settings: Mapping[str, Any], folder: str) -> tuple[str, Design]:
    """Read what `Design.written` wrote: the encoder's name, and the design.

    Raises:
        FinetuneError: If a newer release wrote it, or something is missing.
    """
    if settings.get("format") != FORMAT:
        raise FinetuneError(
            f"{folder} holds a network in format {settings.get('format')}, and this release reads {FORMAT}: "
            "type pip install --upgrade ser-transfer"
        )
    try:
        return settings["name"], Design(**{field: settings[field] for field in Design.__annotations__})
    except KeyError as error:
        raise FinetuneError(f"the config.json of {folder} lacks {error}: save the network again") from error
