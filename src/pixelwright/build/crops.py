"""The crops that a recipe trains on: cut, aimed, filled with pasted objects, varied."""

import warnings
from dataclasses import fields

import numpy as np

from pixelwright.data.aim import places_of
from pixelwright.data.augment import Augment
from pixelwright.data.blobs import SMALLEST, Blobs, blobs_of, of_class, only, rarest
from pixelwright.data.counts import class_counts
from pixelwright.data.dataset import Dataset
from pixelwright.data.loader import Loader
from pixelwright.data.paste import CopyBlob
from pixelwright.errors import DataError, PixelwrightWarning, RecipeError, first_few, unknown
from pixelwright.recipe import Recipe
from pixelwright.types import Index


def training_crops(recipe: Recipe, found: Index) -> Loader:
    """The endless sequence of crops that a training of this recipe sees.

    Crops to learn by heart (`train.overfit`) are neither varied nor aimed nor pasted into.

    Raises:
        RecipeError: Classes to paste that are not there.
        DataError: Masks that cannot be read, or nothing to paste.
    """
    train = recipe.train
    dataset = Dataset(found.splits["train"], found.classes, recipe.channels)
    options = {field.name: getattr(recipe.augment, field.name) for field in fields(Augment)}
    augment = Augment(flip=False) if train.overfit else Augment(**options)
    aware = 0.0 if train.overfit else train.class_aware
    paste = None
    if recipe.augment.copy_blob and not train.overfit:
        paste = CopyBlob(
            dataset,
            _blobs(recipe, found),
            rate=recipe.augment.copy_blob,
            place=recipe.augment.copy_place,
            augment=augment,
        )
    return Loader(
        dataset,
        augment,
        crop=(train.crop, train.crop),
        batch_size=train.batch_size,
        seed=recipe.seed,
        class_aware=aware,
        places=places_of(dataset.entries, found.classes) if aware else None,
        paste=paste,
    )


def _blobs(recipe: Recipe, found: Index) -> Blobs:
    """The objects of the classes to paste.

    Raises:
        RecipeError: A class that the data does not have.
        DataError: There is nothing to paste from.
    """
    entries, names = found.splits["train"], found.classes.names
    chosen = recipe.augment.copy_classes
    wrong = [name for name in chosen if name not in names]
    if wrong:
        raise RecipeError(f"augment.copy_classes: {unknown('class', wrong[0], names)}")
    if any(isinstance(entry.target, int) for entry in entries):
        raise RecipeError(
            "augment.copy_blob pastes objects from mask to mask, but these images have one label "
            "each. Set augment.copy_blob = 0."
        )
    if len(entries) < 2:
        raise DataError(
            "augment.copy_blob pastes objects of other training images, but there is only one, "
            f"{entries[0].image}. Set augment.copy_blob = 0, or add images."
        )
    wanted = [names.index(name) for name in chosen]
    wanted = wanted or list(rarest(class_counts(entries, found.classes)))
    blobs = blobs_of(entries, found.classes, wanted)
    # A crop is given nothing of its own entry: a class needs objects in two.
    usable = [k for k in wanted if len(np.unique(blobs.entries[of_class(blobs, k)])) > 1]
    lacking = [names[k] for k in wanted if k not in usable]
    where = (
        f"the training images hold no object of {first_few(lacking, 5)} that could be pasted: of "
        f"{SMALLEST} pixels or more, at most a quarter of the image, and in two images"
    )
    if not usable:
        raise DataError(f"augment.copy_blob: {where}. Set it to 0, or name other copy_classes.")
    if lacking:
        warnings.warn(f"augment.copy_blob: {where}.", PixelwrightWarning, stacklevel=2)
    return only(blobs, usable)
