"""Boundaries: how well outlines agree, and which pixels lie near one.

Paper: Cheng et al., 2021, https://arxiv.org/abs/2103.16562 (boundary IoU)
Differs: all classes of a label map at once, with the same result; ignored pixels belong to no mask,
neither of the truth nor of the prediction.
"""

import math

import cv2
import numpy as np
from jaxtyping import Bool, Int64, Integer, UInt

from pixelwright.metrics.confusion import Margins

RATIO = 0.02
"""Width of the band along boundaries, as a share of the image's diagonal."""
NEAR = 3
"""Pixels up to which an error counts as one of the outline."""


def boundary_margins(
    prediction: Integer[np.ndarray, "h w"],
    target: Integer[np.ndarray, "h w"],
    classes: int,
    *,
    ratio: float = RATIO,
) -> Margins:
    """Pixels per class in the band inside each mask's boundary: of both, of truth, of prediction.

    Args:
        prediction: Class indices.
        target: Class indices, or `IGNORE`.
        classes: Number of classes.
        ratio: Width of the band as a share of the diagonal, one pixel at least.
    """
    width = max(1, round(ratio * math.hypot(*target.shape)))
    truth, found = label_codes(target, classes), label_codes(prediction, classes)
    found = np.where(truth == 0, truth, found)
    counted = truth != 0
    true, predicted = (_band(codes, width) & counted for codes in (truth, found))
    both = true & predicted & (truth == found)
    pairs = (truth, both), (truth, true), (found, predicted)
    return Margins(*(count_codes(codes, where, classes) for codes, where in pairs))


def near_boundary(
    target: Integer[np.ndarray, "h w"], classes: int, distance: int = NEAR
) -> Bool[np.ndarray, "h w"]:
    """Counted pixels with one of another class within `distance`, along both axes.

    What lies beyond the picture's edge or is ignored is not known and makes no boundary.
    """
    codes = label_codes(target, classes)
    square = np.ones((2 * distance + 1,) * 2, np.uint8)
    # Ignored pixels never are the largest, and for the smallest they become the largest code.
    highest = cv2.dilate(codes, square)
    lowest = cv2.erode(codes - 1, square) + 1
    return np.asarray(((highest != codes) | (lowest != codes)) & (codes != 0))


def outline_lengths(target: Integer[np.ndarray, "h w"], classes: int) -> Int64[np.ndarray, " k"]:
    """Sides of pixels of each class that touch a pixel of another counted class."""
    codes = label_codes(target, classes)
    lengths = np.zeros(classes, np.int64)
    for one, other in ((codes[1:], codes[:-1]), (codes[:, 1:], codes[:, :-1])):
        touching = (one != other) & (one != 0) & (other != 0)
        lengths += count_codes(one, touching, classes) + count_codes(other, touching, classes)
    return lengths


def label_codes(labels: Integer[np.ndarray, "h w"], classes: int) -> UInt[np.ndarray, "h w"]:
    """Labels plus one in the smallest unsigned type; `IGNORE` is 0."""
    codes = labels.astype(np.uint8 if classes < 2**8 else np.uint16)
    return np.asarray(np.add(codes, 1, dtype=codes.dtype))


def count_codes(
    codes: UInt[np.ndarray, "h w"], where: Bool[np.ndarray, "h w"], classes: int
) -> Int64[np.ndarray, " k"]:
    """Pixels of each class among those chosen."""
    return np.bincount(codes[where], minlength=classes + 1)[1:].astype(np.int64)


def _band(codes: UInt[np.ndarray, "h w"], width: int) -> Bool[np.ndarray, "h w"]:
    """Where another code, or the picture's edge, is at most `width` away along both axes."""
    square = np.ones((2 * width + 1,) * 2, np.uint8)
    highest = cv2.dilate(codes, square)
    lowest = cv2.erode(codes, square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray((highest != codes) | (lowest != codes))
