"""Confusion counts, and the scores that follow from their margins.

A class that occurs neither in truth nor in prediction has no score: NaN, left out of the mean. A
class that is predicted but does not occur in truth has IoU 0, and the mean counts it (the rule of
Cityscapes and PASCAL VOC).
"""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int64, Integer, Num

from pixelwright.types import IGNORE

_MOST_IN_BYTES = 255
_PIECE = 2**18
"""Pixels counted at a time: they stay in the cache, and below 2**24 float32 counts one by one."""
_WORTH_A_THREAD = 2**18
"""Pixels that take longer to count than a thread to start."""


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
        assert prediction.shape == target.shape
        if prediction.size:
            assert 0 <= prediction.min() <= prediction.max() < classes
            assert IGNORE <= target.min() <= target.max() < classes
        count = _count_shared if classes <= _MOST_IN_BYTES else _count_cells
        return cls(count(prediction.ravel(), target.ravel(), classes))

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


def _count_shared(
    prediction: Integer[np.ndarray, " n"], target: Integer[np.ndarray, " n"], classes: int
) -> Int64[np.ndarray, "k k"]:
    """Large maps in as many parts as OpenCV may use threads: it counts without Python's lock."""
    parts = max(min(cv2.getNumThreads(), target.size // _WORTH_A_THREAD), 1)
    cuts = [target.size * part // parts for part in range(parts + 1)]
    pieces = [slice(*ends) for ends in pairwise(cuts)]

    def count(piece: slice) -> Int64[np.ndarray, "k k"]:
        return _count_bytes(prediction[piece], target[piece], classes)

    if parts == 1:
        return count(pieces[0])
    with ThreadPoolExecutor(parts - 1, thread_name_prefix="pixelwright-count") as pool:
        others = pool.map(count, pieces[1:])
        return np.asarray(sum(others, count(pieces[0])))


def _count_bytes(
    prediction: Integer[np.ndarray, " n"], target: Integer[np.ndarray, " n"], classes: int
) -> Int64[np.ndarray, "k k"]:
    """The table from labels that fit into bytes, where `IGNORE` is 255 and so lies outside.

    `bincount`, which needs cells of 64 bits, takes a multiple of the time
    (`benchmarks/metrics.py`).
    """
    shape = [classes, classes]
    ranges = [0, classes, 0, classes]
    counts = np.zeros(shape, np.int64)
    # Within a piece the counts of OpenCV, which are float32, are exact.
    for start in range(0, target.size, _PIECE):
        piece = slice(start, start + _PIECE)
        maps = [part[piece].astype(np.uint8, copy=False)[None] for part in (target, prediction)]
        counts += cv2.calcHist(maps, [0, 1], None, shape, ranges).astype(np.int64)
    return counts


def _count_cells(
    prediction: Integer[np.ndarray, " n"], target: Integer[np.ndarray, " n"], classes: int
) -> Int64[np.ndarray, "k k"]:
    # Counting IGNORE in a row of its own, which is then dropped, takes a third of the time of
    # selecting the other pixels first.
    cells = (target.astype(np.int64) - IGNORE) * classes + prediction
    counts = np.bincount(cells, minlength=(classes + 1) * classes)
    return counts.astype(np.int64).reshape(classes + 1, classes)[1:]


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
