"""Do the intervals and the test hold what they promise? Corpora are drawn whose true UAR is known.

    python benchmarks/interval_coverage.py

Each corpus has 8 emotions and speakers who differ: the chance that a system gets an utterance right follows
a beta distribution over speakers, so that the true UAR is its mean, averaged over emotions. A speaker who
is easy in one emotion is easy in all, which leaves speakers as the only independent evidence. Printed is
how often the 95 % interval of `score` holds that UAR, how often that of `difference` holds the true
difference, and how often its test finds one, at 0.05, where there is none and where there is one. With
--out it writes what it prints to a folder, as JSON.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, norm

from ser_transfer.metrics import Difference, Interval, difference, score
from ser_transfer.tables import text_table

CLASSES = tuple("abcdefgh")
N_SPEAKERS = (4, 10, 24)
# Utterances of one speaker per emotion: as many of each, or the mean of a Poisson distribution.
BALANCED = np.full(8, 8)
IMBALANCED = np.array([24, 16, 12, 8, 6, 4, 3, 2])
SPREAD = np.linspace(-0.2, 0.2, 8)  # emotions differ in how easily they are recognised
CONCENTRATION = 8.0  # a beta distribution of mean 0.6 then has a standard deviation of 0.16 over speakers
GAIN = 0.05  # true difference of the better system to the worse
SHARED_ABILITY = 0.7  # correlation over speakers of the two systems' abilities, on the normal scale

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """Corpora of one kind."""

    n_speakers: int
    balanced: bool
    uar: float

    @property
    def recalls(self) -> FloatArray:
        """True recall per emotion; its mean is the true UAR."""
        room = min(1.0, (1 - self.uar) / 0.4)  # near 1 there is less room to differ
        return self.uar + SPREAD * room


@dataclass(frozen=True)
class Corpus:
    """Utterances, and the answers of three systems: two alike, and one that is better by `GAIN`."""

    truth: list[str]
    speakers: list[str]
    first: list[str]
    second: list[str]
    better: list[str]


def draw_corpus(design: Design, generator: np.random.Generator) -> Corpus:
    """Draw speakers, their utterances, and what the systems answer."""
    if design.balanced:
        sizes = np.tile(BALANCED, (design.n_speakers, 1))
    else:
        sizes = generator.poisson(IMBALANCED, (design.n_speakers, len(CLASSES)))
    speaker, emotion = (index.repeat(sizes.ravel()) for index in np.indices(sizes.shape).reshape(2, -1))
    shared = generator.standard_normal(design.n_speakers)

    def answers(recalls: FloatArray) -> list[str]:
        own = generator.standard_normal(design.n_speakers)
        ability = norm.cdf(np.sqrt(SHARED_ABILITY) * shared + np.sqrt(1 - SHARED_ABILITY) * own)
        shapes = CONCENTRATION * recalls, CONCENTRATION * (1 - recalls)
        chances = np.asarray(beta.ppf(ability[:, np.newaxis], *shapes))
        is_right = generator.random(len(emotion)) < chances[speaker, emotion]
        other = (emotion + generator.integers(1, len(CLASSES), len(emotion))) % len(CLASSES)
        return [CLASSES[answer] for answer in np.where(is_right, emotion, other)]

    return Corpus(
        truth=[CLASSES[index] for index in emotion],
        speakers=[f"speaker {index}" for index in speaker],
        first=answers(design.recalls),
        second=answers(design.recalls),
        better=answers(design.recalls + GAIN),
    )


def holds(interval: Interval | None, truth: float) -> bool:
    return interval is not None and interval[0] <= truth <= interval[1]


def finds(comparison: Difference) -> bool:
    return comparison.p_value is not None and comparison.p_value <= 0.05


def measure(design: Design, n_corpora: int) -> dict[str, float]:
    """Draw corpora of one kind; give how often intervals hold the truth and the test finds a difference."""
    generator = np.random.default_rng([design.n_speakers, design.balanced, round(1000 * design.uar)])
    counts: Counter[str] = Counter()
    for _ in range(n_corpora):
        corpus = draw_corpus(design, generator)
        intervals = score(corpus.truth, corpus.first, CLASSES, corpus.speakers).intervals or {}
        same, gained = (
            difference(corpus.truth, answers, corpus.first, CLASSES, corpus.speakers)
            for answers in (corpus.second, corpus.better)
        )
        counts["UAR held"] += holds(intervals.get("uar"), design.uar)
        counts["no difference held"] += holds(same.interval, 0.0)
        counts["difference held"] += holds(gained.interval, GAIN)
        counts["none, found"] += finds(same)
        counts["difference found"] += finds(gained)
    return {name: count / n_corpora for name, count in counts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpora", type=int, default=1000, help="corpora to draw of each kind")
    parser.add_argument("--out", type=Path, help="folder for the results as JSON")
    arguments = parser.parse_args()
    results = []
    for balanced in (True, False):
        for uar in (0.6, 0.85):
            for n_speakers in N_SPEAKERS:
                design = Design(n_speakers, balanced, uar)
                kind = {"speakers": n_speakers, "balanced": balanced, "true UAR": uar}
                results.append({**kind, **measure(design, arguments.corpora)})
    rows = [tuple(results[0]), *(tuple(map(str, result.values())) for result in results)]
    print(f"{arguments.corpora} corpora of each kind\n{text_table(rows)}")
    if arguments.out:
        text = json.dumps({"corpora": arguments.corpora, "results": results}, indent=1)
        (arguments.out / "interval_coverage.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
