import numpy as np
import pytest
import scipy.stats
import torch

from ser_transfer.pooling import (
    LAGS,
    PERCENTILES,
    POOLINGS,
    PoolingError,
    functionals_pool,
    mean_pool,
    mean_std_pool,
    pool_side_by_side,
    pooled_dim,
)

LENGTHS = (5, 9, 1)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(len(LENGTHS), max(LENGTHS), 4, generator=generator) + 1000.0
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS).unsqueeze(1)
    return states.masked_fill(~mask.unsqueeze(-1), torch.nan), mask


def test_pooled_vectors_are_numpys_statistics_of_the_valid_frames(batch):
    states, mask = batch
    means, means_stds = mean_pool(states, mask).numpy(), mean_std_pool(states, mask).numpy()
    for row, n_frames in enumerate(LENGTHS):
        frames = states[row, :n_frames].double().numpy()
        np.testing.assert_allclose(means[row], frames.mean(0), rtol=1e-6)
        np.testing.assert_allclose(means_stds[row, 4:], frames.std(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", POOLINGS)
def test_what_stands_in_the_padding_never_reaches_the_embedding(name, batch):
    states, mask = batch
    together = POOLINGS[name](states, mask)
    alone = [POOLINGS[name](states[i : i + 1, :n], mask[i : i + 1, :n]) for i, n in enumerate(LENGTHS)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("name", POOLINGS)
def test_a_row_without_frames_is_refused(name):
    with pytest.raises(ValueError, match="no valid frame in row 1"):
        POOLINGS[name](torch.zeros(2, 3, 4), torch.tensor([[True] * 3, [False] * 3]))


@pytest.mark.parametrize("name", POOLINGS)
def test_a_mask_of_another_shape_is_refused(name):
    with pytest.raises(ValueError, match=r"\(2, 3, 4\) and \(2, 5\)"):
        POOLINGS[name](torch.zeros(2, 3, 4), torch.ones(2, 5, dtype=torch.bool))


@pytest.mark.parametrize("name", POOLINGS)
def test_the_size_of_a_pooled_vector_is_known_without_pooling(name, batch):
    assert POOLINGS[name](*batch).shape[1] == pooled_dim(name, batch[0].shape[2])


@pytest.mark.parametrize("name", POOLINGS)
def test_layers_pooled_side_by_side_are_those_pooled_alone(name, batch):
    states, mask = batch
    fewer = mask.clone()
    fewer[:2, 1] = False
    layers = (states, states[:, :, :1].cos(), states.sin(), states[:, :, 1:3])
    masks = (mask, fewer, mask.clone(), fewer)
    together = pool_side_by_side(name, layers, masks)
    for vectors, layer, its_mask in zip(together, layers, masks, strict=True):
        torch.testing.assert_close(vectors, POOLINGS[name](layer, its_mask), rtol=1e-5, atol=1e-3)


def test_an_unknown_pooling_is_refused_with_the_known_ones():
    with pytest.raises(PoolingError, match="'max'; known are mean, mean_std"):
        pooled_dim("max", 4)


def test_functionals_are_numpys_and_scipys_statistics_of_the_valid_frames():
    states = torch.randn(1, 60, 3, generator=torch.Generator().manual_seed(1)).cumsum(dim=1)
    mask = torch.ones(1, 60, dtype=torch.bool)
    mask[0, :7] = mask[0, 30:35] = mask[0, 58:] = False
    vector = functionals_pool(states, mask)[0].reshape(-1, 3).numpy()
    every, valid = states[0].double().numpy(), mask[0].numpy()
    frames, time = every[valid], np.flatnonzero(valid)
    steps = (every[1:] - every[:-1])[valid[1:] & valid[:-1]]
    expected = [
        frames.mean(0),
        frames.std(0),
        *np.percentile(frames, PERCENTILES, axis=0),
        np.polyfit(time, frames, 1)[0] * time.std(),
        [column[column > 0].mean() for column in steps.T],
        [column[column < 0].mean() for column in steps.T],
        scipy.stats.skew(frames),
        scipy.stats.kurtosis(frames, fisher=False),
    ]
    for lag in LAGS:
        pairs = valid[lag:] & valid[:-lag]
        expected.append(np.square((every[lag:] - every[:-lag])[pairs]).mean(0) / (2 * frames.var(0)))
    np.testing.assert_allclose(vector, expected, rtol=1e-3, atol=1e-4)


def test_functionals_of_a_constant_and_of_a_single_frame_are_finite():
    constant, single = torch.full((1, 40, 1), 7.0), torch.full((1, 1, 1), 7.0)
    for states in (constant, single):
        vector = functionals_pool(states, torch.ones(states.shape[:2], dtype=torch.bool))[0]
        assert torch.isfinite(vector).all()
        assert vector[[0, 2, 6]].tolist() == [7.0] * 3  # mean, extreme percentiles
        assert vector[[1, 7, 8, 9, 10, 11]].abs().max() < 1e-3  # nothing moves
