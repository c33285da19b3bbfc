"""wav2vec 2.0: telling a masked frame's quantised features from those of others (Baevski et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ser_transfer.encoders.front_ends import ListedFrontEnd
from ser_transfer.finetuning.pretraining.network import MaskedPrediction, ObjectiveNetwork

# The Gumbel softmax's temperature as published for the base model, https://arxiv.org/abs/2006.11477.
FIRST_TEMPERATURE, LAST_TEMPERATURE, DECAY = 2.0, 0.5, 0.999995


class Wav2Vec2Network(ObjectiveNetwork):
    """The objective of transformers' ``Wav2Vec2ForPreTraining``, clip by clip.

    Of the same masks and negatives it gives the same loss: contrastive, plus the diversity penalty, which is
    of the batch's masked frames together. What it leaves out is the work on frames that no loss reads, and
    the tensor of (frames, codevectors, dim) that the quantiser of transformers makes: 490 MB for a minute.

    Args:
        name: Where the model came from.
        model: A ``Wav2Vec2ForPreTraining``.
        front_end: Prepares its input.
    """

    objective = "wav2vec2"

    def __init__(self, name: str, model: Any, front_end: ListedFrontEnd) -> None:
        super().__init__(name, model, front_end)
        config = model.config
        self._n_groups, self._n_codes = config.num_codevector_groups, config.num_codevectors_per_group
        self._contrast_temperature: float = config.contrastive_logits_temperature
        self._diversity_weight: float = config.diversity_loss_weight
        self.n_negatives: int = config.num_negatives

    @property
    def core(self) -> Any:
        """The ``Wav2Vec2Model`` in the model."""
        return self.model.wav2vec2

    @property
    def temperature(self) -> float:
        """Of the Gumbel softmax, after the steps that were done."""
        return max(LAST_TEMPERATURE, FIRST_TEMPERATURE * DECAY ** int(self.n_steps))

    def head(self) -> list[nn.Module]:
        """List the quantiser and the two projections."""
        model = self.model
        return [model.quantizer, model.project_hid, model.project_q]

    def forward(self, inputs: Mapping[str, Tensor]) -> MaskedPrediction:
        """Predict the masked frames; ``targets`` are numbers of masked frames, (batch, masked, negatives)."""
        model = self.model
        mask, negatives = inputs["mask"], inputs["targets"]
        states, (_, features) = self._run(inputs)
        predicted = model.project_hid(states[mask])
        vectors, codes, shares = self._quantised(model.dropout_features(features[mask]))
        targets = model.project_q(vectors)

        n_masked = mask.sum(dim=1)
        is_masked = torch.arange(negatives.shape[1], device=mask.device) < n_masked.unsqueeze(1)
        with torch.autocast(mask.device.type, enabled=False):
            near = _unit(_laid_out(predicted.float(), is_masked))
            near = near @ _unit(_laid_out(targets.float(), is_masked)).transpose(1, 2)
            near = near / self._contrast_temperature
            by_clip = _laid_out(codes, is_masked)
            is_same = (by_clip.unsqueeze(2) == by_clip.unsqueeze(1)).all(dim=-1)
            # A negative that is quantised as the truth is would be no mistake to choose.
            of_negatives = near.gather(2, negatives).masked_fill(is_same.gather(2, negatives), float("-inf"))
            of_truth = near.diagonal(dim1=1, dim2=2).unsqueeze(2)
            logits = torch.cat([of_truth, of_negatives], dim=2)
            losses = -logits.log_softmax(dim=2)[:, :, 0]
            losses = torch.where(is_masked, losses, 0.0).sum(dim=1) / n_masked
            is_right = (logits.argmax(dim=2) == 0) & is_masked
            penalty = self._diversity_weight * self._unused(shares.mean(dim=0))
        usage = torch.zeros(len(mask), self._n_groups * self._n_codes, device=mask.device)
        if not self.training:
            usage.index_add_(0, mask.nonzero()[:, 0], shares.flatten(1))
        return MaskedPrediction(losses, is_right.sum(dim=1), n_masked, penalty, usage)

    def penalty_of(self, usage: Tensor, n_masked: int) -> tuple[float, float | None]:
        """Compute the diversity penalty over all clips, and the perplexity of the codes."""
        unused = self._unused(usage.view(self._n_groups, self._n_codes) / n_masked)
        n_all = self._n_groups * self._n_codes
        return self._diversity_weight * float(unused), n_all * (1 - float(unused))

    def _quantised(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Choose a code of each group for each frame.

        Returns:
            Codevectors of shape (frames, dim), codes of shape (frames, groups), and the softmax over each
            group's codes, float32 of shape (frames, groups, codes).
        """
        quantizer = self.model.quantizer
        logits = quantizer.weight_proj(features).view(len(features), self._n_groups, self._n_codes).float()
        if self.training:
            chosen = functional.gumbel_softmax(logits, tau=self.temperature, hard=True)
        else:
            chosen = functional.one_hot(logits.argmax(dim=2), self._n_codes).float()
        codebooks = quantizer.codevectors.view(self._n_groups, self._n_codes, -1)
        vectors = torch.einsum("fgc,gcd->fgd", chosen.type_as(codebooks), codebooks)
        return vectors.flatten(1), chosen.argmax(dim=2), logits.softmax(dim=2)

    def _unused(self, shares: Tensor) -> Tensor:
        """Compute the share of codes that are out of use, from mean shares of shape (groups, codes)."""
        perplexity = torch.exp(-torch.xlogy(shares, shares).sum(dim=1)).sum()
        unused: Tensor = 1 - perplexity / (self._n_groups * self._n_codes)
        return unused


def _laid_out(frames: Tensor, is_masked: Tensor) -> Tensor:
    """Lay out masked frames of shape (all, n) clip by clip: (batch, masked, n), zeros behind a clip's own."""
    laid_out = frames.new_zeros(*is_masked.shape, frames.shape[1])
    return laid_out.masked_scatter(is_masked.unsqueeze(2), frames)


def _unit(vectors: Tensor) -> Tensor:
    return functional.normalize(vectors, dim=2, eps=1e-8)  # torch.cosine_similarity's
