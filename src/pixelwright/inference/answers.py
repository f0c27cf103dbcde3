"""What is made of logits: classes, probabilities, and how unsure the networks are.

Paper: entropy of the mean, and mutual information as the disagreement of members, Gal et al., 2017,
https://arxiv.org/abs/1703.02910, equation 2 (BALD); means of probabilities, Lakshminarayanan et
al., 2017, https://arxiv.org/abs/1612.01474
Differs: divided by the logarithm of the number of classes, so that 1 is the most there can be.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt, UInt8
from torch import Tensor

Extra = Literal["probabilities", "entropy", "disagreement"]

MOST_UNSURE = 254
"""What 1 becomes in the 8 bits of entropy and disagreement; 255 is left for pixels without data."""


@dataclass(frozen=True)
class Answer:
    """Of one window.

    Args:
        labels: The most likely class.
        probabilities: Parts of 255; None if not asked for.
        entropy: Of the mean probabilities, 0 to `MOST_UNSURE`; None if not asked for.
        disagreement: Between members and views, 0 to `MOST_UNSURE`; None if not asked for.
    """

    labels: UInt[np.ndarray, "h w"]
    probabilities: UInt8[np.ndarray, "k h w"] | None = None
    entropy: UInt8[np.ndarray, "h w"] | None = None
    disagreement: UInt8[np.ndarray, "h w"] | None = None


def answer(logits: Sequence[Float[Tensor, "k h w"]], extras: Collection[Extra] = ()) -> Answer:
    """The answer of one network, or the mean of several.

    Args:
        logits: Of each member and view.
        extras: What is wanted beside the classes.
    """
    first = logits[0]
    kind = np.uint8 if len(first) <= 2**8 else np.uint16
    if len(logits) == 1 and not extras:
        return Answer(labels_of(first, kind))
    mean, own = _mean(logits, "disagreement" in extras)
    unsure = math.log(max(len(first), 2))
    total = _entropy(mean) if {"entropy", "disagreement"} & set(extras) else None
    entropy = disagreement = None
    if total is not None and "entropy" in extras:
        entropy = _quantised(total / unsure, MOST_UNSURE)
    if total is not None and own is not None:
        disagreement = _quantised((total - own) / unsure, MOST_UNSURE)
    likely = _quantised(mean, 255) if "probabilities" in extras else None
    return Answer(labels_of(mean, kind), likely, entropy, disagreement)


def bytes_for_a_pixel(classes: int, extras: Collection[Extra], several: bool) -> int:
    """What `answer` takes at most for each pixel, the logits aside."""
    # A score in float32 and its class in int64; or copied scores, the best, and two of 8 bits.
    index = max(12, 6 + 4 * classes * (classes <= FEW_TO_COPY))
    if not extras and not several:
        return index
    return index + 8 * classes + 5 * classes * ("probabilities" in extras) + 24


def labels_of(
    scores: Float[Tensor, "k h w"], kind: type[np.unsignedinteger]
) -> UInt[np.ndarray, "h w"]:
    """The class of the largest score of each pixel, the first of equal ones.

    Args:
        scores: Of each class.
        kind: Of the result.
    """
    if scores.device.type == "cpu" and kind is np.uint8:
        if len(scores) <= FEW_TO_COPY:
            scores = scores.contiguous()
        if scores.stride(2) == 1:
            return _first_largest(scores).numpy()
    # On a CPU `argmax` over the first axis takes longer.
    return scores.max(dim=0).indices.cpu().numpy().astype(kind)


FEW_TO_COPY = 5
"""Classes of which it pays to lay each by itself before they are compared."""


def _first_largest(scores: Float[Tensor, "k h w"]) -> UInt8[Tensor, "h w"]:
    """As `argmax` over classes that lie by themselves, which it is faster for than `max`."""
    best = scores[0]
    labels = torch.zeros(best.shape, dtype=torch.uint8)
    for number in range(1, len(scores)):
        # A class that wins has the highest number so far.
        wins = torch.gt(scores[number], best).view(torch.uint8)
        torch.maximum(labels, wins.mul_(number), out=labels)
        if number + 1 < len(scores):
            out = best if number > 1 else torch.empty_like(best)
            best = torch.maximum(best, scores[number], out=out)
    return labels


def _mean(logits: Sequence[Tensor], entropies: bool) -> tuple[Tensor, Tensor | None]:
    """Mean probabilities, and the mean of each member's entropy."""
    mean = own = None
    for one in logits:
        # At least float32, or a mean of bfloat16 values has two digits.
        kind = torch.promote_types(one.dtype, torch.float32)
        likely = one.to(kind).softmax(dim=0)
        mean = likely if mean is None else mean.add_(likely)
        if entropies:
            uncertain = _entropy(likely)
            own = uncertain if own is None else own.add_(uncertain)
    assert mean is not None
    count = len(logits)
    if count > 1:
        mean = mean.div_(count)
    return mean, None if own is None else own / count


def _entropy(likely: Float[Tensor, "k h w"]) -> Float[Tensor, "h w"]:
    """In nats."""
    entropy: Tensor = torch.special.entr(likely).sum(dim=0)
    return entropy


def _quantised(shares: Tensor, most: int) -> UInt8[np.ndarray, "*shape"]:
    return (shares * most).round().clamp(0, most).to(torch.uint8).cpu().numpy()
