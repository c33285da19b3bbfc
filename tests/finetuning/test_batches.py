from collections import Counter

import numpy as np
import pytest
from accelerate.data_loader import BatchSamplerShard, prepare_data_loader
from accelerate.state import AcceleratorState, GradientState
from torch.utils.data import DataLoader, Dataset

from ser_transfer.finetuning.batches import Draw, StepPlan
from ser_transfer.finetuning.errors import FinetuneError


def lengths(n: int, seed: int = 0) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).lognormal(np.log(3.5), 0.5, n), 0.5, 20.0)


def steps_of(plan: StepPlan, n_micro: int) -> list[list[list[Draw]]]:
    batches = list(plan)
    assert len(batches) % n_micro == 0
    return [batches[i : i + n_micro] for i in range(0, len(batches), n_micro)]


def rows_of(batches) -> list[int]:
    return [draw.row for batch in batches for draw in batch]


def random_plans(n: int):
    """Plans over whatever may be asked for, with the lengths and settings that they were made of."""
    rng = np.random.default_rng(1)
    for seed in range(n):
        n_micro = int(rng.integers(1, 9))
        seconds = lengths(int(rng.integers(n_micro, 120)), seed)
        if seed % 3 == 0:
            seconds = np.round(seconds)  # ties
        batch_seconds = float(seconds.max() * rng.choice([1.0, 1.5, 4.0, 50.0]))
        max_clips = None if seed % 2 else int(rng.integers(1, 9))
        plan = StepPlan(seconds, batch_seconds=batch_seconds, n_micro=n_micro, seed=seed, max_clips=max_clips)
        plan.begin_epoch(seed)
        yield plan, seconds, n_micro, batch_seconds, max_clips


def test_no_batch_is_empty_or_beyond_its_seconds_and_clips():
    for plan, seconds, _, batch_seconds, max_clips in random_plans(150):
        for batch in plan:
            longest = max(seconds[draw.row] for draw in batch)
            assert 1 <= len(batch) <= (max_clips or len(seconds))
            assert len(batch) * longest <= batch_seconds


def test_every_clip_comes_once_an_epoch_and_again_only_to_fill_the_last_step():
    n_repeated = 0
    for plan, seconds, n_micro, _, _ in random_plans(150):
        batches = list(plan)
        counts = Counter(rows_of(batches))
        assert set(counts) == set(range(len(seconds)))
        n_more = sum(counts.values()) - len(seconds)
        assert max(counts.values()) <= 2
        assert n_more < n_micro
        if n_more:
            n_repeated += 1
            assert len(batches) > len(seconds)  # even a batch for each clip is not enough
        repeats = Counter((draw.row, draw.repeat) for batch in batches for draw in batch)
        assert set(repeats.values()) == {1}
    assert n_repeated  # the case was there


def test_every_step_has_its_micro_batches_and_says_how_many_clips():
    for plan, _, n_micro, _, _ in random_plans(60):
        steps = steps_of(plan, n_micro)
        assert len(plan) == len(steps) * n_micro
        for step in steps:
            n_clips = sum(map(len, step))
            assert {draw.n_in_step for batch in step for draw in batch} == {n_clips}


def test_seed_and_epoch_alone_decide():
    def plan_of(seed: int) -> StepPlan:
        return StepPlan(lengths(80), batch_seconds=30, n_micro=2, seed=seed)

    used, fresh, other = plan_of(3), plan_of(3), plan_of(4)
    used.begin_epoch(0)
    first = list(used)
    used.n_steps(7)
    used.begin_epoch(5)
    fresh.begin_epoch(5)
    other.begin_epoch(5)
    assert list(used) == list(fresh)
    assert list(used) == list(used)
    assert [rows_of([batch]) for batch in used] != [rows_of([batch]) for batch in first]
    assert list(other) != list(fresh)
    assert {draw.epoch for batch in used for draw in batch} == {5}


def test_companions_change_from_epoch_to_epoch():
    plan = StepPlan(lengths(400), batch_seconds=40)

    def pairs(epoch: int) -> set[tuple[int, int]]:
        plan.begin_epoch(epoch)
        return {(a, b) for rows in (rows_of([batch]) for batch in plan) for a in rows for b in rows if a < b}

    first, second = pairs(0), pairs(1)
    assert len(first & second) < 0.5 * len(first)


def test_little_of_a_batch_is_padding_and_steps_are_not_sorted_by_length():
    seconds = lengths(2000)
    batches = [seconds[rows_of([batch])] for batch in StepPlan(seconds, batch_seconds=80)]
    padded = sum(len(batch) * batch.max() for batch in batches)
    assert seconds.sum() / padded > 0.93
    means = np.array([batch.mean() for batch in batches])
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3


def test_no_step_is_left_with_a_few_clips():
    for n in range(33, 64):
        sizes = sorted(len(batch) for batch in StepPlan(np.full(n, 2.0), batch_seconds=32))
        assert sizes[0] >= 8  # of 16 that fit; a rest alone would have 1 to 15


def test_resuming_gives_the_tail_of_the_epoch():
    plan = StepPlan(lengths(90), batch_seconds=25, n_micro=3, seed=2)
    plan.begin_epoch(4)
    whole = list(plan)
    n_steps = plan.n_steps(4)
    for skipped in range(n_steps + 1):
        resumed = StepPlan(lengths(90), batch_seconds=25, n_micro=3, seed=2)
        resumed.begin_epoch(4, skip_steps=skipped)
        assert list(resumed) == whole[3 * skipped :]
        assert len(resumed) == len(whole) - 3 * skipped
    with pytest.raises(FinetuneError, match=f"{n_steps} steps"):
        plan.begin_epoch(4, skip_steps=n_steps + 1)


def test_an_epoch_can_end_early():
    plan = StepPlan(lengths(90), batch_seconds=25, n_micro=3)
    whole = list(plan)
    plan.begin_epoch(0, skip_steps=1, n_steps=2)
    assert list(plan) == whole[3:9]
    assert len(plan) == 6
    plan.begin_epoch(0, n_steps=10_000)
    assert list(plan) == whole


def test_steps_of_any_epoch_are_counted_without_moving_to_it():
    plan = StepPlan(lengths(200), batch_seconds=30, n_micro=2)
    plan.begin_epoch(1, skip_steps=2)
    before = list(plan)
    counted = [plan.n_steps(epoch) for epoch in range(6)]
    assert list(plan) == before
    for epoch, n_steps in enumerate(counted):
        plan.begin_epoch(epoch)
        assert len(list(plan)) == 2 * n_steps


def test_balanced_epochs_hold_every_class_equally_often():
    targets = np.array([0] * 40 + [1] * 10 + [3] * 7)  # no clip of class 2
    plan = StepPlan(lengths(57), batch_seconds=30, targets=targets, balanced=True)
    counts = Counter(rows_of(plan))
    assert set(counts) == set(range(57))
    of_class = {code: sum(counts[row] for row in np.flatnonzero(targets == code)) for code in (0, 1, 3)}
    assert of_class == {0: 40, 1: 40, 3: 40}
    drawn = [(draw.row, draw.repeat) for batch in plan for draw in batch]
    assert len(set(drawn)) == len(drawn)
    assert all(sorted(r for row, r in drawn if row == each) == list(range(counts[each])) for each in counts)


@pytest.mark.parametrize("even_batches", [False, True])
@pytest.mark.parametrize("batch_seconds", [20.0, 30.0, 500.0])
def test_two_processes_with_accumulation_2_take_the_steps_of_one_with_4(batch_seconds, even_batches):
    def shards(n_processes: int) -> list[list[list[Draw]]]:
        plans = [StepPlan(lengths(70), batch_seconds=batch_seconds, n_micro=4) for _ in range(n_processes)]
        made = [
            BatchSamplerShard(plan, num_processes=n_processes, process_index=i, even_batches=even_batches)
            for i, plan in enumerate(plans)
        ]
        assert all(len(shard) == len(plans[0]) // n_processes for shard in made)
        return [list(shard) for shard in made]

    (alone,), pair = shards(1), shards(2)
    n_steps = len(alone) // 4
    assert len(pair[0]) == len(pair[1]) == 2 * n_steps
    for step in range(n_steps):
        of_one = alone[4 * step : 4 * step + 4]
        of_two = [batch for own in pair for batch in own[2 * step : 2 * step + 2]]
        assert sorted(of_one) == sorted(of_two)


class Asked(Dataset):
    """Gives back what it is asked for."""

    def __len__(self) -> int:
        return 70

    def __getitem__(self, draw: Draw) -> Draw:
        return draw


@pytest.fixture
def _accelerate_as_it_was():
    yield
    GradientState._reset_state()
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("_accelerate_as_it_was")
@pytest.mark.parametrize("n_processes", [1, 2])
def test_a_prepared_loader_follows_the_plan_when_a_training_is_resumed(n_processes):
    """accelerate calls ``set_epoch`` of a batch sampler that has one, with its own count from 0."""
    plan = StepPlan(lengths(70), batch_seconds=25, n_micro=2)
    loader = prepare_data_loader(
        DataLoader(Asked(), batch_sampler=plan, collate_fn=list),
        num_processes=n_processes,
        process_index=n_processes - 1,
        even_batches=False,
    )
    for epoch, skipped in ((3, 2), (4, 0)):
        plan.begin_epoch(epoch, skip_steps=skipped)
        expected = list(plan)[n_processes - 1 :: n_processes]
        assert list(loader) == expected


@pytest.mark.parametrize(
    ("seconds", "settings", "named"),
    [
        ([2.0, 31.0], {"batch_seconds": 30}, "batch_seconds.*crop_seconds"),
        ([2.0, float("nan")], {"batch_seconds": 30}, "batch_seconds"),
        ([2.0, 2.0], {"batch_seconds": 30, "n_micro": 3}, "2 training clips.*3 micro-batches"),
        ([], {"batch_seconds": 30}, "0 training clips"),
        ([2.0], {"batch_seconds": 30, "max_clips": 0}, "max_clips"),
    ],
)
def test_what_cannot_be_planned_is_refused_by_the_setting(seconds, settings, named):
    with pytest.raises(FinetuneError, match=named):
        StepPlan(seconds, **settings)
