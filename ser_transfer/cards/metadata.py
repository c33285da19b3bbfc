"""The header of a card, which the Hub filters by and shows results from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ser_transfer.cards.corpus import TrainingCorpus
from ser_transfer.cards.run import CardRun
from ser_transfer.cards.writing import plain

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

TASK = "audio-classification"
TAGS = ("speech-emotion-recognition", "emotion-recognition", "speech", "audio")
LIBRARIES = {
    "frozen": "ser_transfer",
    "network": "ser_transfer",
    "transformers": "transformers",
    "adapter": "peft",
}


def card_data(run: CardRun, corpus: TrainingCorpus, title: str) -> ModelCardData:
    """Describe a model to the Hub; what is not known is not there.

    The licence is never there: whether the corpus's terms reach the model is for its maker to say.

    Args:
        run: As it was read.
        corpus: That the model was trained on.
        title: The model's.
    """
    from huggingface_hub import ModelCardData

    results = _results(run, corpus)
    model = run.model
    told: dict[str, Any] = {}
    if model.kind == "adapter" and model.base_model is not None:
        told["base_model_relation"] = "adapter"
    elif run.is_finetuned and model.base_model is not None:
        told["base_model_relation"] = "finetune"
    return ModelCardData(
        library_name=LIBRARIES[model.kind],
        pipeline_tag=TASK,
        tags=[*TAGS, *(["acted-speech"] if corpus.is_acted else [])],
        language=list(corpus.languages) or None,
        datasets=[corpus.dataset_id] if corpus.dataset_id is not None else None,
        base_model=model.base_model,
        metrics=["recall", "accuracy", "f1"],
        model_name=plain(title) if results else None,
        eval_results=results or None,
        **told,
    )


def _results(run: CardRun, corpus: TrainingCorpus) -> list[EvalResult]:
    """Give the scores on unheard speakers; none where the run has none.

    Recall averaged over classes is what the Hub's metric of that name calls ``average="macro"``.
    """
    from huggingface_hub import EvalResult

    if not run.is_speaker_independent:
        return []
    scores = run.system.scores
    macro = {"average": "macro"}
    metrics: list[tuple[str, str, float, dict[str, Any] | None]] = [
        ("recall", "UAR (unweighted average recall), speaker-independent", scores.uar, macro),
        ("accuracy", "Accuracy, speaker-independent", scores.wa, None),
        ("f1", "Macro F1, speaker-independent", scores.macro_f1, macro),
    ]
    return [
        EvalResult(
            task_type=TASK,
            task_name="Speech emotion recognition",
            dataset_type=corpus.dataset_id or _identifier(corpus),
            dataset_name=plain(corpus.title),
            dataset_split="test",
            dataset_args={"protocol": plain(run.saved.description)},
            metric_type=kind,
            metric_name=name,
            metric_value=value,
            metric_args=args,
        )
        for kind, name, value, args in metrics
    ]


def _identifier(corpus: TrainingCorpus) -> str:
    """Name a corpus that has no id on the Hub as it is loaded, or after its title."""
    if corpus.published is not None:
        return corpus.name
    return re.sub(r"[^a-z0-9]+", "-", corpus.title.casefold()).strip("-") or corpus.name
