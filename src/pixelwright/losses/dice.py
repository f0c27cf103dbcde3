"""Soft Dice: the overlap of each class, whatever its share of the pixels.

Paper: Milletari et al., 2016, https://arxiv.org/abs/1606.04797
Differs: the denominator sums probabilities, not their squares; several classes, averaged; overlap
is summed over the whole batch before dividing.
"""

from functools import partial
from typing import Annotated

from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from pixelwright.losses._loss import Loss
from pixelwright.losses._overlap import overlap


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
    found = overlap(logits, target)
    hit, total = found.hit.sum(0), (found.predicted + found.truth).sum(0)
    return 1 - ((2 * hit + smooth) / (total + smooth)).mean()
