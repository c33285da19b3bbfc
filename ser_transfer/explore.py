"""Look at a corpus before anything is learned from it: what there is, how it sounds, and what is wrong.

python -m ser_transfer.explore --corpus ravdess --root DIR
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ser_transfer._bars import progress_bar
from ser_transfer._command import CallableModule, command
from ser_transfer._setting import setting
from ser_transfer._settings import CorpusSettings
from ser_transfer.audio import AudioError
from ser_transfer.corpora import CORPUS_CARDS
from ser_transfer.exploration import (
    Anatomy,
    Clip,
    Example,
    Exploration,
    ExplorationError,
    choose_examples,
    clips_of,
    measure_corpus,
    sample_rows,
    save_exploration,
    take_apart,
)
from ser_transfer.places import mirrored

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, kw_only=True)
class ExploreSettings(CorpusSettings):
    """Look at a corpus before anything is learned from it: what there is, how it sounds, what is wrong."""

    max_clips: int | None = setting(
        None, help="open only so many clips, each emotion and speaker keeping its share; default: all"
    )
    speaker: str | None = setting(None, help="whose clips are taken apart, one per emotion; default: chosen")
    sentence: str | None = setting(None, help="which sentence's clips are taken apart; default: chosen")
    seed: int = setting(0, help="of the sample that --max-clips draws")
    n_workers: int | None = setting(None, help="clips measured at once; default: one per core")
    title: str | None = setting(None, help="the corpus's name on the page; default: its own, or --corpus")
    out: str | None = setting(
        None,
        help="folder, or a URL of one, for the page, the figures and clips.csv; default: "
        "outputs/explore-<corpus>",
    )


def explore(
    corpus: Dataset,
    *,
    max_clips: int | None = None,
    speaker: str | None = None,
    sentence: str | None = None,
    seed: int = 0,
    n_workers: int | None = None,
    title: str | None = None,
) -> Exploration:
    """Look at a corpus: count its clips, measure them, and take one of each emotion apart.

    A recording that cannot be used does not stop it: it is among the findings.

    Args:
        corpus: From `ser_transfer.load_corpus`.
        max_clips: How many clips to open; None for all.
        speaker: Whose clips to take apart; None for whoever says one sentence in most emotions.
        sentence: Which sentence's; None likewise.
        seed: Of the sample.
        n_workers: Processes; None for one per core.
        title: The corpus's name; None for that in the literature, or the one it was loaded by.

    Returns:
        What was seen; printing it prints its counts, and `ser_transfer.exploration.save_exploration` writes
        the page.

    Raises:
        ExplorationError: If there is no such speaker or sentence, or no recording can be used.
    """
    clips = clips_of(corpus)
    rows = sample_rows(clips, max_clips, seed)
    choose_examples(clips, speaker=speaker, sentence=sentence)  # refuse what nobody says before measuring
    with progress_bar("explore") as advance:
        measured = measure_corpus(corpus.select(rows), n_workers=n_workers, on_clip=advance)
    for row, told in zip(rows, measured, strict=True):
        clips[row] = replace(clips[row], measures=told)
    if all(isinstance(clips[row].measures, AudioError) for row in rows):
        raise ExplorationError(
            f"none of {len(rows)} recordings can be used, the first: {clips[rows[0]].measures}"
        )
    examples = _examples(corpus, clips, speaker, sentence)
    name = corpus.info.dataset_name
    card = CORPUS_CARDS.get(name)
    return Exploration(
        title or (card.title if card else name) or "corpus",
        card,
        tuple(corpus.features["emotion"].names),
        tuple(clips),
        tuple(examples),
    )


def _examples(corpus: Dataset, clips: list[Clip], speaker: str | None, sentence: str | None) -> list[Example]:
    """Take one clip of each emotion apart; an unusable one is noted, and gives way to the next."""
    row_of = {clip.utterance_id: row for row, clip in enumerate(clips)}
    taken: dict[str, Anatomy] = {}
    while True:
        chosen = choose_examples(clips, speaker=speaker, sentence=sentence)
        clip = next((clip for clip in chosen if clip.utterance_id not in taken), None)
        if clip is None:
            return [Example(clip, taken[clip.utterance_id]) for clip in chosen]
        source = corpus[row_of[clip.utterance_id]]
        start, end = source["start_seconds"], source["end_seconds"]
        try:
            taken[clip.utterance_id] = take_apart(source["audio"], start_seconds=start, end_seconds=end)
        except AudioError as error:
            clips[row_of[clip.utterance_id]] = replace(clip, measures=error)


def _run(settings: ExploreSettings) -> None:
    with mirrored(settings.out or f"outputs/explore-{settings.corpus}") as out:
        seen = explore(
            settings.load_corpus(),
            max_clips=settings.max_clips,
            speaker=settings.speaker,
            sentence=settings.sentence,
            seed=settings.seed,
            n_workers=settings.n_workers,
            title=settings.title,
        )
        save_exploration(seen, out.folder)
    print(f"{seen}\n\nwritten to {out}: open {out}/explore.html")


main = command(ExploreSettings, _run)
sys.modules[__name__].__class__ = CallableModule

if __name__ == "__main__":
    sys.exit(main())
