"""Confusion counts, and the scores that follow from their margins.

A class that occurs neither in truth nor in prediction has no score: NaN, left out of the mean. A
class that is predicted but does not occur in truth has IoU 0, and the mean counts it (the rule of
Cityscapes and PASCAL VOC).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int64, Integer, Num

from pixelwright.types import IGNORE


class Margins(NamedTuple):
    """All that the scores need of a table, or of a stack of tables: pixels per class."""

    hit: Num[np.ndarray, "*stack k"]
    truth: Num[np.ndarray, "*stack k"]
    predicted: Num[np.ndarray, "*stack k"]

    @classmethod
    def of(cls, tables: Int64[np.ndarray, "*stack k k"]) -> "Margins":
        return cls(np.diagonal(tables, axis1=-2, axis2=-1), tables.sum(-1), tables.sum(-2))

    def iou(self) -> Float[np.ndarray, "*stack k"]:
        return _divide(self.hit, self.truth + self.predicted - self.hit)

    def dice(self) -> Float[np.ndarray, "*stack k"]:
        return _divide(2 * self.hit, self.truth + self.predicted)

    def accuracy(self) -> Float[np.ndarray, "*stack k"]:
        return _divide(self.hit, self.truth)

    def mean_iou(self) -> Float[np.ndarray, "*stack"]:
        return _mean(self.iou())

    def mean_dice(self) -> Float[np.ndarray, "*stack"]:
        return _mean(self.dice())

    def pixel_accuracy(self) -> Float[np.ndarray, "*stack"]:
        return _divide(np.asarray(self.hit.sum(-1)), np.asarray(self.truth.sum(-1)))


@dataclass(frozen=True, eq=False)
class Confusion:
    """How often true class (row) was predicted as class (column).

    Tables add, so tiles, batches, images and processes can be counted apart and joined in any
    order with the same result.
    """

    counts: Int64[np.ndarray, "k k"]

    @classmethod
    def of(
        cls, prediction: Integer[np.ndarray, "*n"], target: Integer[np.ndarray, "*n"], classes: int
    ) -> "Confusion":
        """Count pixels, or whole images of a classifier. `IGNORE` targets are left out."""
        assert prediction.size == 0 or 0 <= prediction.min() <= prediction.max() < classes
        # Counting IGNORE in a row of its own, which is then dropped, takes a third of the time of
        # selecting the other pixels first.
        cells = (target.astype(np.int64) - IGNORE) * classes + prediction
        counts = np.bincount(cells.ravel(), minlength=(classes + 1) * classes)
        return cls(counts.astype(np.int64).reshape(classes + 1, classes)[1:])

    @classmethod
    def empty(cls, classes: int) -> "Confusion":
        return cls(np.zeros((classes, classes), np.int64))

    def __add__(self, other: "Confusion") -> "Confusion":
        return Confusion(self.counts + other.counts)

    @property
    def _margins(self) -> Margins:
        return Margins.of(self.counts)

    @property
    def pixels(self) -> Int64[np.ndarray, " k"]:
        """True pixels of each class."""
        return np.asarray(self.counts.sum(1))

    def iou(self) -> Float[np.ndarray, " k"]:
        """Intersection over union of each class; NaN where the class never occurs."""
        return self._margins.iou()

    def dice(self) -> Float[np.ndarray, " k"]:
        """Twice the intersection over the sum of sizes (F1); NaN where the class never occurs."""
        return self._margins.dice()

    def accuracy(self) -> Float[np.ndarray, " k"]:
        """Share of each class's true pixels that were found (recall); NaN where it has none."""
        return self._margins.accuracy()

    def pixel_accuracy(self) -> float:
        """Share of all counted pixels that are right; NaN where none are counted."""
        return float(self._margins.pixel_accuracy())

    def mean_iou(self) -> float:
        """Mean over the classes that occur in truth or prediction; NaN where none do."""
        return float(self._margins.mean_iou())

    def mean_dice(self) -> float:
        """Mean over the classes that occur in truth or prediction; NaN where none do."""
        return float(self._margins.mean_dice())


def _divide(
    above: Num[np.ndarray, "*shape"], below: Num[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape"]:
    """The fraction; NaN, without a warning, where `below` is 0."""
    undefined = np.full(below.shape, math.nan)
    return np.asarray(np.divide(above, below, out=undefined, where=below != 0))


def _mean(values: Float[np.ndarray, "*stack k"]) -> Float[np.ndarray, "*stack"]:
    """The mean over the classes that have a value; NaN, without a warning, where none has."""
    defined = ~np.isnan(values)
    total = np.asarray(np.where(defined, values, 0.0).sum(-1))
    return _divide(total, np.asarray(defined.sum(-1)))
