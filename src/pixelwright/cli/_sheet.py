"""A contact sheet of labelled images, each beside its mask.

Loaded only once a command runs.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from pixelwright import render
from pixelwright.data.dataset import Dataset
from pixelwright.errors import DataError, unknown
from pixelwright.types import Classes, Entry, Index

_SIDE = 1280
"""Longest side in pixels up to which images are kept for the sheet; a dozen photographs fit."""


def chosen(index: Index, split: str) -> Sequence[Entry]:
    """The labelled entries of a split.

    Raises:
        DataError: There is no such split, or nothing in it is labelled.
    """
    if split not in index.splits:
        raise DataError(unknown("split", split, index.splits))
    entries = [entry for entry in index.splits[split] if entry.target is not None]
    if not entries:
        raise DataError(f"No image of '{split}' has a mask.")
    return entries


def sheet(
    entries: Sequence[Entry], classes: Classes, count: int, *, caption: str
) -> UInt8[np.ndarray, "height width 3"]:
    """Up to `count` entries, spread evenly over all of them."""
    numbers = np.linspace(0, len(entries) - 1, min(count, len(entries))).round().astype(int)
    dataset = Dataset([entries[i] for i in numbers], classes, budget=0)
    panels: list[np.ndarray] = []
    titles: list[str] = []
    for number in range(len(dataset)):
        sample = dataset.sample(number)
        step = -(-max(sample.image.shape[:2]) // _SIDE)
        image = np.ascontiguousarray(sample.image[::step, ::step])
        if isinstance(sample.target, int):
            panels.append(image)
            titles.append(f"{sample.key}: {classes.names[sample.target]}")
        else:
            target = sample.target[::step, ::step]
            panels += [image, render.overlay(image, target, classes.colors)]
            titles += [sample.key, ""]
    columns = 6 if len(panels) > len(numbers) else 4
    return render.contact_sheet(panels, columns, titles=titles, caption=caption)
