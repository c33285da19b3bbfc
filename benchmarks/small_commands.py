"""Small jobs for `embed`, `train`, `finetune`, `predict` and `compare`, for the scripts that disturb them.

A job is a command on a corpus of tones that takes some seconds, and what can be said of the folder that it
writes to: whether anything in it claims to be whole and is not, and whether a finished one holds what an
undisturbed one holds.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile

from ser_transfer.corpora import load_corpus
from ser_transfer.cross_validation import Labels
from ser_transfer.model import EmotionModel
from ser_transfer.runs import saved_run
from ser_transfer.store import EmbeddingStore

PATTERN = "(?P<speaker>p[0-9])_"
TONE_HZ = {"neutral": 300.0, "anger": 1500.0, "fear": 2700.0}
N_SPEAKERS = 4
# What is left of a command that was disturbed, and must be gone after one that was not.
LEFTOVERS = (".*.tmp", ".part-*", ".*.partial", "*.part", "state-*", "best-*", ".*.retired")
COMMON = ("--corpus", "folder", "--speaker-pattern", PATTERN)
TRAINING = ("--split", "leave-one-speaker-out", "--allow", "near-identical-audio")


@dataclass
class Workplace:
    """What the jobs read, and nothing writes to.

    Attributes:
        root: Of all of it.
    """

    root: Path
    _models: dict[str, EmotionModel] = field(default_factory=dict)

    @property
    def many(self) -> Path:
        """96 tones: enough for several processes."""
        return self.root / "many"

    @property
    def few(self) -> Path:
        """24 tones."""
        return self.root / "few"

    @property
    def checkpoint(self) -> Path:
        """A tiny wav2vec 2.0 of random weights."""
        return self.root / "wav2vec2"

    @property
    def store(self) -> Path:
        """A filled store."""
        return self.root / "filled"

    @classmethod
    def made(cls, root: Path) -> Workplace:
        """Make it."""
        place = cls(root)
        write_tones(place.many, 8)
        write_tones(place.few, 2)
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "encoders"))
        from tiny_checkpoints import save_checkpoint  # type: ignore[import-not-found]

        save_checkpoint("wav2vec2-base", place.checkpoint)
        return place


def write_tones(root: Path, n_takes: int) -> None:
    """Write tones: the emotion is the pitch, the speaker the loudness."""
    rng = np.random.default_rng(0)
    for emotion, hertz in TONE_HZ.items():
        for speaker in range(1, N_SPEAKERS + 1):
            for take in range(n_takes):
                time = np.arange(rng.integers(3_000, 6_000)) / 16_000
                tone = 0.1 * speaker * np.sin(2 * np.pi * hertz * time) + rng.normal(0, 0.01, time.size)
                path = root / emotion / f"p{speaker}_{take}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, tone, 16_000)


@dataclass(frozen=True)
class Job:
    """A command that writes below one folder, `place`.

    Attributes:
        verb: Of the command.
        flags: Its flags, for a place.
        prepare: Puts into the place what must be there before; True for an earlier run of other settings too.
        claims: Says what in the place claims to be whole and is not, given the places of undisturbed runs.
        result: Gives what a finished run is known by, to be compared.
        kept: Names what was finished so far, and must never be lost again.
        again: Flags with which it goes on after it was disturbed.
    """

    verb: str
    flags: Callable[[Path], list[str]]
    prepare: Callable[[Path, bool], None]
    claims: Callable[[Path], Iterator[str]]
    result: Callable[[Path], Mapping[str, Any]]
    kept: Callable[[Path], set[str]]
    again: tuple[str, ...] = ()

    def command(self, place: Path, *, again: bool = False) -> list[str]:
        """Give the command line."""
        more = self.again if again else ()
        return [sys.executable, "-m", f"ser_transfer.{self.verb}", *self.flags(place), *more]


def leftovers(place: Path) -> list[str]:
    """Name what a whole run must not leave."""
    return sorted(str(path.relative_to(place)) for name in LEFTOVERS for path in place.rglob(name))


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Name what is otherwise in one result than in the other."""
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))


def jobs(work: Workplace) -> dict[str, Job]:
    """Describe all jobs, by verb."""
    return {
        "embed": _embed(work),
        "train": _scored(work, "train", ("--encoder", "handcrafted", "--head", "lda")),
        "finetune": _finetune(work),
        "predict": _predict(work),
        "compare": _scored(work, "compare", ("--encoders", "handcrafted", "--heads", "lda", "--n-jobs", "1")),
    }


def rows_of(store: Path) -> dict[str, str]:
    """Hash every row of a store, by part and key."""
    opened = EmbeddingStore(store)
    found = {}
    for part in (stored.part for stored in opened.parts()):
        keys = opened.keys(part)
        layers = opened.read(part, keys)
        for row, key in enumerate(keys):
            found[f"{part.encoder} {key}"] = "".join(layers[name][row].tobytes().hex() for name in layers)
    return found


def _nothing(place: Path, earlier: bool) -> None:
    del earlier
    place.mkdir(parents=True)


def _embed(work: Workplace) -> Job:
    def flags(place: Path) -> list[str]:
        where = ["--root", str(work.many), "--store", str(place / "store")]
        return [*COMMON, *where, "--encoder", "handcrafted", "--n-workers", "2"]

    def claims(place: Path) -> Iterator[str]:
        rows_of(place / "store")  # reads every row
        yield from (f"{path.name} is damaged" for path in place.rglob("*.damaged"))

    def result(place: Path) -> Mapping[str, Any]:
        return rows_of(place / "store")

    return Job("embed", flags, _nothing, claims, result, lambda place: set(rows_of(place / "store")))


def _results_of(out: Path, work: Workplace) -> dict[str, Any]:
    """What a run folder says, but for how long it took."""
    metrics = without_seconds(json.loads((out / "metrics.json").read_text()))
    tables = {path.name: pd.read_parquet(path).to_csv(index=False) for path in sorted(out.glob("*.parquet"))}
    model = EmotionModel.from_pretrained(out / "model", device="cpu") if (out / "model").is_dir() else None
    answers = None
    if model is not None:
        heard = [str(path) for path in sorted(work.few.rglob("*_0.wav"))[:4]]
        answers = model.predict_proba(heard).tobytes()
    names = sorted(
        str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and "logs" not in path.parts
    )
    return {**flat(metrics, "metrics"), **tables, "answers": answers, "files": names}


def flat(content: Any, name: str) -> dict[str, Any]:
    """Name each value within a content by the way to it."""
    if isinstance(content, dict):
        inner = content.items()
    elif isinstance(content, list):
        inner = dict(enumerate(content)).items()
    else:
        return {name: content}
    return {way: value for key, each in inner for way, value in flat(each, f"{name}.{key}").items()}


def without_seconds(content: Any) -> Any:
    """Leave out when things were done, and how long they took."""
    if isinstance(content, dict):
        kept = [item for item in content.items() if item[0] not in ("seconds", "finished")]
        return {name: without_seconds(value) for name, value in kept}
    return [without_seconds(value) for value in content] if isinstance(content, list) else content


def _whole_run(out: Path, root: Path, work: Workplace, *, with_model: bool) -> Iterator[str]:
    """Say what a run folder claims and does not hold."""
    if (out / "model" / "config.json").is_file():
        EmotionModel.from_pretrained(out / "model", device="cpu")
    if not (out / "metrics.json").is_file():
        return
    corpus = load_corpus("folder", root, speaker_pattern=PATTERN)
    saved_run(out, Labels.of(corpus))
    recipe = (out / "recipe.yaml").read_text(encoding="utf-8")
    if with_model and not (out / "model" / "config.json").is_file():
        yield "there are scores and no model"
    if "plots: true" in recipe and not (out / "report.html").is_file():
        yield "there are scores and no report"


def _scored(work: Workplace, verb: str, encoder: tuple[str, ...]) -> Job:
    def flags(place: Path) -> list[str]:
        where = ["--root", str(work.many), "--store", str(place / "store"), "--out", str(place / "run")]
        return [*COMMON, *TRAINING, *where, *encoder]

    def prepare(place: Path, earlier: bool) -> None:
        place.mkdir(parents=True)
        shutil.copytree(work.store, place / "store")
        if earlier:
            shutil.copytree(work.root / f"earlier_{verb}" / "run", place / "run")

    def claims(place: Path) -> Iterator[str]:
        yield from _whole_run(place / "run", work.many, work, with_model=verb == "train")

    return Job(
        verb,
        flags,
        prepare,
        claims,
        lambda place: _results_of(place / "run", work),
        lambda place: set(rows_of(place / "store")),
    )


def _finetune(work: Workplace) -> Job:
    def flags(place: Path) -> list[str]:
        where = ["--root", str(work.few), "--store", str(place / "store"), "--out", str(place / "run")]
        tiny = ["--batch-seconds", "3", "--max-epochs", "2", "--learning-rate", "1e-3", "--save-steps", "2"]
        return [*COMMON, *TRAINING, *where, "--encoder", str(work.checkpoint), *tiny, "--device", "cpu"]

    def prepare(place: Path, earlier: bool) -> None:
        place.mkdir(parents=True)
        if earlier:
            shutil.copytree(work.root / "earlier_finetune" / "run", place / "run")

    def claims(place: Path) -> Iterator[str]:
        yield from _whole_run(place / "run", work.few, work, with_model=True)

    def result(place: Path) -> Mapping[str, Any]:
        found = _results_of(place / "run", work)
        # What trackers and the folds of earlier settings left is named by times and digests.
        found["files"] = [name for name in found["files"] if not name.endswith(".npz")]
        return found

    def kept(place: Path) -> set[str]:
        return {path.name for path in place.glob("run/folds/*/*.npz")} | set(rows_of(place / "store"))

    return Job("finetune", flags, prepare, claims, result, kept, ("--resume",))


def _predict(work: Workplace) -> Job:
    def flags(place: Path) -> list[str]:
        return [str(work.many), "--out", str(place / "r.csv"), "--n-workers", "2"]

    def lines(place: Path) -> list[str]:
        journal = place / "r.csv.journal"
        content = journal.read_bytes() if journal.is_file() else b""
        return content[: content.rfind(b"\n") + 1].decode().splitlines()

    def claims(place: Path) -> Iterator[str]:
        for line in lines(place):
            json.loads(line)
        if (place / "r.csv").is_file() and len((place / "r.csv").read_text().splitlines()) != 97:
            yield "the table is there and has not all rows"

    def result(place: Path) -> Mapping[str, Any]:
        said = {json.dumps(without_seconds(json.loads(line)), sort_keys=True) for line in lines(place)[1:]}
        return {"table": (place / "r.csv").read_bytes(), "journal": said, "n_lines": len(lines(place))}

    return Job("predict", flags, _nothing, claims, result, lambda place: set(lines(place)))
