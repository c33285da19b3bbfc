"""A look at a corpus before anything is learned from it: counts, spreads, single clips, and what is wrong."""

from ser_transfer.exploration.anatomy import Anatomy, Example, take_apart
from ser_transfer.exploration.choice import choose_examples, sample_rows
from ser_transfer.exploration.exploration import Clip, Exploration, ExplorationError, clips_of
from ser_transfer.exploration.findings import Finding
from ser_transfer.exploration.measures import ClipMeasures, measure_clip, measure_corpus
from ser_transfer.exploration.page import exploration_page, save_exploration

__all__ = [
    "Anatomy",
    "Clip",
    "ClipMeasures",
    "Example",
    "Exploration",
    "ExplorationError",
    "Finding",
    "choose_examples",
    "clips_of",
    "exploration_page",
    "measure_clip",
    "measure_corpus",
    "sample_rows",
    "save_exploration",
    "take_apart",
]
