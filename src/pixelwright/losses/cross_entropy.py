"""Cross-entropy over counted pixels: class weights, label smoothing, the hardest pixels only.

Paper: label smoothing, Szegedy et al., 2016, https://arxiv.org/abs/1512.00567, section 7;
hardest pixels, Wu et al., 2016, https://arxiv.org/abs/1605.06885
Differs: a batch without a counted pixel gives 0, not NaN; the hardest pixels are a share of those
of a batch, not a number for each image.
"""

import math
from functools import partial
from typing import Annotated

import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from pixelwright.losses._loss import ClassWeights, Loss, Weights, at_least_float32, weight_tensor
from pixelwright.types import IGNORE


def cross_entropy(
    classes: int,
    class_weights: ClassWeights,
    *,
    weights: Weights = "none",
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    hardest: Annotated[float, Field(gt=0, le=1)] = 1.0,
) -> Loss:
    """Build the cross-entropy.

    Args:
        classes: Number of classes.
        class_weights: Asked for the weights of a scheme.
        weights: How much a pixel of each class counts: a scheme, or a list with one per class.
        smoothing: Share of the target's certainty that is spread over all classes.
        hardest: Share of the counted pixels that are learnt from, those with the highest loss; 1 is
            all of them.
    """
    tensor = weight_tensor(weights, classes, class_weights)
    return partial(cross_entropy_loss, weights=tensor, smoothing=smoothing, hardest=hardest)


def cross_entropy_loss(
    logits: Float[Tensor, "n k *hw"],
    target: Int[Tensor, "n *hw"],
    *,
    weights: Float[Tensor, " k"] | None = None,
    smoothing: float = 0.0,
    hardest: float = 1.0,
) -> Float[Tensor, ""]:
    """Mean over the counted pixels of minus the log-probability of their class, in nats.

    With weights the mean is weighted: it is divided by the sum of the weights of the targets, so
    that the loss keeps its scale whatever classes a batch holds. Class weight 0 counts nowhere.

    Args:
        logits: Scores before softmax.
        target: Class indices; `IGNORE` pixels count nowhere.
        weights: One per class.
        smoothing: In [0, 1).
        hardest: In (0, 1]. Of the counted pixels this share is kept, rounded up, those with the
            highest loss, smoothed and weighted.
    """
    logits, target = at_least_float32(logits), target.long()
    counted = target != IGNORE
    share = counted
    if weights is not None:
        weights = weights.to(logits)
        share = weights[target.where(counted, 0)] * counted
        counted = share > 0
        target = target.where(counted, IGNORE)
    # Measured on a CPU: rows of pixels by classes take four times as long as this layout.
    total = F.cross_entropy(
        logits,
        target,
        weight=weights,
        ignore_index=IGNORE,
        reduction="sum" if hardest == 1 else "none",
        label_smoothing=smoothing,
    )
    if hardest < 1:
        kept = math.ceil(hardest * int(counted.sum()))
        highest, where = total.where(counted, -1.0).flatten().topk(kept, sorted=False)
        total, share = highest.sum(), share.flatten()[where]
    # The least clamp keeps 0 / 0 away where nothing counts.
    return total / share.sum().clamp(min=1 if weights is None else 1e-12)
