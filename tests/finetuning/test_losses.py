import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import cross_entropy, one_hot

from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.losses import EmotionLoss, balanced_class_weights, supervised_contrastive
from ser_transfer.heads.sequence.losses import FocalLoss

N_CLASSES = 4
WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 1.5])


def drawn(n: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, N_CLASSES, generator=generator)
    return logits, torch.randint(N_CLASSES, (n,), generator=generator)


def certain(targets: torch.Tensor) -> torch.Tensor:
    return one_hot(targets, N_CLASSES).float()


def head_losses(logits, targets, gamma, smoothing, weights):
    """The loss of sequence heads, row by row: its mean over one row is that row's."""
    loss = FocalLoss(gamma, smoothing, weights)
    return torch.stack([loss(logits[i : i + 1], targets[i : i + 1]) for i in range(len(targets))])


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("kind", "gamma"), [("cross_entropy", 0.0), ("focal", 2.0), ("focal", 0.5)])
def test_of_a_certain_truth_it_is_the_loss_of_the_heads(kind, gamma, smoothing, weights):
    logits, targets = drawn()
    expected = head_losses(
        logits, targets, gamma, smoothing, torch.ones(N_CLASSES) if weights is None else weights
    )
    found = EmotionLoss(kind, gamma, smoothing, weights)(logits, certain(targets))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", ["cross_entropy", "focal"])
def test_a_mixed_truth_costs_what_its_parts_cost_in_their_shares(kind):
    logits, targets = drawn()
    others = (targets + 1) % N_CLASSES
    loss = EmotionLoss(kind, 2.0, 0.1, WEIGHTS)
    truth = 0.3 * certain(targets) + 0.7 * certain(others)
    expected = 0.3 * loss(logits, certain(targets)) + 0.7 * loss(logits, certain(others))
    torch.testing.assert_close(loss(logits, truth), expected)


def test_cross_entropy_of_a_soft_truth_is_torchs():
    logits, _ = drawn()
    truth = drawn(seed=1)[0].softmax(dim=1)
    expected = cross_entropy(logits, truth, weight=WEIGHTS, label_smoothing=0.2, reduction="none")
    torch.testing.assert_close(
        EmotionLoss(label_smoothing=0.2, class_weights=WEIGHTS)(logits, truth), expected
    )


def test_gamma_means_nothing_to_cross_entropy():
    logits, targets = drawn()
    plain = EmotionLoss("cross_entropy", gamma=5.0)(logits, certain(targets))
    torch.testing.assert_close(plain, cross_entropy(logits, targets, reduction="none"))


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_the_focal_loss_of_a_certain_answer_has_a_finite_gradient(gamma):
    logits = torch.tensor([[1000.0, 0.0, 0.0, 0.0], [0.0, 1000.0, 0.0, 0.0]], requires_grad=True)
    EmotionLoss("focal", gamma)(logits, certain(torch.tensor([0, 0]))).sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_losses_are_float32_under_autocast_and_of_bfloat16_logits():
    logits, targets = drawn()
    half = logits.bfloat16()
    loss = EmotionLoss("focal", class_weights=WEIGHTS)
    expected = loss(half.float(), certain(targets)), supervised_contrastive(half.float(), targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(half, certain(targets)), supervised_contrastive(half, targets)
    for ours, exact in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, exact, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"kind": "hinge"}, "focal"), ({"gamma": -1.0}, "gamma"), ({"label_smoothing": 1.0}, "label_smoothing")],
)
def test_a_setting_out_of_range_is_refused_by_its_name(settings, named):
    with pytest.raises(FinetuneError, match=named):
        EmotionLoss(**settings)


def test_class_weights_are_scikit_learns_and_0_for_a_class_that_is_absent():
    targets = np.array([0, 0, 0, 2, 2, 3])
    weights = balanced_class_weights(targets, N_CLASSES)
    expected = compute_class_weight("balanced", classes=np.array([0, 2, 3]), y=targets)
    assert weights.dtype == torch.float32
    np.testing.assert_allclose(weights[[0, 2, 3]], expected, rtol=1e-6)
    assert weights[1] == 0
    assert weights[targets].mean() == pytest.approx(1.0)


def contrastive_by_hand(embeddings, targets, temperature):
    """Equation 2 of Khosla et al., one term after the other."""
    rows = embeddings.astype(np.float64)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    losses = []
    for i in range(len(rows)):
        others = [a for a in range(len(rows)) if a != i]
        positives = [p for p in others if targets[p] == targets[i]]
        denominator = sum(np.exp(rows[i] @ rows[a] / temperature) for a in others)
        terms = [np.log(np.exp(rows[i] @ rows[p] / temperature) / denominator) for p in positives]
        losses.append(-np.mean(terms) if terms else 0.0)
    return losses


@pytest.mark.parametrize("temperature", [0.1, 0.7])
def test_the_contrastive_loss_is_that_of_the_paper(temperature):
    rng = np.random.default_rng(0)
    embeddings = (5 * rng.normal(size=(11, 6))).astype(np.float32)
    targets = np.array([0, 0, 0, 1, 1, 2, 1, 3, 0, 4, 4])  # 2 and 3 are alone, 4 is a pair
    found = supervised_contrastive(torch.from_numpy(embeddings), torch.from_numpy(targets), temperature)
    np.testing.assert_allclose(found, contrastive_by_hand(embeddings, targets, temperature), rtol=1e-4)
    assert found[5] == found[7] == 0


def test_zeros_and_a_row_alone_have_finite_contrastive_gradients():
    embeddings = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    embeddings[0] = embeddings[2] = 0.0
    embeddings[3] = 1e-20
    for given, targets in (
        (embeddings, torch.tensor([0, 0, 1, 1, 0])),
        (torch.zeros(3, 4), torch.tensor([1, 1, 1])),
        (torch.ones(1, 4), torch.tensor([1])),
    ):
        rows = given.clone().requires_grad_()
        losses = supervised_contrastive(rows, targets)
        losses.sum().backward()
        assert torch.isfinite(losses).all()
        assert rows.grad.abs().max() < 1e3


def test_the_contrastive_loss_draws_a_class_together():
    embeddings = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    targets = torch.tensor([0, 1] * 4)
    optimizer = torch.optim.Adam([embeddings], lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        supervised_contrastive(embeddings, targets).mean().backward()
        optimizer.step()
    rows = torch.nn.functional.normalize(embeddings.detach(), dim=1)
    cosines = rows @ rows.T
    same = targets.unsqueeze(0) == targets.unsqueeze(1)
    assert cosines[same].min() > cosines[~same].max() + 0.5
