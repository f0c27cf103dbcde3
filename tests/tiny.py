"""Tiny data sets, drawn in code: regions that a network can learn from their colour.

    spec = draw_pair(tmp_path)                 # tmp_path/rgb.png, tmp_path/gt.png
    spec = draw_folders(tmp_path, count=8)     # tmp_path/images, tmp_path/masks
    spec = draw_camvid(tmp_path)               # tmp_path/{train,val,test}, {train,val,test}annot
    spec = draw_cityscapes(tmp_path)           # tmp_path/{leftImg8bit,gtFine}/{train,val,test}/...
    spec = draw_voc2012(tmp_path)              # tmp_path/VOCdevkit/VOC2012

Each draws the true layout of its name and returns the `Spec` that loads it. `LAYOUTS` maps every
layout to its drawing, for contract tests.
"""

import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from pixelwright.registry import Spec

SIZE = (48, 64)
"""Height and width of the pictures, but for those of `draw_pair`."""

CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""`labelIds` of the 19 training classes, in the order of their training ids."""

CITIES = (("train", "aachen"), ("train", "bochum"), ("val", "munster"), ("test", "berlin"))


def scene(
    height: int, width: int, classes: int = 2, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a picture "h w 3" in which each class has its own colour, and its indices "h w".

    Every class occurs where there is a pixel for each.
    """
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((classes, 5, 7)).astype(np.float32)
    fields = [cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) for field in noise]
    labels = np.argmax(fields, axis=0).astype(np.uint8)
    spots = rng.permutation(height * width)[:classes]
    labels.reshape(-1)[spots] = np.arange(len(spots))
    colors = np.random.default_rng(7).integers(40, 216, (classes, 3))
    image = colors[labels] + rng.normal(0, 12, (height, width, 3))
    return image.clip(0, 255).astype(np.uint8), labels


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    """Write an array as a picture of the suffix's format; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def draw_pair(folder: Path, height: int = 160, width: int = 160, seed: int = 0) -> Spec:
    """`rgb.png` and its mask `gt.png` of values 0 and 255."""
    image, labels = scene(height, width, seed=seed)
    save(folder / "rgb.png", image)
    save(folder / "gt.png", labels * 255)
    options = {"image": folder / "rgb.png", "mask": folder / "gt.png", "guard": 8}
    return Spec("pair", options)


def draw_folders(folder: Path, count: int = 6, classes: int = 3, seed: int = 0) -> Spec:
    """`images/00.jpg` and on, with index masks `masks/00.png` and on; 0 to `classes` - 1."""
    for i in range(count):
        image, labels = scene(*SIZE, classes, seed + i)
        save(folder / "images" / f"{i:02}.jpg", image, quality=95)
        save(folder / "masks" / f"{i:02}.png", labels)
    return Spec("folders", {"root": folder})


def draw_camvid(folder: Path, count: int = 3, seed: int = 0) -> Spec:
    """`train`, `val` and `test` with masks of values 0 to 11, where 11 is unlabelled."""
    for part, split in enumerate(("train", "val", "test")):
        for i in range(count):
            image, labels = scene(*SIZE, 12, seed + 100 * part + i)
            save(folder / split / f"{split}_{i:05}.png", image)
            save(folder / f"{split}annot" / f"{split}_{i:05}.png", labels)
    return Spec("camvid", {"root": folder})


def draw_cityscapes(
    folder: Path, count: int = 2, seed: int = 0, cities: Sequence[tuple[str, str]] = CITIES
) -> Spec:
    """The official folders: two cities to train on, one to validate on, one official test city."""
    for part, (split, city) in enumerate(cities):
        for i in range(count):
            image, labels = scene(*SIZE, 19, seed + 100 * part + i)
            ids = np.array(CITYSCAPES_IDS, np.uint8)[labels]
            ids[:4] = 1  # the bonnet of the car that films
            ids = np.zeros_like(ids) if split == "test" else ids
            key = f"{city}_{i:06}_000019"
            save(folder / "leftImg8bit" / split / city / f"{key}_leftImg8bit.png", image)
            save(folder / "gtFine" / split / city / f"{key}_gtFine_labelIds.png", ids)
    return Spec("cityscapes", {"root": folder})


def draw_cityscapes_zips(folder: Path, count: int = 2, seed: int = 0) -> Spec:
    """The two official archives, unextracted."""
    draw_cityscapes(folder / "plain", count, seed)
    for name in ("leftImg8bit", "gtFine"):
        pack(folder / f"{name}_trainvaltest.zip", folder / "plain" / name, name)
    shutil.rmtree(folder / "plain")
    return Spec("cityscapes", {"root": folder})


def pack(archive: Path, folder: Path, top: str = "") -> Path:
    """A folder as a zip archive, its files below `top`."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, Path(top) / path.relative_to(folder))
    return archive


def draw_voc2012(folder: Path, count: int = 3, seed: int = 0) -> Spec:
    """The archive extracted: palette masks of values 0 to 20, borders of 255."""
    home = folder / "VOCdevkit" / "VOC2012"
    for part, split in enumerate(("train", "val")):
        names = [f"2007_{100 * part + i:06}" for i in range(count)]
        for i, name in enumerate(names):
            image, labels = scene(*SIZE, 21, seed + 100 * part + i)
            labels[:2] = 255
            save(home / "JPEGImages" / f"{name}.jpg", image, quality=95)
            mask = Image.fromarray(labels).convert("P")
            mask.putpalette([sample for i in range(256) for sample in (i, 255 - i, i // 2)])
            path = home / "SegmentationClass" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            mask.save(path)
        lists = home / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n")
    return Spec("voc2012", {"root": folder})


LAYOUTS: dict[str, Callable[[Path], Spec]] = {
    "pair": draw_pair,
    "folders": draw_folders,
    "camvid": draw_camvid,
    "cityscapes": draw_cityscapes_zips,
    "voc2012": draw_voc2012,
}
