"""The training loop: what it does to weights, what it keeps, and how it goes on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from toy import objective, run

from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.loop import InterruptedTraining, Validation
from ser_transfer.finetuning.state import States


def weights_of(network):
    return torch.cat([each.detach().flatten() for each in network.parameters()])


def stopping_at(number):
    """Ask this very process to stop, as a scheduler does, after a step."""

    def on_step(step):
        if step.step == number:
            os.kill(os.getpid(), signal.SIGTERM)

    return on_step


def test_training_learns_and_says_how_it_went(tmp_path):
    _network, _found, progress = run(tmp_path, max_epochs=8)
    assert progress.history[-1]["train_loss"] < 0.5 * progress.history[0]["train_loss"]
    assert [line["epoch"] for line in progress.history] == list(range(1, 9))
    assert progress.best_score == max(line["validation_uar"] for line in progress.history)


def test_the_weights_of_the_best_epoch_are_the_ones_left(tmp_path):
    """Worse and worse after a first good epoch: gradients are turned round from the second epoch on."""

    def backwards_later(network, batch):
        return objective(network, batch) * (1 if steps["done"] < steps["in_epoch"] else -1)

    steps = {"done": 0, "in_epoch": 0}

    def count(step):
        steps["done"] = step.step
        steps["in_epoch"] = step.n_steps // 3

    steps["in_epoch"] = 10**9
    _network, found, progress = run(tmp_path, max_epochs=3, objective=backwards_later, on_step=count)
    assert progress.best_epoch < 3
    uar = float((found.argmax(1) == np.arange(24) % 3).mean())
    assert uar == progress.best_score > progress.history[-1]["validation_uar"]


def test_without_validation_the_last_epoch_stands(tmp_path):
    _, _, progress = run(tmp_path, validates=False, max_epochs=3, patience=1)
    assert progress.epoch == progress.best_epoch == 3
    assert [line["validation_uar"] for line in progress.history] == [None] * 3


def test_patience_stops_a_training_that_no_longer_gains(tmp_path):
    _, _, progress = run(tmp_path, max_epochs=50, patience=2, learning_rate=1e-9)
    assert progress.epoch == progress.last_rise + 2 == 3


def test_of_epochs_with_equal_scores_the_one_of_lower_loss_is_kept(tmp_path):
    scores = iter([(0.5, 0.9), (0.6, 0.8), (0.3 + 0.3, 0.7), (0.6, 0.75), (0.5, 0.1)])

    def planted(network):
        weights.append(weights_of(network))
        score, loss = next(scores)
        return Validation(loss, score)

    weights = []
    network, _, progress = run(tmp_path, max_epochs=5, patience=10, validate=planted)
    assert (progress.best_epoch, progress.best_score, progress.best_loss) == (3, pytest.approx(0.6), 0.7)
    assert progress.last_rise == 2
    assert torch.equal(weights_of(network), weights[2])
    assert not torch.equal(weights[1], weights[2])


def test_a_limit_of_steps_holds_to_the_step(tmp_path):
    _, _, progress = run(tmp_path, max_steps=3, max_epochs=50)
    assert progress.step == 3


@pytest.mark.parametrize("optimizer_norm", [None, 0.1])
def test_accumulated_batches_make_the_step_of_one_large_batch(tmp_path, optimizer_norm):
    """Its mean over the clips of a step is no mean of the means of batches, whose sizes are not alike."""
    sizes = []

    def noting(network, batch):
        sizes.append(len(batch["target"]))
        return objective(network, batch)

    small, *_ = run(
        tmp_path / "a",
        accumulation=3,
        batch_seconds=32.0,
        max_steps=1,
        objective=noting,
        clip_norm=optimizer_norm,
    )
    large, *_ = run(
        tmp_path / "b", batch_seconds=100.0, max_steps=1, objective=noting, clip_norm=optimizer_norm
    )
    assert len(set(sizes[:-1])) > 1
    assert sum(sizes[:-1]) == sizes[-1] == 24
    torch.testing.assert_close(weights_of(small), weights_of(large), rtol=0, atol=1e-6)


@pytest.mark.parametrize("average", [0.0, 0.9])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_resumed_training_is_the_uninterrupted_one_to_the_bit(tmp_path, average, dropout):
    options = {"dropout": dropout, "average": average, "accumulation": 2, "max_epochs": 3}
    straight, found, progress = run(tmp_path / "straight", **options)

    for at in (1, progress.step // 2, progress.step // 3 * 2):
        folder = tmp_path / str(at)
        with pytest.raises(InterruptedTraining, match="--resume"):
            run(folder, on_step=stopping_at(at), **options)
        network, again, resumed = run(folder, resume=True, **options)
        assert torch.equal(weights_of(network), weights_of(straight))
        assert np.array_equal(again, found)
        assert [{**line, "seconds": 0} for line in resumed.history] == [
            {**line, "seconds": 0} for line in progress.history
        ]


def test_a_killed_training_goes_on_from_its_last_whole_state(tmp_path):
    """kill -9 while a state is being written: what is half there is passed over."""
    straight, _, _ = run(tmp_path / "straight")

    def die(step):
        if step.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", on_step=die, save_steps=2)
    (tmp_path / "killed" / "state-000000005.part").mkdir()
    network, _, _ = run(tmp_path / "killed", resume=True)
    assert torch.equal(weights_of(network), weights_of(straight))


def test_a_state_of_other_settings_is_not_taken_up(tmp_path):
    with pytest.raises(InterruptedTraining):
        run(tmp_path, on_step=stopping_at(1))
    with pytest.raises(FinetuneError, match=r"other settings.*seed"):
        run(tmp_path, resume=True, seed=7)


def test_only_the_last_state_and_the_best_weights_are_kept(tmp_path):
    _, _, progress = run(tmp_path, max_epochs=5)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"best-{progress.best_epoch:04d}.safetensors",
        f"state-{progress.step:09d}",
    ]
    States(tmp_path, {}).clear()
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_no_number_stops_and_leaves_the_last_good_state(tmp_path):
    def breaking(network, batch):
        loss = objective(network, batch)
        return loss.detach() * torch.nan + 0 * loss if steps["done"] == 4 else loss

    steps = {"done": 0}
    with pytest.raises(FinetuneError, match=r"step 5, .* a lower --learning-rate"):
        run(tmp_path, objective=breaking, save_steps=1, on_step=lambda step: steps.update(done=step.step))
    network, _, _ = run(tmp_path, resume=True)
    assert torch.isfinite(weights_of(network)).all()


def test_a_gradient_that_is_no_number_never_reaches_the_weights(tmp_path):
    def breaking(network, batch):
        loss = objective(network, batch)
        return loss + 0 * (network.dense.weight.sum() * 0).sqrt()  # finite, with an infinite slope times 0

    with pytest.raises(FinetuneError, match="gradient"):
        run(tmp_path, objective=breaking)


def test_a_batch_that_does_not_fit_names_the_setting_to_lower(tmp_path):
    def hungry(network, batch):
        torch.empty(10**15)
        return objective(network, batch)

    with pytest.raises(FinetuneError, match="lower --batch-seconds"):
        run(tmp_path, objective=hungry)


def test_the_average_of_the_weights_is_what_is_scored_and_kept(tmp_path):
    plain, _, _ = run(tmp_path / "plain", max_epochs=2, validates=False)
    averaged, _, _ = run(tmp_path / "averaged", max_epochs=2, validates=False, average=0.5)
    assert not torch.equal(weights_of(plain), weights_of(averaged))


def test_what_is_frozen_does_not_move(tmp_path):
    before = {}

    def freeze(network):
        network.dense.requires_grad_(False)
        before.update({name: value.clone() for name, value in network.dense.state_dict().items()})

    network, _, _ = run(tmp_path, change=freeze, average=0.9)
    assert all(torch.equal(value, before[name]) for name, value in network.dense.state_dict().items())


TWO_PROCESSES = """
import os
import sys
from pathlib import Path

import torch
from toy import run

from ser_transfer.finetuning import Optimisation, end_training, make_accelerator

folder, accumulation = sys.argv[1], int(sys.argv[2])
accelerator = make_accelerator(Optimisation(accumulation=accumulation), Path(folder), device="cpu")
assert accelerator.num_processes == 2
network, found, progress = run(folder, accelerator=accelerator, accumulation=accumulation)
if accelerator.is_main_process:
    kept = {"weights": network.state_dict(), "found": found, "history": progress.history}
    torch.save(kept, folder + "/out.pt")
end_training(accelerator)
if os.path.isdir("/proc/self/task"):  # Linux: no thread of the connections may outlive Python
    threads = [Path("/proc/self/task", task, "comm").read_text() for task in os.listdir("/proc/self/task")]
    assert not [name for name in threads if "gloo" in name], threads
"""


def test_two_processes_take_the_steps_of_one(tmp_path):
    one, found, progress = run(tmp_path / "one", accumulation=4)
    script = tmp_path / "two.py"
    script.write_text(TWO_PROCESSES)
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    answer = subprocess.run(
        [sys.executable, *launch, str(script), str(tmp_path / "two"), "2"],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    two = torch.load(tmp_path / "two" / "out.pt", weights_only=False)
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two["weights"][name], value, rtol=0, atol=1e-4)
    np.testing.assert_allclose(two["found"], found, atol=1e-4)
    for mine, theirs in zip(progress.history, two["history"], strict=True):
        assert theirs["train_loss"] == pytest.approx(mine["train_loss"], abs=1e-4)
