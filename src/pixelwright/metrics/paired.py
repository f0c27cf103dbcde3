"""Whether one system scores more than another, over the images of a split and over seeds.

a, b = Trained.of(counts_of_a, mean_iou), Trained.of(counts_of_b, mean_iou)    # per seed and image
estimate(a)                     # mean over seeds, 95 % interval
estimate(a, b)                  # difference of the means, interval, p
holm([0.01, 0.04, 0.03])        # corrected for three comparisons

A score varies for two reasons: other images would be counted, and another seed would train another
network. The variance of a mean over seeds, or of a difference of two, is the sum of both parts:
that over images, by leaving out one image at a time, the same for both systems, and that over
seeds, by the spread of the seeds' scores over their number. Where both systems were trained with
the same seeds, which gave them the same order of crops, that is the spread of the differences,
seed by seed. The quantile of Student's t is the mean of those of the parts, weighted by their
variances (Cochran and Cox), so that three seeds are not taken for more than they are.

Resampling seeds and images together looks simpler, but draws from three seeds have two thirds of
their variance and no tails, and Satterthwaite's degrees of freedom take a small spread of few seeds
by its word: both claim differences too often. `tests/metrics/test_paired.py` draws studies without
a difference, and holds what is claimed here to its level.

Paper: Obuchowski and Rockette, 1995, https://doi.org/10.1080/03610919508813243, and Hillis, 2007,
https://doi.org/10.1002/sim.2532: many readers, many cases. Seeds are the readers. Cochran and Cox,
Experimental Designs, 1957, section 4.14, for the quantile.
Differs: readers are nested where the seeds of two systems differ; the interplay of seed and image
counts in both parts, which errs on the careful side.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num
from scipy.special import stdtrit

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
        seeds: By which networks of two systems are told to be pairs; none where nothing is known.
    """

    values: Float[np.ndarray, "seeds *scores"]
    without: Float[np.ndarray, "seeds images *scores"]
    seeds: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        counts: Sequence[Num[np.ndarray, "images *counts"]],
        score: Score,
        seeds: tuple[int, ...] = (),
    ) -> "Trained":
        """Score what was counted on each image with each seed's network.

        Args:
            counts: Of each seed: anything that adds, image by image.
            score: Of their sum.
            seeds: Of the networks.
        """
        totals = [per_image.sum(0) for per_image in counts]
        return cls(
            np.stack([np.asarray(score(total)) for total in totals]),
            np.stack([score(total - each) for total, each in zip(totals, counts, strict=True)]),
            seeds,
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
    terms += _over_seeds(a, b)
    variance = np.sum([term for term, _ in terms], axis=0)
    # Shares of the variance, so that a variance of 0 divides nothing by 0.
    whole = np.where(variance > 0, variance, 1.0)
    shares = [(np.asarray(term / whole), max(free, 1)) for term, free in terms]
    error = np.sqrt(variance)
    reach = _quantile(shares, np.asarray((1 - LEVEL) / 2)) * error
    far = np.divide(np.abs(value), error, out=np.full(value.shape, math.inf), where=error > 0)
    p = np.where(np.isnan(variance), math.nan, _two_sided(shares, far))
    p = np.where(value == 0, 1.0, p)
    return Estimate(*map(np.asarray, (value, value - reach, value + reach, p)))


_Shares = Sequence[tuple[Float[np.ndarray, "*scores"], int]]
"""What part of the variance each reason has, and its degrees of freedom."""


def _quantile(shares: _Shares, tail: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """How many errors away a tail of this probability begins."""
    return np.asarray(-sum(share * stdtrit(free, tail) for share, free in shares))


def _two_sided(shares: _Shares, far: Float[np.ndarray, "*scores"]) -> Float[np.ndarray, "*scores"]:
    """The probability of both tails that begin `far` errors away: the quantile, turned around."""
    low, high = np.full(far.shape, math.log(1e-12)), np.full(far.shape, math.log(0.5))
    for _ in range(50):
        middle = (low + high) / 2
        nearer = _quantile(shares, np.asarray(np.exp(middle))) < far
        low, high = np.where(nearer, low, middle), np.where(nearer, middle, high)
    return np.asarray(2 * np.exp(high))


def _over_seeds(a: Trained, b: Trained | None) -> list[tuple[Float[np.ndarray, "*scores"], int]]:
    """The parts that seeds have in the variance, each with its degrees of freedom."""
    if b is None:
        return _spread(a.values)
    if a.seeds and sorted(a.seeds) == sorted(b.seeds):
        return _spread(a.values[np.argsort(a.seeds)] - b.values[np.argsort(b.seeds)])
    if min(len(a.values), len(b.values)) == 1 < max(len(a.values), len(b.values)):
        many = max(a.values, b.values, key=len)
        return [(np.asarray(many.var(0, ddof=1) * (1 + 1 / len(many))), len(many) - 1)]
    return _spread(a.values) + _spread(b.values)


def _spread(
    values: Float[np.ndarray, "seeds *scores"],
) -> list[tuple[Float[np.ndarray, "*scores"], int]]:
    """The variance of a mean over seeds; nothing of one seed."""
    seeds = len(values)
    return [(np.asarray(values.var(0, ddof=1) / seeds), seeds - 1)] if seeds > 1 else []


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
