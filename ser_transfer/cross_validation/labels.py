"""Who said what: all that training needs of a corpus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ser_transfer.errors import SerTransferError

if TYPE_CHECKING:
    from datasets import Dataset

# Columns by which scores are broken down, where the corpus tells them.
GROUP_COLUMNS = ("gender", "language", "intensity", "sentence")


class TrainingError(SerTransferError):
    """Folds, labels and embeddings that do not fit together."""


@dataclass(frozen=True)
class Labels:
    """Who said what, by utterance id.

    Attributes:
        emotions: Emotion per utterance id.
        speakers: Speaker per utterance id, None where the corpus does not tell.
        classes: The corpus's emotions in vocabulary order.
        groups: Per column of `GROUP_COLUMNS` that the corpus has, its value per utterance id.
    """

    emotions: Mapping[str, str]
    speakers: Mapping[str, str | None]
    classes: tuple[str, ...]
    groups: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)

    @classmethod
    def of(cls, corpus: Dataset) -> Labels:
        """Read the label columns of a corpus."""
        ids, names = corpus["utterance_id"][:], corpus.features["emotion"].names
        groups = {}
        for column in GROUP_COLUMNS:
            values = corpus[column][:] if column in corpus.column_names else []
            if len(set(values)) > 1:  # one value, or none at all, divides nothing
                groups[column] = dict(zip(ids, values, strict=True))
        return cls(
            emotions={id_: names[code] for id_, code in zip(ids, corpus["emotion"][:], strict=True)},
            speakers=dict(zip(ids, corpus["speaker"][:], strict=True)),
            classes=tuple(names),
            groups=groups,
        )
