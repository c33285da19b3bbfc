"""The model to keep: trained on everyone, described by its score on speakers that were held out."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser_transfer.cross_validation import (
    HeadChoice,
    Labels,
    Predictions,
    Search,
    cross_validate,
    fit_on_all,
    mean_temperature,
)
from ser_transfer.encoders import Encoder, load_encoder
from ser_transfer.fill import fill_store, part_of
from ser_transfer.model.frozen import FrozenModel, SequenceModel
from ser_transfer.runs import System
from ser_transfer.splits import Split, make_split
from ser_transfer.store import Embeddings, EmbeddingStore, Frames

if TYPE_CHECKING:
    from datasets import Dataset


def fit_model(
    corpus: Dataset,
    encoder: Encoder | str,
    head: str,
    *,
    split: str = "speaker-folds",
    store: str | Path | None = None,
    seed: int = 0,
    title: str | None = None,
) -> FrozenModel:
    """Embed a corpus, score a head on held-out speakers, and train it on all; see `EmotionModel.fit`."""
    loaded = load_encoder(encoder) if isinstance(encoder, str) else encoder
    name = corpus.info.dataset_name
    labels, made = Labels.of(corpus), make_split(corpus, split, seed=seed, corpus_name=name)
    search = Search((HeadChoice(head, random_state=seed),), loaded.layer_names)
    with tempfile.TemporaryDirectory(prefix="ser_transfer-") as temporary:
        opened, part = EmbeddingStore(store or temporary), part_of(loaded)
        keys = fill_store(corpus, loaded, opened, part).keys
        embeddings = opened.embeddings(part, list(keys), list(keys.values()))
        predictions = cross_validate(embeddings, labels, made, search)
        system = System.scored(loaded.name, "encoder", predictions, labels)
        facts = training_facts(title or name or "corpus", name, labels, made, system, head)
        return keep_model(embeddings, loaded, labels, search, predictions, facts)


def training_facts(
    title: str, corpus_name: str | None, labels: Labels, split: Split, system: System, head: str
) -> dict[str, Any]:
    """Say what a model was trained on, and what its settings reach on speakers that it had not heard."""
    interval = system.interval
    return {
        "corpus": title,
        "corpus_name": corpus_name,
        "n_utterances": len(labels.emotions),
        "speakers": sorted({speaker for speaker in labels.speakers.values() if speaker is not None}),
        "split": split.description,
        "speaker_independent": split.speaker_independent,
        "uar": system.scores.uar,
        "uar_interval": None if interval is None else list(interval),
        "head": head,
    }


def keep_model(
    embeddings: Embeddings,
    encoder: Encoder,
    labels: Labels,
    search: Search,
    predictions: Predictions,
    training: dict[str, Any],
) -> FrozenModel:
    """Train a head on every utterance, as most folds chose it, calibrated as the folds were.

    Args:
        embeddings: Of the corpus, and of augmented copies where folds were trained on some.
        encoder: That they are by.
        labels: Of the corpus.
        search: What the folds chose from.
        predictions: What the folds answered.
        training: From `training_facts`.
    """
    head, columns = fit_on_all(embeddings, labels, search, predictions)
    pooling = "mean" if columns.means_only else embeddings.pooling
    return FrozenModel(encoder, pooling, columns.layers[0], head, training, mean_temperature(predictions))


def keep_sequence_model(
    frames: Frames,
    encoder: Encoder,
    labels: Labels,
    choice: HeadChoice,
    predictions: Predictions,
    training: dict[str, Any],
) -> SequenceModel:
    """Train a head on the frames of every utterance, for as many epochs as the folds' best ones had (median).

    Args:
        frames: Of the corpus, and of augmented copies where folds were trained on some.
        encoder: That they are by.
        labels: Of the corpus.
        choice: The head; settings that were drawn in the folds are those that most of them chose.
        predictions: What the folds answered.
        training: From `training_facts`.
    """
    from ser_transfer.heads import make_sequence_head

    chosen = [dict(each.settings) for each in predictions.choices.values()]
    settings = max(chosen, key=chosen.count)
    epochs = [_best_epoch(history) for history in predictions.histories.values()]
    head = make_sequence_head(choice.name, **choice.fixed, **settings)
    head.set_params(max_epochs=max(1, round(float(np.median(epochs)))))
    originals = frames.originals
    emotions = np.array([labels.emotions[originals.get(id_, id_)] for id_ in frames.utterance_ids])
    head.fit(frames.sequences, emotions)
    return SequenceModel(encoder, frames.layer, head, training, mean_temperature(predictions))


def _best_epoch(history: Any) -> int:
    """Number the epoch whose weights a fold kept: the best on its validation speakers, or its last."""
    scores = [epoch.get("validation_uar") for epoch in history]
    if any(score is None for score in scores):
        return len(scores)
    return int(np.argmax(scores)) + 1
