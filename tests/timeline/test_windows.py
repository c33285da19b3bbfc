import tracemalloc

import numpy as np
import pytest

from ser_transfer.timeline.windows import windows, windows_at

RNG = np.random.default_rng(0)


def in_blocks(recording: np.ndarray, seed: int) -> list[np.ndarray]:
    """The recording in pieces of random lengths, some of them empty."""
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.integers(0, len(recording) + 1, rng.integers(0, 12)))
    return np.split(recording, cuts)


def cases(n: int):
    for seed in range(n):
        rng = np.random.default_rng(seed)
        n_window = int(rng.integers(1, 40))
        yield int(rng.integers(1, 200)), n_window, int(rng.integers(1, n_window + 1)), seed


def test_windows_cover_every_sample_and_hold_what_stands_there():
    for n_samples, n_window, n_hop, seed in cases(100):
        recording = RNG.normal(size=n_samples).astype(np.float32)
        found = list(windows(in_blocks(recording, seed), n_window, n_hop))
        covered = np.zeros(n_samples, bool)
        for window in found:
            np.testing.assert_array_equal(window.waveform, recording[window.start : window.end])
            covered[window.start : window.end] = True
        assert covered.all()
        assert found[0].start == 0
        assert found[-1].end == n_samples


def test_windows_stand_a_hop_apart_and_only_the_last_is_moved_back():
    for n_samples, n_window, n_hop, seed in cases(100):
        found = list(windows(in_blocks(np.ones(n_samples, np.float32), seed), n_window, n_hop))
        starts = [window.start for window in found]
        assert starts[:-1] == list(range(0, n_hop * (len(found) - 1), n_hop))
        assert len(found) == 1 or 0 < starts[-1] - starts[-2] <= n_hop
        assert {len(window.waveform) for window in found} == {min(n_window, n_samples)}


def test_ten_samples_in_windows_of_four_by_three_by_hand():
    found = list(windows([np.arange(7.0), np.arange(7.0, 11.0)], 4, 3))
    assert [window.start for window in found] == [0, 3, 6, 7]


def test_a_recording_without_samples_has_no_windows():
    assert list(windows([], 4, 2)) == []
    assert list(windows([np.zeros(0, np.float32)], 4, 2)) == []


def test_no_more_than_a_window_and_a_block_is_held():
    held_back = []

    def blocks():
        for number in range(50):
            held_back.append(len(answered))
            yield np.full(100, number, np.float32)

    answered: list[int] = []
    for window in windows(blocks(), 200, 50):
        answered.append(window.start)
    # Before the next block is drawn, every window that lies in the blocks so far has been given out.
    assert held_back == [max(0, (100 * number - 200) // 50 + 1) if number >= 2 else 0 for number in range(50)]


@pytest.mark.parametrize("n_hop", [0, 5, -1])
def test_a_hop_of_nothing_or_over_sound_is_refused(n_hop):
    with pytest.raises(ValueError, match="hop"):
        list(windows([np.ones(9, np.float32)], 4, n_hop))


def test_windows_that_are_asked_for_hold_what_stands_there():
    for n_samples, n_window, _, seed in cases(100):
        if n_samples < n_window:
            continue
        recording = RNG.normal(size=n_samples).astype(np.float32)
        rng = np.random.default_rng(seed)
        starts = sorted(rng.integers(0, n_samples - n_window + 1, 7).tolist())
        found = list(windows_at(in_blocks(recording, seed), starts, n_window))
        assert [window.start for window in found] == starts
        for window in found:
            np.testing.assert_array_equal(window.waveform, recording[window.start : window.start + n_window])


def test_nothing_is_read_beyond_the_last_window_that_is_asked_for():
    drawn = []

    def blocks():
        for number in range(10):
            drawn.append(number)
            yield np.zeros(100, np.float32)

    assert len(list(windows_at(blocks(), [0, 150], 50))) == 2
    assert drawn == [0, 1, 2]


def test_what_lies_between_windows_that_are_asked_for_is_not_held():
    blocks = (np.zeros(100_000, np.float32) for _ in range(100))
    tracemalloc.start()
    found = [window.start for window in windows_at(blocks, [0, 9_900_000], 50)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == [0, 9_900_000]
    assert peak < 4e6  # the recording is 40 MB
