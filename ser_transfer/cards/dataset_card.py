"""What the cards of all datasets of ours say: their header, whose speech stands behind them, and the law."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ser_transfer.cards.corpus import TrainingCorpus
from ser_transfer.cards.corpus_facts import corpus_facts
from ser_transfer.cards.errors import CardError
from ser_transfer.cards.limits import EUROPEAN_LAW
from ser_transfer.cards.metadata import TAGS, TASK
from ser_transfer.cards.model_card import ModelCard
from ser_transfer.cards.writing import escaped, plain

SIZES = (  # as the Hub counts rows
    *((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M")),
    *((10**7, "1M<n<10M"), (10**8, "10M<n<100M")),
)

NOT_FOR = (
    "Finding out who speaks, or whether someone speaks here.",
    "Deciding anything about a person, or being part of such a decision.",
    "Telling lies from truth, or diagnosing anyone: nothing here has to do with either.",
)


def dataset_card(
    title: str,
    corpora: Sequence[TrainingCorpus],
    configs: Mapping[str, tuple[str, str]],
    n_rows: int,
    tag: str,
    sections: Sequence[tuple[str, Iterator[str]]],
) -> ModelCard:
    """Put a card together; a section that has nothing to say is not there.

    The licence is never in the header: the corpus's is told in words, and whether it reaches what was
    computed from the recordings is not for a program to say.

    Args:
        title: Of the repository.
        corpora: Whose speech stands behind it.
        configs: Per configuration, its split and the pattern of its files, the one to show first before all.
        n_rows: Of the largest.
        tag: What it holds.
        sections: Headings, the first one empty, and their paragraphs.
    """
    from huggingface_hub import DatasetCardData

    languages = dict.fromkeys(code for corpus in corpora for code in corpus.languages)
    sources = dict.fromkeys(corpus.dataset_id for corpus in corpora if corpus.dataset_id is not None)
    told: dict[str, Any] = {
        "tags": [*TAGS, tag, *(["acted-speech"] if all(corpus.is_acted for corpus in corpora) else [])],
        "configs": [
            {
                "config_name": name,
                "data_files": [{"split": split, "path": path}],
                **({"default": True} if number == 0 else {}),
            }
            for number, (name, (split, path)) in enumerate(configs.items())
        ],
    }
    data = DatasetCardData(
        pretty_name=plain(title),
        task_categories=[TASK],
        language=list(languages) or None,
        size_categories=[next((name for most, name in SIZES if n_rows < most), "100M<n<1B")],
        source_datasets=list(sources) or None,
        **told,
    )
    written = [f"# {escaped(title)}"]
    for heading, paragraphs in sections:
        found = list(paragraphs)
        if found:
            written += [*([f"## {heading}"] if heading else []), *found]
    text = "\n\n".join(written)
    return ModelCard(
        text=f"---\n{data.to_yaml()}\n---\n\n{text}\n",
        figures={},
        metadata=dict(data.to_dict()),  # type: ignore[no-untyped-call]
    )


def checked_repo_id(repo_id: str) -> str:
    """Give an id back that can be one on the Hub; it stands in lines that people copy.

    Raises:
        CardError: If it is none.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise CardError(
            f"{plain(repo_id)!r} is no id of a dataset on the Hub: give it as user/name"
        ) from error
    return repo_id


def whose_speech(corpus: TrainingCorpus, classes: Sequence[str], *, pseudonyms: bool) -> Iterator[str]:
    """Say whose speech stands behind a dataset, and on whose terms.

    Speakers are never named here; where names are those of a published corpus, they stand in the rows.

    Args:
        corpus: What is known of it.
        classes: Its emotions.
        pseudonyms: Whether numbers stand in place of names.
    """
    yield corpus_facts(corpus, classes)
    if pseudonyms:
        yield (
            "Its recordings are not published. Numbers stand in place of the names of speakers and "
            "recordings, and the list of who is who is nowhere in this repository."
        )


def limits_and_law(corpora: Sequence[TrainingCorpus]) -> Iterator[str]:
    """Say what no label can know, and what the law says of systems that are built on such data."""
    yield (
        "**A label is not a state of mind.** It says what a corpus's makers wrote beside a recording. What "
        "anyone felt was not measured."
    )
    if any(corpus.is_acted for corpus in corpora):
        yield "**Actors speak.** Scores on acted speech say little of spontaneous speech."
    if any(corpus.is_synthetic for corpus in corpora):
        yield "**A program speaks**, no person. Scores on such speech say nothing of people."
    yield EUROPEAN_LAW


def not_for() -> str:
    """List what such data are not for."""
    return "\n".join(f"- {use}" for use in NOT_FOR)
