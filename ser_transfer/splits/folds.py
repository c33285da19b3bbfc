"""The values that a split gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ser_transfer.errors import SerTransferError


class SplitError(SerTransferError):
    """A corpus that cannot be split as asked."""


@dataclass(frozen=True)
class Fold:
    """Utterance ids of one fold, each side sorted; no id is on two sides.

    Attributes:
        name: A number from 1, or the speaker or session that is left out.
        train_ids: To fit on.
        validation_ids: To choose settings on; empty where too few speakers are left.
        test_ids: To score, once.
    """

    name: str
    train_ids: tuple[str, ...]
    validation_ids: tuple[str, ...]
    test_ids: tuple[str, ...]


@dataclass(frozen=True)
class Split:
    """All folds of one way to split a corpus.

    Attributes:
        name: The kind as asked for, short forms spelled out, such as ``leave-one-speaker-out``.
        folds: One or more; no utterance is tested twice.
        speaker_independent: Whether every fold's three sides share no speaker. Where it is False,
            whatever was scored on the split has to say so.
        description: A few words for tables and titles.
        notes: What a reader of the scores should know, such as a class that a fold does not test.
    """

    name: str
    folds: tuple[Fold, ...]
    speaker_independent: bool
    description: str
    notes: tuple[str, ...] = ()

    def only(self, names: Sequence[str]) -> Split:
        """Keep some of the folds; the description says so.

        Raises:
            SplitError: If a name is not that of a fold.
        """
        known = {fold.name: fold for fold in self.folds}
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            asked = f"no fold {unknown[0]!r}" if unknown else "no fold named"
            raise SplitError(f"{asked} in the split {self.name}; its folds are {', '.join(known)}")
        return replace(
            self,
            folds=tuple(known[name] for name in dict.fromkeys(names)),
            description=f"{self.description}, {', '.join(names)} only",
        )
