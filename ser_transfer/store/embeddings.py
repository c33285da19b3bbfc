"""Embeddings in memory: one array per layer, joined by utterance id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ser_transfer.store.files import StoreError


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
    """

    utterance_ids: tuple[str, ...]
    layers: Mapping[str, npt.NDArray[np.float32]]
    encoder: str
    fingerprint: str
    pooling: str
    precision: str

    def __post_init__(self) -> None:
        if len(self._rows) != len(self.utterance_ids):
            twice = next(id_ for row, id_ in enumerate(self.utterance_ids) if self._rows[id_] != row)
            raise StoreError(f"utterance {twice!r} is there twice: ids must be unique to join by")
        for name, layer in self.layers.items():
            if layer.ndim != 2 or len(layer) != len(self.utterance_ids):
                raise StoreError(
                    f"layer {name} of {self.encoder} wants shape ({len(self.utterance_ids)}, dim), "
                    f"not {layer.shape}"
                )

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {id_: row for row, id_ in enumerate(self.utterance_ids)}

    def select(self, utterance_ids: Iterable[str]) -> Embeddings:
        """Take the rows of some utterances, in the order given.

        Raises:
            StoreError: If an id is not among `utterance_ids`, or is given twice.
        """
        ids = tuple(utterance_ids)
        unknown = [id_ for id_ in ids if id_ not in self._rows]
        if unknown:
            raise StoreError(
                f"no embedding by {self.encoder} of utterance {unknown[0]!r}"
                + (f" and {len(unknown) - 1} others" if len(unknown) > 1 else "")
                + f"; there are {len(self.utterance_ids)}, such as {self.utterance_ids[:1]}"
            )
        rows = np.array([self._rows[id_] for id_ in ids], dtype=np.intp)
        return replace(
            self, utterance_ids=ids, layers={name: layer[rows] for name, layer in self.layers.items()}
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
