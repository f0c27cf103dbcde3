"""Whether one system scores more than another, over the images of a split and over seeds.

a, b = Trained.of(counts_of_a, mean_iou), Trained.of(counts_of_b, mean_iou)    # per seed and image
estimate(a)                     # mean over seeds, 95 % interval
estimate(a, b)                  # difference of the means, interval, p
holm([0.01, 0.04, 0.03])        # corrected for three comparisons

A score varies for two reasons: other images would be counted, and another seed would train another
network. The variance of a mean over seeds, or of a difference of two, is the sum of both parts:
that over images, by leaving out one image at a time, the same for both systems, and that over
seeds, by the spread of the seeds' scores over their number. Student's t takes its degrees of
freedom from both (Satterthwaite), so that three seeds are not taken for more than they are.

Resampling seeds and images together looks simpler, but draws from three seeds have two thirds of
their variance and no tails. In simulated studies without a difference (three seeds, whose spread is
as large as that over images or larger) its 95 % intervals missed 0 in 13 to 18 of 100, these in 4.

Paper: Obuchowski and Rockette, 1995, https://doi.org/10.1080/03610919508813243, and Hillis, 2007,
https://doi.org/10.1002/sim.2532: many readers, many cases. Seeds are the readers.
Differs: networks of two systems are not pairs, even where their seeds are equal, so readers are
nested; the interplay of seed and image counts in both parts, which errs on the careful side.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num
from scipy.special import stdtr, stdtrit

from pixelwright.metrics.intervals import LEVEL

Score = Callable[[Num[np.ndarray, "*stack_and_counts"]], Float[np.ndarray, "..."]]
"""What follows from counts that were added, or from a stack of them: mean IoU, or the IoU of each
class."""


@dataclass(frozen=True, eq=False)
class Trained:
    """What the networks of one system score, one per seed.

    Args:
        values: On all images.
        without: On all images but one, for each image.
    """

    values: Float[np.ndarray, "seeds *scores"]
    without: Float[np.ndarray, "seeds images *scores"]

    @classmethod
    def of(cls, counts: Sequence[Num[np.ndarray, "images *counts"]], score: Score) -> "Trained":
        """Score what was counted on each image with each seed's network.

        Args:
            counts: Of each seed: anything that adds, image by image.
            score: Of their sum.
        """
        totals = [per_image.sum(0) for per_image in counts]
        return cls(
            np.stack([np.asarray(score(total)) for total in totals]),
            np.stack([score(total - each) for total, each in zip(totals, counts, strict=True)]),
        )


@dataclass(frozen=True, eq=False)
class Estimate:
    """A mean over seeds, or a difference of two, with its interval; NaN where there is none.

    Args:
        value: The number itself.
        low: Lower end of the 95 % interval.
        high: Upper end.
        p: Of a value this far from 0 on either side, if 0 were true.
    """

    value: Float[np.ndarray, "*scores"]
    low: Float[np.ndarray, "*scores"]
    high: Float[np.ndarray, "*scores"]
    p: Float[np.ndarray, "*scores"]


def estimate(a: Trained, b: Trained | None = None) -> Estimate:
    """The mean of `a` over seeds, or the mean of `a` minus that of `b` on the same images.

    With one seed each, only the images vary. A single seed beside several is taken to vary as
    those do.
    """
    value, without = a.values.mean(0), a.without.mean(0)
    if b is not None:
        value, without = value - b.values.mean(0), without - b.without.mean(0)
    images = len(without)
    spread = np.asarray(np.square(without - without.mean(0)).sum(0) * (images - 1) / images)
    terms = [(spread if images > 1 else spread + math.nan, images - 1)]
    terms += _over_seeds(a.values, None if b is None else b.values)
    variance = np.sum([term for term, _ in terms], axis=0)
    # Shares of the variance, so that a variance of 0 divides nothing by 0.
    whole = np.where(variance > 0, variance, 1.0)
    of_freedom = np.sum([np.square(term / whole) / max(free, 1) for term, free in terms], axis=0)
    freedom = 1 / np.where(variance > 0, of_freedom, 1.0)
    error = np.sqrt(variance)
    reach = stdtrit(freedom, (1 + LEVEL) / 2) * error
    far = np.divide(np.abs(value), error, out=np.full(value.shape, math.inf), where=error > 0)
    p = np.where(np.isnan(variance), math.nan, 2 * stdtr(freedom, -far))
    p = np.where(value == 0, 1.0, p)
    return Estimate(*map(np.asarray, (value, value - reach, value + reach, p)))


def _over_seeds(
    a: Float[np.ndarray, "m *scores"], b: Float[np.ndarray, "n *scores"] | None
) -> list[tuple[Float[np.ndarray, "*scores"], int]]:
    """The parts that seeds have in the variance, each with its degrees of freedom."""
    if b is not None and min(len(a), len(b)) == 1 < max(len(a), len(b)):
        many = max(a, b, key=len)
        return [(np.asarray(many.var(0, ddof=1) * (1 + 1 / len(many))), len(many) - 1)]
    sides = [side for side in (a, b) if side is not None and len(side) > 1]
    return [(np.asarray(side.var(0, ddof=1) / len(side)), len(side) - 1) for side in sides]


def holm(p: Sequence[float]) -> list[float]:
    """The p values corrected for their number; NaN, which tested nothing, stays and counts not.

    The chance of one false claim or more among all of them is then at most the level.

    Paper: Holm, 1979, https://www.jstor.org/stable/4615733
    """
    order = sorted((i for i in range(len(p)) if not math.isnan(p[i])), key=p.__getitem__)
    corrected = [math.nan] * len(p)
    least = 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * p[i]))
        corrected[i] = least
    return corrected
