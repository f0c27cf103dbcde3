"""Tversky: Dice with a price of its own for what is missed and for what is claimed wrongly.

Paper: Salehi et al., 2017, https://arxiv.org/abs/1706.05721, equation 4;
focal Tversky, Abraham and Khan, 2019, https://arxiv.org/abs/1810.07842, equation 4
Differs: several classes, averaged; sums are taken over the whole batch before dividing.
"""

from functools import partial
from typing import Annotated

from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from pixelwright.losses._loss import Loss
from pixelwright.losses._overlap import overlap


def tversky(
    *,
    alpha: Annotated[float, Field(ge=0)] = 0.3,
    beta: Annotated[float, Field(ge=0)] = 0.7,
    gamma: Annotated[float, Field(gt=0)] = 1.0,
    smooth: Annotated[float, Field(gt=0)] = 1.0,
) -> Loss:
    """Build the Tversky loss; alpha = beta = 0.5 is the Dice loss.

    Args:
        alpha: Price of a pixel claimed wrongly.
        beta: Price of a pixel missed. Above alpha, it raises recall.
        gamma: Each class's loss is raised to 1 / gamma: focal Tversky, whose paper takes 4/3.
        smooth: Pixels added above and below each class's fraction, above 0, as in `dice`.
    """
    return partial(tversky_loss, alpha=alpha, beta=beta, gamma=gamma, smooth=smooth)


def tversky_loss(
    logits: Float[Tensor, "n k *hw"],
    target: Int[Tensor, "n *hw"],
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 1.0,
    smooth: float = 1.0,
) -> Float[Tensor, ""]:
    """Priced errors over the overlap and the priced errors, averaged over classes; in [0, 1].

    Args:
        logits: Scores before softmax.
        target: Class indices; `IGNORE` pixels count nowhere.
        alpha: Price of a pixel claimed wrongly.
        beta: Price of a pixel missed.
        gamma: The inverse of the power to which each class's loss is raised.
        smooth: Added above and below the fraction, which is written as twice the overlap over the
            sum of both regions.
    """
    hit, predicted, truth = (sums.sum(0) for sums in overlap(logits, target))
    errors = 2 * (alpha * (predicted - hit) + beta * (truth - hit))
    missing = (errors / (2 * hit + errors + smooth)).clamp(min=0)
    if gamma != 1:
        # The power may have no slope at 0, where a class is absent or perfect: leave that out.
        lacking = missing > 0
        missing = missing.where(lacking, 1.0) ** (1 / gamma) * lacking
    return missing.mean()
