"""Objects: connected regions of one class, counted by their size.

IoU by size: the pixels of true objects of a size that were found, over those pixels and what was
predicted falsely in predicted objects of that size.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Int64, Integer

from pixelwright.metrics.boundary import label_codes

SIZES = 24
"""Bin `b` holds objects of `2**b` to `2**(b + 1) - 1` pixels; the last also all larger ones."""
SMALL = 10
"""Objects of fewer than `2**SMALL` pixels, 32 by 32, are small, as in COCO."""


def object_rows(
    prediction: Integer[np.ndarray, "h w"], target: Integer[np.ndarray, "h w"], classes: int
) -> Int64[np.ndarray, "rows 6"]:
    """Class, size bin, true objects, their pixels, how many were found, false pixels.

    One row for each class and size that occurs. Neighbours touch at sides or corners.
    """
    # Bytes are compared several times as fast as wider types, and code 0 is what is ignored.
    truth, found = label_codes(target, classes), label_codes(prediction, classes)
    found = np.where(truth == 0, truth, found)
    wrong = truth != found
    table = np.zeros((classes + 1, SIZES, 4), np.int64)
    for code in range(1, classes + 1):
        true = _regions(truth == code, wrong)
        if true:
            sizes, missed = true
            shown = np.stack([np.ones_like(sizes), sizes, sizes - missed], axis=1)
            np.add.at(table[code, :, :3], _bins(sizes), shown)
        predicted = _regions(found == code, wrong)
        if predicted:
            sizes, false = predicted
            np.add.at(table[code, :, 3], _bins(sizes), false)
    table = table[1:]
    rows = np.argwhere(table.any(-1))
    return np.concatenate([rows, table[rows[:, 0], rows[:, 1]]], axis=1)


def across(pixels: Int64[np.ndarray, " sizes"], share: float = 0.5) -> float:
    """Side of the square that has the size of the object in which the middle pixel lies.

    Args:
        pixels: In objects of each size; a class with none has NaN.
        share: 0.5 is the middle: half of the pixels lie in smaller objects.
    """
    total = pixels.sum()
    if not total:
        return float("nan")
    below = np.concatenate([[0], np.cumsum(pixels)]) / total
    number = int(np.searchsorted(below[1:], share))
    # Within a bin, sizes are taken to be spread evenly on the scale of powers of two.
    within = (share - below[number]) / (below[number + 1] - below[number])
    return float(2 ** ((number + within) / 2))


def _regions(
    mask: Bool[np.ndarray, "h w"], wrong: Bool[np.ndarray, "h w"]
) -> tuple[Int64[np.ndarray, " regions"], Int64[np.ndarray, " regions"]] | None:
    """Pixels of each connected region, and how many of them are wrong; None where all is empty."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    if not width:
        return None
    part = slice(y, y + height), slice(x, x + width)
    mask, wrong = np.ascontiguousarray(mask[part]), wrong[part]
    count, regions, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    amiss = np.bincount(regions[mask & wrong], minlength=count)
    return stats[1:, cv2.CC_STAT_AREA].astype(np.int64), amiss[1:].astype(np.int64)


def _bins(sizes: Int64[np.ndarray, " regions"]) -> Int64[np.ndarray, " regions"]:
    _, exponents = np.frexp(sizes.astype(np.float64))
    return np.asarray(np.minimum(exponents - 1, SIZES - 1), np.int64)
