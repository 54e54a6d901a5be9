"""The paper's loss."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def weighted_bce(logits: Tensor, truth: Tensor, positive_weight: float) -> Tensor:
    """Mean of ``-(w y log p + (1 - y) log(1 - p))`` over labels and samples, p = sigmoid(logit).

    Weights w below 1 make a missed label cheaper than a wrong one: precision over recall
    (Sulun et al., 2024, §3.2.6, w = 0.25). Computed from logits, where no logarithm overflows.

    Args:
        logits: [B, C].
        truth: [B, C], 0 or 1.
        positive_weight: w.
    """
    return functional.binary_cross_entropy_with_logits(
        logits, truth.to(logits.dtype), pos_weight=logits.new_tensor(positive_weight)
    )
