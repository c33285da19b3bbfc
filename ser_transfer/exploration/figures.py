"""The figures of a corpus: how many clips of what, and how long, loud and high they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from ser_transfer.exploration.charts import MAX_DOTS, Scale, bar_figure, spread_figure, stack_figure
from ser_transfer.exploration.clip_figures import example_figure, example_words
from ser_transfer.exploration.exploration import Exploration
from ser_transfer.plots import Drawing

FIGURES = ("emotions", "speakers", "genders", "durations", "levels", "pitch", "pitch_by_speaker", "clip_*")
WIDE = 20  # times the median: an axis on which the longest clip leaves the others no room


def figures(exploration: Exploration) -> Iterator[Drawing]:
    """Draw an exploration: its counts, its spreads, and each of its examples."""
    yield from _counts(exploration)
    yield from _spreads(exploration)
    for example in exploration.examples:
        yield Drawing(
            f"clip_{example.clip.emotion}",
            "examples",
            example_figure(example, exploration.corpus),
            "",
            example_words(example),
        )


def _counts(exploration: Exploration) -> Iterator[Drawing]:
    clips, classes = exploration.clips, exploration.classes
    n = len(clips)
    by_emotion = Counter(clip.emotion for clip in clips)
    told = ", ".join(f"{emotion} {by_emotion[emotion]}" for emotion in classes)
    rows = {emotion: {"": by_emotion[emotion]} for emotion in classes}
    yield Drawing(
        "emotions",
        "counts",
        bar_figure(rows, [""], exploration.title("clips per emotion", n)),
        "Clips per emotion. UAR, the main score, counts each emotion alike, however frequent it is.",
        f"Clips per emotion: {told}.",
    )
    for column, caption in (
        ("speaker", "Clips per speaker, stacked by emotion in the order of the legend."),
        ("gender", "Clips per gender, stacked by emotion in the order of the legend."),
    ):
        stacks = _stacks(exploration, column)
        if not stacks:
            continue
        draw = stack_figure if column == "speaker" else bar_figure
        totals = [sum(stack.values()) for stack in stacks.values()]
        yield Drawing(
            f"{column}s",
            "counts",
            draw(stacks, classes, exploration.title(f"clips per {column}", n)),
            caption,
            f"Clips per {column}: {len(stacks)} {column}s, {min(totals)} to {max(totals)} clips each.",
        )


def _stacks(exploration: Exploration, column: str) -> dict[str, dict[str, int]]:
    """Count clips per value of a column and emotion; nothing where the corpus does not tell it."""
    counts = Counter((getattr(clip, column), clip.emotion) for clip in exploration.clips)
    names = {name for name, _ in counts}
    if names == {None}:
        return {}
    ordered = sorted(name for name in names if name is not None) + [None] * (None in names)
    return {
        name or "unknown": {emotion: counts[name, emotion] for emotion in exploration.classes}
        for name in ordered
    }


def _spreads(exploration: Exploration) -> Iterator[Drawing]:
    measured = exploration.measured
    seconds = {id_: told.seconds for id_, told in measured.items()}
    is_wide = max(seconds.values()) > WIDE * float(np.median([*seconds.values()]))
    yield _spread(
        exploration,
        "durations",
        "duration (s)",
        seconds,
        "Where one emotion is longer than another, a head that sees the padding can tell them by it.",
        scale="log" if is_wide else "linear",
    )
    yield _spread(
        exploration,
        "levels",
        "level of the active part (dB of full scale, RMS)",
        {id_: told.level_db for id_, told in measured.items()},
        "Anger and happiness are louder in most corpora, unless every clip was scaled to one peak.",
    )
    if any(told.f0_hz is not None for told in measured.values()):
        yield _spread(
            exploration,
            "pitch",
            "median F0 of voiced frames (Hz)",
            {id_: told.f0_hz for id_, told in measured.items() if told.f0_hz is not None},
            "Who speaks moves it more than what is felt.",
            series="gender",
            scale="octaves",
        )
    if exploration.semitones:
        yield _spread(
            exploration,
            "pitch_by_speaker",
            "median F0 above the speaker's median (semitones)",
            exploration.semitones,
            "The same without the speaker: how far it lies above the middle of the speaker's clips.",
            series="gender",
        )


def _spread(
    exploration: Exploration,
    name: str,
    label: str,
    values: Mapping[str, float],
    remark: str,
    *,
    series: str | None = None,
    scale: Scale = "linear",
) -> Drawing:
    together = exploration.by_emotion(values)[""]
    medians = ", ".join(f"{emotion} {np.median(found):.3g}" for emotion, found in together.items() if found)
    shown = label.partition(" (")[0]
    drawn = f" ({MAX_DOTS} of them, by chance)" if len(values) > MAX_DOTS else ""
    return Drawing(
        name,
        "spreads",
        spread_figure(
            exploration.by_emotion(values, series),
            label,
            exploration.title(f"{shown}, by emotion", len(values)),
            scale=scale,
        ),
        f"A dot is a clip{drawn}; box and heavy line are quartiles and median; whiskers end at 5 % and "
        f"95 % of the clips. {remark}",
        f"{label} by emotion; medians: {medians}.",
    )
