"""From one set of classes to another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ser_transfer.corpora._rows import features, warn
from ser_transfer.labels import LabelError, resolve_label_map

if TYPE_CHECKING:
    from datasets import Dataset


def apply_label_map(corpus: Dataset, label_map: str | Mapping[str, str | None]) -> Dataset:
    """Rename, merge and leave out the emotions of a corpus.

    Classes are rebuilt in vocabulary order; votes go to the class their emotion becomes. How many
    utterances were left out is said in a `CorpusWarning`.

    Args:
        corpus: What `load_corpus` returned.
        label_map: A name in `LABEL_MAPS`, or emotions to emotions, None for "left out".

    Raises:
        LabelError: If the map does not mention an emotion of the corpus, or leaves nothing.
    """
    mapping = resolve_label_map(label_map)
    name = label_map if isinstance(label_map, str) else "the label map"
    old = corpus.features["emotion"]
    missing = [emotion for emotion in old.names if emotion not in mapping]
    if missing:
        raise LabelError(
            f"{name} does not mention {', '.join(missing)}, which the corpus has; map it to an emotion, or "
            "to null to leave it out"
        )
    before = [old.int2str(index) for index in corpus["emotion"][:]]
    after = [mapping[emotion] for emotion in before]
    kept = [row for row, emotion in enumerate(after) if emotion is not None]
    if not kept:
        raise LabelError(f"{name} leaves out every utterance: the corpus has only {', '.join(old.names)}")
    if len(kept) < len(after):
        left_out = Counter(emotion for emotion in before if mapping[emotion] is None)
        counts = ", ".join(f"{emotion} {n_rows}" for emotion, n_rows in left_out.items())
        warn(f"{name} leaves out {len(after) - len(kept)} of {len(after)} utterances: {counts}")
    new = features(emotion for emotion in after if emotion is not None)
    codes = [None if emotion is None else new["emotion"].str2int(emotion) for emotion in after]
    votes = [_mapped_votes(row, mapping) for row in corpus["votes"][:]]
    renamed = (
        corpus.remove_columns(["emotion", "votes"])
        .add_column("emotion", codes, feature=new["emotion"])
        .add_column("votes", votes, feature=new["votes"])
    )
    return renamed.select_columns(corpus.column_names).select(kept)


def _mapped_votes(
    votes: Mapping[str, int | None] | None, mapping: Mapping[str, str | None]
) -> dict[str, int] | None:
    """Add up the votes of emotions that become one; those of emotions left out are left out."""
    if votes is None:
        return None
    mapped: Counter[str] = Counter()
    for emotion, n_votes in votes.items():
        target = mapping.get(emotion)
        if n_votes is not None and target is not None:
            mapped[target] += n_votes
    return dict(mapped)
