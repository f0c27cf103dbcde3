"""Soft Dice: the overlap of each class, whatever its share of the pixels.

Paper: Milletari et al., 2016, https://arxiv.org/abs/1606.04797
Differs: the denominator sums probabilities, not their squares; several classes, averaged; overlap
is summed over the whole batch before dividing.
"""

from functools import partial
from typing import Annotated

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from pixelwright.losses._loss import Loss, at_least_float32
from pixelwright.types import IGNORE


def dice(*, smooth: Annotated[float, Field(gt=0)] = 1.0) -> Loss:
    """Build the soft Dice loss.

    Args:
        smooth: Pixels added above and below each class's fraction, above 0.
    """
    return partial(dice_loss, smooth=smooth)


def dice_loss(
    logits: Float[Tensor, "n k *hw"], target: Int[Tensor, "n *hw"], *, smooth: float = 1.0
) -> Float[Tensor, ""]:
    """One minus the soft Dice score, averaged over classes; in [0, 1].

    An image that lacks a class does not pull that class's score to zero, because sums are taken
    over the batch first.

    Args:
        logits: Scores before softmax.
        target: Class indices; `IGNORE` pixels count nowhere.
        smooth: Added above and below the fraction, in pixels. A class absent from both prediction
            and target then scores 1 and adds nothing to the loss.
    """
    classes = logits.shape[1]
    labels = torch.arange(classes, device=target.device).reshape(-1, *[1] * (target.ndim - 1))
    # Truth values, not `one_hot`: its int64 takes eight times the memory and twice the time. An
    # `IGNORE` pixel equals no label.
    truth = target.unsqueeze(1) == labels
    prediction = at_least_float32(logits).softmax(dim=1) * (target != IGNORE).unsqueeze(1)

    pixels = (0, *range(2, logits.ndim))
    overlap = (prediction * truth).sum(pixels)
    total = prediction.sum(pixels) + truth.sum(pixels)
    return 1 - ((2 * overlap + smooth) / (total + smooth)).mean()
