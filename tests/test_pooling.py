import numpy as np
import pytest
import torch

from ser_transfer.pooling import POOLINGS, PoolingError, mean_pool, mean_std_pool, pooled_dim

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


def test_an_unknown_pooling_is_refused_with_the_known_ones():
    with pytest.raises(PoolingError, match="'max'; known are mean, mean_std"):
        pooled_dim("max", 4)
