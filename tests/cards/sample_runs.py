"""Small runs in their folders, with models, made without any training that takes long."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from ser_transfer.cross_validation import (
    Choice,
    FoldResult,
    HeadChoice,
    Labels,
    Search,
    cross_validate,
    joined,
    majority_floor,
    mean_temperature,
)
from ser_transfer.heads import make_head
from ser_transfer.metrics import fit_temperature
from ser_transfer.model.fitting import training_facts
from ser_transfer.model.frozen import FrozenModel
from ser_transfer.runs import MAJORITY, Run, System, save_run
from ser_transfer.splits import Fold, Split
from ser_transfer.store import Embeddings

CLASSES = ("neutral", "anger", "fear")
SPEAKERS = ("01", "02", "03", "04", "05", "06")
IDS = tuple(f"{s}-{e}-{take}" for s in SPEAKERS for e in CLASSES for take in range(8))
SEARCH = Search((HeadChoice("lda", {"shrinkage": 0.3}),))
RECIPE = {
    "corpus": "ravdess",
    "root": "/home/someone/secret/ravdess",
    "encoder": "zero_crossings",
    "head": "lda",
    "weights": "/home/someone/secret/weights.safetensors",
    "store": "/home/someone/secret/cache",
    "seed": 0,
    "part": None,
    "label_map": None,
    "language": None,
    "allow": None,
}
FINETUNE = {**RECIPE, "trained": "all", "learning_rate": 1e-4, "max_epochs": 3}
FINETUNE.pop("head")


def labels(sentences=("one", "two")) -> Labels:
    return Labels(
        emotions={id_: id_.split("-")[1] for id_ in IDS},
        speakers={id_: id_.split("-")[0] for id_ in IDS},
        classes=CLASSES,
        groups={"sentence": {id_: sentences[int(id_[-1]) % 2] for id_ in IDS}},
    )


def _fold(name, test, validation):
    sides = {"test": [], "validation": [], "train": []}
    for id_ in sorted(IDS):
        speaker = id_.split("-")[0]
        sides["test" if speaker in test else "validation" if speaker in validation else "train"].append(id_)
    return Fold(name, *(tuple(sides[side]) for side in ("train", "validation", "test")))


HONEST = Split(
    "speaker-folds",
    (_fold("1", {"01", "02", "03"}, {"04"}), _fold("2", {"04", "05", "06"}, {"01"})),
    True,
    "2 speaker-disjoint folds",
)
UNCALIBRATED = replace(
    HONEST,
    folds=tuple(Fold(f.name, (*f.train_ids, *f.validation_ids), (), f.test_ids) for f in HONEST.folds),
)
TAKES = {take: tuple(sorted(id_ for id_ in IDS if int(id_[-1]) // 2 == take)) for take in range(4)}
LEAKY = Split(
    "speaker-dependent",
    tuple(
        Fold(str(n), (*TAKES[(n + 2) % 4], *TAKES[(n + 3) % 4]), TAKES[(n + 1) % 4], TAKES[n])
        for n in range(4)
    ),
    False,
    "4 random folds that share speakers",
)


def embeddings(name, strength):
    rng = np.random.default_rng(len(name))
    layer = rng.normal(size=(len(IDS), 3)).astype(np.float32)
    for row, id_ in enumerate(IDS):
        layer[row, CLASSES.index(id_.split("-")[1])] += strength
    return Embeddings(IDS, {"layer_00": layer}, name, name.ljust(64, "0"), "mean", "float32")


def _network(split, known):
    """What a fine-tuning gives per fold."""
    rng = np.random.default_rng(0)
    results = []
    for fold in split.folds:
        sides = []
        for ids in (fold.validation_ids, fold.test_ids):
            logits = rng.normal(size=(len(ids), 3))
            for row, id_ in enumerate(ids):
                logits[row, CLASSES.index(known.emotions[id_])] += 1.0
            sides.append(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
        truth = [known.emotions[id_] for id_ in fold.validation_ids]
        choice = Choice(
            {"net": {"layers": ["last"], "pooling": "stock"}}, "fine-tuned", {"best_epoch": 2}, None, 0.6
        )
        history = ({"epoch": 1, "train_loss": 1.0, "validation_loss": 1.0, "validation_uar": 0.5},)
        temperature = fit_temperature(sides[0], truth, CLASSES) if truth else None
        results.append(FoldResult(choice, (), *sides, temperature, {}, 1234, 7200.5, history))
    return joined(known, split, results)


def run_of(split, known=None, *, title="ravdess", finetuned=False, strength=1.2, audit="") -> Run:
    known = known or labels()
    given, mfcc = embeddings("zero_crossings", strength), embeddings("mfcc", 0.6)
    found = _network(split, known) if finetuned else cross_validate(given, known, split, SEARCH)
    systems = (
        System.scored("/home/someone/secret/encoder", "encoder", found, known),
        System.scored("mfcc", "baseline", cross_validate(mfcc, known, split, SEARCH), known),
        System.scored(MAJORITY, "floor", majority_floor(known, split), known),
    )
    return Run(title, split, None if finetuned else SEARCH, False, systems, audit=audit)


def save_frozen(run: Run, folder: Path, encoder, known=None, recipe=RECIPE) -> Path:
    known = known or labels()
    save_run(run, folder, recipe, plots=False)
    facts = training_facts(run.corpus, recipe["corpus"], known, run.split, run.systems[0], "lda")
    rows = np.random.default_rng(0).normal(size=(len(IDS), 3))
    head = make_head("lda").fit(rows, [known.emotions[id_] for id_ in IDS])
    temperature = mean_temperature(run.systems[0].predictions)
    FrozenModel(encoder, "mean", ["energy", "crossings"], head, facts, temperature).save(folder / "model")
    return folder


def edit(path: Path, change) -> None:
    """Change a JSON file in place."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
