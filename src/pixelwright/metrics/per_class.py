"""What is told of each class, or of each superclass, where every image has one label."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from pixelwright.metrics.intervals import percentiles

_Counts = Int64[np.ndarray, "draws k"]


class PerClass(NamedTuple):
    """What is told of each class, or of each superclass; NaN where it has no image.

    Args:
        names: Of them.
        accuracy: Share of its images that were found.
        ends: 95 % interval of that; NaN with fewer than two images.
        precision: Share of what is called so that is right; NaN where nothing is.
        images: True images.
    """

    names: tuple[str, ...]
    accuracy: Float64[np.ndarray, " k"]
    ends: Float64[np.ndarray, "k 2"]
    precision: Float64[np.ndarray, " k"]
    images: Int64[np.ndarray, " k"]

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        confusion: Int64[np.ndarray, "k k"],
        ends: Float64[np.ndarray, "k 2"],
    ) -> "PerClass":
        hit = np.diagonal(confusion)
        precision, images = rates(hit, confusion.sum(0)), confusion.sum(1)
        return cls(tuple(names), rates(hit, images), ends, precision, images)

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


def ends_of(
    images: Int64[np.ndarray, " k"], drawn: Callable[[], tuple[_Counts, _Counts]]
) -> Float64[np.ndarray, "k 2"]:
    """The 95 % interval of each class's accuracy; NaN with fewer than two images.

    Args:
        images: Of each class.
        drawn: Gives what was found in bootstrap draws, and how many images there were.
    """
    ends = np.full((len(images), 2), math.nan)
    often = images >= 2
    if often.any():
        found, whole = drawn()
        ends[often] = percentiles(rates(found[:, often], whole[:, often])).T
    return ends
