"""Generalised Dice: one overlap for all classes, in which small classes count for as much as large.

Paper: Sudre et al., 2017, https://arxiv.org/abs/1707.03237, equation 2
Differs: the weights are those of the batch; a class that is not in it has weight 0, not infinity,
and costs what it takes from the others.
"""

from functools import partial
from typing import Annotated

from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from pixelwright.losses._loss import Loss
from pixelwright.losses._overlap import overlap


def generalised_dice(*, power: Annotated[float, Field(ge=0)] = 2.0) -> Loss:
    """Build the generalised Dice loss.

    Args:
        power: A class weighs one over its pixels to this power: 2 as in the paper, 1 weighs every
            class alike, 0 every pixel.
    """
    return partial(generalised_dice_loss, power=power)


def generalised_dice_loss(
    logits: Float[Tensor, "n k *hw"], target: Int[Tensor, "n *hw"], *, power: float = 2.0
) -> Float[Tensor, ""]:
    """One minus twice the weighted overlap over the weighted sum of both regions; in [0, 1].

    Args:
        logits: Scores before softmax.
        target: Class indices; `IGNORE` pixels count nowhere.
        power: Of a class's pixels, by which it is divided.
    """
    hit, predicted, truth = (sums.sum(0) for sums in overlap(logits, target))
    present = truth > 0
    # Relative to the smallest class that there is: only ratios matter, and these stay in [0, 1].
    smallest = truth.where(present, truth.sum()).min()
    weights = (smallest / truth.clamp(min=1)) ** power * present
    both = (weights * (predicted + truth)).sum()
    # Without a counted pixel this is 0 / 1; else both hold at least the smallest class.
    return (both - 2 * (weights * hit).sum()) / both.clamp(min=1)
