"""The sides of a fold as loaders: what is trained on, and what is validated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader

from ser_transfer.encoders import Encoder
from ser_transfer.finetuning.batches import StepPlan
from ser_transfer.finetuning.loop import Validation
from ser_transfer.finetuning.pretraining.clips import (
    MaskedClips,
    MaskedCollate,
    Masking,
    Negatives,
    TargetsOf,
    ValidationClips,
)
from ser_transfer.finetuning.pretraining.loading import mask_share, n_units
from ser_transfer.finetuning.pretraining.network import ObjectiveNetwork
from ser_transfer.finetuning.pretraining.settings import Pretraining
from ser_transfer.finetuning.pretraining.units import hidden_units, keep_units, kept_units
from ser_transfer.finetuning.pretraining.validation import Predicted, predict_masked
from ser_transfer.finetuning.pretraining.wav2vec2 import Wav2Vec2Network
from ser_transfer.finetuning.recordings import Clips
from ser_transfer.splits import Fold

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Asked:
    """The validation side of a fold."""

    accelerator: Accelerator
    loader: Any
    n_clips: int

    def __call__(self, network: nn.Module) -> Validation:
        """Score by the loss: the lower the better."""
        loss = self.predicted(network).loss
        return Validation(loss, -loss, name=None)

    def predicted(self, network: nn.Module) -> Predicted:
        """Ask the network."""
        return predict_masked(self.accelerator, network, self.loader, self.n_clips)


class MaskedSides:
    """Loaders over the training and the validation recordings of a fold; the test side is not looked at.

    Args:
        accelerator: Of the run.
        corpus: From `ser_transfer.load_corpus`.
        fold: Its sides.
        network: What is trained, not yet prepared.
        settings: How to train.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        corpus: Dataset,
        fold: Fold,
        network: ObjectiveNetwork,
        settings: Pretraining,
    ) -> None:
        self._accelerator, self._network, self._settings = accelerator, network, settings
        self._training = self._clips(corpus, fold.train_ids)
        self._asked = self._clips(corpus, fold.validation_ids) if fold.validation_ids else None

    def masking(self, encoder: Encoder, folder: Path, on_clips: Callable[[int, int], None]) -> Masking:
        """Say how clips are masked and what is predicted; of HuBERT's units, find them or read them.

        Args:
            encoder: The same encoder, frozen.
            folder: Where units are kept, so that a resumed training has the same.
            on_clips: See `units.hidden_units`.
        """
        chosen = self._settings.objective
        return Masking(
            grid=self._network.front_end.grid,
            share=mask_share(chosen, self._network.objective),
            span=chosen.mask_frames,
            targets_of=self._targets(encoder, folder, on_clips),
            seed=self._settings.optimisation.seed,
        )

    def training(self, masking: Masking) -> tuple[StepPlan, DataLoader[Any]]:
        """Make the loader of what is trained on, and the plan of its steps."""
        given, optimisation = self._settings.batches, self._settings.optimisation
        examples = MaskedClips(self._training, masking, given.crop_seconds)
        plan = StepPlan(
            examples.seconds,
            batch_seconds=given.batch_seconds,
            n_micro=optimisation.accumulation * self._accelerator.num_processes,
            seed=optimisation.seed,
        )
        return plan, self._loader(examples, batch_sampler=plan)

    def asked(self, masking: Masking) -> Asked | None:
        """Make what is validated; None where there is nothing to validate on."""
        if self._asked is None:
            return None
        examples = ValidationClips(self._asked, masking)
        loader = self._loader(examples, batch_size=self._settings.batches.eval_batch)
        return Asked(self._accelerator, self._accelerator.prepare(loader), len(self._asked))

    def _targets(self, encoder: Encoder, folder: Path, on_clips: Callable[[int, int], None]) -> TargetsOf:
        if isinstance(self._network, Wav2Vec2Network):
            return Negatives(self._network.n_negatives)
        chosen, training, asked = self._settings.objective, self._training, self._asked
        seed = self._settings.optimisation.seed
        found = [encoder.fingerprint, chosen.unit_layer, n_units(chosen), seed]
        content = [*found, training.ids, None if asked is None else asked.ids]
        with self._accelerator.main_process_first():
            units = kept_units(folder, content)
            if units is None:
                units = hidden_units(
                    encoder,
                    training,
                    asked,
                    layer=chosen.unit_layer,
                    n_units=n_units(chosen),
                    seed=seed,
                    batch=self._settings.batches.eval_batch if encoder.on_accelerator else 1,
                    on_clips=on_clips,
                )
                keep_units(folder, units, content)
        return units

    def _clips(self, corpus: Dataset, ids: Sequence[str]) -> Clips:
        return Clips(
            corpus,
            ids,
            dict.fromkeys(ids, 0),
            self._network.sampling_rate,
            self._network.min_samples,
            keep_waveforms=self._settings.batches.keep_waveforms,
        )

    def _loader(self, examples: Any, **options: Any) -> DataLoader[Any]:
        return DataLoader(
            examples,
            collate_fn=MaskedCollate(self._network.front_end),
            num_workers=self._settings.batches.n_workers,
            pin_memory=self._accelerator.device.type == "cuda",
            # A loader draws from torch's own generator otherwise, and a resumed run would draw once more.
            generator=torch.Generator(),
            **options,
        )
