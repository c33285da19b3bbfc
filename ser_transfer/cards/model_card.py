"""A model card: what the Hub shows of a model, made from the run that trained it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_transfer.cards.corpus import TrainingCorpus, training_corpus
from ser_transfer.cards.errors import CardError
from ser_transfer.cards.figures import card_figures
from ser_transfer.cards.metadata import described, results_of_run
from ser_transfer.cards.reading import read_card_run
from ser_transfer.cards.run import CardRun
from ser_transfer.cards.sections import body
from ser_transfer.cards.writing import plain
from ser_transfer.places import local_folder, put_together
from ser_transfer.runs.files import NOT_READ

README = "README.md"


@dataclass(frozen=True)
class ModelCard:
    """A card as the Hub takes it.

    Attributes:
        text: Of `README.md`: a header of metadata in YAML, and Markdown.
        figures: PNG files that the text shows, by name.
        metadata: What the header says.
    """

    text: str
    figures: Mapping[str, bytes]
    metadata: dict[str, Any]

    def __str__(self) -> str:
        return self.text

    def write(self, folder: str | Path) -> None:
        """Write `README.md` and its figures; what stood there stays whole until its successor does.

        Args:
            folder: Made if it is not there; or a URL.

        Raises:
            CardError: If a file cannot be written.
        """
        try:
            with put_together(folder, last=README) as part:  # the text last: it names the others
                for name, content in {**self.figures, README: self.text.encode("utf-8")}.items():
                    (part / name).write_bytes(content)
        except OSError as error:
            raise CardError(f"cannot write the card to {folder}: {error.strerror}") from error


def card_of_run(
    folder: str | Path,
    *,
    repo_id: str | None = None,
    title: str | None = None,
    part: str = "model",
    has_encoder: bool = False,
) -> ModelCard:
    """Make the card of the model that a run kept, from the run and nothing else.

    Its numbers are scored again from the run's answers, and a run that says others is refused. What the run
    does not tell is left out. Where its split shares speakers, no score goes into the header, and the card
    says so first.

    Args:
        folder: Of a run of `train` or `finetune` over all folds.
        repo_id: Where the model will be, for the lines that show its use; None leaves a placeholder.
        title: Of the model; None for its encoder, head and corpus.
        part: ``"model"``; or ``"adapter"`` for the adapter alone, where the run kept it.
        has_encoder: Whether the files of a frozen encoder will lie beside it.

    Raises:
        CardError: If the folder holds no such run, it kept no model, its files do not belong together or are
            damaged, or `repo_id` is none.
    """
    if repo_id is not None:
        check_repo_id(repo_id)
    run = read_card_run(local_folder(folder, without=NOT_READ), part)
    corpus = training_corpus(run)
    title = plain(title) if title is not None else ""
    title = title or default_title(run, corpus)
    data = described(run.model, corpus, title, results_of_run(run, corpus))
    header = data.to_yaml()
    return ModelCard(
        text=f"---\n{header}\n---\n\n{body(run, corpus, title, repo_id, has_encoder=has_encoder)}",
        figures=card_figures(run, title),
        metadata=dict(data.to_dict()),  # type: ignore[no-untyped-call]
    )


def default_title(run: CardRun, corpus: TrainingCorpus) -> str:
    """Name a model after its encoder, head and corpus."""
    head = str(run.recipe.get("head", "head")).replace("_", " ")
    what = f"{run.model.encoder}, fine-tuned" if run.is_finetuned else f"{head} on {run.model.stands_on}"
    return plain(f"Speech emotion recognition: {what} ({corpus.title})")


def check_repo_id(repo_id: str) -> None:
    """Refuse what cannot be a name on the Hub.

    Raises:
        CardError: If it cannot.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repo_id)
        is_known = repo_id.count("/") == 1
    except HFValidationError:
        is_known = False
    if not is_known:
        raise CardError(f"{plain(repo_id)!r} is no id of a model on the Hub: give it as user/name")
