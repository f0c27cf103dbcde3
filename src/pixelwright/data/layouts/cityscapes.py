"""Cityscapes with fine labels: 19 classes, 2975 train and 500 val pictures of 2048x1024, by city.

Paper: Cordts et al., 2016, https://arxiv.org/abs/1604.01685
Files: <root>/leftImg8bit/{train,val,test}/<city>/*_leftImg8bit.png and
<root>/gtFine/{train,val,test}/<city>/*_gtFine_labelIds.png, extracted or within the official
leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip; *_labelTrainIds.png where there are no
labelIds. The labels are those of https://github.com/mcordts/cityscapesScripts (labels.py).
Differs: the official test split, whose labels are not public, is none here; labelled cities may be
kept apart for it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pixelwright.errors import DataError, RecipeError, first_few, unknown
from pixelwright.images import children, is_folder
from pixelwright.types import IGNORE, Classes, Color, Entry, Index


class Label(NamedTuple):
    """A kind of thing that is labelled. Only those with a training id are classes."""

    name: str
    id: int
    train_id: int
    category: str
    color: Color


LABELS = (
    Label("unlabeled", 0, 255, "void", (0, 0, 0)),
    Label("ego vehicle", 1, 255, "void", (0, 0, 0)),
    Label("rectification border", 2, 255, "void", (0, 0, 0)),
    Label("out of roi", 3, 255, "void", (0, 0, 0)),
    Label("static", 4, 255, "void", (0, 0, 0)),
    Label("dynamic", 5, 255, "void", (111, 74, 0)),
    Label("ground", 6, 255, "void", (81, 0, 81)),
    Label("road", 7, 0, "flat", (128, 64, 128)),
    Label("sidewalk", 8, 1, "flat", (244, 35, 232)),
    Label("parking", 9, 255, "flat", (250, 170, 160)),
    Label("rail track", 10, 255, "flat", (230, 150, 140)),
    Label("building", 11, 2, "construction", (70, 70, 70)),
    Label("wall", 12, 3, "construction", (102, 102, 156)),
    Label("fence", 13, 4, "construction", (190, 153, 153)),
    Label("guard rail", 14, 255, "construction", (180, 165, 180)),
    Label("bridge", 15, 255, "construction", (150, 100, 100)),
    Label("tunnel", 16, 255, "construction", (150, 120, 90)),
    Label("pole", 17, 5, "object", (153, 153, 153)),
    Label("polegroup", 18, 255, "object", (153, 153, 153)),
    Label("traffic light", 19, 6, "object", (250, 170, 30)),
    Label("traffic sign", 20, 7, "object", (220, 220, 0)),
    Label("vegetation", 21, 8, "nature", (107, 142, 35)),
    Label("terrain", 22, 9, "nature", (152, 251, 152)),
    Label("sky", 23, 10, "sky", (70, 130, 180)),
    Label("person", 24, 11, "human", (220, 20, 60)),
    Label("rider", 25, 12, "human", (255, 0, 0)),
    Label("car", 26, 13, "vehicle", (0, 0, 142)),
    Label("truck", 27, 14, "vehicle", (0, 0, 70)),
    Label("bus", 28, 15, "vehicle", (0, 60, 100)),
    Label("caravan", 29, 255, "vehicle", (0, 0, 90)),
    Label("trailer", 30, 255, "vehicle", (0, 0, 110)),
    Label("train", 31, 16, "vehicle", (0, 80, 100)),
    Label("motorcycle", 32, 17, "vehicle", (0, 0, 230)),
    Label("bicycle", 33, 18, "vehicle", (119, 11, 32)),
    Label("license plate", -1, -1, "vehicle", (0, 0, 142)),
)

_TRAINED = [label for label in LABELS if 0 <= label.train_id < 255]
VALUES = {
    "labelIds": {label.id: label.train_id if label in _TRAINED else IGNORE for label in LABELS},
    "labelTrainIds": {**{label.train_id: label.train_id for label in _TRAINED}, 255: IGNORE},
}
"""What the raw values of the two kinds of masks mean."""

SPLITS = ("train", "val", "test")
IMAGES, MASKS = "leftImg8bit", "gtFine"


class City(NamedTuple):
    """One folder of pictures, and the split that it is in as published."""

    name: str
    split: str
    folder: Path


def cityscapes(
    *,
    root: Path,
    train_cities: tuple[str, ...] = (),
    val_cities: tuple[str, ...] = (),
    test_cities: tuple[str, ...] = (),
) -> Index:
    """Point at Cityscapes.

    A city that is given to a split is in no other. Splits for which none are given stay as
    published, less the cities given to others.

    Args:
        root: The folder that holds `leftImg8bit` and `gtFine`, or the two official zip archives.
        train_cities: Train on these labelled cities only.
        val_cities: Validate on these labelled cities only.
        test_cities: Test on these labelled cities; by default there is no test split.
    """
    images, masks = _package(root, IMAGES), _package(root, MASKS)
    cities = [
        City(folder.name, split, folder)
        for split in SPLITS
        if is_folder(images / split)
        for folder in children(images / split)
        if is_folder(folder) and not folder.name.startswith(".")
    ]
    chosen = _chosen(cities, {"train": train_cities, "val": val_cities, "test": test_cities})
    used = [city for held in chosen.values() for city in held]
    kind, mask_of = _masks(masks, used)
    _pair(used, mask_of, kind, masks)
    splits = {
        split: tuple(
            Entry(key, image, mask_of[key], group=city.name)
            for city in held
            for key, image in _pictures(city).items()
        )
        for split, held in chosen.items()
        if held
    }
    absent = {} if "test" in splits else {"test": _untested(cities)}
    names, colors = zip(*((label.name, label.color) for label in _TRAINED), strict=True)
    return Index(Classes(names, colors, VALUES[kind]), splits, absent=absent)


def _package(root: Path, name: str) -> Path:
    """The folder that holds the splits, extracted or within its zip archive."""
    archive = f"{name}_trainvaltest"
    for above in (root, root / f"{archive}.zip", root / archive, root / f"{name}.zip"):
        if any(is_folder(above / name / split) for split in SPLITS):
            return above / name
    held = first_few([path.name for path in children(root)], 5) or "nothing"
    raise DataError(
        f"{root} holds neither {name}/train nor {archive}.zip, only {held}. Download {archive}.zip "
        "from https://www.cityscapes-dataset.com/downloads (with an account) and put it there; it "
        "need not be extracted."
    )


def _chosen(cities: Sequence[City], given: Mapping[str, tuple[str, ...]]) -> dict[str, list[City]]:
    """The cities of each split."""
    asked = [name for names in given.values() for name in names]
    labelled = {city.name for city in cities if city.split != "test"}
    for name, times in Counter(asked).items():
        if times > 1:
            raise RecipeError(f"City {name} is given twice. A city belongs in one split.")
        if name not in labelled and any(city.name == name for city in cities):
            raise RecipeError(
                f"{name} is a city of the official test split, whose labels are not public. "
                f"Labelled are {', '.join(sorted(labelled))}."
            )
        if name not in labelled:
            raise RecipeError(unknown("labelled city", name, labelled))
    return {
        split: [
            city
            for city in cities
            if (
                city.name in names and city.split != "test"
                if names
                else city.split == split != "test" and city.name not in asked
            )
        ]
        for split, names in given.items()
    }


def _masks(masks: Path, cities: Sequence[City]) -> tuple[str, dict[str, Path]]:
    """Which kind of masks there is, and the mask of each picture."""
    found: dict[str, dict[str, Path]] = {kind: {} for kind in VALUES}
    for city in cities:
        folder = masks / city.split / city.name
        for path in children(folder) if is_folder(folder) else ():
            for kind, of in found.items():
                end = f"_{MASKS}_{kind}.png"
                if path.name.endswith(end) and not path.name.startswith("."):
                    of[path.name.removesuffix(end)] = path
    kind = next((kind for kind, of in found.items() if of), "labelIds")
    return kind, found[kind]


def _pictures(city: City) -> dict[str, Path]:
    end = f"_{IMAGES}.png"
    return {
        path.name.removesuffix(end): path
        for path in children(city.folder)
        if path.name.endswith(end) and not path.name.startswith(".")
    }


def _pair(cities: Sequence[City], mask_of: Mapping[str, Path], kind: str, masks: Path) -> None:
    """Raise for pictures without a mask, and masks without a picture (F28)."""
    keys = [key for city in cities for key in _pictures(city)]
    missing = [key for key in keys if key not in mask_of]
    orphans = sorted(mask_of.keys() - set(keys))
    if missing:
        raise DataError(
            f"{len(missing)} of {len(keys)} pictures have no mask in {masks}: "
            f"{first_few(missing)}. A mask is called <picture>_{MASKS}_{kind}.png; get "
            "gtFine_trainvaltest.zip in full."
        )
    if orphans:
        raise DataError(
            f"{len(orphans)} of {len(mask_of)} masks in {masks} have no picture: "
            f"{first_few(orphans)}. Get leftImg8bit_trainvaltest.zip in full, or remove them."
        )


def _untested(cities: Sequence[City]) -> str:
    pictures = sum(len(_pictures(city)) for city in cities if city.split == "test")
    held = f" ({pictures:,} pictures)" if pictures else ""
    return (
        f"The official one{held} has no public labels, so nothing of it can be scored, and it is "
        "left out. Keep labelled cities apart for it: test_cities=..."
    )
