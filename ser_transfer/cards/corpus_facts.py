"""What is known of a corpus, as the list that every card gives."""

from __future__ import annotations

from collections.abc import Sequence

from ser_transfer.cards.corpus import TrainingCorpus
from ser_transfer.cards.writing import escaped, listed

DATASETS = "https://huggingface.co/datasets"


def corpus_facts(corpus: TrainingCorpus, classes: Sequence[str]) -> str:
    """List what a corpus is, on whose terms, and who speaks in it; what nobody knows is not there.

    Speakers are counted here, never named.

    Args:
        corpus: What is known of it.
        classes: The emotions that were made of its labels.
    """
    published = corpus.published
    facts = [f"**corpus:** {escaped(corpus.title)}"]
    if published is not None:
        part = f", its part “{escaped(corpus.part)}”" if corpus.part is not None else ""
        facts += [
            f"**published as:** [{escaped(published.title)}]({published.url}){part}",
            f"**licence of the recordings:** {escaped(published.licence)}",
            f"**citation:** {escaped(published.citation, len(published.citation))}",
        ]
    if corpus.dataset_id is not None:
        facts.append(f"**dataset:** [{escaped(corpus.dataset_id)}]({DATASETS}/{corpus.dataset_id})")
    if corpus.n_utterances is not None:
        facts.append(f"**utterances:** {corpus.n_utterances}")
    if corpus.speakers:
        of = f" of {published.n_speakers}" if published is not None else ""
        facts.append(f"**speakers:** {len(corpus.speakers)}{of}")
    if corpus.spoken:
        facts.append(f"**language:** {escaped(corpus.spoken)}")
    facts.append(f"**emotions:** {listed(classes)}")
    if corpus.label_map is not None:
        facts.append(f"**emotions were mapped:** {escaped(corpus.label_map)}")
    if corpus.label_source is not None:
        facts.append(f"**labels:** {escaped(corpus.label_source)}")
    return "\n".join(f"- {fact}" for fact in facts)
