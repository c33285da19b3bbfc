"""Many systems on the same folds, in parallel, each result kept so that nothing is done twice."""

from ser_transfer.contest.contest import Contender, run_contest
from ser_transfer.contest.crossing import (
    Corpus,
    Crossing,
    common_classes,
    cross_corpora,
    restricted,
    save_crossing,
)

__all__ = [
    "Contender",
    "Corpus",
    "Crossing",
    "common_classes",
    "cross_corpora",
    "restricted",
    "run_contest",
    "save_crossing",
]
