"""Focal loss: cross-entropy that fades where the answer is already right.

Paper: Lin et al., 2017, https://arxiv.org/abs/1708.02002, equation 5
Differs: softmax over classes in place of one sigmoid; the mean is over counted pixels.
"""

from functools import partial
from typing import Annotated

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from pixelwright.losses._loss import ClassWeights, Loss, Weights, at_least_float32, weight_tensor
from pixelwright.types import IGNORE


def focal(
    classes: int,
    class_weights: ClassWeights,
    *,
    gamma: Annotated[float, Field(ge=0)] = 2.0,
    weights: Weights = "none",
) -> Loss:
    """Build the focal loss.

    Args:
        classes: Number of classes.
        class_weights: Asked for the weights of a scheme.
        gamma: How fast easy pixels fade; 0 is cross-entropy.
        weights: How much a pixel of each class counts: a scheme, or a list with one per class.
    """
    tensor = weight_tensor(weights, classes, class_weights)
    return partial(focal_loss, gamma=gamma, weights=tensor)


def focal_loss(
    logits: Float[Tensor, "n k *hw"],
    target: Int[Tensor, "n *hw"],
    *,
    gamma: float = 2.0,
    weights: Float[Tensor, " k"] | None = None,
) -> Float[Tensor, ""]:
    """Mean over the counted pixels of `-(1 - p) ** gamma * log(p)`, `p` being the target's share.

    With weights the mean is weighted, as in `cross_entropy_loss`.

    Args:
        logits: Scores before softmax.
        target: Class indices; `IGNORE` pixels count nowhere.
        gamma: At least 0.
        weights: One per class.
    """
    counted = target != IGNORE
    known = target.long().where(counted, 0)
    log_p = at_least_float32(logits).log_softmax(dim=1).gather(1, known.unsqueeze(1)).squeeze(1)
    # Below gamma 1 the power has no slope at 0: the clamp keeps it away from there.
    missing = (-torch.expm1(log_p)).clamp(min=1e-12)
    share = counted.to(log_p) if weights is None else weights.to(log_p)[known] * counted
    return -(share * missing**gamma * log_p).sum() / share.sum().clamp(min=1e-12)
