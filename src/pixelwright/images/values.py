"""Which raw values of masks mean what, where nobody declared it."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from pixelwright.errors import DataError, PixelwrightWarning, first_few
from pixelwright.types import IGNORE

MOST_CLASSES = 2**15
"""Targets are int16."""


@dataclass(frozen=True, slots=True)
class Values:
    """How raw mask values become classes.

    Args:
        values: Raw value -> class index, or `IGNORE`.
        classes: How many there are.
        threshold: Grey masks: cut at half, as `Classes.threshold`.
    """

    values: dict[int, int]
    classes: int
    threshold: bool = False


def infer_values(present: Mapping[int, int]) -> Values:
    """The classes that raw values stand for, by what all masks of a data set hold together.

    Only 0 and 255: 255 is foreground. Black, white and a minority of greys, as at smooth edges:
    cut at half, with a warning that counts the pixels in between. Otherwise a value is a class
    index, and 255 above the indices is ignored.

    Args:
        present: Pixels of each raw value.

    Raises:
        DataError: If there is one value only, a negative one (F25), or numbers too far apart to
            be class indices.
    """
    counts = {value: pixels for value, pixels in sorted(present.items()) if pixels}
    if len(counts) < 2:
        raise DataError(
            f"All pixels of the masks have one value ({first_few(counts) or 'there are none'}), so "
            "there is nothing to learn. Check that these are the masks, or declare names=..."
        )
    if min(counts) < 0:
        raise DataError(negative(min(counts), counts[min(counts)]))
    if set(counts) == {0, 255}:
        return Values({0: 0, 255: 1}, 2)
    if between := _grey_between(counts):
        total = sum(counts.values())
        warnings.warn(
            f"The masks are grey pictures: {between:,} of {total:,} pixels ({between / total:.1%}) "
            f"lie between 0 and {max(counts)}. All are cut at half: 128 and above is foreground.",
            PixelwrightWarning,
            stacklevel=2,
        )
        return Values({0: 0, 255: 1}, 2, threshold=True)
    return _indices(counts)


def negative(value: int, pixels: int) -> str:
    return (
        f"Value {value} stands in {pixels:,} pixels of a mask; class indices are 0 or more. "
        "Save pixels to be ignored as 255."
    )


def _grey_between(counts: Mapping[int, int]) -> int:
    """Pixels between black and white if these are smooth-edged masks of two classes, else 0.

    Smooth edges show all greys, few pixels of each: black and white are the two most frequent
    values, have most of the pixels, and some of the greys are light, where an index mask of so
    few classes would have none. White need not be 255: the aerial road masks of EPFL end at 237.
    """
    white = max(counts)
    if 0 not in counts or not 128 <= white <= 255:
        return 0
    greys = {value: pixels for value, pixels in counts.items() if 0 < value < white}
    if not greys:
        return 0
    between = sum(greys.values())
    two_peaks = min(counts[0], counts[white]) > max(greys.values())
    spread = max(greys) >= 128 or not _plausible(greys)
    return between if two_peaks and spread and 2 * between < sum(counts.values()) else 0


def _plausible(indices: Mapping[int, int]) -> bool:
    """Whether values may be class indices: some may be absent, but not nearly all of them."""
    return max(indices) < 4 * len(indices) + 8


def _indices(counts: Mapping[int, int]) -> Values:
    ignored = {255} if max(counts) == 255 else set()
    indices = {value: pixels for value, pixels in counts.items() if value not in ignored}
    if not _plausible(indices) or max(indices) >= MOST_CLASSES:
        raise DataError(
            f"The masks hold the values {first_few(counts, 6)}, which are too far apart to be "
            "class indices from 0. Declare which value each class has: values=..."
        )
    classes = max(2, max(indices) + 1)
    absent = [value for value in range(classes) if value not in indices]
    if absent:
        warnings.warn(
            f"The masks' values make {classes} classes, of which {len(absent)} never occur: "
            f"{first_few(absent)}. If that is wrong, declare the classes: names=..., values=...",
            PixelwrightWarning,
            stacklevel=3,
        )
    table = {value: value for value in range(classes)} | dict.fromkeys(ignored, IGNORE)
    return Values(table, classes)
