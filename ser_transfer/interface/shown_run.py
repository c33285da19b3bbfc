"""What a run wrote of itself in `metrics.json`, checked and ready to be shown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ser_transfer.metrics import Difference, Scores
from ser_transfer.runs import Role

Curve = Mapping[str, tuple[float, float, float]]  # per layer, UAR and the two ends of its interval


@dataclass(frozen=True, eq=False)
class ShownSystem:
    """What a run wrote of one system.

    Attributes:
        name: As in the run's tables.
        role: What it is, see `ser_transfer.runs.Role`.
        scores: With intervals over speakers.
        above: Its UAR above the baseline's, the p value corrected within the run; None where it was not
            measured.
        layers: The UAR of each layer by itself; empty where layers were not chosen among.
        chosen: How many folds chose a layer by itself.
        ece: Expected calibration error before and after temperature scaling; None without calibration.
    """

    name: str
    role: Role
    scores: Scores
    above: Difference | None
    layers: Curve
    chosen: Mapping[str, int]
    ece: tuple[float, float] | None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the UAR over speakers; None where there is none."""
        return (self.scores.intervals or {}).get("uar")

    def recall_by_emotion(self) -> dict[str, float | None]:
        """Recall of each emotion; None where the truth has no such utterance."""
        return dict(zip(self.scores.classes, self.scores.recall, strict=True))


@dataclass(frozen=True, eq=False)
class ShownRun:
    """A finished run, as far as a page shows it.

    Attributes:
        name: Its folder under the root, with slashes.
        tables: Where its tables of answers lie.
        corpus: Its corpus's name.
        description: Of its split.
        speaker_independent: Whether every fold's sides share no speaker.
        speaker_normalised: Whether features were standardised within each speaker.
        systems: Best first.
        tested: Digest of what was tested in which fold, and of its true emotions. Scores of two runs stand in
            one table only if it is the same.
    """

    name: str
    tables: Path
    corpus: str
    description: str
    speaker_independent: bool
    speaker_normalised: bool
    systems: tuple[ShownSystem, ...]
    tested: str

    @property
    def baseline(self) -> ShownSystem | None:
        """The handcrafted system that differences are taken to."""
        return next((system for system in self.systems if system.role == "baseline"), None)

    @property
    def competing(self) -> tuple[ShownSystem, ...]:
        """All but the floor, what is tested before what it is held against; there is one at least."""
        order = ("encoder", "fusion", "baseline", "untrained")
        found = [system for system in self.systems if system.role != "floor"] or list(self.systems)
        return tuple(sorted(found, key=lambda each: each.role not in order[:2]))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What anyone who quotes a score of it has to quote with it."""
        found = []
        if not self.speaker_independent:
            found.append(f"NOT SPEAKER-INDEPENDENT: {self.description}")
        if self.speaker_normalised:
            found.append("SPEAKER-NORMALISED: uses unlabelled statistics of the test speakers")
        return tuple(found)

    @property
    def title(self) -> str:
        """Corpus, split, n: what stands above every table and plot."""
        scores = self.systems[0].scores
        n_utterances = sum(map(sum, scores.confusion))
        speakers = "speakers unknown" if scores.n_speakers is None else f"{scores.n_speakers} speakers"
        return f"{self.corpus} · {self.description} · n = {n_utterances}, {speakers}"


def read_system(name: str, told: Mapping[str, Any]) -> ShownSystem:
    """Take a system from what `metrics.json` holds of it.

    Raises:
        KeyError: If an entry is not there.
        TypeError, ValueError, AttributeError: If one is not what it should be.
    """
    if told["role"] not in get_args(Role):
        raise ValueError(f"{name} has the role {told['role']}")
    classes = tuple(map(str, told["classes"]))
    intervals, calibration = told["intervals"], told.get("calibration")
    n_speakers = told["n_speakers"]
    if n_speakers is not None and not isinstance(n_speakers, int):
        raise TypeError(f"{n_speakers} is no number of speakers")
    scores = Scores(
        classes=classes,
        confusion=tuple(tuple(map(int, row)) for row in told["confusion"]),
        uar=_share(told["uar"]),
        wa=_share(told["wa"]),
        macro_f1=_share(told["macro_f1"]),
        recall=_by_class(told["recall"], classes),
        precision=_by_class(told["precision"], classes),
        f1=_by_class(told["f1"], classes),
        intervals=None if intervals is None else {key: _interval(ends) for key, ends in intervals.items()},
        n_speakers=n_speakers,
    )
    return ShownSystem(
        name=name,
        role=told["role"],
        scores=scores,
        above=_difference(told.get("above_baseline")),
        layers=_curve(told.get("layers")),
        chosen=_chosen(told.get("choices_by_fold", {})),
        ece=None
        if calibration is None
        else (_share(calibration["before"]["ece"]), _share(calibration["after"]["ece"])),
    )


def _by_class(told: Mapping[str, Any], classes: tuple[str, ...]) -> tuple[float | None, ...]:
    return tuple(None if told[emotion] is None else _share(told[emotion]) for emotion in classes)


def _share(value: Any, low: float = 0.0) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= 1:
        raise ValueError(f"{value} is no score")
    return float(value)


def _interval(ends: Any) -> tuple[float, float]:
    low, high = (float(end) for end in ends)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{ends} is no interval")
    return low, high


def _difference(told: Mapping[str, Any] | None) -> Difference | None:
    if told is None:
        return None
    interval, p_value = told["interval"], told["p_value"]
    return Difference(
        _share(told["uar"], low=-1.0),
        None if interval is None else _interval(interval),
        None if p_value is None else _share(p_value),
    )


def _curve(told: Any) -> Curve:
    if not isinstance(told, Mapping):  # the oldest runs list the names of the layers that were chosen here
        return {}
    curve = {}
    for layer, found in told.items():
        uar = _share(found["uar"])
        curve[str(layer)] = (uar, *(_interval(found["interval"] or (uar, uar))))
    return curve


def _chosen(choices: Mapping[str, Any]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for choice in choices.values():
        for read in choice["columns"].values():
            if len(read["layers"]) == 1:
                counts[str(read["layers"][0])] += 1
    return dict(counts)
