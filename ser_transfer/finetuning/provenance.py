"""Whom an encoder has heard before: one that was trained on a test speaker gives no honest score."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ser_transfer.cross_validation import Labels
from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.networks.base import TRAINING_FILE


def refuse_heard_speakers(
    encoder: str, weights: str | None, corpus: str | None, labels: Labels, test_ids: Sequence[str]
) -> None:
    """Refuse an encoder of ours whose training heard speakers that are to be tested.

    Speakers are known by their names within a corpus, so only an encoder that was trained on a corpus of the
    same name is looked at.

    Args:
        encoder: Its folder; a Hub id has nothing to look at.
        weights: The file of its weights, where they were given apart.
        corpus: Name that the corpus was loaded by.
        labels: Of the corpus.
        test_ids: Utterances that are to be tested.

    Raises:
        FinetuneError: If it has heard one of them.
    """
    folder = Path(encoder) if weights is None else Path(weights).parent
    try:
        facts = json.loads((folder / TRAINING_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if facts.get("corpus_name") != corpus:
        return
    heard = sorted({str(labels.speakers[id_]) for id_ in test_ids} & set(facts.get("speakers", ())))
    if heard:
        raise FinetuneError(
            f"{folder} was trained on {len(heard)} of the speakers that are to be tested "
            f"({', '.join(heard[:3])}), so its score would say nothing of new ones: give each fold the "
            "encoder that was trained without its test speakers, --encoder 'RUN/folds/{fold}/model'"
        )
