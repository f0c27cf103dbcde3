"""PASCAL VOC 2012 segmentation: 20 classes and background, 1464 train and 1449 val pictures.

Paper: Everingham et al., 2015, https://doi.org/10.1007/s11263-014-0733-5
Files: <root>/VOCdevkit/VOC2012/{JPEGImages,SegmentationClass,ImageSets/Segmentation}, as in
VOCtrainval_11-May-2012.tar extracted, or within a zip archive.
Augmented: <root>/.../SegmentationClassAug, 10,582 train masks of Hariharan et al., 2011,
https://doi.org/10.1109/ICCV.2011.6126343
Differs: pictures of the official val list are never trained on, whatever trainaug.txt says.
"""

import re
import warnings
from collections import Counter
from pathlib import Path

from pixelwright.errors import DataError, PixelwrightWarning, first_few
from pixelwright.images import children, exists, is_folder, read_bytes
from pixelwright.types import IGNORE, Classes, Color, Entry, Index

NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair"),
    *("cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
VOID = 255
"""Raw value of object borders and of what is hard to tell."""

_PLACES = ("", "VOCdevkit/VOC2012", "VOC2012", "TrainVal/VOCdevkit/VOC2012")
_LISTS = "ImageSets/Segmentation"
_AUGMENTED = "SegmentationClassAug"


def voc2012(*, root: Path, foreground: bool = False, augmented: bool = False) -> Index:
    """Point at VOC 2012.

    Args:
        root: The folder in which the archive was extracted, or any folder within down to VOC2012.
        foreground: Two classes, background and any object; borders stay ignored.
        augmented: Train on the masks of SegmentationClassAug: those that trainaug.txt lists, or all
            where there is no such list.
    """
    home = _home(root)
    val = _listed(home / _LISTS / "val.txt")
    masks = home / "SegmentationClass"
    held_out = _entries(home, masks, val, "val.txt")
    if augmented:
        names = _augmented(home, set(val))
        train = _entries(home, home / _AUGMENTED, names, "trainaug.txt")
    else:
        train = _entries(home, masks, _listed(home / _LISTS / "train.txt"), "train.txt")
    why = "The masks of the official one are not public, so nothing of it can be scored."
    return Index(_classes(foreground), {"train": train, "val": held_out}, absent={"test": why})


def _classes(foreground: bool) -> Classes:
    indices = range(len(NAMES))
    if foreground:
        values = {**{i: min(i, 1) for i in indices}, VOID: IGNORE}
        return Classes(("background", "foreground"), (color(0), color(15)), values)
    return Classes(NAMES, tuple(map(color, indices)), {**{i: i for i in indices}, VOID: IGNORE})


def color(index: int) -> Color:
    """Colour of a class in the palette of VOC's masks.

    Bits 0, 3, 6 of the index become the highest bits of red, bits 1, 4, 7 those of green, bits 2, 5
    those of blue, the lowest first.
    """
    red, green, blue = (
        sum((index >> (3 * place + channel) & 1) << (7 - place) for place in range(8))
        for channel in range(3)
    )
    return red, green, blue


def _home(root: Path) -> Path:
    """The folder VOC2012."""
    for place in _PLACES:
        if is_folder(root / place / _LISTS):
            return root / place
    held = [path.name for path in children(root)]
    tar = next((name for name in held if name.lower().endswith((".tar", ".tar.gz", ".tgz"))), None)
    what = (
        f"Extract {tar} there: tar -xf {tar}."
        if tar
        else "Extract VOCtrainval_11-May-2012.tar there, or fetch it: pixelwright data get voc2012."
    )
    raise DataError(
        f"{root} holds no VOCdevkit/VOC2012/{_LISTS}, only {first_few(held, 5) or 'nothing'}. "
        f"{what}"
    )


def _listed(path: Path) -> list[str]:
    """The names of a list, one a line; `/JPEGImages/a.jpg /SegmentationClassAug/a.png` counts as a.

    Raises:
        DataError: There is no such list, it is empty, or it names a picture twice.
    """
    if not exists(path):
        raise DataError(
            f"There is no {path}, so it is not known which pictures are in that split. Take it "
            "from VOCtrainval_11-May-2012.tar."
        )
    lines = read_bytes(path).decode("utf-8-sig", errors="replace").splitlines()
    names = [re.split(r"[/\\]", line.split()[0])[-1] for line in lines if line.strip()]
    names = [re.sub(r"\.(jpg|png)$", "", name) for name in names]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice or not names:
        what = f"names {first_few(twice)} twice" if twice else "names no picture"
        raise DataError(f"{path} {what}. Take it from the original archive.")
    return names


def _augmented(home: Path, val: set[str]) -> list[str]:
    """The pictures with augmented masks that are not in val."""
    if not is_folder(home / _AUGMENTED):
        raise DataError(
            f"{home} has no folder {_AUGMENTED}. Put the augmented masks there (10,582 for train; "
            "trainaug.txt goes to ImageSets/Segmentation), or leave augmented out."
        )
    for name in ("trainaug.txt", "train_aug.txt"):
        if exists(home / _LISTS / name):
            listed = _listed(home / _LISTS / name)
            if both := [picture for picture in listed if picture in val]:
                warnings.warn(
                    f"{name} lists {len(both)} pictures of val.txt, {first_few(both)}: they are "
                    "validated on, so they are left out of training.",
                    PixelwrightWarning,
                    stacklevel=4,
                )
            return [picture for picture in listed if picture not in val]
    masks = [path for path in children(home / _AUGMENTED) if path.suffix.lower() == ".png"]
    return [path.stem for path in masks if path.stem not in val]


def _entries(home: Path, masks: Path, names: list[str], listing: str) -> tuple[Entry, ...]:
    """Picture and mask of each name.

    Raises:
        DataError: The list names files that are not there.
    """
    pictures = home / "JPEGImages"
    for folder, suffix in ((pictures, ".jpg"), (masks, ".png")):
        there = {path.name for path in children(folder)} if is_folder(folder) else set()
        gone = [f"{name}{suffix}" for name in names if f"{name}{suffix}" not in there]
        if gone:
            raise DataError(
                f"{len(gone)} of the {len(names)} files of {listing} are not in {folder}: "
                f"{first_few(gone)}. Extract VOCtrainval_11-May-2012.tar again, in full."
            )
    return tuple(Entry(name, pictures / f"{name}.jpg", masks / f"{name}.png") for name in names)
