"""Frames of one layer: for every utterance as many as it is long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ser_transfer.store.errors import StoreError
from ser_transfer.store.rows import check_alike, kept_originals, row_of_id, rows_of


@dataclass(frozen=True, eq=False)
class Frames:
    """What one layer of an encoder says of some utterances, moment by moment.

    Attributes:
        utterance_ids: One unique id per sequence.
        sequences: For each a float16 array of shape (frames, dim), mapped from the store and read-only: the
            frames of real audio alone, in their order. Float16 keeps 11 bits: 3 digits.
        layer: Name of the layer.
        frame_rate: Frames per second; 0 where a recording has one frame. Where a layer is valid on voiced
            frames only, say, the others are left out, and time is not even.
        encoder: Name of the encoder.
        fingerprint: Hash of its weights, configuration and preprocessing.
        precision: ``"float32"`` or ``"bf16"``, in which the encoder computed.
        originals: Utterance id per id of an augmented copy; empty where none is one.
    """

    utterance_ids: tuple[str, ...]
    sequences: tuple[npt.NDArray[np.float16], ...]
    layer: str
    frame_rate: float
    encoder: str
    fingerprint: str
    precision: str
    originals: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self._rows) != len(self.sequences):
            raise StoreError(
                f"{len(self._rows)} utterances and {len(self.sequences)} sequences: each wants its own"
            )
        for id_, sequence in zip(self.utterance_ids, self.sequences, strict=True):
            if sequence.ndim != 2 or sequence.shape[1:] != self.sequences[0].shape[1:]:
                raise StoreError(
                    f"{self.layer} of {self.encoder} wants frames of one size, and those of {id_!r} have "
                    f"shape {sequence.shape} where the first have {self.sequences[0].shape}"
                )

    @cached_property
    def _rows(self) -> dict[str, int]:
        return row_of_id(self.utterance_ids)

    def select(self, utterance_ids: Iterable[str]) -> Frames:
        """Take the sequences of some utterances, in the order given, without copying.

        Raises:
            StoreError: If an id is not among `utterance_ids`, or is given twice.
        """
        ids = tuple(utterance_ids)
        rows = rows_of(ids, self._rows, f"frames by {self.encoder}")
        return replace(
            self,
            utterance_ids=ids,
            sequences=tuple(self.sequences[row] for row in rows),
            originals=kept_originals(self.originals, ids),
        )

    @classmethod
    def joined(cls, tables: Sequence[Frames]) -> Frames:
        """Lay frames of one layer of one encoder beneath one another: utterances, then their copies.

        Raises:
            StoreError: If there are none, they are not of one layer, or an utterance is in two.
        """
        made_by = ("fingerprint", "layer", "precision")
        check_alike([{name: getattr(table, name) for name in made_by} for table in tables])
        return replace(
            tables[0],
            utterance_ids=tuple(id_ for table in tables for id_ in table.utterance_ids),
            sequences=tuple(sequence for table in tables for sequence in table.sequences),
            originals={copy: id_ for table in tables for copy, id_ in table.originals.items()},
        )
