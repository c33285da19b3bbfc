"""A network on one fold, and on all: chosen on validation speakers, scored once on test speakers."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn

from ser_transfer.cross_validation import (
    Choice,
    FoldResult,
    Labels,
    Predictions,
    joined,
    keep_result,
    kept_result,
)
from ser_transfer.encoders.heard import TRAINING_FILE
from ser_transfer.fill import keys_by_id
from ser_transfer.finetuning.accelerated import tracked
from ser_transfer.finetuning.adapters import save_adapter
from ser_transfer.finetuning.build import build_network, make_optimizer
from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.evaluation import Probabilities
from ser_transfer.finetuning.loop import Step, train
from ser_transfer.finetuning.networks import EmotionNetwork
from ser_transfer.finetuning.objective import EmotionObjective
from ser_transfer.finetuning.provenance import refuse_heard_speakers
from ser_transfer.finetuning.settings import Finetuning, flat
from ser_transfer.finetuning.sides import SideLoaders
from ser_transfer.finetuning.state import Progress, States
from ser_transfer.finetuning.trainable import count_parameters
from ser_transfer.metrics import fit_temperature
from ser_transfer.splits import Fold, Split

if TYPE_CHECKING:
    from datasets import Dataset

HEAD = "fine-tuned"  # what stands where a run on embeddings names its head
REFIT = "refit"  # the folder of a fold's second training
ALL = "all"  # the fold of a model that is trained on every utterance


def cross_validate_network(
    accelerator: Accelerator,
    corpus: Dataset,
    labels: Labels,
    split: Split,
    settings: Finetuning,
    folder: Path,
    *,
    keys: Mapping[str, str] | None = None,
    training: Mapping[str, Any] | None = None,
    resume: bool = False,
    save_steps: int | None = None,
    on_step: Callable[[str, Step], None] = lambda fold, step: None,
) -> Predictions:
    """Fine-tune and test a network on every fold.

    Each fold leaves ``folds/<name>/model`` in the folder, the network of its best epoch. A fold that was
    finished with the same settings on the same recordings is not trained again.

    Args:
        accelerator: From `make_accelerator`.
        corpus: From `ser_transfer.load_corpus`.
        labels: From the same corpus.
        split: From `ser_transfer.splits.make_split`.
        settings: How to train.
        folder: Of the run.
        keys: Audio key per utterance id; None has the recordings read for them.
        training: Facts that the saved networks carry.
        resume: Go on with an unfinished fold where its last state was saved.
        save_steps: Save a state every so many steps too, not only after each epoch.
        on_step: Called after each step with the fold's name.

    Raises:
        FinetuneError: If a fold cannot be trained on, or the training cannot go on.
    """
    _refuse_without_validation(split, settings)
    keys = keys_by_id(corpus) if keys is None else keys
    results = []
    for fold in split.folds:
        place, key = folder / "folds" / fold.name, _digest(settings, fold, labels, keys)
        result = kept_result(place, key)
        if result is None:
            result = finetune_fold(
                accelerator,
                corpus,
                labels,
                fold,
                settings,
                place,
                training=training,
                resume=resume,
                save_steps=save_steps,
                on_step=lambda step, fold=fold: on_step(fold.name, step),  # type: ignore[misc]
            )
            if accelerator.is_main_process:
                keep_result(place, key, result)
        if accelerator.is_main_process:  # also what one left that was killed just after it kept the result
            for states in (place, place / REFIT):
                States(states, {}).clear()
        accelerator.wait_for_everyone()
        results.append(result)
    return joined(labels, split, results)


def finetune_on_all(
    accelerator: Accelerator,
    corpus: Dataset,
    labels: Labels,
    predictions: Predictions,
    settings: Finetuning,
    folder: Path,
    *,
    keys: Mapping[str, str] | None = None,
    training: Mapping[str, Any] | None = None,
    resume: bool = False,
    save_steps: int | None = None,
    on_step: Callable[[str, Step], None] = lambda fold, step: None,
) -> None:
    """Train the network to keep on every utterance, for as many epochs as the folds' best ones had (median).

    Nothing is left to test it on; what its settings reach on unheard speakers is what `predictions` scored.
    It is written to ``model`` in the folder, unless it is there. Arguments are those of
    `cross_validate_network`.
    """
    best = [choice.settings["best_epoch"] for choice in predictions.choices.values()]
    fold = Fold(ALL, tuple(labels.emotions), (), ())
    n_epochs = round(median(best))
    keys = keys_by_id(corpus) if keys is None else keys
    key = f"{_digest(settings, fold, labels, keys)}-{n_epochs}"
    place = folder / "folds" / ALL
    if _is_kept(folder / "model", key):
        if accelerator.is_main_process:
            shutil.rmtree(place, ignore_errors=True)  # left by one that was killed just after it kept it
        accelerator.wait_for_everyone()
        return
    trainer = _Trainer(accelerator, corpus, labels, fold, settings, resume, save_steps)
    trained = trainer.train(
        fold.train_ids, (), place, n_epochs=n_epochs, on_step=lambda step: on_step(ALL, step)
    )
    if accelerator.is_main_process:
        trainer.save(trained.network, folder, {**(training or {}), "digest": key})
        shutil.rmtree(place, ignore_errors=True)
    accelerator.free_memory()
    accelerator.wait_for_everyone()


def finetune_fold(
    accelerator: Accelerator,
    corpus: Dataset,
    labels: Labels,
    fold: Fold,
    settings: Finetuning,
    folder: Path,
    *,
    training: Mapping[str, Any] | None = None,
    resume: bool = False,
    save_steps: int | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
) -> FoldResult:
    """Train on the training speakers, choose the epoch on the validation speakers, test once.

    With ``refit`` the epoch is all that is taken over: a fresh network is trained on both sides up to it, and
    is the one that is tested and kept. What calibrates it comes from the first one, which had not heard the
    validation speakers.

    Args:
        accelerator: From `make_accelerator`.
        corpus: See `cross_validate_network`.
        labels: See `cross_validate_network`.
        fold: Its sides. Without a validation side the last epoch stands.
        settings: How to train.
        folder: Of the fold: its states, then its ``model``.
        training: See `cross_validate_network`.
        resume: See `cross_validate_network`.
        save_steps: See `cross_validate_network`.
        on_step: Called after each step.

    Raises:
        FinetuneError: See `cross_validate_network`.
    """
    encoder, weights = str(settings.network.encoder).replace("{fold}", fold.name), settings.network.weights
    refuse_heard_speakers(encoder, weights, corpus.info.dataset_name, labels, fold.test_ids)
    trainer = _Trainer(accelerator, corpus, labels, fold, settings, resume, save_steps)
    trained = trainer.train(fold.train_ids, fold.validation_ids, folder, on_step=on_step)
    validation = trained.answers(fold.validation_ids)
    progress = trained.progress
    seconds = progress.seconds
    if settings.optimisation.refit and fold.validation_ids:
        del trained  # two networks and their optimisers may be more than a GPU holds
        accelerator.free_memory()
        both = (*fold.train_ids, *fold.validation_ids)
        trained = trainer.train(both, (), folder / REFIT, n_epochs=progress.best_epoch, on_step=on_step)
        seconds += trained.progress.seconds
    test = trained.answers(fold.test_ids)
    if accelerator.is_main_process:
        trainer.save(trained.network, folder, {**(training or {}), "fold": fold.name})
    accelerator.free_memory()
    temperature = None
    if fold.validation_ids:
        truth = [labels.emotions[id_] for id_ in fold.validation_ids]
        temperature = fit_temperature(validation, truth, labels.classes)
    found = {"best_epoch": progress.best_epoch, "n_epochs": progress.epoch, "n_steps": progress.step}
    read = {"layers": [settings.network.layer], "pooling": settings.network.pooling}
    reached = progress.best_score if fold.validation_ids else None
    return FoldResult(
        choice=Choice({str(settings.network.encoder): read}, HEAD, found, None, reached),
        trials=(),
        validation=validation,
        test=test,
        temperature=temperature,
        n_parameters=count_parameters(trained.network)[0],
        seconds=seconds,
        history=tuple(progress.history),
    )


@dataclass(frozen=True)
class _Trained:
    """A network after its training."""

    accelerator: Accelerator
    network: EmotionNetwork
    prepared: nn.Module
    progress: Progress
    sides: SideLoaders

    def answers(self, ids: tuple[str, ...]) -> Probabilities:
        """Ask about clips; shape (0, n_classes) where there are none."""
        side = self.sides.evaluation(ids)
        if side is None:
            return np.zeros((0, len(self.network.classes)))
        return side.answers(self.accelerator, self.prepared)


@dataclass(frozen=True)
class _Trainer:
    """Trains networks of one fold on clips of its choice."""

    accelerator: Accelerator
    corpus: Dataset
    labels: Labels
    fold: Fold
    settings: Finetuning
    resume: bool
    save_steps: int | None

    def train(
        self,
        train_ids: Sequence[str],
        validation_ids: tuple[str, ...],
        folder: Path,
        *,
        n_epochs: int | None = None,
        on_step: Callable[[Step], None],
    ) -> _Trained:
        """Build a network and train it; `n_epochs` stops it there, on the schedule of them all."""
        accelerator, settings, classes = self.accelerator, self.settings, self.labels.classes
        seed, told = settings.optimisation.seed, flat(asdict(settings))
        with own_randomness(seed), tracked(accelerator, tracker_name(self.fold, folder), told):
            network = build_network(settings.network, classes, self.fold.name, seed)
            sides = SideLoaders(self.corpus, self.labels, network, settings, accelerator)
            plan, loader = sides.training(train_ids)
            optimizer = make_optimizer(network, settings.optimisation)
            prepared, optimizer, loader = accelerator.prepare(network, optimizer, loader)
            validation = sides.evaluation(validation_ids)
            states = States(folder, told)
            if accelerator.is_main_process and not self.resume:
                states.clear()
            accelerator.wait_for_everyone()
            progress = train(
                accelerator,
                prepared,
                optimizer,
                loader,
                plan,
                EmotionObjective(settings.loss, sides.targets_of(train_ids), len(classes)),
                None if validation is None else lambda asked: validation.validate(accelerator, asked),
                settings.optimisation,
                states,
                n_epochs=n_epochs,
                resume=self.resume,
                save_steps=self.save_steps,
                on_step=on_step,
            )
        return _Trained(accelerator, network, prepared, progress, sides)

    def save(self, network: EmotionNetwork, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write the network, and where it is asked for the adapter alone, with whom they have heard."""
        heard = {self.labels.speakers[id_] for id_ in (*self.fold.train_ids, *self.fold.validation_ids)}
        facts = {**facts, "speakers": sorted(speaker for speaker in heard if speaker is not None)}
        network.save(folder / "model", facts)
        if self.settings.network.keep_adapter:
            save_adapter(network, folder / "adapter", facts)


def tracker_name(fold: Fold, folder: Path) -> str:
    """Name what a tracker keeps of one training."""
    return f"fold-{fold.name}" + (f"-{REFIT}" if folder.name == REFIT else "")


def _is_kept(model: Path, key: str) -> bool:
    """Tell whether a folder holds the network of this very training."""
    if not (model / "config.json").is_file():  # it is written last
        return False
    try:
        facts = json.loads((model / TRAINING_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(facts.get("digest") == key)


def _refuse_without_validation(split: Split, settings: Finetuning) -> None:
    """Refuse to stop early where nobody validates, and say what stands there instead."""
    without = [fold.name for fold in split.folds if not fold.validation_ids]
    if not without:
        return
    where = f"fold {', '.join(without)} of {split.description} has no validation speakers"
    if settings.optimisation.patience is not None:
        raise FinetuneError(
            f"{where} to stop early on: leave --patience out, and the last epoch stands, or take a split or "
            "a corpus with more speakers"
        )
    warnings.warn(f"{where}: the last epoch stands, and probabilities are not calibrated", stacklevel=3)


def _digest(settings: Finetuning, fold: Fold, labels: Labels, keys: Mapping[str, str]) -> str:
    """Name the result of a fold by all that it follows from: 64 hex digits."""
    sides = (fold.train_ids, fold.validation_ids, fold.test_ids)
    content = [
        asdict(settings),
        [[[id_, keys[id_], labels.emotions[id_]] for id_ in side] for side in sides],
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Seed all generators that a training draws from, and give them back as they were."""
    before = random.getstate(), np.random.get_state()  # transformers draws its masks from NumPy's
    with torch.random.fork_rng():
        set_seed(seed, device_specific=True)
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
