"""A pretraining on one fold, and on all: test speakers are not heard, or the result says that they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ser_transfer.fill import keys_by_id
from ser_transfer.finetuning.accelerated import tracked
from ser_transfer.finetuning.loop import Step, train
from ser_transfer.finetuning.pretraining.loading import find_objective, load_objective_network
from ser_transfer.finetuning.pretraining.network import ObjectiveNetwork
from ser_transfer.finetuning.pretraining.results import (
    HEARS_ALL,
    Pretrained,
    digest,
    keep_result,
    kept_result,
)
from ser_transfer.finetuning.pretraining.settings import Pretraining
from ser_transfer.finetuning.pretraining.sides import MaskedSides
from ser_transfer.finetuning.pretraining.wav2vec2 import Wav2Vec2Network
from ser_transfer.finetuning.settings import Optimisation
from ser_transfer.finetuning.state import States
from ser_transfer.finetuning.trainable import parameter_groups
from ser_transfer.splits import Fold, Split

if TYPE_CHECKING:
    from datasets import Dataset

HUBERT_HEAD_RATE = 10  # times the encoder's learning rate: it is new, and wav2vec2's is not
BETAS = (0.9, 0.98)  # AdamW's, as both were pretrained with


def pretrain_folds(
    accelerator: Accelerator,
    corpus: Dataset,
    split: Split,
    settings: Pretraining,
    folder: Path,
    *,
    keys: Mapping[str, str] | None = None,
    **options: Any,
) -> list[Pretrained]:
    """Go on with an encoder's pretraining on every fold's training recordings.

    Each fold leaves ``folds/<name>/model`` in the folder: a plain transformers model of its best epoch, which
    has heard no test speaker of the fold. What was finished with the same settings on the same recordings is
    not trained again.

    Args:
        accelerator: From `ser_transfer.finetuning.make_accelerator`.
        corpus: From `ser_transfer.load_corpus`; its labels are not read.
        split: From `ser_transfer.splits.make_split`.
        settings: How to train.
        folder: Of the run.
        keys: Audio key per utterance id; None has the recordings read for them.
        options: Of `pretrain_fold`; `on_step` and `on_clips` are called with the fold's name first.

    Raises:
        FinetuneError: If a fold cannot be trained on, or the training cannot go on.
    """
    keys = keys_by_id(corpus) if keys is None else keys
    return [
        _fold_once(accelerator, corpus, keys, fold, settings, folder / "folds" / fold.name, **options)
        for fold in split.folds
    ]


def pretrain_on_all(
    accelerator: Accelerator,
    corpus: Dataset,
    settings: Pretraining,
    folder: Path,
    *,
    keys: Mapping[str, str] | None = None,
    **options: Any,
) -> Pretrained:
    """Go on with an encoder's pretraining on every recording, for all epochs; test speakers are heard.

    It leaves ``transductive/model`` in the folder. See `pretrain_folds`.
    """
    fold = Fold(HEARS_ALL, tuple(sorted(corpus["utterance_id"][:])), (), ())
    keys = keys_by_id(corpus) if keys is None else keys
    return _fold_once(accelerator, corpus, keys, fold, settings, folder / HEARS_ALL, **options)


def _fold_once(
    accelerator: Accelerator,
    corpus: Dataset,
    keys: Mapping[str, str],
    fold: Fold,
    settings: Pretraining,
    place: Path,
    *,
    on_step: Callable[[str, Step], None] = lambda fold, step: None,
    on_clips: Callable[[str, int, int], None] = lambda fold, n_clips, n_all: None,
    **options: Any,
) -> Pretrained:
    """Train a fold, unless it is there."""
    fingerprint = find_objective(settings.objective)[1].fingerprint
    heard = [keys[id_] for id_ in (*fold.train_ids, *fold.validation_ids)]
    key = digest([asdict(settings), fingerprint, asdict(fold), heard])
    result = kept_result(place, key)
    if result is None:
        result = pretrain_fold(
            accelerator,
            corpus,
            fold,
            settings,
            place,
            on_step=lambda step: on_step(fold.name, step),
            on_clips=lambda n_clips, n_all: on_clips(fold.name, n_clips, n_all),
            **options,
        )
        if accelerator.is_main_process:
            keep_result(place, key, result)
            States(place, {}).clear()
        accelerator.wait_for_everyone()
    return result


def pretrain_fold(
    accelerator: Accelerator,
    corpus: Dataset,
    fold: Fold,
    settings: Pretraining,
    folder: Path,
    *,
    training: Mapping[str, Any] | None = None,
    resume: bool = False,
    save_steps: int | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
    on_clips: Callable[[int, int], None] = lambda n_clips, n_all: None,
) -> Pretrained:
    """Train on the training speakers, and keep the best epoch on the validation speakers.

    Args:
        accelerator: See `pretrain_folds`.
        corpus: See `pretrain_folds`.
        fold: Its sides; the test side is not looked at. Without a validation side the last epoch stands.
        settings: How to train.
        folder: Of the fold: its states, then its ``model``.
        training: Facts that the saved model carries.
        resume: Go on where the last state was saved.
        save_steps: Save a state every so many steps too, not only after each epoch.
        on_step: Called after each step; `Step.best_score` is minus the lowest validation loss so far.
        on_clips: Called while hidden units are found, with clips that are done and all there are.

    Raises:
        FinetuneError: If it cannot be trained so, or the training cannot go on.
    """
    optimisation = settings.optimisation
    # Nothing draws from Python's or NumPy's own generator.
    with torch.random.fork_rng():
        torch.manual_seed(optimisation.seed + accelerator.process_index)
        network, encoder = load_objective_network(settings.objective, str(accelerator.device))
        sides = MaskedSides(accelerator, corpus, fold, network, settings)
        masking = sides.masking(encoder, folder, on_clips)
        plan, loader = sides.training(masking)
        optimizer = make_optimizer(network, optimisation)
        prepared, optimizer, loader = accelerator.prepare(network, optimizer, loader)
        asked = sides.asked(masking)
        states = States(folder, asdict(settings))
        if accelerator.is_main_process and not resume:
            states.clear()
        accelerator.wait_for_everyone()
        before = None if asked is None else asked.predicted(prepared)

        def after_step(step: Step) -> None:
            network.n_steps.fill_(step.step)
            on_step(step)

        with tracked(accelerator, f"pretrain-{fold.name}", {"fold": fold.name, **asdict(settings.objective)}):
            progress = train(
                accelerator,
                prepared,
                optimizer,
                loader,
                plan,
                masked_objective,
                asked,
                optimisation,
                states,
                resume=resume,
                save_steps=save_steps,
                on_step=after_step,
            )
        after = None if asked is None else asked.predicted(prepared)
    if accelerator.is_main_process:
        facts = {
            **(training or {}),
            "task": "task-adaptive pretraining",
            "objective": network.objective,
            "encoder": encoder.name,
            "encoder_fingerprint": encoder.fingerprint,
            "fold": fold.name,
            "hears_test_speakers": fold.name == HEARS_ALL,
            "speakers": _speakers(corpus, fold),
            "n_recordings": len(fold.train_ids),
        }
        network.save(folder / "model", facts)
    accelerator.free_memory()
    history = tuple(
        {name: value for name, value in line.items() if not name.endswith("uar")} for line in progress.history
    )
    return Pretrained(
        fold.name, network.objective, before, after, progress.best_epoch, progress.step, history
    )


def masked_objective(network: nn.Module, batch: Mapping[str, Any]) -> Tensor:
    """Run a batch and give its share of the step's mean loss."""
    found = network(batch["inputs"])
    total: Tensor = (found.losses + found.penalty).sum() / int(batch["n_in_step"])
    return total


def make_optimizer(network: ObjectiveNetwork, settings: Optimisation) -> torch.optim.Optimizer:
    """Make AdamW over what learns, each part at its own rate."""
    rate, of_head = settings.learning_rate, settings.head_learning_rate
    if of_head is None:
        of_head = rate if isinstance(network, Wav2Vec2Network) else HUBERT_HEAD_RATE * rate
    groups = parameter_groups(
        network,
        learning_rate=rate,
        head_learning_rate=of_head,
        layer_decay=settings.layer_decay,
        weight_decay=settings.weight_decay,
    )
    return torch.optim.AdamW(groups, betas=BETAS, fused=True)


def _speakers(corpus: Dataset, fold: Fold) -> list[str]:
    """Name the speakers that were heard: those it was chosen on count as well."""
    heard = {*fold.train_ids, *fold.validation_ids}
    pairs = zip(corpus["utterance_id"][:], corpus["speaker"][:], strict=True)
    return sorted({speaker for id_, speaker in pairs if id_ in heard and speaker is not None})
