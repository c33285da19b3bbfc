"""The corpus that a model was trained on: whose speech it is, whose licence, and what its labels are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ser_transfer.cards.kept import KeptModel, is_known_on_hub
from ser_transfer.cards.run import CardRun
from ser_transfer.corpora import CORPUS_CARDS, CorpusCard

# Where the label of an utterance comes from, by corpus; in all of them, actors speak.
LABELS = {
    "ravdess": "the emotion that an actor was asked to play",
    "crema_d": "the emotion that an actor was asked to play",
    "tess": "the emotion that an actor was asked to play",
    "emodb": (
        "the emotion that an actor was asked to play, in recordings whose emotion listeners recognised and "
        "found natural"
    ),
    "savee": "the emotion that an actor was asked to play",
    "iemocap": "what most evaluators heard in actors who played scripts or improvised",
}
# What stands for a title where the user gave none to recordings of their own.
UNTITLED = {
    "folder": "an unpublished folder of recordings",
    "table": "an unpublished table of recordings",
    "dataset": "a dataset",
    "synthetic": "synthetic speech",
}
LANGUAGE = re.compile(r"[a-z]{2,3}")  # ISO 639-1 or 639-3
LANGUAGE_NAMES = {"en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian"}


@dataclass(frozen=True)
class TrainingCorpus:
    """What a run tells of its corpus.

    Attributes:
        name: That it was loaded by, such as ``ravdess``, ``folder``.
        title: What the run calls it.
        published: What is known of it, where it is one of the published corpora.
        part: Of a corpus that has parts, as it was asked for.
        label_map: How its emotions were mapped, in words; None where they were not.
        languages: ISO 639 codes; empty where the run tells none.
        dataset_id: Its id on the Hub; None where it is none, or not known to be one.
        speakers: Whom the model was trained on; empty where the run tells none.
        n_utterances: On how many it was trained; None where the run does not tell.
    """

    name: str
    title: str
    published: CorpusCard | None
    part: str | None
    label_map: str | None
    languages: tuple[str, ...]
    dataset_id: str | None
    speakers: tuple[str, ...]
    n_utterances: int | None

    @property
    def names_are_public(self) -> bool:
        """Whether speakers, sentences and the like may be named: of someone's own recordings they may not."""
        return self.published is not None or self.is_synthetic

    @property
    def is_acted(self) -> bool:
        """Whether it is known that actors speak."""
        return self.name in LABELS

    @property
    def is_synthetic(self) -> bool:
        """Whether a program speaks."""
        return self.name == "synthetic"

    @property
    def label_source(self) -> str | None:
        """Where its labels come from, in words; None where that is not known."""
        return "what a program was told to sound like" if self.is_synthetic else LABELS.get(self.name)

    @property
    def spoken(self) -> str:
        """Its languages in words; empty where they are unknown."""
        return " and ".join(LANGUAGE_NAMES.get(code, f"language {code}") for code in self.languages)


def training_corpus(run: CardRun) -> TrainingCorpus:
    """Gather what a run and the loader of its corpus know of it."""
    recipe, name = run.recipe, str(run.recipe["corpus"])
    published = CORPUS_CARDS.get(name)
    title = run.saved.corpus
    if title == name:  # the user gave none
        title = published.title if published is not None else UNTITLED.get(name, name)
    language = recipe.get("language")
    told = (str(language),) if language is not None and LANGUAGE.fullmatch(str(language)) else ()
    return TrainingCorpus(
        name=name,
        title=title,
        published=published,
        part=None if recipe.get("part") is None else str(recipe["part"]),
        label_map=_mapped(recipe.get("label_map")),
        languages=told if published is None else published.languages,
        dataset_id=_dataset_id(recipe),
        speakers=run.model.speakers,
        n_utterances=run.model.n_utterances,
    )


def corpus_of_model(model: KeptModel) -> TrainingCorpus:
    """Gather what a model says of the corpus that it was trained on; a foreign one says nothing."""
    name, title = (str(model.training.get(key, "")) for key in ("corpus_name", "corpus"))
    published = CORPUS_CARDS.get(name)
    if not title or title == name:
        title = published.title if published is not None else UNTITLED.get(name, name)
    return TrainingCorpus(
        name=name,
        title=title,
        published=published,
        part=None,
        label_map=None,
        languages=() if published is None else published.languages,
        dataset_id=None,
        speakers=model.speakers,
        n_utterances=model.n_utterances,
    )


def _mapped(label_map: Any) -> str | None:
    if label_map is None or isinstance(label_map, str):
        return label_map
    return ", ".join(f"{old} as {new}" if new else f"{old} left out" for old, new in dict(label_map).items())


def _dataset_id(recipe: Any) -> str | None:
    root = recipe.get("root")
    is_id = recipe["corpus"] == "dataset" and root is not None and is_known_on_hub(str(root), "dataset")
    return str(root) if is_id else None
