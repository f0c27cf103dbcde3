"""An index of the objects of some classes, to be pasted into other pictures.

blobs = blobs_of(index.splits["train"], classes, wanted=rarest(counts))
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
from jaxtyping import Int16, Int32

from pixelwright.data import cache
from pixelwright.data.counts import Counts, over_masks
from pixelwright.types import Classes, Entry

RARE = 0.05
"""Classes are rare that together hold at most this share of the training pixels."""

SMALLEST = 32
"""Pixels. What is smaller is a speck that no outline tells from noise."""
SMALLEST_SHARE = 1 / 5000
"""Of the picture: 400 pixels of a Cityscapes picture, 35 of one of 480x360."""
LARGEST_SHARE = 0.25
"""Of the picture. What is larger is scenery, not an object."""

WHOLE = 32
"""A class with so many objects inside the picture needs none that its edge cuts off."""

_MOST = 2**14
"""Objects of a class that are remembered."""


@dataclass(frozen=True, slots=True)
class Blobs:
    """Connected regions of one class, sorted by class and entry; 8 neighbours connect.

    Args:
        classes: Class.
        entries: Entry that it is in.
        tops: First row of its box, within the entry.
        lefts: First column of its box.
        heights: Rows of its box.
        widths: Columns of its box.
        pixels: Its area.
        starts: Column of one of its pixels in the first row of the box, from the box's left.
    """

    classes: Int32[np.ndarray, " n"]
    entries: Int32[np.ndarray, " n"]
    tops: Int32[np.ndarray, " n"]
    lefts: Int32[np.ndarray, " n"]
    heights: Int32[np.ndarray, " n"]
    widths: Int32[np.ndarray, " n"]
    pixels: Int32[np.ndarray, " n"]
    starts: Int32[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.classes)


def rarest(counts: Counts) -> tuple[int, ...]:
    """The rarest classes that together hold at most `RARE` of the pixels; at least the rarest.

    Classes that never occur are none of them.
    """
    order = np.argsort(counts.pixels, kind="stable")
    order = order[counts.pixels[order] > 0]
    together = np.cumsum(counts.pixels[order])
    count = max(int((together <= RARE * counts.pixels.sum()).sum()), 1)
    return tuple(sorted(order[:count].tolist()))


def blobs_of(entries: Sequence[Entry], classes: Classes, wanted: Sequence[int]) -> Blobs:
    """The objects of the wanted classes in labelled entries, within their windows.

    An object that the edge of its entry cuts off counts where its class has fewer than `WHOLE`
    others. Kept in the cache, unless a mask has changed since.

    Args:
        entries: Training entries: nothing else is ever looked at.
        classes: Of the data set.
        wanted: Class indices.

    Raises:
        DataError: A mask cannot be read.
    """
    wanted = sorted(wanted)

    def compute() -> dict[str, np.ndarray]:
        found = over_masks(entries, classes, lambda n, target: _look(target, n, wanted))
        rows = np.concatenate([np.zeros((0, 9), np.int32), *found])
        rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
        parts = [_chosen(rows[rows[:, 0] == k]) for k in wanted]
        kept = np.concatenate([rows[:0], *parts])
        names = [field.name for field in fields(Blobs)]
        return {name: np.ascontiguousarray(kept[:, i]) for i, name in enumerate(names)}

    return Blobs(**cache.kept("blobs", entries, classes, compute, wanted=wanted))


def _chosen(rows: Int32[np.ndarray, "n 9"]) -> Int32[np.ndarray, "_ 9"]:
    """Of the objects of one class, the whole ones where there are enough; not too many."""
    whole = rows[rows[:, 8] == 0]
    if len(whole) >= WHOLE and len(np.unique(whole[:, 1])) > 1:
        rows = whole
    # Every so manieth, so that the entries keep their shares.
    every = np.linspace(0, len(rows) - 1, min(len(rows), _MOST)).round().astype(np.int64)
    return rows[every]


def _look(
    target: Int16[np.ndarray, "h w"], number: int, wanted: Sequence[int]
) -> Int32[np.ndarray, "n 9"]:
    """One row for each object: the fields of `Blobs`, and whether the edge cuts it off."""
    least = max(SMALLEST, SMALLEST_SHARE * target.size)
    rows = []
    for label in wanted:
        mask = (target == label).view(np.uint8)
        left, top, width, height = cv2.boundingRect(mask)
        if width * height < least:
            continue
        mask = mask[top : top + height, left : left + width]
        _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        area = stats[:, cv2.CC_STAT_AREA]
        # Number 0 is all that is not of the class.
        fit = np.flatnonzero((area >= least) & (area <= LARGEST_SHARE * target.size))
        for i in fit[fit > 0].tolist():
            x, y, w, h, pixels = stats[i].tolist()
            start = int((labels[y, x : x + w] == i).argmax())
            x, y = x + left, y + top
            cut = min(x, y) == 0 or x + w == target.shape[1] or y + h == target.shape[0]
            rows.append((label, number, y, x, h, w, pixels, start, int(cut)))
    return np.array(rows, np.int32).reshape(-1, 9)


def of_class(blobs: Blobs, label: int) -> slice:
    """Where the objects of a class lie in the index."""
    first, last = np.searchsorted(blobs.classes, [label, label + 1])
    return slice(int(first), int(last))


def only(blobs: Blobs, labels: Sequence[int]) -> Blobs:
    """The objects of some classes."""
    chosen = np.isin(blobs.classes, labels)
    return Blobs(*(getattr(blobs, field.name)[chosen] for field in fields(Blobs)))
