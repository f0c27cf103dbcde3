"""One picture and its mask, cut into blocks: some to validate on, the rest to train on.

Files: an image, and a mask of the same size.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Float64, Int16, Int64
from pydantic import Field

from pixelwright import images
from pixelwright.data.blocks import MOST, Grid, grid_for, split
from pixelwright.data.classes import classes_from_masks
from pixelwright.data.counts import label_counts, view
from pixelwright.errors import DataError, RecipeError
from pixelwright.types import Entry, Index, Window

_KEEP = 0.9
"""A fold chosen by itself leaves this much of what the best fold leaves to train on, or more."""


def pair(
    *,
    image: Path,
    mask: Path,
    names: tuple[str, ...] = (),
    colors: tuple[str, ...] = (),
    values: tuple[int, ...] = (),
    ignore: tuple[int, ...] = (),
    guard: Annotated[int, Field(ge=0)] = 32,
    blocks: Annotated[int, Field(ge=0, le=MOST)] = 0,
    fold: Annotated[int, Field(ge=-1)] = -1,
) -> Index:
    """Point at one picture.

    Args:
        image: The picture.
        mask: Its mask, of the same size.
        names: Of the classes; by default what the mask shows.
        colors: Of the classes, such as #ff8000; those in the mask where it is a colour picture.
        values: Raw value of each class in the mask; 0, 1, 2 and on unless given.
        ignore: Raw values that count nowhere.
        guard: Pixels between training and validation that belong to neither. With at least the
            network's receptive radius, no training pixel sees a validation pixel.
        blocks: Blocks along a side, of which one in each row and column is for validation. 0 takes
            5, fewer in small pictures, and 5 strips in tiny ones.
        fold: Which blocks are for validation, from 0; -1 takes those whose shares of the classes
            are nearest to the whole picture's.
    """
    for name, path in (("image", image), ("mask", mask)):
        if images.is_folder(path):
            raise RecipeError(
                f"{name}={path} is a folder. For folders of pictures use the layout folders: "
                f"folders:images={image},masks={mask}."
            )
    if blocks == 1:
        raise RecipeError("blocks=1 leaves nothing to train on. Give 2 or more, or 0 to choose.")
    classes = classes_from_masks([mask], names, colors, values, ignore)
    target = images.read_mask(mask, classes)
    images.check_sizes(image, images.size(image), mask, (target.shape[0], target.shape[1]))
    grid = grid_for(target.shape[0], target.shape[1], guard, blocks)
    if fold >= grid.folds:
        raise RecipeError(f"fold={fold} does not exist: there are {grid.folds}, from 0.")
    usable = _usable(grid, guard, image)
    if fold == -1:
        fold = _fairest(usable, target, len(classes))
    if fold not in usable:
        raise DataError(_no_room(grid, guard, image))
    train, val = usable[fold]
    splits = {"train": _entries(image, mask, train), "val": _entries(image, mask, val)}
    return Index(classes, splits, guard=guard)


Parts = tuple[list[Window], list[Window]]
"""Windows to train on, windows to validate on."""


def _usable(grid: Grid, guard: int, image: Path) -> dict[int, Parts]:
    """The folds that leave something to train on and to validate on."""
    folds = {fold: split(grid, fold, guard) for fold in range(grid.folds)}
    usable = {fold: parts for fold, parts in folds.items() if parts[0] and parts[1]}
    if not usable:
        raise DataError(_no_room(grid, guard, image))
    return usable


def _no_room(grid: Grid, guard: int, image: Path) -> str:
    where = f"{image} is {grid.width}x{grid.height}, which"
    for smaller in range(guard - 1, -1, -1):
        again = grid_for(grid.height, grid.width, smaller)
        if all(split(again, 0, smaller)):
            return (
                f"{where} leaves nothing to train on beside validation blocks and guards of "
                f"{guard} pixels. Give guard={smaller} or less with blocks=0, or a larger picture."
            )
    return f"{where} is too small to be split. Give a larger picture."


def _fairest(usable: dict[int, Parts], target: Int16[np.ndarray, "h w"], classes: int) -> int:
    """The fold whose validation part stands best for the whole picture; the first of equals.

    Counts first the classes that one side lacks, then how far the shares are off.
    """
    whole = label_counts(target, classes)
    most = max(_area(train) for train, _ in usable.values())

    def unfairness(fold: int) -> tuple[int, float]:
        train, val = (_counts(target, windows, classes) for windows in usable[fold])
        lacking = int(((whole > 0) & ((train == 0) | (val == 0))).sum())
        return lacking, float(np.abs(_shares(val) - _shares(whole)).sum())

    roomy = [fold for fold, (train, _) in usable.items() if _area(train) >= _KEEP * most]
    return min(roomy, key=unfairness)


def _area(windows: Sequence[Window]) -> int:
    return sum(window.height * window.width for window in windows)


def _counts(
    target: Int16[np.ndarray, "h w"], windows: Sequence[Window], classes: int
) -> Int64[np.ndarray, " k"]:
    zero = np.zeros(classes, np.int64)
    return sum((label_counts(view(target, window), classes) for window in windows), zero)


def _shares(counts: Int64[np.ndarray, " k"]) -> Float64[np.ndarray, " k"]:
    return counts / max(1, int(counts.sum()))


def _entries(image: Path, mask: Path, windows: Sequence[Window]) -> tuple[Entry, ...]:
    return tuple(
        Entry(f"{image.stem}-{w.top}-{w.left}", image, mask, w, source=image.stem)
        for w in sorted(windows)
    )
