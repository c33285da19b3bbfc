"""How the learning rate rises and falls: a function of the step, so that nothing of it has to be saved."""

from __future__ import annotations

import math

from torch.optim import Optimizer


class Schedule:
    """A warm-up from 0, then a fall to 0, for every group of parameters at its own height.

    Args:
        kind: ``"linear"``, ``"cosine"`` (half a period), or ``"constant"``.
        n_steps: Of the whole training.
        warmup: Share of them in which the rate rises.
    """

    def __init__(self, kind: str, n_steps: int, warmup: float) -> None:
        self.kind = kind
        self.n_steps = n_steps
        self.n_warmup = round(warmup * n_steps)

    def factor(self, step: int) -> float:
        """Give what each group's highest rate is multiplied by at a step, counted from 0."""
        if step < self.n_warmup:
            return (step + 1) / (self.n_warmup + 1)
        if self.kind == "constant":
            return 1.0
        passed = min(1.0, (step - self.n_warmup) / max(1, self.n_steps - self.n_warmup))
        return 1 - passed if self.kind == "linear" else 0.5 * (1 + math.cos(math.pi * passed))

    def apply(self, optimizer: Optimizer, step: int) -> None:
        """Set the rate of every group; a group's highest rate is kept in it as ``highest_lr``."""
        factor = self.factor(step)
        for group in optimizer.param_groups:
            group["lr"] = factor * group.setdefault("highest_lr", group["lr"])
