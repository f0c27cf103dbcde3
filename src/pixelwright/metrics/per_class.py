"""What is told of each class, or of each superclass, where every image has one label."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from scipy.special import ndtri

from pixelwright.metrics.intervals import LEVEL


class PerClass(NamedTuple):
    """What is told of each class, or of each superclass; NaN where it has no image.

    Args:
        names: Of them.
        accuracy: Share of its images that were found.
        ends: 95 % interval of that; NaN with no image.
        precision: Share of what is called so that is right; NaN where nothing is.
        images: True images.
    """

    names: tuple[str, ...]
    accuracy: Float64[np.ndarray, " k"]
    ends: Float64[np.ndarray, "k 2"]
    precision: Float64[np.ndarray, " k"]
    images: Int64[np.ndarray, " k"]

    @classmethod
    def of(cls, names: Sequence[str], confusion: Int64[np.ndarray, "k k"]) -> "PerClass":
        hit, images = np.diagonal(confusion), confusion.sum(1)
        precision = rates(hit, confusion.sum(0))
        return cls(tuple(names), rates(hit, images), wilson(hit, images), precision, images)

    def to_json(self) -> dict[str, dict[str, Any]]:
        """By name; what is undefined is null."""
        columns = {
            "accuracy": self.accuracy,
            "accuracy_low": self.ends[:, 0],
            "accuracy_high": self.ends[:, 1],
            "precision": self.precision,
        }
        return {
            name: {
                **{
                    title: None if math.isnan(values[k]) else float(values[k])
                    for title, values in columns.items()
                },
                "images": int(self.images[k]),
            }
            for k, name in enumerate(self.names)
        }


def rates(
    part: Int64[np.ndarray, "*stack k"], whole: Int64[np.ndarray, "*stack k"]
) -> Float64[np.ndarray, "*stack k"]:
    """A share of what there is; NaN of nothing."""
    nothing = np.full(np.broadcast_shapes(part.shape, whole.shape), math.nan)
    return np.asarray(np.divide(part, whole, out=nothing, where=whole > 0))


def rates_of(confusion: Int64[np.ndarray, "k k"]) -> Float64[np.ndarray, " k"]:
    """Share of each class's images that were found; NaN where it has none."""
    return rates(np.diagonal(confusion), confusion.sum(1))


def wilson(
    found: Int64[np.ndarray, " k"], images: Int64[np.ndarray, " k"], level: float = LEVEL
) -> Float64[np.ndarray, "k 2"]:
    """The interval of shares of independent images; NaN of none.

    Unlike the bootstrap it says of 50 found among 50 that the next may be missed: 0.929 to 1.

    Args:
        found: Of each class.
        images: Of each class.
        level: Coverage, in (0, 1).

    Paper: Wilson, 1927, https://doi.org/10.1080/01621459.1927.10502953, the score interval
    """
    ends = np.full((len(images), 2), math.nan)
    some = images > 0
    n, share = images[some], found[some] / images[some]
    z = float(ndtri((1 + level) / 2))
    middle = share + z**2 / (2 * n)
    reach = z * np.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    whole = 1 + z**2 / n
    ends[some] = np.stack([(middle - reach) / whole, (middle + reach) / whole], axis=1)
    # Exactly so in theory, and nearly so in numbers.
    return np.asarray(np.clip(ends, 0.0, 1.0))
