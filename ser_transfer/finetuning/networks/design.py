"""What is built on top of an encoder: which layer is read, how it is pooled, what classifies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ser_transfer.finetuning.errors import FinetuneError

# Of a network, in the config.json of its folder; the format rises when an older reader would misread it.
SETTINGS_KEY, FORMAT = "ser_transfer", 2
READABLE = (1, 2)  # format 1 has the settings of PATCHES at what they are by default

POOLINGS = ("stock", "mean", "mean_std", "attentive")
LAST, MIX = "last", "mix"
PATCHES = ("whole", "exits", "speeds")  # settings of networks on patches alone
SPEEDS = (0.5, 2.0)  # between which a voice is one


@dataclass(frozen=True)
class Design:
    """The settings of a network that its weights do not tell.

    Attributes:
        pooling: ``"stock"`` (what the model's own class does) or ours over the clip's own frames: ``"mean"``,
            ``"mean_std"``, ``"attentive"``.
        layer: ``"last"``, ``"mix"`` (learned, of all), or names of the encoder's layers.
        dropout: Share of the pooled vector that a training step leaves out.
        projection_size: Units between pooling and classifier; None for the model's own.
        whole: Of YAMNet: its convolutions run over the whole clip, not over patches of 0.96 s.
        exits: Of YAMNet and VGGish: each layer that is read has a classifier of its own, is trained by its
            own loss (deep supervision, Lee et al. 2015, https://arxiv.org/abs/1409.5185), and their log
            probabilities are averaged.
        speeds: Of YAMNet and VGGish: a clip is scored at each of these speeds, and the log probabilities are
            averaged.

    Raises:
        FinetuneError: If there is no such pooling, or a number is out of range.
    """

    pooling: str = "stock"
    layer: str = LAST
    dropout: float = 0.1
    projection_size: int | None = None
    whole: bool = False
    exits: bool = False
    speeds: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise FinetuneError(f"there is no pooling {self.pooling!r} here: {', '.join(POOLINGS)}")
        if not 0 <= self.dropout < 1:
            raise FinetuneError(f"dropout is {self.dropout}: give a share from 0 up to, not including, 1")
        if self.projection_size is not None and self.projection_size < 1:
            raise FinetuneError(f"projection_size is {self.projection_size}: give a whole number from 1 on")
        if not self.speeds or not all(SPEEDS[0] <= speed <= SPEEDS[1] for speed in self.speeds):
            low, high = SPEEDS
            raise FinetuneError(f"speeds are {list(self.speeds)}: give one or more from {low} to {high}")

    def refuse_patches(self, name: str) -> None:
        """Refuse what only networks on patches have.

        Raises:
            FinetuneError: If one of their settings is given.
        """
        given = [each for each in PATCHES if getattr(self, each) != getattr(Design(), each)]
        if given:
            raise FinetuneError(f"{name} takes no --{given[0]}: it is of yamnet and vggish, leave it out")

    def written(self, name: str) -> dict[str, Any]:
        """Give what a config.json keeps of a network: format, encoder, settings."""
        return {"format": FORMAT, "name": name, **asdict(self)}


def read_design(settings: Mapping[str, Any], folder: str) -> tuple[str, Design]:
    """Read what `Design.written` wrote: the encoder's name, and the design.

    Raises:
        FinetuneError: If a newer release wrote it, or something is missing.
    """
    if settings.get("format") not in READABLE:
        readable = " and ".join(str(each) for each in READABLE)
        raise FinetuneError(
            f"{folder} holds a network in format {settings.get('format')}, and this release reads "
            f"{readable}: type pip install --upgrade ser-transfer"
        )
    wanted = [field for field in Design.__annotations__ if settings["format"] > 1 or field not in PATCHES]
    try:
        kept = {field: settings[field] for field in wanted}
        return settings["name"], Design(**{**kept, "speeds": tuple(kept.get("speeds", (1.0,)))})
    except KeyError as error:
        raise FinetuneError(f"the config.json of {folder} lacks {error}: save the network again") from error
