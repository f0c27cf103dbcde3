"""How far the softmax of logits covers each class: what every region loss is computed from.

Written out, forward and backward, because a small network spends much of its training step here:
fewer passes over the full-size probabilities than autograd makes, and on a CPU image by image, so
that each pass finds its numbers in the cache.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pixelwright.types import IGNORE


class Overlap(NamedTuple):
    """Sums over the counted pixels of each image, in pixels."""

    hit: Float[Tensor, "n k"]
    """Of the probability of the class where it is the target."""
    predicted: Float[Tensor, "n k"]
    """Of the probability of the class."""
    truth: Float[Tensor, "n k"]
    """Of the targets of the class."""


def overlap(logits: Float[Tensor, "n k *hw"], target: Int[Tensor, "n *hw"]) -> Overlap:
    """Sum up how prediction and target overlap; `IGNORE` pixels count nowhere.

    Args:
        logits: Scores before softmax.
        target: Class indices.
    """
    return Overlap(*_SoftmaxOverlap.apply(logits, target))


class _SoftmaxOverlap(torch.autograd.Function):
    """With p the softmax, t the target: hit_c = sum p_c [t = c], predicted_c = sum p_c.

    For the slopes a of predicted and b of hit, each pixel's logits get
    p_c (a_c - a·p - b_t p_t) + [t = c] b_t p_t.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        n, k = logits.shape[:2]
        target = target.reshape(n, 1, -1).long()
        counted = target != IGNORE
        known = target.where(counted, 0)
        planes = logits.detach().reshape(n, k, -1)
        share = torch.empty(
            planes.shape,
            dtype=torch.promote_types(logits.dtype, torch.float32),
            device=logits.device,
        )
        of_target = share.new_empty(known.shape)
        hit, predicted, truth = share.new_empty(3, n, k)
        for part in _parts(share):
            p = share[part]
            p.copy_(planes[part])
            torch.softmax(p, 1, out=p)
            p *= counted[part]
            torch.gather(p, 1, known[part], out=of_target[part])
            predicted[part] = p.sum(-1)
            hit[part] = _by_class(of_target[part], known[part], k)
            truth[part] = _by_class(counted[part].to(p), known[part], k)
        ctx.save_for_backward(share, known, of_target)
        ctx.like = logits
        ctx.mark_non_differentiable(truth)
        return hit, predicted, truth

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_hit: Tensor, of_predicted: Tensor, _: Tensor) -> tuple[Tensor, None]:
        share, known, of_target = ctx.saved_tensors
        n, k = share.shape[:2]
        slope = torch.empty_like(ctx.like)
        planes = slope.reshape(n, k, -1) if slope.is_contiguous() else torch.empty_like(share)
        for part in _parts(share):
            p = share[part]
            pull = of_hit[part].gather(1, known[part].squeeze(1)).unsqueeze(1) * of_target[part]
            mean = of_predicted[part].unsqueeze(1) @ p + pull
            rise = of_predicted[part].unsqueeze(2) - mean
            rise *= p
            planes[part] = rise.scatter_add_(1, known[part], pull)
        if not slope.is_contiguous():
            slope.copy_(planes.reshape(slope.shape))
        return slope, None


def _parts(share: Tensor) -> list[slice]:
    """Image by image on a CPU, whose cache holds one; all at once on a GPU, which would wait."""
    step = 1 if share.device.type == "cpu" else max(share.shape[0], 1)
    # Images without pixels are a batch of classified ones: no reason to go one by one.
    if share.shape[2] == 1:
        step = max(share.shape[0], 1)
    return [slice(start, start + step) for start in range(0, share.shape[0], step)]


def _by_class(values: Tensor, known: Tensor, k: int) -> Tensor:
    """Sums of `values` of equal class: "n 1 hw" to "n k"."""
    if values.device.type == "cpu" and values.shape[0] == 1:
        # One pass, added in double: a float32 sum one after the other loses digits.
        sums = torch.bincount(known.flatten(), weights=values.flatten().double(), minlength=k)
        return sums[None].to(values)
    # Adding by index is not deterministic on a GPU; a masked sum is.
    labels = torch.arange(k, device=known.device).reshape(1, k, 1)
    return (values * (known == labels)).sum(-1)
