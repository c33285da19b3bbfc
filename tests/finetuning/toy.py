"""A network small enough to check by hand, and what a training of it needs."""

from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader

from ser_transfer.finetuning.batches import StepPlan
from ser_transfer.finetuning.evaluation import answers
from ser_transfer.finetuning.loop import Validation, train
from ser_transfer.finetuning.networks.base import Block, EmotionNetwork, Output
from ser_transfer.finetuning.settings import Optimisation
from ser_transfer.finetuning.state import States

N_CLIPS, N_CLASSES, DIM = 24, 3, 5


class ToyNetwork(EmotionNetwork):
    """Two dense layers with dropout between them, on ready-made features."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.classes = tuple("abc")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.dense = nn.Linear(DIM, 8)
            self.dropout = nn.Dropout(dropout)
            self.head = nn.Linear(8, N_CLASSES)

    @property
    def body(self):
        return self.dense

    def forward(self, inputs):
        embedding = self.dropout(torch.tanh(self.dense(inputs["features"])))
        return Output(self.head(embedding), embedding)

    def blocks(self):
        return [Block("dense", "layer", (self.dense,)), Block("head", "head", (self.head,))]

    def write(self, folder: Path):
        raise NotImplementedError


class ToyClips:
    """Features that tell the class, with noise drawn anew in every epoch, and lengths that differ."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.targets = np.arange(N_CLIPS) % N_CLASSES
        self.features = np.eye(DIM, dtype=np.float32)[self.targets] + rng.normal(0, 0.5, (N_CLIPS, DIM))
        self.seconds = rng.uniform(1, 4, N_CLIPS)

    def __len__(self):
        return N_CLIPS

    def __getitem__(self, draw):
        if isinstance(draw, int):
            return {"features": self.features[draw], "row": draw}
        noise = np.random.default_rng([draw.epoch, draw.row]).normal(0, 0.1, DIM)
        return {
            "features": self.features[draw.row] + noise,
            "target": self.targets[draw.row],
            "n_in_step": draw.n_in_step,
        }


def collate(examples):
    batch = {"inputs": {"features": torch.tensor(np.stack([e["features"] for e in examples])).float()}}
    if "row" in examples[0]:
        return {**batch, "row": torch.tensor([e["row"] for e in examples])}
    return {
        **batch,
        "target": torch.tensor([e["target"] for e in examples]),
        "n_in_step": examples[0]["n_in_step"],
    }


def objective(network, batch):
    losses = nn.functional.cross_entropy(network(batch["inputs"]).logits, batch["target"], reduction="none")
    return losses.sum() / batch["n_in_step"]


def run(
    folder,
    *,
    accelerator=None,
    dropout=0.0,
    validates=True,
    validate=None,
    change=None,
    objective=objective,
    **options,
):
    """Train the toy network; return it, its answers and its progress."""
    loop_options = {
        name: options.pop(name) for name in ("resume", "save_steps", "on_step") if name in options
    }
    batch_seconds = options.pop("batch_seconds", 10.0)
    settings = Optimisation(**{"max_epochs": 4, "learning_rate": 0.05, "warmup": 0.1, **options})
    accelerator = accelerator or Accelerator(cpu=True, gradient_accumulation_steps=settings.accumulation)
    clips = ToyClips()
    network = ToyNetwork(dropout)
    if change is not None:
        change(network)
    torch.manual_seed(settings.seed)
    np.random.seed(settings.seed)
    plan = StepPlan(
        clips.seconds, batch_seconds=batch_seconds, n_micro=settings.accumulation * accelerator.num_processes
    )
    generator = torch.Generator()
    loader = DataLoader(clips, batch_sampler=plan, collate_fn=collate, generator=generator)
    asked = DataLoader(clips, batch_size=5, collate_fn=collate, generator=generator)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate)
    prepared, optimizer, loader, asked = accelerator.prepare(network, optimizer, loader, asked)

    def score(asked_network):
        probabilities = answers(accelerator, asked_network, asked, N_CLIPS)
        of_truth = probabilities[np.arange(N_CLIPS), clips.targets]
        return Validation(
            float(-np.log(of_truth).mean()), float((probabilities.argmax(1) == clips.targets).mean())
        )

    try:
        progress = train(
            accelerator,
            prepared,
            optimizer,
            loader,
            plan,
            objective,
            (validate or score) if validates else None,
            settings,
            States(Path(folder), {"seed": settings.seed}),
            **loop_options,
        )
        found = answers(accelerator, prepared, asked, N_CLIPS)
    finally:
        accelerator.free_memory()
    return network, found, progress
