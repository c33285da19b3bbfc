"""The sides of a fold as loaders: what is trained on, and what is asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader

from ser_transfer.augment import Augmentation
from ser_transfer.cross_validation import Labels
from ser_transfer.finetuning.batches import StepPlan
from ser_transfer.finetuning.evaluation import Probabilities, answers
from ser_transfer.finetuning.loop import Validation
from ser_transfer.finetuning.networks import EmotionNetwork
from ser_transfer.finetuning.recordings import Clips, Collate, EvaluationClips
from ser_transfer.finetuning.settings import Finetuning
from ser_transfer.finetuning.training_clips import TrainingClips
from ser_transfer.metrics import confusion_matrix, uar

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Side:
    """Clips that are asked about: the validation or the test side of a fold.

    Attributes:
        loader: Over their windows, prepared.
        targets: Their emotions, as places in the classes.
        n_classes: How many classes there are.
    """

    loader: Any
    targets: Sequence[int]
    n_classes: int

    def answers(self, accelerator: Accelerator, network: nn.Module) -> Probabilities:
        """Ask a network about every clip; see `ser_transfer.finetuning.evaluation.answers`."""
        return answers(accelerator, network, self.loader, len(self.targets))

    def validate(self, accelerator: Accelerator, network: nn.Module) -> Validation:
        """Tell cross entropy and UAR of a network on these clips."""
        probabilities = self.answers(accelerator, network)
        truth = np.asarray(self.targets)
        of_truth = probabilities[np.arange(len(truth)), truth]
        loss = float(-np.log(np.maximum(of_truth, np.finfo(float).tiny)).mean())
        classes = list(range(self.n_classes))
        found = confusion_matrix(truth.tolist(), probabilities.argmax(axis=1).tolist(), classes)
        return Validation(loss, float(uar(found)))


class SideLoaders:
    """Loaders over the recordings of a corpus, for one network.

    Args:
        corpus: From `ser_transfer.load_corpus`.
        labels: From the same corpus.
        network: Which says how its input is made.
        settings: How clips are cut, changed and put into batches.
        accelerator: Whose processes share the work.
    """

    def __init__(
        self,
        corpus: Dataset,
        labels: Labels,
        network: EmotionNetwork,
        settings: Finetuning,
        accelerator: Accelerator,
    ) -> None:
        self._corpus, self._labels, self._network = corpus, labels, network
        self._settings, self._accelerator = settings, accelerator
        self._asked: dict[tuple[str, ...], Side] = {}
        self._codes = {id_: labels.classes.index(emotion) for id_, emotion in labels.emotions.items()}

    def targets_of(self, ids: Sequence[str]) -> list[int]:
        """Give emotions as places in the classes."""
        return [self._codes[id_] for id_ in ids]

    def training(self, ids: Sequence[str]) -> tuple[StepPlan, DataLoader[Any]]:
        """Make the loader of a training side, not yet prepared, and the plan that its batches follow."""
        given, seed = self._settings.batches, self._settings.optimisation.seed
        clips = self._clips(ids)
        examples = TrainingClips(
            clips,
            n_classes=len(self._labels.classes),
            crop_seconds=given.crop_seconds,
            augmentation=None if given.augment is None else Augmentation.parse(given.augment),
            augment_share=given.augment_share,
            mixup=given.mixup,
            seed=seed,
        )
        seconds, filled = examples.seconds, self._network.filled_samples
        if filled is not None:
            seconds = np.full_like(seconds, filled / self._network.sampling_rate)
        plan = StepPlan(
            seconds,
            batch_seconds=given.batch_seconds,
            n_micro=self._settings.optimisation.accumulation * self._accelerator.num_processes,
            seed=seed,
            targets=clips.targets,
            balanced=self._settings.loss.balanced_sampling,
        )
        return plan, self._loader(examples, training=True, batch_sampler=plan)

    def evaluation(self, ids: tuple[str, ...]) -> Side | None:
        """Make a validation or test side; None where it has no clips."""
        if not ids:
            return None
        if ids not in self._asked:
            self._asked[ids] = self._side(ids)
        return self._asked[ids]

    def _side(self, ids: tuple[str, ...]) -> Side:
        seconds = self._settings.batches.window_seconds
        if self._network.max_samples is not None:
            seconds = min(seconds, self._network.max_samples / self._network.sampling_rate)
        windows = EvaluationClips(self._clips(ids), window_seconds=seconds)
        loader = self._loader(windows, training=False, batch_size=self._settings.batches.eval_batch)
        return Side(self._accelerator.prepare(loader), self.targets_of(ids), len(self._labels.classes))

    def _clips(self, ids: Sequence[str]) -> Clips:
        return Clips(
            self._corpus,
            ids,
            self._codes,
            self._network.sampling_rate,
            self._network.min_samples,
            keep_waveforms=self._settings.batches.keep_waveforms,
        )

    def _loader(self, examples: Any, *, training: bool, **options: Any) -> DataLoader[Any]:
        return DataLoader(
            examples,
            collate_fn=Collate(self._network.front_end, training=training),
            num_workers=self._settings.batches.n_workers,
            persistent_workers=training and self._settings.batches.n_workers > 0,
            pin_memory=self._accelerator.device.type == "cuda",
            # A loader draws from torch's own generator otherwise, and a resumed run would draw once more.
            generator=torch.Generator(),
            **options,
        )
