"""Embeddings in memory: one array per layer, joined by utterance id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ser_transfer.store.errors import StoreError
from ser_transfer.store.rows import check_alike, kept_originals, row_of_id, rows_of


@dataclass(frozen=True, eq=False)
class Embeddings:
    """What one encoder says of some utterances.

    Attributes:
        utterance_ids: One unique id per row.
        layers: Per layer name, first to last, a float32 array of shape (n_utterances, dim).
        encoder: Name of the encoder.
        fingerprint: Hash of its weights, configuration and preprocessing.
        pooling: Name of the pooling.
        precision: ``"float32"`` or ``"bf16"``, in which the encoder computed.
        originals: Utterance id per id of an augmented copy; empty where none is one.
    """

    utterance_ids: tuple[str, ...]
    layers: Mapping[str, npt.NDArray[np.float32]]
    encoder: str
    fingerprint: str
    pooling: str
    precision: str
    originals: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_rows = len(self._rows)  # ids that repeat are refused here
        for name, layer in self.layers.items():
            if layer.ndim != 2 or len(layer) != n_rows:
                raise StoreError(
                    f"layer {name} of {self.encoder} wants shape ({len(self.utterance_ids)}, dim), "
                    f"not {layer.shape}"
                )

    @cached_property
    def _rows(self) -> dict[str, int]:
        return row_of_id(self.utterance_ids)

    def select(self, utterance_ids: Iterable[str]) -> Embeddings:
        """Take the rows of some utterances, in the order given.

        Raises:
            StoreError: If an id is not among `utterance_ids`, or is given twice.
        """
        ids = tuple(utterance_ids)
        rows = np.array(rows_of(ids, self._rows, f"embedding by {self.encoder}"), dtype=np.intp)
        return replace(
            self,
            utterance_ids=ids,
            layers={name: layer[rows] for name, layer in self.layers.items()},
            originals=kept_originals(self.originals, ids),
        )

    @classmethod
    def joined(cls, tables: Sequence[Embeddings]) -> Embeddings:
        """Lay embeddings by one encoder beneath one another: utterances, then their augmented copies.

        Raises:
            StoreError: If there are none, they were not made alike, or an utterance is in two.
        """
        made_by = ("fingerprint", "pooling", "precision")
        check_alike(
            [
                {name: getattr(table, name) for name in made_by} | {"layers": [*table.layers]}
                for table in tables
            ]
        )
        return replace(
            tables[0],
            utterance_ids=tuple(id_ for table in tables for id_ in table.utterance_ids),
            layers={
                name: np.concatenate([table.layers[name] for table in tables]) for name in tables[0].layers
            },
            originals={copy: id_ for table in tables for copy, id_ in table.originals.items()},
        )

    def concatenate(
        self, layer_names: Iterable[str] | None = None
    ) -> tuple[npt.NDArray[np.float32], tuple[int, ...]]:
        """Lay layers side by side, as a head reads them.

        Args:
            layer_names: The layers, in the order wanted; None for all.

        Returns:
            A float32 array of shape (n_utterances, sum of the dims), and the dim of each block in it.

        Raises:
            StoreError: If a layer is unknown, or none is named.
        """
        names = list(self.layers if layer_names is None else layer_names)
        unknown = [name for name in names if name not in self.layers]
        if unknown or not names:
            asked = repr(unknown[0]) if unknown else "no layer"
            raise StoreError(f"{asked} was asked of {self.encoder}, which has {', '.join(self.layers)}")
        blocks = [self.layers[name] for name in names]
        return np.concatenate(blocks, axis=1, dtype=np.float32), tuple(block.shape[1] for block in blocks)
