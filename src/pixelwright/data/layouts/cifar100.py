"""CIFAR-100: 50,000 pictures of 32x32 to train on and 10,000 to test, in 100 classes and 20 groups.

Paper: Krizhevsky, 2009, https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf
Files: <root>/cifar-100-python/{train,test,meta}, or <root>/cifar-100-binary/{train,test}.bin, or
<root>/{train,test}/<class>/*.png. Pickles are read without executing them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from pixelwright import images
from pixelwright.data.labels import index_of, label_of, only, picked
from pixelwright.data.layouts._cifar import Published, Version, splits_of
from pixelwright.errors import DataError, shown
from pixelwright.types import Entry, Index

FINE = (
    *("apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle"),
    *("bottle", "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle"),
    *("caterpillar", "cattle", "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch"),
    *("crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox"),
    *("girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion"),
    *("lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom"),
    *("oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree"),
    *("plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road"),
    *("rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake"),
    *("spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank"),
    *("telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle"),
    *("wardrobe", "whale", "willow_tree", "wolf", "woman", "worm"),
)
COARSE = (
    *("aquatic_mammals", "fish", "flowers", "food_containers", "fruit_and_vegetables"),
    *("household_electrical_devices", "household_furniture", "insects", "large_carnivores"),
    *("large_man-made_outdoor_things", "large_natural_outdoor_scenes"),
    *("large_omnivores_and_herbivores", "medium_mammals", "non-insect_invertebrates", "people"),
    *("reptiles", "small_mammals", "trees", "vehicles_1", "vehicles_2"),
)
# The labels of the published files, which have both for every picture.
COARSE_OF_FINE = (
    *(4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7),
    *(6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10),
    *(16, 4, 17, 4, 2, 0, 17, 4, 18, 17, 10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16),
    *(12, 9, 13, 15, 13, 16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13),
)

PUBLISHED = Published(
    "CIFAR-100",
    "cifar100",
    "fine",
    {"fine": FINE, "coarse": COARSE},
    (
        Version("cifar-100-python", ("train",), "test", {"fine": "meta", "coarse": "meta"}),
        Version(
            "cifar-100-binary",
            ("train.bin",),
            "test.bin",
            {"fine": "fine_label_names.txt", "coarse": "coarse_label_names.txt"},
        ),
    ),
)


def cifar100(
    *,
    root: Path,
    labels: Literal["fine", "coarse"] = "fine",
    classes: tuple[str, ...] = (),
    val: Annotated[float, Field(gt=0, lt=1)] = 0.1,
    seed: int = 0,
) -> Index:
    """Point at CIFAR-100.

    Args:
        root: The folder in which an archive was unpacked, or the folder within.
        labels: What to tell apart: the 100 fine classes, or the 20 groups of them.
        classes: Only these, by name or by position such as 0-49; all unless given.
        val: Share of each fine class to hold out from the training pictures for validation, in
            (0, 1). The same pictures are held out whatever `labels` and `classes` are.
        seed: Another seed holds out others.
    """
    names: tuple[str, ...] = FINE if labels == "fine" else COARSE
    kept = picked(names, classes)
    splits = splits_of(root, PUBLISHED, val=val, seed=seed)
    _check_groups(splits.values())
    if labels == "coarse":
        splits = {split: _by_group(entries) for split, entries in splits.items()}
    if classes:
        splits = {split: only(entries, kept) for split, entries in splits.items()}
    groups = [COARSE[COARSE_OF_FINE[k]] for k in kept] if labels == "fine" else ()
    return index_of(root, [names[k] for k in kept], splits, groups)


def _by_group(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    return tuple(replace(entry, target=COARSE_OF_FINE[label_of(entry)]) for entry in entries)


def _check_groups(splits: Iterable[Sequence[Entry]]) -> None:
    """Raise where a picture's two labels contradict each other: bytes are shifted or swapped."""
    files = {entry.image for entries in splits for entry in entries if entry.row is not None}
    for path in sorted(files):
        found = images.row_labels(path)
        wrong = np.flatnonzero(np.array(COARSE_OF_FINE)[found["fine"]] != found["coarse"])
        if wrong.size:
            fine, coarse = (int(found[kind][wrong[0]]) for kind in ("fine", "coarse"))
            raise DataError(
                f"Row {wrong[0]} of {shown(path)} is labelled '{FINE[fine]}' and of the group "
                f"'{COARSE[coarse]}', to which that does not belong; so are {wrong.size:,} rows in "
                "all. The file is damaged. Unpack the archive again."
            )
