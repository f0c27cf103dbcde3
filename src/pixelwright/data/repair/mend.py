"""Masks whose pixels are not all of a class: smooth edges, losses of JPEG, stray colours.

mended = mend(images.stored_mask(path), scheme, path)      # mended.labels: classes and IGNORE
"""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int16, Int64, UInt8

from pixelwright import images
from pixelwright.data.repair.survey import (
    ALIKE,
    FLAT,
    ROUNDING,
    Scheme,
    flat,
    off_segment,
)
from pixelwright.errors import DataError, shown
from pixelwright.types import IGNORE, Classes

APART = 48
"""Classes of masks stored with loss differ by this much (in RGB, or in grey), or they blur."""
DOUBTFUL = 0.05
"""Part of a lossy mask that may be about as near to a second class: its edges."""
_CHUNK = 2**18


@dataclass(frozen=True, slots=True)
class Mended:
    """A mask in classes.

    Args:
        labels: Class indices and `IGNORE`.
        between: Pixels that had the value or colour of no class.
        changed: The file says something else than the labels: it has to be written anew.
    """

    labels: Int16[np.ndarray, "h w"]
    between: int
    changed: bool


def mend(stored: images.Stored, scheme: Scheme, path: Path, *, lossy: bool = False) -> Mended:
    """The classes of a mask, with all that lies in between at the nearest class beside it.

    Raises:
        DataError: It holds values or colours of no class that are no edge, or it was stored with
            loss and its classes are too alike to be told apart.
    """
    classes = scheme.classes
    labels = images.labels_of(stored, classes, path)
    if classes.threshold:
        raw = stored.samples
        between = int(np.count_nonzero((raw > 0) & (raw < raw.max(initial=0))))
        if lossy:
            _refuse_doubt((raw > 85) & (raw < 170), path)
        return Mended(labels, between, changed=True)
    pixels, points = _points(stored, classes)
    if lossy:
        _refuse_alike(points, path)
    unknown = labels == images.UNDECLARED
    between = int(np.count_nonzero(unknown))
    if not between:
        same = _as_is(stored, labels, len(classes)) and not classes.by_color
        return Mended(labels, 0, changed=not same)
    if not (scheme.snap or lossy):
        images.read_mask(path, classes)  # says which values, and what to do
        raise DataError(f"{shown(path)} holds values of no class.")
    nearest = _nearest(pixels, points, unknown, tolerance=ALIKE / 2 if lossy else 0.0)
    doubtful, far = np.zeros_like(unknown), np.zeros_like(unknown)
    doubtful[unknown] = nearest.first > nearest.second / 2
    far[unknown] = nearest.first > APART / 2
    if lossy:
        _refuse_doubt(doubtful, path)
    else:
        _refuse_flat(pixels, far, points, path)
    indices = np.arange(len(points))
    indices[len(classes) :] = IGNORE
    if not classes.by_color:
        indices = np.array(list(classes.values.values()))
    labels = labels.copy()
    labels[unknown] = indices[nearest.point]
    return Mended(labels, between, changed=True)


def _as_is(stored: images.Stored, labels: Int16[np.ndarray, "h w"], classes: int) -> bool:
    """Whether a file already holds what `images.write_mask` would write."""
    header = stored.header
    plain = header.kind == "PNG" and header.orientation == 1
    if not plain or not (header.palette or header.channels == 1):
        return False
    as_written = np.where(labels == IGNORE, images.ignored_value(classes), labels)
    return bool((as_written == stored.samples).all())


def _points(
    stored: images.Stored, classes: Classes
) -> tuple[UInt8[np.ndarray, "h w c"], Float32[np.ndarray, "n c"]]:
    """Pixels and classes in one space: colours, or greys; ignored ones last."""
    if classes.by_color:
        known = (*classes.colors, *classes.ignored_colors)
        return images.in_color(stored), np.array(known, np.float32).reshape(-1, 3)
    greys = np.array(list(classes.values), np.float32)[:, np.newaxis]
    return stored.samples.clip(0, 255).astype(np.uint8)[..., np.newaxis], greys


class _Nearest(NamedTuple):
    """Of each pixel without a class: the class to take, and how far the nearest two are."""

    point: Int64[np.ndarray, " n"]
    first: Float32[np.ndarray, " n"]
    second: Float32[np.ndarray, " n"]


def _nearest(
    pixels: UInt8[np.ndarray, "h w c"],
    points: Float32[np.ndarray, "k c"],
    unknown: Bool[np.ndarray, "h w"],
    tolerance: float,
) -> _Nearest:
    """The nearest of the `points`; at an edge, the nearer of the two that meet there.

    A blend of two classes may look like a third, as half black and half white look like grey. So
    where a pixel is a blend of two classes that lie within two pixels of it, only they count.

    Args:
        pixels: Colours or greys.
        points: Those of the classes.
        unknown: Which pixels are asked for.
        tolerance: A pixel this near to a point lies in its class.
    """
    near = np.stack([_beside(pixels, point, tolerance)[unknown] for point in points])
    wanted = pixels[unknown]
    parts = [
        _nearest_of(wanted[i : i + _CHUNK].astype(np.float32), points, near[:, i : i + _CHUNK])
        for i in range(0, len(wanted), _CHUNK)
    ]
    point, first, second = (np.concatenate(part) for part in zip(*parts, strict=True))
    return _Nearest(point, first, second)


def _nearest_of(
    pixels: Float32[np.ndarray, "n c"],
    points: Float32[np.ndarray, "k c"],
    near: Bool[np.ndarray, "k n"],
) -> _Nearest:
    far = np.stack([np.sqrt(((pixels - point) ** 2).sum(axis=1)) for point in points])
    chosen = far.argmin(axis=0)
    closest = np.full(len(pixels), ROUNDING, np.float32)
    for i, j in combinations(range(len(points)), 2):
        at = np.flatnonzero(near[i] & near[j])
        if not len(at):
            continue
        off = off_segment(pixels[at], points[i], points[j])
        better = off < closest[at]
        at = at[better]
        closest[at] = off[better]
        chosen[at] = np.where(far[i, at] <= far[j, at], i, j)
    two = np.partition(far, 1, axis=0)
    return _Nearest(chosen, two[0], two[1])


def _beside(
    pixels: UInt8[np.ndarray, "h w c"], point: Float32[np.ndarray, " c"], tolerance: float
) -> Bool[np.ndarray, "h w"]:
    """Where a pixel of this colour lies within two pixels."""
    off = np.abs(pixels - point).max(axis=2) <= tolerance
    return cv2.dilate(off.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0


def _refuse_alike(points: Float32[np.ndarray, "n c"], path: Path) -> None:
    apart = np.sqrt(((points[:, np.newaxis] - points[np.newaxis]) ** 2).sum(axis=2))
    np.fill_diagonal(apart, np.inf)
    if apart.min() < APART:
        raise DataError(
            f"{shown(path)} was stored with loss, and its classes' values differ by as little as "
            f"{apart.min():.0f}, so they cannot be told apart. Export the mask again as PNG."
        )


def _refuse_doubt(doubtful: Bool[np.ndarray, "h w"], path: Path) -> None:
    part = float(doubtful.mean()) if doubtful.size else 0.0
    if part > DOUBTFUL:
        raise DataError(
            f"{shown(path)} was stored with loss, and {part:.0%} of its pixels are about as near "
            "to a second class. Export the mask again as PNG."
        )


def _refuse_flat(
    pixels: UInt8[np.ndarray, "h w c"],
    far: Bool[np.ndarray, "h w"],
    points: Float32[np.ndarray, "k c"],
    path: Path,
) -> None:
    """Areas of one colour that is far from all classes: a class that nobody declared."""
    each = images.packed(pixels)
    colors, counts = np.unique(each[flat(each) & far], return_counts=True)
    broad = flat(each, 4)
    for color, count in zip(colors.tolist(), counts.tolist(), strict=True):
        if count < FLAT:
            continue
        point = np.array([images.unpacked(color)[3 - pixels.shape[2] :]], np.float32)
        pairs = combinations(points, 2)
        blend = any(off_segment(point, one, other)[0] < ROUNDING for one, other in pairs)
        # The smooth edge of a straight pole has areas too, but narrow ones.
        if blend and np.count_nonzero(broad & (each == color)) < FLAT:
            continue
        what = "colour" if pixels.shape[2] == 3 else "value"
        shows = images.unpacked(color) if pixels.shape[2] == 3 else color
        raise DataError(
            f"{shown(path)} has {count:,} pixels of the {what} {shows} in whole areas, and no "
            "class has it. Declare a class for it, or ignore it."
        )
