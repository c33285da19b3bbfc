"""The learning rate, the average of the weights, and the accelerator that a run is made with."""

import os
import subprocess
import sys
from itertools import pairwise

import pytest
import torch
from torch import nn

from ser_transfer.finetuning.accelerated import make_accelerator
from ser_transfer.finetuning.averaging import Average
from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.schedule import Schedule
from ser_transfer.finetuning.settings import Optimisation


@pytest.mark.parametrize("kind", ["linear", "cosine", "constant"])
def test_the_rate_rises_to_its_height_and_never_rises_again(kind):
    schedule = Schedule(kind, 100, 0.1)
    factors = [schedule.factor(step) for step in range(100)]
    assert all(a < b for a, b in pairwise(factors[:11]))
    assert factors[10] == 1.0
    assert all(a >= b for a, b in pairwise(factors[10:]))
    assert factors[0] > 0


def test_the_falls_are_torchs():
    """Without a warm-up: torch's own cosine and linear schedulers, step by step."""
    for kind, make in (
        ("cosine", lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 50)),
        ("linear", lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, 50)),
    ):
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=3.0)
        theirs, ours = make(optimizer), Schedule(kind, 50, 0.0)
        for step in range(50):
            assert optimizer.param_groups[0]["lr"] == pytest.approx(3.0 * ours.factor(step), abs=1e-9)
            optimizer.step()
            theirs.step()


def test_every_group_keeps_its_own_height():
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (1.0, 0.1)]
    optimizer = torch.optim.SGD(groups)
    schedule = Schedule("linear", 10, 0.0)
    for step in (0, 5, 5, 9):
        schedule.apply(optimizer, step)
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == pytest.approx([schedule.factor(step), 0.1 * schedule.factor(step)])


def test_the_average_is_the_hand_worked_one_and_is_taken_back():
    network = nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(1.0)
    average = Average(network, 0.5)
    for step, value in enumerate((3.0, 5.0)):
        network.weight.data.fill_(value)
        average.update(network, step)
    # 1 → 1 + 0.9 · (3 - 1), as (1 + 0) / (10 + 0) = 0.1 is below 0.5; then 2 / 11
    first = 1 + 0.9 * 2
    assert float(average.state["weight"]) == pytest.approx(first + (1 - 2 / 11) * (5 - first))
    with average.in_place(network):
        assert float(network.weight.detach()) == pytest.approx(float(average.state["weight"]))
    assert float(network.weight.detach()) == 5.0


def test_what_is_frozen_is_not_averaged():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[0].requires_grad_(False)
    assert set(Average(network, 0.9).state) == {"1.weight", "1.bias"}


def test_processes_that_cannot_find_each_other_are_refused(tmp_path):
    """As accelerate starts them for GPUs where there are none; it keeps its state, so in a process apart."""
    script = (
        "from ser_transfer.finetuning.accelerated import make_accelerator\n"
        "from ser_transfer.finetuning.settings import Optimisation\n"
        "from pathlib import Path\n"
        "make_accelerator(Optimisation(), Path(), device='auto')\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "WORLD_SIZE": "2", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert "2 processes were launched, and accelerate runs 1" in answer.stderr


@pytest.mark.filterwarnings("ignore:.*no supported trackers:UserWarning")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device": "cuda:7"}, "auto, or cpu"),
        ({"tracker": "clearml"}, "pip install clearml"),
        ({"tracker": "x"}, "x"),
    ],
)
def test_a_device_or_tracker_that_is_not_here_is_said_in_a_line(options, said, tmp_path):
    with pytest.raises(FinetuneError, match=said):
        make_accelerator(Optimisation(), tmp_path, **options)
