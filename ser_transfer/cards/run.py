"""A run of one model, as its card needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ser_transfer.cards.kept import KeptModel
from ser_transfer.metrics import Difference, GroupScore
from ser_transfer.runs import SavedRun, System

RECIPE = "recipe.yaml"


def is_of_one_model(recipe: Mapping[str, Any]) -> bool:
    """Tell by its settings whether a run taught emotions to a head on one encoder, or to the encoder."""
    return "corpus" in recipe and "encoder" in recipe and ("head" in recipe or "trained" in recipe)


@dataclass(frozen=True, eq=False)
class CardRun:
    """A run of one model, whose numbers are those of its answers.

    Attributes:
        folder: The run's.
        described: Its `metrics.json`.
        recipe: Its settings.
        saved: Its systems, scored again.
        model: What it kept.
    """

    folder: Path
    described: Mapping[str, Any]
    recipe: Mapping[str, Any]
    saved: SavedRun
    model: KeptModel

    @property
    def is_finetuned(self) -> bool:
        """Whether the encoder's own weights were trained."""
        return "trained" in self.recipe

    @cached_property
    def system(self) -> System:
        """The model's row."""
        return self.saved.entrants[0]

    @cached_property
    def baseline(self) -> System | None:
        """The handcrafted system on the same folds."""
        return next((each for each in self.saved.systems if each.role == "baseline"), None)

    @cached_property
    def floor(self) -> System | None:
        """The answer that is always the most frequent emotion."""
        return next((each for each in self.saved.systems if each.role == "floor"), None)

    @cached_property
    def leak(self) -> System | None:
        """The model's row under the speaker-dependent split, where the run was asked what a leak is worth."""
        return None if self.saved.leak is None else self.saved.leak.entrants[0]

    @property
    def is_speaker_independent(self) -> bool:
        """Whether its score is one on unheard speakers, and may be quoted as such."""
        return self.saved.speaker_independent and not self.saved.speaker_normalised

    @property
    def above_baseline(self) -> Difference | None:
        """Its UAR above the baseline's."""
        told = self.described["systems"][self.system.name].get("above_baseline")
        return None if told is None else Difference(told["uar"], told["interval"], told["p_value"])

    @cached_property
    def groups(self) -> dict[str, dict[str, GroupScore]]:
        """Scores by what the corpus tells of speakers and utterances."""
        told = self.described["systems"][self.system.name]["groups"]
        return {
            str(column): {str(value): GroupScore(**scored) for value, scored in values.items()}
            for column, values in told.items()
        }

    @cached_property
    def worst_group(self) -> tuple[str, str] | None:
        """Column and value of the group with the lowest UAR."""
        told = self.described["systems"][self.system.name]["worst_group"]
        return None if told is None else (str(told["column"]), str(told["value"]))
