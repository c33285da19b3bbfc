"""What a model was trained on, and so what it may no longer be tested on."""

from __future__ import annotations

from collections.abc import Iterator

from ser_transfer.cards.corpus import TrainingCorpus
from ser_transfer.cards.kept import KeptModel
from ser_transfer.cards.writing import escaped, listed

DATASETS = "https://huggingface.co/datasets"


def training_data(model: KeptModel, corpus: TrainingCorpus) -> Iterator[str]:
    """Say whose speech it was trained on, on whose terms, and what may no longer be tested on.

    Speakers are named where they are those of a published corpus; people in recordings of someone's own are
    only counted.
    """
    published, n_speakers = corpus.published, len(corpus.speakers)
    facts = [f"**corpus:** {escaped(corpus.title)}"]
    if published is not None:
        part = f", its part “{escaped(corpus.part)}”" if corpus.part is not None else ""
        facts += [
            f"**published as:** [{escaped(published.title)}]({published.url}){part}",
            f"**licence:** {escaped(published.licence)}",
            f"**citation:** {escaped(published.citation, len(published.citation))}",
        ]
    if corpus.dataset_id is not None:
        facts.append(f"**dataset:** [{escaped(corpus.dataset_id)}]({DATASETS}/{corpus.dataset_id})")
    if corpus.n_utterances is not None:
        facts.append(f"**utterances:** {corpus.n_utterances}")
    if n_speakers:
        of = f" of {published.n_speakers}" if published is not None else ""
        facts.append(f"**speakers:** {n_speakers}{of}")
    if corpus.spoken:
        facts.append(f"**language:** {escaped(corpus.spoken)}")
    facts.append(f"**emotions:** {listed(model.classes)}")
    if corpus.label_map is not None:
        facts.append(f"**emotions were mapped:** {escaped(corpus.label_map)}")
    if corpus.label_source is not None:
        facts.append(f"**labels:** {escaped(corpus.label_source)}")
    yield "\n".join(f"- {fact}" for fact in facts)
    heard = "on everyone in it"
    if published is not None and n_speakers < published.n_speakers:
        heard = f"on its speakers {listed(corpus.speakers)}" if n_speakers else "on speakers of it"
    before = " Its encoder may have heard more; that is for the encoder's own card to say."
    yield (
        f"**Do not test it on {escaped(corpus.title)}**, nor on another edition of those recordings: it was "
        f"trained {heard}, and the score would be one of known voices."
        + ("" if model.is_untrained else before)
    )
    if published is not None:
        yield (
            "The licence is that of the recordings, none of which is in this repository. Whether its terms "
            "reach a model that was trained on them is left to you to judge."
        )
