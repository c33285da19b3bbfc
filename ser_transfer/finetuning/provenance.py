"""Refusing an encoder that has heard the speakers it is to be tested on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ser_transfer.cross_validation import Labels
from ser_transfer.encoders.heard import heard_speakers
from ser_transfer.finetuning.errors import FinetuneError


def refuse_heard_speakers(
    encoder: str, weights: str | None, corpus: str | None, labels: Labels, test_ids: Sequence[str]
) -> None:
    """Refuse an encoder of ours whose training heard speakers that are to be tested.

    Args:
        encoder: Its folder; a Hub id has nothing to look at.
        weights: The file of its weights, where they were given apart.
        corpus: Name that the corpus was loaded by.
        labels: Of the corpus.
        test_ids: Utterances that are to be tested.

    Raises:
        FinetuneError: If it has heard one of them.
    """
    heard = heard_speakers(encoder, weights, corpus, labels.speakers, test_ids)
    if heard:
        folder = encoder if weights is None else Path(weights).parent
        raise FinetuneError(
            f"{folder} was trained on {len(heard)} of the speakers that are to be tested "
            f"({', '.join(heard[:3])}), so its score would say nothing of new ones: give each fold the "
            "encoder that was trained without its test speakers, --encoder 'RUN/folds/{fold}/model'"
        )
