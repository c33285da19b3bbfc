"""What a model was trained on, and so what it may no longer be tested on."""

from __future__ import annotations

from collections.abc import Iterator

from ser_transfer.cards.corpus import TrainingCorpus
from ser_transfer.cards.corpus_facts import corpus_facts
from ser_transfer.cards.kept import KeptModel
from ser_transfer.cards.writing import escaped, listed


def training_data(model: KeptModel, corpus: TrainingCorpus) -> Iterator[str]:
    """Say whose speech it was trained on, on whose terms, and what may no longer be tested on.

    Speakers are named where they are those of a published corpus; people in recordings of someone's own are
    only counted.
    """
    published, n_speakers = corpus.published, len(corpus.speakers)
    yield corpus_facts(corpus, model.classes)
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
