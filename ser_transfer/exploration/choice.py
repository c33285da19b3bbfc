"""Which clips are looked at: a sample of a large corpus, and one clip of each emotion to take apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from ser_transfer.audio import AudioError
from ser_transfer.exploration.exploration import Clip, ExplorationError
from ser_transfer.labels import EMOTIONS

N_NAMED = 12  # speakers or sentences that a message lists


def sample_rows(clips: Sequence[Clip], max_clips: int | None, seed: int) -> list[int]:
    """Draw rows so that every emotion, and within it every speaker, keeps its share to within one clip.

    Args:
        clips: All of a corpus.
        max_clips: How many to draw; None, or more than there are, for all.
        seed: Of the draw within a speaker's clips of an emotion.

    Returns:
        Row numbers, ascending.

    Raises:
        ExplorationError: If none is to be drawn.
    """
    if max_clips is not None and max_clips < 1:
        raise ExplorationError(
            f"--max-clips is {max_clips}: give 1 or more, or leave it out to open all clips"
        )
    if max_clips is None or max_clips >= len(clips):
        return list(range(len(clips)))
    rank = np.random.default_rng(seed).permutation(len(clips))
    order = sorted(
        range(len(clips)), key=lambda row: (clips[row].emotion, clips[row].speaker or "", rank[row])
    )
    # Evenly spaced over the sorted clips: a stratum of n is met n * max_clips / len(clips) times, or one off.
    places = ((np.arange(max_clips) + 0.5) * len(clips) / max_clips).astype(int)
    return sorted(order[place] for place in places)


def choose_examples(
    clips: Sequence[Clip], *, speaker: str | None = None, sentence: str | None = None
) -> list[Clip]:
    """Choose one usable clip per emotion, of one speaker and one sentence where the corpus allows.

    Of all pairs of speaker and sentence the one with most emotions is taken, the first by name of several. An
    emotion that it lacks comes from the same speaker if it can. Of several clips the first by id is taken.

    Args:
        clips: All of a corpus.
        speaker: Whose; None for anyone's.
        sentence: Which; None for any.

    Returns:
        At most one per emotion, in vocabulary order.

    Raises:
        ExplorationError: If there is no such speaker or sentence, or no usable clip of both.
    """
    usable = [clip for clip in clips if not isinstance(clip.measures, AudioError)]
    _check_known("speaker", speaker, {clip.speaker for clip in clips})
    _check_known("sentence", sentence, {clip.sentence for clip in clips})
    emotions: dict[tuple[str, str], set[str]] = defaultdict(set)
    for clip in usable:
        if speaker in (None, clip.speaker) and sentence in (None, clip.sentence):
            emotions[clip.speaker or "", clip.sentence or ""].add(clip.emotion)
    if not emotions:
        asked = {"--speaker": speaker, "--sentence": sentence}
        given = " ".join(f"{flag} {name!r}" for flag, name in asked.items() if name is not None)
        raise ExplorationError(f"no usable clip has {given or 'any sound'}; name another, or leave it out")
    pair = max(sorted(emotions), key=lambda each: len(emotions[each]))

    def distance(clip: Clip) -> tuple[bool, bool, str]:
        return (clip.speaker or "") != pair[0], (clip.sentence or "") != pair[1], clip.utterance_id

    by_emotion: dict[str, list[Clip]] = defaultdict(list)
    for clip in usable:
        by_emotion[clip.emotion].append(clip)
    return [min(by_emotion[emotion], key=distance) for emotion in EMOTIONS if emotion in by_emotion]


def _check_known(what: str, name: str | None, names: Iterable[str | None]) -> None:
    known = sorted(each for each in names if each is not None)
    if name is None or name in known:
        return
    if not known:
        raise ExplorationError(f"--{what} {name!r}: the corpus does not tell its {what}s; leave --{what} out")
    more = f" and {len(known) - N_NAMED} more" if len(known) > N_NAMED else ""
    raise ExplorationError(f"no {what} is called {name!r}; known are {'; '.join(known[:N_NAMED])}{more}")
