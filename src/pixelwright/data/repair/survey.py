"""What the masks of a data set mean together, where nobody declared it.

scheme = scheme_for([survey(path) for path in masks])
scheme.classes, scheme.snap
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Integer, UInt8

from pixelwright import images
from pixelwright.data.class_file import Declared, parse_color
from pixelwright.data.classes import classes_from_masks, names_for, numbered
from pixelwright.data.counts import value_counts
from pixelwright.errors import DataError, first_few
from pixelwright.render import palette
from pixelwright.types import IGNORE, Classes, Color

MOST_CLASSES = 64
"""More colours than this, in areas of one colour, are a picture and no mask."""
FLAT = 64
"""Pixels in areas of one colour that no class has: above this they are no edge."""
ALIKE = 24
"""Colours of lossy masks nearer than this are one."""
ROUNDING = 12
"""A colour this near to the line between two others is a blend of them."""


class Extent(NamedTuple):
    """Pixels of a colour: all, those in squares of it of two by two, and of four by four."""

    pixels: int
    area: int
    broad: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What one mask holds.

    Args:
        values: Pixels of each value; empty for a colour picture.
        colors: Of each colour, packed, its pixels, those in areas of it, and those in broad ones;
            empty for indices.
        lossy: It was stored with loss.
        palette: The colours of its palette.
    """

    values: Counter[int] = field(default_factory=Counter)
    colors: Mapping[int, Extent] = field(default_factory=dict)
    lossy: bool = False
    palette: tuple[Color, ...] = ()


@dataclass(frozen=True, slots=True)
class Scheme:
    """What raw values or colours of a data set's masks mean.

    Args:
        classes: As any layout declares them.
        snap: Values and colours in between go to the nearest class; else they are a fault.
    """

    classes: Classes
    snap: bool = False


def survey(path: Path) -> Survey:
    """Look at one mask, however it is stored.

    Raises:
        DataError: It cannot be read as a mask.
    """
    stored = images.stored_mask(path, lossy=True)
    lossy = images.is_lossy(path)
    if stored.samples.ndim == 3:
        return Survey(colors=_colors(stored.samples), lossy=lossy)
    colors = () if stored.palette is None else tuple(map(_color, stored.palette.tolist()))
    return Survey(value_counts(stored.samples), lossy=lossy, palette=colors)


def scheme_for(surveys: Sequence[Survey], ignore: Sequence[int] = ()) -> Scheme:
    """What the masks mean where nobody declared it: `images.infer_values`, or areas of one colour.

    Args:
        surveys: Of all masks.
        ignore: Raw values that count nowhere.

    Raises:
        DataError: They show no classes.
    """
    if any(survey.colors for survey in surveys):
        return _by_color(surveys)
    if ignore:
        counted = [
            replace(s, values=Counter({v: n for v, n in s.values.items() if v not in ignore}))
            for s in surveys
        ]
        shown = scheme_for(counted)
        values = {**shown.classes.values, **dict.fromkeys(ignore, IGNORE)}
        return replace(shown, classes=replace(shown.classes, values=values))
    exact = [survey for survey in surveys if not survey.lossy] or list(surveys)
    total: Counter[int] = Counter()
    for survey in exact:
        total.update(survey.values)
    if _two_codes(exact):
        return Scheme(_two_classes({0: 0, 1: 1, 255: 1}, surveys))
    try:
        seen = images.infer_values(total)
    except DataError:
        return _by_level(surveys)
    if seen.threshold:
        return Scheme(_two_classes(seen.values, surveys, threshold=True), snap=True)
    colors = _palette_of(surveys, seen.values, seen.classes)
    names = names_for(seen.classes)
    return Scheme(Classes(names, colors, seen.values), snap=len(exact) < len(surveys))


def scheme_from(declared: Declared, surveys: Sequence[Survey]) -> Scheme:
    """What the masks mean where the classes are declared.

    Two classes without values may be 0 and 255 as well as 0 and 1, as the masks show.

    Raises:
        DataError: The masks are colour pictures, and no colours are declared.
        RecipeError: Declarations that contradict each other.
    """
    if any(survey.colors for survey in surveys):
        if not declared.colors:
            raise DataError(
                "The masks are colour pictures, but only names or values are declared. Declare "
                "which class has which colour: names=...,colors=..., one of each per class."
            )
        colors = tuple(parse_color(color) for color in declared.colors)
        void = tuple(parse_color(color) for color in declared.ignore_colors)
        names = declared.names or numbered(len(colors))
        classes = Classes(names, colors, by_color=True, ignored_colors=void)
        return Scheme(classes, snap=True)
    classes = classes_from_masks(
        *((), declared.names, declared.colors, declared.values, declared.ignore),
        declared.ignore_colors,
        either=True,
    )
    if len(classes) == 2 and not declared.values:
        try:
            shown = scheme_for(surveys, declared.ignore)
        except DataError:
            shown = Scheme(classes)
        if shown.classes.values.get(255) == 1:
            classes = replace(
                classes, values=shown.classes.values, threshold=shown.classes.threshold
            )
    return Scheme(classes, snap=classes.threshold)


def _two_codes(surveys: Iterable[Survey]) -> bool:
    """Whether some masks are 0 and 1 and others 0 and 255, so that 255 is not to be ignored."""
    kinds = {frozenset(survey.values) for survey in surveys}
    mixed = {frozenset((0, 1)), frozenset((0, 255))}
    return mixed <= kinds and all(kind <= {0, 1} or kind <= {0, 255} for kind in kinds)


def _two_classes(
    values: Mapping[int, int], surveys: Sequence[Survey], *, threshold: bool = False
) -> Classes:
    colors = _palette_of(surveys, values, 2)
    return Classes(names_for(2), colors, dict(values), threshold=threshold)


def _palette_of(
    surveys: Sequence[Survey], values: Mapping[int, int], count: int
) -> tuple[Color, ...]:
    """The classes' colours as the masks' palettes show them, if they agree; else our own."""
    palettes = {survey.palette for survey in surveys}
    theirs = palettes.pop() if len(palettes) == 1 else ()
    raw_of = {index: raw for raw, index in list(values.items())[::-1] if index != IGNORE}
    if theirs and len(raw_of) == count and max(raw_of.values()) < len(theirs):
        colors = tuple(theirs[raw_of[index]] for index in range(count))
        if len(set(colors)) == count:
            return colors
    return palette(count)


def _by_color(surveys: Sequence[Survey]) -> Scheme:
    """A class for each colour that has areas of its own, or lies between no two of those."""
    total: dict[int, Extent] = {}
    for survey in surveys:
        counted = survey.colors or {
            _pack(survey.palette[value] if survey.palette else (value,) * 3): Extent(n, n, n)
            for value, n in survey.values.items()
        }
        for color, more in counted.items():
            before = total.get(color, Extent(0, 0, 0))
            total[color] = Extent(*(a + b for a, b in zip(before, more, strict=True)))
    points = {color: images.unpacked(color) for color in total}
    found = _solid(total, points, lossy=any(survey.lossy for survey in surveys))
    if not 2 <= len(found) <= MOST_CLASSES:
        raise DataError(
            f"The masks are colour pictures with {len(total):,} colours, {len(found)} of them in "
            "areas of one colour, so they show no classes. Declare them: names=...,colors=..."
        )
    colors = tuple(points[color] for color in found)
    return Scheme(Classes(names_for(len(found)), colors, by_color=True), snap=True)


def _by_level(surveys: Sequence[Survey]) -> Scheme:
    """A class for each grey that is frequent where others only lie in between, as 0, 128 and 255.

    Raises:
        DataError: There are too many.
    """
    total: Counter[int] = Counter()
    for survey in surveys:
        total.update(survey.values)
    # A grey with more than a hundredth of all pixels is no edge.
    enough = sum(total.values()) / 100
    areas = {value: n if n >= enough else 0 for value, n in total.items()}
    counts = {_pack((v, v, v)): Extent(n, areas[v], areas[v]) for v, n in total.items()}
    points = {color: images.unpacked(color) for color in counts}
    found = _solid(counts, points, lossy=any(survey.lossy for survey in surveys))
    if not 2 <= len(found) <= MOST_CLASSES or min(total) < 0 or max(total) > 255:
        raise DataError(
            f"The masks hold the values {first_few(sorted(total), 6)}, which show no classes. "
            "Declare which value each class has: values=..."
        )
    levels = sorted(points[color][0] for color in found)
    values = {level: index for index, level in enumerate(levels)}
    return Scheme(Classes(names_for(len(levels)), palette(len(levels)), values), snap=True)


def _solid(counts: Mapping[int, Extent], points: Mapping[int, Color], *, lossy: bool) -> list[int]:
    """Colours of classes, black first, then the most frequent."""
    enough = FLAT if lossy else 8
    found: list[int] = []
    for color, seen in sorted(counts.items(), key=lambda item: (-item[1].area, item[0])):
        if seen.area < enough or len(found) > MOST_CLASSES:
            break
        known = [points[other] for other in found]
        if lossy:
            new = all(math.dist(points[color], other) >= ALIKE for other in known)
        else:
            # The smooth edge of a straight pole has areas too, but narrow ones.
            new = seen.broad >= enough or not _blend(points[color], known)
        if new:
            found.append(color)
    if not lossy and len(found) <= MOST_CLASSES:
        # Lines of one pixel have no area; unlike an edge, their colour is no blend of two others.
        known = [points[color] for color in found]
        many = max(FLAT, sum(seen.pixels for seen in counts.values()) // 10_000)
        found += [
            color
            for color, seen in counts.items()
            if seen.area < enough and seen.pixels >= many and not _blend(points[color], known)
        ]
    return sorted(found, key=lambda color: (color != 0, -counts[color].pixels, color))


def _blend(color: Color, solid: Sequence[Color]) -> bool:
    """Whether a colour lies between two others, give or take some rounding."""
    point = np.array([color], np.float32)
    ends = np.array(solid, np.float32).reshape(-1, 3)
    return any(off_segment(point, one, other)[0] < ROUNDING for one, other in combinations(ends, 2))


def _colors(samples: UInt8[np.ndarray, "h w 3"]) -> dict[int, Extent]:
    each = images.packed(samples)
    colors, pixels = np.unique(each, return_counts=True)
    area, broad = (
        np.bincount(np.searchsorted(colors, each[flat(each, side)]), minlength=len(colors))
        for side in (2, 4)
    )
    # Of a photograph or a lossy mask the rarest thousands decide nothing.
    most = np.argsort(-pixels, kind="stable")[:4096]
    return {int(colors[i]): Extent(int(pixels[i]), int(area[i]), int(broad[i])) for i in most}


def flat(packed: Integer[np.ndarray, "h w"], side: int = 2) -> Bool[np.ndarray, "h w"]:
    """Pixels in a square of one colour, `side` pixels wide."""
    square = np.zeros(packed.shape, np.uint8)  # at its upper left pixel
    if min(packed.shape) < side:
        return square.astype(bool)
    same = packed[:-1] == packed[1:]
    square[:-1, :-1] = same[:, :-1] & same[:, 1:] & (packed[:-1, :-1] == packed[:-1, 1:])
    if side > 2:
        # A larger square is one where all squares of two by two in it are.
        kernel = np.ones((side - 1, side - 1), np.uint8)
        square[:] = cv2.erode(square, kernel, anchor=(0, 0), borderValue=(0,))
    whole = np.ones((side, side), np.uint8)
    return cv2.dilate(square, whole, anchor=(side - 1, side - 1)) > 0


def _pack(color: Color) -> int:
    return (color[0] << 16) | (color[1] << 8) | color[2]


def _color(rgb: Sequence[int]) -> Color:
    return rgb[0], rgb[1], rgb[2]


def off_segment(
    pixels: Float32[np.ndarray, "n c"],
    one: Float32[np.ndarray, " c"],
    other: Float32[np.ndarray, " c"],
) -> Float32[np.ndarray, " n"]:
    """How far colours are from the nearest blend of two others."""
    along = other - one
    length = max(float((along**2).sum()), 1.0)
    part = np.clip((pixels - one) @ along / np.float32(length), 0, 1)
    blend = one + part[:, np.newaxis] * along
    return np.asarray(np.sqrt(((blend - pixels) ** 2).sum(axis=1)), np.float32)
