import pytest

from ser_transfer.encoders.frame_grid import FrameGrid

WAV2VEC2 = FrameGrid(hop=320, receptive_field=400, max_frames=1500)
KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)


def frames_of_convolutions(n_samples: int) -> int:
    for kernel, stride in zip(KERNELS, STRIDES, strict=True):
        n_samples = (n_samples - kernel) // stride + 1
    return n_samples


def test_frames_are_counted_as_the_convolutions_make_them():
    for n_samples in (400, 719, 720, 721, 16_000, 16_079, 480_123):
        assert WAV2VEC2.n_frames(n_samples) == frames_of_convolutions(n_samples)
    assert WAV2VEC2.n_frames(399) == 0


@pytest.mark.parametrize("grid", [WAV2VEC2, FrameGrid(320, 1, 1500), FrameGrid(1600, 2800, 101)])
@pytest.mark.parametrize("n_samples", [2_800, 480_000, 480_320, 480_400, 1_000_001, 57_600_000])
def test_the_frames_of_the_windows_are_the_frames_of_the_clip(grid, n_samples):
    windows = grid.windows(n_samples)
    n_frames = [grid.n_frames(window.stop - window.start) for window in windows]
    assert sum(n_frames) == grid.n_frames(n_samples)
    assert max(n_frames) <= grid.max_frames
    assert max(n_frames) - min(n_frames) <= 1
    assert (windows[0].start, windows[-1].stop) == (0, n_samples)
    firsts = [window.start // grid.hop for window in windows]
    assert firsts == [sum(n_frames[:i]) for i in range(len(windows))]
    assert all(window.start % grid.hop == 0 for window in windows)
