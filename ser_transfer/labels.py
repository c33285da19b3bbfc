"""One emotion vocabulary, the names people use for it, and maps between vocabularies."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from ser_transfer.errors import SerTransferError


class LabelError(SerTransferError):
    """A name or code that stands for no emotion, or a label map that does not fit."""


# In this order classes appear in every corpus, table and plot. Noun forms, as the
# literature writes them.
EMOTIONS: tuple[str, ...] = (
    "neutral",
    "calm",
    "happiness",
    "excitement",
    "amusement",
    "sadness",
    "anger",
    "frustration",
    "fear",
    "disgust",
    "surprise",
    "boredom",
    "sleepiness",
    "contempt",
    "sarcasm",
    "other",
)

# Names of folders and columns that mean one emotion whoever writes them. Left out on purpose:
# single letters (A is anger in CREMA-D and fear in EmoDB), and "anxiety", which is EmoDB's fear
# and another corpus's own class.
_ALIASES: dict[str, tuple[str, ...]] = {
    "neutral": ("neu", "neutrality", "neutral_state"),
    "calm": ("calmness",),
    "happiness": ("happy", "hap", "joy", "joyful", "freude"),
    "excitement": ("excited", "exc"),
    "amusement": ("amused",),
    "sadness": ("sad", "trauer"),
    "anger": ("angry", "ang", "wut", "ärger", "aerger"),
    "frustration": ("frustrated", "fru"),
    "fear": ("fearful", "afraid", "scared", "fea", "angst"),
    "disgust": ("disgusted", "ekel"),
    "surprise": ("surprised", "sur", "ps", "pleasant_surprise", "pleasant_surprised"),
    "boredom": ("bored", "langeweile"),
    "sleepiness": ("sleepy",),
    "contempt": ("contemptuous",),
    "sarcasm": ("sarcastic",),
    "other": ("oth", "others"),
}
_NAMES: dict[str, str] = {emotion: emotion for emotion in EMOTIONS} | {
    alias: emotion for emotion, aliases in _ALIASES.items() for alias in aliases
}


def _merging(changes: dict[str, str]) -> dict[str, str | None]:
    """Keep every emotion but the given ones, which become others."""
    return {emotion: changes.get(emotion, emotion) for emotion in EMOTIONS}


def _keeping(kept: dict[str, str]) -> dict[str, str | None]:
    """Leave out every emotion but the given ones."""
    return {emotion: kept.get(emotion) for emotion in EMOTIONS}


# Emotion -> emotion, or None for "left out". Each map covers the whole vocabulary.
LABEL_MAPS: dict[str, dict[str, str | None]] = {
    # The usual four of IEMOCAP: 5531 of its 10039 utterances, excitement counted as happiness.
    "four_classes": _keeping(
        {
            "neutral": "neutral",
            "happiness": "happiness",
            "excitement": "happiness",
            "sadness": "sadness",
            "anger": "anger",
        }
    ),
    # The seven classes of RAVDESS in Pepino et al. 2021, https://arxiv.org/abs/2104.03502
    "calm_as_neutral": _merging({"calm": "neutral"}),
    "excitement_as_happiness": _merging({"excitement": "happiness"}),
}


def parse_emotion(name: str) -> str:
    """Return the emotion that a name stands for.

    Capitals, and the choice of space, hyphen or underscore, do not matter.

    Args:
        name: An emotion of `EMOTIONS` or one of its unambiguous other names, such as ``"Happy"``,
            ``"pleasant surprise"`` or ``"Freude"``.

    Raises:
        LabelError: If no emotion has this name.
    """
    emotion = _NAMES.get(_folded(name))
    if emotion is None:
        raise LabelError(
            f"{name!r} names no emotion; known are {', '.join(EMOTIONS)} (and happy, angry, ...)"
        )
    return emotion


def resolve_label_map(label_map: str | Mapping[str, str | None]) -> dict[str, str | None]:
    """Return a label map by its name, or check one that the user wrote.

    Args:
        label_map: A name in `LABEL_MAPS`, or emotion names to emotion names, None for "left out".

    Returns:
        Emotions to emotions or None, in words of `EMOTIONS`.

    Raises:
        LabelError: If the name is unknown, or the mapping uses a word that names no emotion.
    """
    if isinstance(label_map, str):
        if label_map not in LABEL_MAPS:
            raise LabelError(
                f"no label map is called {label_map!r}; known are {', '.join(LABEL_MAPS)}, or give a mapping "
                'such as {"calm": "neutral", "neutral": "neutral", "fear": null}'
            )
        return dict(LABEL_MAPS[label_map])
    resolved: dict[str, str | None] = {}
    for source, target in label_map.items():
        emotion, mapped = parse_emotion(source), None if target is None else parse_emotion(target)
        if resolved.setdefault(emotion, mapped) != mapped:
            raise LabelError(f"the label map sends {emotion} both to {resolved[emotion]} and to {mapped}")
    return resolved


def _folded(name: str) -> str:
    """Give names that differ in capitals, separators or Unicode form (macOS decomposes ä) one spelling."""
    return "_".join(re.split(r"[\s_-]+", unicodedata.normalize("NFC", name).strip().casefold()))
