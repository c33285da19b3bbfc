"""The card of a model whose run is not at hand: what its own files say, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ser_transfer.cards import data, limits
from ser_transfer.cards.corpus import TrainingCorpus, corpus_of_model
from ser_transfer.cards.kept import KeptModel, read_kept_model
from ser_transfer.cards.metadata import described, results_of_model
from ser_transfer.cards.model_card import ModelCard, check_repo_id
from ser_transfer.cards.sections import PLACEHOLDER, use
from ser_transfer.cards.writing import escaped, interval, listed, number, plain


def card_of_model(
    folder: str | Path, *, repo_id: str | None = None, title: str | None = None, has_encoder: bool = False
) -> ModelCard:
    """Make the card of a model that was saved, from its files.

    It quotes the one score that the model carries. `card_of_run` tells how it was tested, and shows it.

    Args:
        folder: That the model was saved to.
        repo_id: Where the model will be, for the lines that show its use; None leaves a placeholder.
        title: Of the model; None for its encoder, head and corpus.
        has_encoder: Whether the files of a frozen encoder will lie beside it.

    Raises:
        CardError: If the folder holds no model, its files are damaged, or `repo_id` is none.
    """
    if repo_id is not None:
        check_repo_id(repo_id)
    model = read_kept_model(Path(folder), {})
    corpus = corpus_of_model(model)
    title = plain(title or _title(model, corpus))
    metadata = described(model, corpus, title, results_of_model(model, corpus))
    sections = (
        ("", _opening(model, corpus)),
        ("How to use it", use(model, repo_id or PLACEHOLDER, has_encoder=has_encoder)),
        ("What it is for, and what not", limits.purpose(corpus)),
        ("Training data", data.training_data(model, corpus) if corpus.name else iter(())),
        ("Limits, ethics and law", limits.limits(corpus)),
    )
    written = [f"# {escaped(title)}"]
    for heading, paragraphs in sections:
        if found := list(paragraphs):
            written += [*([f"## {heading}"] if heading else []), *found]
    text = f"---\n{metadata.to_yaml()}\n---\n\n" + "\n\n".join(written) + "\n"
    return ModelCard(text, {}, dict(metadata.to_dict()))  # type: ignore[no-untyped-call]


def _title(model: KeptModel, corpus: TrainingCorpus) -> str:
    on = f" ({corpus.title})" if corpus.title else ""
    return f"Speech emotion recognition: {_what(model)}{on}"


def _what(model: KeptModel) -> str:
    if model.kind != "frozen":
        return f"{model.stands_on}, fine-tuned"
    head = str(model.training.get("head", "head")).replace("_", " ")
    return f"{head} on {model.stands_on}"


def _opening(model: KeptModel, corpus: TrainingCorpus) -> Iterator[str]:
    spoken = f" ({escaped(corpus.spoken)})" if corpus.spoken else ""
    trained = f", trained on {escaped(corpus.title)}{spoken}" if corpus.title else ""
    yield (
        f"It hears a recording of speech and tells how probable each of {len(model.classes)} emotions is: "
        f"{listed(model.classes)}. It is {escaped(_what(model))}{trained}."
    )
    known: dict[str, Any] = dict(model.training)
    if known.get("uar") is None:
        yield "How well it knows new speakers was not measured, as far as its files tell."
        return
    ends = known.get("uar_interval")
    within = "" if ends is None else f" (95 % interval {interval(ends)})"
    split, uar = escaped(known.get("split", "split unknown")), number(known["uar"])
    if known.get("speaker_independent") is True:
        yield (
            "On speakers who were not heard in training, it reaches an unweighted average recall (UAR) of "
            f"**{uar}**{within}; {split}."
        )
        return
    yield (
        f"> **NOT SPEAKER-INDEPENDENT.** Its unweighted average recall of {uar}{within} was measured on "
        f"voices that it may have been trained on ({split}). It does not say how well it recognises new "
        "speakers."
    )
