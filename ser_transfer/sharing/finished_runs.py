"""Finished runs, read for what is published of them: their scores, and every answer that they rest on."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_transfer.cards.checks import refuse_false_independence, refuse_other_numbers
from ser_transfer.cards.corpus import LANGUAGE, UNTITLED, TrainingCorpus
from ser_transfer.cards.kept import shown_encoder
from ser_transfer.cards.reading import labels_of_answers
from ser_transfer.cards.run import RECIPE
from ser_transfer.corpora import CORPUS_CARDS
from ser_transfer.errors import SerTransferError
from ser_transfer.runs import SavedRun, System, saved_run
from ser_transfer.runs.files import METRICS
from ser_transfer.runs.found import run_folders
from ser_transfer.sharing.corpus_rows import dataset_id_of, mapped_in_words, names_are_public
from ser_transfer.sharing.errors import SharingError


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A run whose scores follow from its answers.

    Attributes:
        name: Of its folder, below the folder that was given.
        saved: Its systems, scored again.
        described: Its `metrics.json`.
        recipe: Its settings.
        speaker_dependent: Whether these are the answers on the split that leaks, of a run that was asked for
            them beside its own.
    """

    name: str
    saved: SavedRun
    described: Mapping[str, Any]
    recipe: Mapping[str, Any]
    speaker_dependent: bool = False

    @property
    def corpus_name(self) -> str:
        """That its corpus was loaded by."""
        return str(self.recipe["corpus"])

    @property
    def names_are_public(self) -> bool:
        """Whether speakers and utterances go by their names."""
        return names_are_public(self.corpus_name)

    @property
    def recordings(self) -> tuple[str, str]:
        """Tell two runs on the same recordings from runs on others; it is written nowhere."""
        return self.corpus_name, "" if self.names_are_public else str(self.recipe.get("root"))

    @property
    def split(self) -> str:
        """Name of its split."""
        return str(self.described["split"]["name"])

    @property
    def n_folds(self) -> int:
        """How many folds were tested."""
        return len(self.described["split"]["folds"])

    @property
    def split_description(self) -> str:
        """Its split in a few words, without the names of people: a fold may be called after its speaker."""
        if self.names_are_public or self.recipe.get("folds") is None:
            return self.saved.description
        return f"{self.split}, {self.n_folds} of its folds only"

    def systems(self) -> Iterator[tuple[str, System, Mapping[str, Any]]]:
        """Give each system, its name without folders of this machine, and what `metrics.json` says of it."""
        names: list[str] = []
        for system in self.saved.systems:
            name = shown_system(system.name)
            n_before = names.count(name)
            names.append(name)
            told = self.described["systems"][system.name]
            yield f"{name} ({n_before + 1})" if n_before else name, system, told

    def corpus(self, speakers: Sequence[str]) -> TrainingCorpus:
        """Gather what the run and the loader of its corpus know of it.

        Args:
            speakers: Under the names that are published.
        """
        name, recipe = self.corpus_name, self.recipe
        published, language = CORPUS_CARDS.get(name), recipe.get("language")
        usual = published.title if published is not None else UNTITLED.get(name, name)
        told = (str(language),) if language is not None and LANGUAGE.fullmatch(str(language)) else ()
        return TrainingCorpus(
            name=name,
            title=usual if self.saved.corpus == name else self.saved.corpus,
            published=published,
            part=None if recipe.get("part") is None else str(recipe["part"]),
            label_map=mapped_in_words(recipe.get("label_map")),
            languages=told if published is None else published.languages,
            dataset_id=dataset_id_of(name, recipe.get("root")),
            speakers=tuple(speakers),
            n_utterances=len(self.saved.systems[0].predictions.utterance_ids),
        )


def shown_system(name: str) -> str:
    """Name a system without the folders that its encoders lay in."""
    parts = re.split(r"(\s*\+\s*)", name)
    return "".join(part if place % 2 else shown_encoder(part) for place, part in enumerate(parts))


def finished_runs(folders: Sequence[str | Path]) -> list[FinishedRun]:
    """Read runs, each followed by its answers on the split that leaks where it has some.

    Args:
        folders: Of runs, or such as ``outputs/``, which hold runs; of these, what cannot be shared is named
            in a warning and left out.

    Raises:
        SharingError: If a folder holds no run, a run cannot be read, or its scores are not those of its
            answers.
    """
    found: dict[str, FinishedRun] = {}
    for folder in map(Path, folders):
        if (folder / METRICS).is_file():
            runs = [_read(folder.resolve().name, folder)]
        else:
            runs = list(_runs_below(folder))
            if not runs:
                raise SharingError(
                    f"no finished run in {folder}: give the folder of a run, or one that holds runs, such as "
                    "outputs"
                )
        for run in runs:
            if run.name in found:
                raise SharingError(
                    f"two runs are called {run.name}: give the folder that holds both, or rename one"
                )
            found[run.name] = run
    return [each for run in found.values() for each in _with_leak(run)]


def _runs_below(root: Path) -> Iterator[FinishedRun]:
    for name, folder in run_folders(root):
        try:
            yield _read(name, folder)
        except SharingError as error:
            warnings.warn(f"left out: {error}", stacklevel=4)


def _with_leak(run: FinishedRun) -> Iterator[FinishedRun]:
    yield run
    if run.saved.leak is not None:
        described = run.described["speaker_dependent"]
        yield FinishedRun(run.name, run.saved.leak, described, run.recipe, speaker_dependent=True)


def _read(name: str, folder: Path) -> FinishedRun:
    import yaml

    try:
        recipe = yaml.safe_load((folder / RECIPE).read_text(encoding="utf-8"))
        if not isinstance(recipe, dict) or recipe.get("corpus") is None:
            raise SharingError(f"{folder} is no run on one corpus: give one of train, finetune or compare")
        saved = saved_run(folder, labels_of_answers(folder))
        described = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        refuse_other_numbers(saved, described, folder)
        refuse_false_independence(saved, described, folder)
    except SharingError:
        raise
    except SerTransferError as error:
        raise SharingError(str(error)) from error
    except (
        OSError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
        yaml.YAMLError,
    ) as error:
        told = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise SharingError(f"the run in {folder} cannot be read ({told}): run it again") from error
    return FinishedRun(name, saved, described, recipe)
