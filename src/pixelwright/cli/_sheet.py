"""Contact sheets of labelled images and of training crops, each beside its mask.

Loaded only once a command runs.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import count as count_from
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Int64, UInt8

from pixelwright import render
from pixelwright.console import count
from pixelwright.data.augment import Augment
from pixelwright.data.batches import ResidentLoader, views
from pixelwright.data.counts import class_counts, label_counts
from pixelwright.data.dataset import Dataset
from pixelwright.data.loader import Loader
from pixelwright.data.paste import Pasted
from pixelwright.data.resident import Resident
from pixelwright.errors import DataError, unknown
from pixelwright.recipe import Recipe
from pixelwright.render.labelled import Labelled, labelled_sheet
from pixelwright.types import Batch, Classes, Entry, Index

_SIDE = 1280
"""Longest side in pixels up to which images are kept for the sheet; a dozen photographs fit."""

_COUNTED = 256
"""Crops whose classes are counted: about a per cent of the shares is then chance."""

_OUTLINE = (255, 255, 255)

Picture = UInt8[np.ndarray, "height width 3"]


class Sheet(NamedTuple):
    """What is shown.

    Args:
        picture: The sheet.
        images: Pixels of each class in the images.
        crops: Pixels of each class in crops; None where none are shown.
        line: What was done to the crops.
    """

    picture: Picture
    images: Int64[np.ndarray, " k"]
    crops: Int64[np.ndarray, " k"] | None = None
    line: str = ""


def chosen(index: Index, split: str) -> Sequence[Entry]:
    """The labelled entries of a split.

    Raises:
        DataError: There is no such split, or nothing in it is labelled.
    """
    if split not in index.splits:
        raise DataError(unknown("split", split, index.splits))
    entries = [entry for entry in index.splits[split] if entry.target is not None]
    if not entries:
        raise DataError(f"No image of '{split}' has a mask or a label.")
    return entries


def sheet(index: Index, split: str, number: int) -> Sheet:
    """Up to `number` entries of a split, spread evenly over all of them.

    Raises:
        DataError: There is no such split, nothing in it is labelled, or a file cannot be read.
    """
    entries, classes = chosen(index, split), index.classes
    shown = np.linspace(0, len(entries) - 1, min(number, len(entries))).round().astype(int)
    dataset = Dataset([entries[i] for i in shown], classes, budget=0)
    caption = f"{split}: {count(len(entries), 'image')}"
    draw = _labelled if index.one_label else _masked
    counts = class_counts(entries, classes).pixels
    bars = {f"shares of the classes in {count(len(entries), 'image')}": counts.tolist()}
    return Sheet(render.shares_below(draw(dataset, caption), classes, bars), counts)


def _masked(dataset: Dataset, caption: str) -> Picture:
    """Each picture beside its mask."""
    panels: list[np.ndarray] = []
    titles: list[str] = []
    for i in range(len(dataset)):
        sample = dataset.sample(i)
        assert not isinstance(sample.target, int), "all entries have masks, or none has"
        step = -(-max(sample.image.shape[:2]) // _SIDE)
        image = np.ascontiguousarray(sample.image[::step, ::step])
        target = sample.target[::step, ::step]
        panels += [image, render.overlay(image, target, dataset.classes.colors)]
        titles += [sample.key, ""]
    return render.contact_sheet(panels, 6, titles=titles, caption=caption)


def _labelled(dataset: Dataset, caption: str) -> Picture:
    """Each picture above the name of its class."""
    samples = [dataset.sample(i) for i in range(len(dataset))]
    names = dataset.classes.names
    pictures = [
        Labelled(sample.image, (names[sample.target], sample.key))
        for sample in samples
        if isinstance(sample.target, int)
    ]
    return labelled_sheet([(caption, pictures)], columns=6, side=192, text=17)


def whole_sheet(index: Index, recipe: Recipe, augment: Augment, number: int) -> Sheet:
    """The first pictures of a training, each with one label, as it would see them.

    Raises:
        DataError: Pictures cannot be read, or are of several sizes.
        RecipeError: They would move out of sight.
    """
    entries, classes, train = index.splits["train"], index.classes, recipe.train
    pictures = Resident.of(entries, classes, recipe.channels, size=recipe.size)
    if train.views:
        batches = views(pictures, augment, train.views, recipe.seed)
    else:
        size = train.batch_size
        loader = ResidentLoader(pictures, augment, batch_size=size, seed=recipe.seed)
        batches = map(loader.batch, count_from())
    shown: list[Labelled] = []
    for batch in batches:
        pairs = zip(batch.images, _names(batch, classes), strict=True)
        shown += [Labelled(image, lines) for image, lines in pairs]
        if len(shown) >= number:
            break
    caption = "pictures as the training sees them"
    picture = labelled_sheet([(caption, shown[:number])], columns=6, side=192, text=17)
    return Sheet(picture, class_counts(entries, classes).pixels)


def _names(batch: Batch, classes: Classes) -> list[tuple[str, ...]]:
    """The class of each picture and its key; of mixed ones, both classes and their shares."""
    names, mix = [classes.names[label] for label in batch.targets.tolist()], batch.mix
    if mix is None:
        return list(zip(names, batch.keys, strict=True))
    others = [classes.names[label] for label in mix.targets.tolist()]
    said = f"{mix.share:.0%}", f"{1 - mix.share:.0%}"
    return [(f"{said[0]} {a}", f"{said[1]} {b}") for a, b in zip(names, others, strict=True)]


def crop_sheet(loader: Loader, number: int, *, caption: str) -> Sheet:
    """The first crops of a training as it would see them; what was pasted is outlined."""
    classes = loader.dataset.classes
    panels: list[np.ndarray] = []
    titles: list[str] = []
    total = np.zeros(len(classes), np.int64)
    objects: Counter[str] = Counter()
    aimed = 0
    counted = max(number, _COUNTED)
    for position in range(counted):
        _, aim = loader.aim_at(position)
        crop, pasted = loader.crop_at(position)
        aimed += aim is not None
        objects.update(classes.names[one.label] for one in pasted)
        if isinstance(crop.target, int):
            total[crop.target] += 1
        else:
            total += label_counts(crop.target, len(classes))
        if position < number:
            goal = f" · at {classes.names[aim.label]}" if aim else ""
            panels.append(crop.image)
            titles.append(f"{crop.key}{goal}")
            if not isinstance(crop.target, int):
                tinted = render.overlay(crop.image, crop.target, classes.colors)
                panels.append(_outlined(tinted, pasted))
                titles.append(_named(pasted, classes))
    picture = render.contact_sheet(panels, 6, titles=titles, caption=caption)
    images = class_counts(loader.dataset.entries, classes).pixels
    bars = {
        "shares of the classes in the training images": images.tolist(),
        f"shares of the classes in the first {counted} crops": total.tolist(),
    }
    line = f"{counted} crops: {aimed} aimed at a class, {count(objects.total(), 'object')} pasted"
    parts = [f"{name} {n}" for name, n in objects.most_common()]
    line += f": {', '.join(parts)}" if parts else ""
    return Sheet(render.shares_below(picture, classes, bars), images, total, line)


def _outlined(picture: Picture, pasted: Sequence[Pasted]) -> Picture:
    """With a line around each object, just outside, or it would hide what is thin."""
    mask = np.zeros(picture.shape[:2], np.uint8)
    for one in pasted:
        height, width = one.mask.shape
        mask[one.top : one.top + height, one.left : one.left + width] |= one.mask
    around = cv2.dilate(mask, np.ones((3, 3), np.uint8)) > mask
    picture[around] = _OUTLINE
    return picture


def _named(pasted: Sequence[Pasted], classes: Classes) -> str:
    names = Counter(classes.names[one.label] for one in pasted)
    listed = [f"{n} {name}" if n > 1 else name for name, n in names.items()]
    return f"pasted: {', '.join(listed)}" if listed else ""
