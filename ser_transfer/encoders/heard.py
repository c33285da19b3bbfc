"""Whom an encoder of ours has heard before: one that was trained on a test speaker gives no honest score."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

TRAINING_FILE = "training.json"  # beside the weights of every network that we train


def heard_speakers(
    encoder: str,
    weights: str | Path | None,
    corpus: str | None,
    speakers: Mapping[str, str | None],
    test_ids: Iterable[str],
) -> list[str]:
    """Name the test speakers whom the training of an encoder heard, sorted.

    Speakers are known by their names within a corpus, so only an encoder that was trained on a corpus of the
    same name is looked at.

    Args:
        encoder: Its folder; a Hub id has nothing to look at.
        weights: The file of its weights, where they were given apart.
        corpus: Name that the corpus was loaded by.
        speakers: By utterance id.
        test_ids: Utterances that are to be tested.
    """
    folder = Path(encoder) if weights is None else Path(weights).parent
    try:
        facts = json.loads((folder / TRAINING_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    if not isinstance(facts, dict) or facts.get("corpus_name") != corpus:
        return []
    return sorted({str(speakers[id_]) for id_ in test_ids} & set(facts.get("speakers", ())))
