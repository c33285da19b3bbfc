"""A run: what was asked, what came out, and the folder that keeps both.

Every table and plot is made from a run folder:

    outputs/<name>/
      recipe.yaml            the settings, defaults included
      metrics.json           the scores of every system, their intervals, the protocol
      predictions.parquet    one row per system and utterance: fold, truth, probabilities
      *.png, *.svg           confusion matrices, scores, speakers
      model/                 see `ser_transfer.model`; after a run of all folds
"""

from __future__ import annotations

import json
import platform
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from ser_transfer import __version__
from ser_transfer.cross_validation import HeadChoice, Predictions
from ser_transfer.errors import SerTransferError
from ser_transfer.metrics import Scores, confusion_by_speaker, score, uar
from ser_transfer.plots import confusion_figure, save_figure, score_figure, speaker_figure
from ser_transfer.splits import Split
from ser_transfer.tables import text_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Role = Literal["encoder", "baseline", "floor"]

# Libraries whose version can move a score.
LIBRARIES = ("numpy", "scikit-learn", "scipy", "librosa", "torch", "transformers", "soxr")


class RunError(SerTransferError):
    """A run folder that cannot be written or read."""


@dataclass(frozen=True)
class System:
    """One row of the table: an encoder with a head, the baseline with the same head, or the floor.

    Attributes:
        name: The encoder's name, or ``majority class``.
        role: ``"encoder"``, ``"baseline"`` or ``"floor"``.
        predictions: Its answers on the test sides.
        scores: Of those answers, all folds pooled.
        embeddings: What it was computed from: encoder, fingerprint, pooling, precision, layers.
    """

    name: str
    role: Role
    predictions: Predictions
    scores: Scores
    embeddings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def scored(cls, name: str, role: Role, predictions: Predictions, **embeddings: Any) -> System:
        """Score a system's answers, with intervals over speakers."""
        scores = score(predictions.truth, predictions.predicted, predictions.classes, predictions.speakers)
        return cls(name, role, predictions, scores, embeddings)

    def uar_by_speaker(self) -> dict[str, float]:
        """UAR of each speaker, over the emotions that the speaker has; empty where speakers are unknown."""
        speakers = [str(speaker) for speaker in self.predictions.speakers if speaker is not None]
        if len(speakers) < len(self.predictions.speakers):
            return {}
        counts = confusion_by_speaker(
            self.predictions.truth, self.predictions.predicted, speakers, self.predictions.classes
        )
        return dict(zip(sorted(set(speakers)), uar(counts).tolist(), strict=True))


@dataclass(frozen=True)
class Run:
    """Systems scored on the same folds of one corpus.

    Attributes:
        corpus: Its name.
        split: The folds, and whether speakers stand on one side only.
        head: The classifier on every encoder.
        speaker_normalised: Whether features were standardised within each speaker.
        systems: The encoder, the baseline where there is one, and the floor.
    """

    corpus: str
    split: Split
    head: HeadChoice
    speaker_normalised: bool
    systems: tuple[System, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What anyone who quotes the score has to quote with it."""
        found = []
        if not self.split.speaker_independent:
            found.append(f"NOT SPEAKER-INDEPENDENT: {self.split.description}")
        if self.speaker_normalised:
            found.append("SPEAKER-NORMALISED: uses unlabelled statistics of the test speakers")
        return tuple(found)

    @property
    def title(self) -> str:
        """Corpus, split, n: what stands above every table and plot."""
        scores = self.systems[0].scores
        n_utterances = sum(map(sum, scores.confusion))
        speakers = "speakers unknown" if scores.n_speakers is None else f"{scores.n_speakers} speakers"
        stamped = "".join(f"\n{warning}" for warning in self.warnings)
        return f"{self.corpus} · {self.split.description} · n = {n_utterances}, {speakers}{stamped}"

    def rows(self) -> list[tuple[str, ...]]:
        """The table as text, header first: UAR with its interval, WA, macro-F1."""
        rows: list[tuple[str, ...]] = [("system", "UAR", "95 % interval", "WA", "macro-F1")]
        for system in self.systems:
            interval = (system.scores.intervals or {}).get("uar")
            rows.append(
                (
                    system.name + (" (baseline)" if system.role == "baseline" else ""),
                    f"{system.scores.uar:.3f}",
                    "n/a" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}",
                    f"{system.scores.wa:.3f}",
                    f"{system.scores.macro_f1:.3f}",
                )
            )
        return rows

    def metrics(self) -> dict[str, Any]:
        """What `metrics.json` holds."""
        return {
            "corpus": self.corpus,
            "split": {
                "name": self.split.name,
                "description": self.split.description,
                "folds": [fold.name for fold in self.split.folds],
                "notes": list(self.split.notes),
            },
            "speaker_independent": self.split.speaker_independent,
            "speaker_normalised": self.speaker_normalised,
            "warnings": list(self.warnings),
            "head": asdict(self.head),
            "systems": {
                system.name: {
                    "role": system.role,
                    **system.embeddings,
                    **system.scores.to_dict(),
                    "uar_by_speaker": system.uar_by_speaker(),
                    "settings_by_fold": system.predictions.settings,
                }
                for system in self.systems
            },
            "versions": {"ser_transfer": __version__, "python": platform.python_version()}
            | {library: version(library) for library in LIBRARIES},
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }

    def figures(self) -> Iterator[tuple[str, Figure]]:
        """Draw the run: a name and a figure each."""
        roles = {system.name: system.role for system in self.systems}
        ends = {}
        for system in self.systems:
            low, high = (system.scores.intervals or {}).get("uar", (system.scores.uar, system.scores.uar))
            ends[system.name] = (system.scores.uar, low, high)
        yield "scores", score_figure(ends, roles, self.title, 1 / len(self.systems[0].scores.classes))
        competing = [system for system in self.systems if system.role != "floor"]
        for system in competing:
            slug = re.sub(r"[^A-Za-z0-9.]+", "_", system.name).strip("_")
            title = f"{system.name} + {self.head.name}\n{self.title}"
            counts = np.array(system.scores.confusion)
            yield f"confusion_{slug}", confusion_figure(counts, system.scores.classes, title)
        baselines = [system for system in competing if system.role == "baseline"]
        by_speaker = {system.name: system.uar_by_speaker() for system in (competing[0], *baselines)}
        if all(by_speaker.values()):
            yield "speakers", speaker_figure(by_speaker, roles, self.title)

    @classmethod
    def joined(cls, runs: Sequence[Run]) -> Run:
        """Join runs of several encoders on the same folds: encoders, best first, then baseline and floor."""
        systems = {system.name: system for run in runs for system in run.systems}
        roles = get_args(Role)
        ranked = sorted(systems.values(), key=lambda system: (roles.index(system.role), -system.scores.uar))
        return replace(runs[0], systems=tuple(ranked))

    def __str__(self) -> str:
        notes = "".join(f"\nnote: {note}" for note in self.split.notes)
        return f"{self.title}\n\n{text_table(self.rows())}{notes}"

    def save(self, folder: Path, recipe: Mapping[str, Any], *, plots: bool = True) -> None:
        """Write the run folder; what an earlier run of the same name left in it is replaced.

        Args:
            folder: Made if it is not there.
            recipe: The settings that led here.
            plots: Whether to draw the figures too.

        Raises:
            RunError: If the folder cannot be written.
        """
        import pandas as pd
        import yaml

        tables = [_table_of(system) for system in self.systems]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _clear(folder)
            (folder / "recipe.yaml").write_text(
                yaml.safe_dump(dict(recipe), sort_keys=False), encoding="utf-8"
            )
            pd.concat(map(pd.DataFrame, tables)).to_parquet(folder / "predictions.parquet", index=False)
            for name, figure in self.figures() if plots else ():
                for ending in ("png", "svg"):
                    save_figure(figure, folder / f"{name}.{ending}")
            text = json.dumps(self.metrics(), indent=2, ensure_ascii=False)
            (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise RunError(
                f"cannot write the run to {folder}: {error.strerror}; name another with --out"
            ) from error


def _clear(folder: Path) -> None:
    """Remove what an earlier run left: its plots and its model would pass for this one's.

    Only in a folder that holds a run, and only what runs write: `--out` may name any folder.
    """
    if not (folder / "metrics.json").is_file():
        return
    for name in ("scores", "speakers", "confusion_*"):
        for path in (*folder.glob(f"{name}.png"), *folder.glob(f"{name}.svg")):
            path.unlink()
    if (folder / "model" / "head.skops").is_file():
        shutil.rmtree(folder / "model")


def _table_of(system: System) -> dict[str, Any]:
    """The rows of `predictions.parquet` that one system has."""
    predictions = system.predictions
    probabilities = {
        f"p_{emotion}": predictions.probabilities[:, column]
        for column, emotion in enumerate(predictions.classes)
    }
    return {
        "system": [system.name] * len(predictions.utterance_ids),
        "utterance_id": predictions.utterance_ids,
        "speaker": predictions.speakers,
        "fold": predictions.folds,
        "truth": predictions.truth,
        "predicted": predictions.predicted,
        **probabilities,
    }
