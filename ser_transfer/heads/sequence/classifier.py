"""The sequence heads: settings, fitting and probabilities."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ser_transfer.heads.registry import ClassWeight, HeadError
from ser_transfer.heads.sequence import networks
from ser_transfer.heads.sequence.frames import (
    Frames,
    Standardiser,
    balanced_rows,
    batches_by_length,
    checked_sequences,
    collate,
)
from ser_transfer.heads.sequence.losses import FocalLoss, class_weights
from ser_transfer.heads.sequence.masks import checked_masks
from ser_transfer.heads.sequence.settings import check_settings
from ser_transfer.heads.sequence.training import Batch, TrainingSettings, few_threads, own_randomness, train
from ser_transfer.metrics import confusion_matrix, uar

FloatArray = npt.NDArray[np.float64]
Sequences = Sequence[npt.ArrayLike]

PREDICTION_BATCH = 64  # sequences at once where nothing is learned


@dataclass(kw_only=True, eq=False, repr=False)
class SequenceHead(ClassifierMixin, TrainingSettings, BaseEstimator):
    """What the sequence heads share: frames in, probabilities out, one training.

    Features are standardised over the training frames. With validation speakers the weights of the epoch
    of highest UAR are kept; without, it trains `max_epochs` at one learning rate. The same seed gives the
    same weights on the same kind of CPU with the same number of threads.

    Args:
        dropout: Share of units that a training step leaves out.
        loss: ``"cross_entropy"`` or ``"focal"``.
        gamma: Of the focal loss: how much less a sequence counts that is known already.
        label_smoothing: Share of the truth that is spread over all classes.
        oversample: Repeat sequences of rarer classes until all classes are equally frequent. Balanced class
            weights then weigh the validation loss only.
        masks: `Masks` on training batches, such as ``{"n_time": 2, "time_width": 20}``; None for none.
        class_weight: See `make_sequence_head`.
        random_state: Seed of first weights, order, dropout, masks.

    Attributes:
        classes_: The labels, sorted.
        history_: The training curve, one `Epoch` each.
        best_epoch_: Whose weights these are, counted from 1.
        network_: The trained network.
        standardiser_: The training frames' statistics.
        n_features_in_: Features per frame.
    """

    name: ClassVar[str]
    dropout: float = 0.3
    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    gamma: float = 2.0
    label_smoothing: float = 0.0
    oversample: bool = False
    masks: Mapping[str, int] | None = None
    class_weight: ClassWeight = None
    random_state: int | None = None

    @abstractmethod
    def build_network(self, n_features: int, n_classes: int) -> networks.SequenceNetwork:
        """Make the network with its first weights, drawn from torch's generator."""

    def fit(
        self,
        sequences: Sequences,
        y: npt.ArrayLike,
        validation: tuple[Sequences, npt.ArrayLike] | None = None,
    ) -> SequenceHead:
        """Train on sequences.

        Args:
            sequences: Arrays of shape (frames, dim), float16 or float32, each of its own length.
            y: Their labels, of shape (n_sequences,).
            validation: Sequences and labels of speakers that are neither trained nor tested on. A label
                that `y` lacks lowers the UAR, and has no part in the loss.

        Raises:
            HeadError: If a setting is out of range, a sequence cannot be read, there are fewer than two
                classes, or the training diverges.
        """
        check_settings(self)
        rows = checked_sequences(sequences)
        labels = _checked_labels(rows, y)
        self.classes_, targets = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise HeadError(
                f"all {len(rows)} training sequences are {self.classes_[0]!s}: a head needs at least two "
                "classes; train on more speakers or more emotions"
            )
        self.n_features_in_ = rows[0].shape[1]
        held_out = None if validation is None else self._checked_validation(*validation)
        self.standardiser_ = Standardiser.fit(rows)
        rng = np.random.default_rng(self.random_state)
        with own_randomness(int(rng.integers(2**63))), few_threads():
            self.network_ = self.build_network(self.n_features_in_, len(self.classes_))
            self.history_, self.best_epoch_ = train(
                self.network_,
                lambda: self._training_batches(rows, targets, rng),
                self._loss(labels, training=True),
                None if held_out is None else lambda: self._validate(*held_out, self._loss(labels)),
                self,
            )
        self.network_.eval()
        return self

    def predict_proba(self, sequences: Sequences) -> FloatArray:
        """Return probabilities of shape (n_sequences, n_classes), columns in the order of `classes_`.

        Raises:
            HeadError: If a sequence cannot be read.
        """
        check_is_fitted(self)
        rows = checked_sequences(sequences, self.n_features_in_)
        with few_threads():
            shares: FloatArray = self._logits(rows).double().softmax(dim=1).numpy()
        return shares

    def predict(self, sequences: Sequences) -> npt.NDArray[np.generic]:
        """Return the most probable label of each sequence."""
        labels: npt.NDArray[np.generic] = self.classes_[self.predict_proba(sequences).argmax(axis=1)]
        return labels

    def attention(self, sequence: Frames) -> npt.NDArray[np.float64] | None:
        """Tell how much each frame of one sequence counts: weights of shape (frames,) that sum to 1.

        Returns:
            None where the network weighs no frames.

        Raises:
            HeadError: If the sequence cannot be read.
        """
        check_is_fitted(self)
        rows = checked_sequences([sequence], self.n_features_in_)
        with few_threads(), torch.inference_mode():
            weights = self.network_.attention_weights(*self._collate(rows))
        return None if weights is None else weights[0, :, 0].double().numpy()

    def save(self, folder: str | Path) -> None:
        """Write the fitted head, for `load_sequence_head`.

        Raises:
            HeadError: If the folder cannot be written.
        """
        from ser_transfer.heads.sequence.storage import save

        save(self, folder)

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return all that was learned, by name: the network's weights, the standardiser's statistics."""
        check_is_fitted(self)
        weights = {
            f"network.{name}": value.numpy().copy() for name, value in self.network_.state_dict().items()
        }
        return weights | {
            "standardiser.mean": self.standardiser_.mean,
            "standardiser.scale": self.standardiser_.scale,
        }

    def _training_batches(
        self, rows: Sequence[Frames], targets: npt.NDArray[np.intp], rng: np.random.Generator
    ) -> Iterator[Batch]:
        """Draw one epoch's order and masks."""
        order = balanced_rows(targets, rng) if self.oversample else np.arange(len(rows))
        lengths = np.array([len(frames) for frames in rows])
        masks = checked_masks(self.masks)
        for batch in batches_by_length(order, lengths, self.batch_size, rng):
            frames, n_frames = self._collate([rows[row] for row in batch])
            masks.apply(frames, n_frames, rng)
            yield frames, n_frames, torch.from_numpy(targets[batch])

    def _loss(self, labels: npt.NDArray[np.generic], *, training: bool = False) -> FocalLoss:
        repeated = training and self.oversample and self.class_weight == "balanced"
        weights = class_weights(None if repeated else self.class_weight, labels)
        return FocalLoss(self.gamma if self.loss == "focal" else 0.0, self.label_smoothing, weights)

    def _checked_validation(
        self, sequences: Sequences, y: npt.ArrayLike
    ) -> tuple[list[Frames], npt.NDArray[np.generic]]:
        rows = checked_sequences(sequences, self.n_features_in_)
        labels = _checked_labels(rows, y)
        if not np.isin(labels, self.classes_).any():
            raise HeadError(
                "no validation sequence has a label that was trained on, "
                f"{', '.join(map(str, self.classes_))}: validate on other speakers with the same emotions"
            )
        return rows, labels

    def _validate(
        self, rows: list[Frames], labels: npt.NDArray[np.generic], loss: FocalLoss
    ) -> tuple[float, float]:
        """Tell loss and UAR of the network as it is."""
        logits = self._logits(rows)
        known = np.isin(labels, self.classes_)
        targets = torch.from_numpy(np.searchsorted(self.classes_, labels[known]))
        predicted = self.classes_[logits.argmax(dim=1).numpy()]
        confusion = confusion_matrix(labels, predicted, np.union1d(self.classes_, labels))
        return float(loss(logits[torch.from_numpy(known)], targets)), float(uar(confusion))

    def _logits(self, rows: Sequence[Frames]) -> Tensor:
        """Return logits of shape (n_sequences, n_classes), in the order given."""
        by_length = np.argsort([len(frames) for frames in rows], kind="stable")
        logits = torch.empty(len(rows), len(self.classes_))
        with torch.inference_mode():
            for start in range(0, len(rows), PREDICTION_BATCH):
                batch = by_length[start : start + PREDICTION_BATCH]
                logits[torch.from_numpy(batch)] = self.network_(*self._collate([rows[row] for row in batch]))
        return logits

    def _collate(self, rows: Sequence[Frames]) -> tuple[Tensor, Tensor]:
        return collate(rows, self.standardiser_, self.network_.n_frames)


def _checked_labels(rows: Sequence[Frames], y: npt.ArrayLike) -> npt.NDArray[np.generic]:
    labels = np.asarray(y)
    if labels.shape != (len(rows),):
        raise HeadError(f"{len(rows)} sequences want one label each, not labels of shape {labels.shape}")
    return labels
