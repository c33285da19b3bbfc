"""The header of a card, which the Hub filters by and shows results from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ser_transfer.cards.corpus import TrainingCorpus
from ser_transfer.cards.kept import KeptModel
from ser_transfer.cards.run import CardRun
from ser_transfer.cards.writing import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from huggingface_hub import EvalResult, ModelCardData

TASK = "audio-classification"
UAR = ("recall", "UAR (unweighted average recall), speaker-independent")
TAGS = ("speech-emotion-recognition", "emotion-recognition", "speech", "audio")
LIBRARIES = {
    "frozen": "ser_transfer",
    "network": "ser_transfer",
    "transformers": "transformers",
    "adapter": "peft",
}


def described(
    model: KeptModel, corpus: TrainingCorpus, title: str, results: Sequence[EvalResult]
) -> ModelCardData:
    """Describe a model to the Hub; what is not known is not there.

    The licence is never there: whether the corpus's terms reach the model is for its maker to say.

    Args:
        model: What its files say.
        corpus: That it was trained on.
        title: The model's.
        results: From `results_of_run` or `results_of_model`.
    """
    from huggingface_hub import ModelCardData

    told: dict[str, Any] = {}
    if model.kind != "frozen" and model.base_model is not None:
        told["base_model_relation"] = "adapter" if model.kind == "adapter" else "finetune"
    return ModelCardData(
        library_name=LIBRARIES[model.kind],
        pipeline_tag=TASK,
        tags=[*TAGS, *(["acted-speech"] if corpus.is_acted else [])],
        language=list(corpus.languages) or None,
        datasets=[corpus.dataset_id] if corpus.dataset_id is not None else None,
        base_model=model.base_model,
        metrics=["recall", "accuracy", "f1"],
        model_name=plain(title) if results else None,
        eval_results=list(results) or None,
        **told,
    )


def results_of_run(run: CardRun, corpus: TrainingCorpus) -> list[EvalResult]:
    """Give the scores on unheard speakers; none where the run has none.

    Recall averaged over classes is what the Hub's metric of that name calls ``average="macro"``.
    """
    if not run.is_speaker_independent:
        return []
    scores, protocol = run.system.scores, run.saved.description
    return [
        _result(corpus, protocol, *UAR, scores.uar, average="macro"),
        _result(corpus, protocol, "accuracy", "Accuracy, speaker-independent", scores.wa),
        _result(corpus, protocol, "f1", "Macro F1, speaker-independent", scores.macro_f1, average="macro"),
    ]


def results_of_model(model: KeptModel, corpus: TrainingCorpus) -> list[EvalResult]:
    """Give the one score that a model carries; none where it is not one on unheard speakers."""
    known = model.training
    if known.get("speaker_independent") is not True or not isinstance(known.get("uar"), float):
        return []
    protocol = str(known.get("split", ""))
    return [_result(corpus, protocol, *UAR, known["uar"], average="macro")]


def _result(
    corpus: TrainingCorpus, protocol: str, kind: str, name: str, value: float, **arguments: str
) -> EvalResult:
    from huggingface_hub import EvalResult

    return EvalResult(
        task_type=TASK,
        task_name="Speech emotion recognition",
        dataset_type=corpus.dataset_id or _identifier(corpus),
        dataset_name=plain(corpus.title),
        dataset_split="test",
        dataset_args={"protocol": plain(protocol)},
        metric_type=kind,
        metric_name=name,
        metric_value=value,
        metric_args=arguments or None,
    )


def _identifier(corpus: TrainingCorpus) -> str:
    """Name a corpus that has no id on the Hub as it is loaded, or after its title."""
    if corpus.published is not None:
        return corpus.name
    return re.sub(r"[^a-z0-9]+", "-", corpus.title.casefold()).strip("-") or corpus.name
