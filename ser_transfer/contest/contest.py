"""Scoring every contender on every fold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import xxhash

from ser_transfer._interrupts import starting_workers
from ser_transfer.contest.keys import result_key
from ser_transfer.cross_validation import (
    FoldResult,
    Labels,
    Predictions,
    Search,
    aligned,
    joined,
    keep_result,
    kept_result,
    normalised_by_speaker,
    run_fold,
)
from ser_transfer.runs import Role
from ser_transfer.splits import Fold, Split
from ser_transfer.store import Embeddings


@dataclass(frozen=True, eq=False)
class Contender:
    """What is to be scored.

    Attributes:
        name: Of its row.
        role: See `ser_transfer.runs.Role`.
        members: Embeddings of one encoder, or of several to be fused.
    """

    name: str
    role: Role
    members: tuple[Embeddings, ...]

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """Hash of each member's numbers and their ids."""
        return tuple(_digest(embeddings) for embeddings in self.members)


@dataclass(frozen=True)
class _Task:
    contender: Contender
    fold: Fold
    key: str


def run_contest(
    contenders: Sequence[Contender],
    labels: Labels,
    split: Split,
    search: Search,
    *,
    speaker_normalise: bool = False,
    cache: Path | None = None,
    n_jobs: int = 1,
    on_fold: Callable[[int, str], None] = lambda n_folds, name: None,
) -> dict[str, Predictions]:
    """Score every contender on every fold.

    Fusions come last, as they build on what was chosen for their members.

    Args:
        contenders: With distinct names.
        labels: From the corpus.
        split: Its folds.
        search: What each fold may choose from.
        speaker_normalise: See `ser_transfer.cross_validation.cross_validate`.
        cache: Folder of results, each under the hash of all that it follows from; None keeps none.
        n_jobs: Folds run at once, each in a process of its own.
        on_fold: Called after each fold with how many there are in all, and the contender's name.

    Returns:
        Predictions by name of the contender.

    Raises:
        TrainingError: If a fold cannot be trained on.
    """
    if speaker_normalise:
        contenders = [_normalised(contender, labels) for contender in contenders]
    results: dict[tuple[str, str], FoldResult] = {}
    alone: dict[tuple[str, str], FoldResult] = {}
    for fuses in (False, True):
        todo = []
        for contender in contenders:
            if (len(contender.members) > 1) != fuses:
                continue
            for fold in split.folds:
                task = _Task(contender, fold, result_key(contender.digests, fold, labels, search))
                kept = None if cache is None else kept_result(cache, task.key)
                if kept is None:
                    todo.append(task)
                else:
                    results[contender.name, fold.name] = kept
                    on_fold(len(contenders) * len(split.folds), contender.name)
        for task, result in zip(todo, _run(todo, alone, labels, search, n_jobs), strict=True):
            results[task.contender.name, task.fold.name] = result
            if cache is not None:
                keep_result(cache, task.key, result)
            on_fold(len(contenders) * len(split.folds), task.contender.name)
        if not fuses:
            alone = {
                (contender.digests[0], fold.name): results[contender.name, fold.name]
                for contender in contenders
                if len(contender.members) == 1
                for fold in split.folds
            }
    return {
        contender.name: joined(labels, split, [results[contender.name, fold.name] for fold in split.folds])
        for contender in contenders
    }


def _run(
    todo: Sequence[_Task],
    alone: dict[tuple[str, str], FoldResult],
    labels: Labels,
    search: Search,
    n_jobs: int,
) -> Iterator[FoldResult]:
    """Run what is not kept, in order, several at once."""
    calls = []
    for task in todo:
        known = [alone.get((digest, task.fold.name)) for digest in task.contender.digests]
        whole = [result for result in known if result is not None]
        members = tuple(aligned(task.contender.members))
        calls.append((members, task.fold, whole if len(whole) == len(members) else None))
    work = partial(_run_one, labels=labels, search=search)
    if n_jobs == 1 or len(calls) < 2:
        for call in calls:
            yield work(*call)
        return
    from joblib import Parallel, delayed

    with starting_workers():
        done = Parallel(n_jobs=n_jobs, return_as="generator")(delayed(work)(*call) for call in calls)
    yield from done


def _run_one(
    members: tuple[Embeddings, ...],
    fold: Fold,
    alone: Sequence[FoldResult] | None,
    *,
    labels: Labels,
    search: Search,
) -> FoldResult:
    return run_fold(members, labels, fold, search, alone)


def _normalised(contender: Contender, labels: Labels) -> Contender:
    members = []
    for embeddings in contender.members:
        speakers = [labels.speakers[id_] for id_ in embeddings.utterance_ids]
        members.append(normalised_by_speaker(embeddings, speakers))
    return Contender(contender.name, contender.role, tuple(members))


def _digest(embeddings: Embeddings) -> str:
    """Hash the numbers themselves: a corpus changed under the same ids is another one."""
    digest = xxhash.xxh3_128("\n".join(embeddings.utterance_ids).encode())
    for name, layer in embeddings.layers.items():
        digest.update(f"{name} {layer.shape}".encode())
        digest.update(np.ascontiguousarray(layer).view(np.uint8).data)
    return f"{digest.hexdigest()}-{embeddings.pooling}"
