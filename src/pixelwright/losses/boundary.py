"""Boundary loss: what is predicted costs its distance to the true edge, less on the right side.

Paper: Kervadec et al., 2019, https://arxiv.org/abs/1812.07032, equation 5
Differs: distances run to the edge between two pixels, not to the first pixel beyond it; all classes
are summed, where the paper takes the foreground; pixels that are ignored make no edge.
"""

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from pixelwright.errors import RecipeError
from pixelwright.losses._loss import Loss, at_least_float32
from pixelwright.types import IGNORE


def boundary() -> Loss:
    """Build the boundary loss, to be added to one that looks at regions.

    Alone it has useless minima, such as no foreground at all, and it is in pixels: write
    `dice + 0.01*boundary` or `cross-entropy + 0.01*boundary`.
    """
    return boundary_loss


def boundary_loss(
    logits: Float[Tensor, "n k *hw"], target: Int[Tensor, "n *hw"]
) -> Float[Tensor, ""]:
    """Mean over the counted pixels of the signed distance that the prediction expects, in pixels.

    Below 0 where most of the prediction is on the right side of the edges.

    Args:
        logits: Scores before softmax.
        target: Class indices; `IGNORE` pixels count nowhere.

    Raises:
        RecipeError: Targets without height and width.
    """
    if target.ndim == 1:
        raise RecipeError(
            "The boundary loss looks at the edges in a mask, and a class index for a whole image "
            "has none. Take cross-entropy."
        )
    rows = target.reshape(len(target), -1, target.shape[-1]).cpu().numpy()
    distances = torch.from_numpy(np.stack([signed_distances(r, logits.shape[1]) for r in rows]))
    shares = at_least_float32(logits).softmax(dim=1)
    expected = (shares * distances.reshape(shares.shape).to(shares)).sum()
    return expected / (target != IGNORE).sum().clamp(min=1)


def signed_distances(target: Int[np.ndarray, "h w"], classes: int) -> Float32[np.ndarray, "k h w"]:
    """How far each pixel is outside of each class, in pixels, to the edge; below 0 inside.

    0 at pixels that are ignored, and for a class without an edge: one that is absent, or that has
    all counted pixels.
    """
    distances = np.zeros((classes, *target.shape), np.float32)
    counted = target != IGNORE
    present = np.unique(target[counted])
    if len(present) < 2:
        return distances
    to_class = np.stack(
        [
            cv2.distanceTransform(
                (target != label).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
            )
            for label in present
        ]
    )
    inside = to_class == 0
    # Inside of a class, the way out is the way to the nearest pixel of any other.
    way_out = np.where(inside, np.float32(np.inf), to_class).min(axis=0)
    signed = np.where(inside, 0.5 - way_out, to_class - 0.5)
    distances[present] = signed * counted
    return distances
