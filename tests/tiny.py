"""Tiny data sets, drawn in code: regions that a network can learn from their colour.

    spec = draw_pair(tmp_path)                 # tmp_path/rgb.png, tmp_path/gt.png
    spec = draw_folders(tmp_path, count=8)     # tmp_path/images, tmp_path/masks
    spec = draw_camvid(tmp_path)               # tmp_path/{train,val,test}, {train,val,test}annot
    spec = draw_cityscapes(tmp_path)           # tmp_path/{leftImg8bit,gtFine}/{train,val,test}/...
    spec = draw_voc2012(tmp_path)              # tmp_path/VOCdevkit/VOC2012
    spec = draw_cifar100(tmp_path)             # tmp_path/cifar-100-python/{train,test,meta}
    spec = draw_cifar10(tmp_path)              # tmp_path/cifar-10-batches-py/{data_batch_1,...}
    spec = draw_class_folders(tmp_path)        # tmp_path/{train,val}/{ant,bee,cat}/00.png
    spec = draw_csv(tmp_path)                  # tmp_path/labels.csv, tmp_path/pictures

    spec = draw_masks(tmp_path, truth(3))      # tmp_path/images, and these tmp_path/masks
    run = draw_run(tmp_path / "run", spec, "unet:width=4")

Each draws the true layout of its name and returns the `Spec` that loads it. `LAYOUTS` maps every
layout to its drawing, for contract tests. `counts`, `names_of` and `what_it_holds` tell what was
loaded.
"""

import pickle
import shutil
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from pixelwright.registry import Spec

if TYPE_CHECKING:
    from pixelwright.run import Run
    from pixelwright.types import Index

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


def truth(count: int, classes: int = 2) -> list[np.ndarray]:
    """Masks of indices, each of another scene."""
    return [scene(*SIZE, classes, seed)[1] for seed in range(count)]


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """A picture in which no two pixels have to do with one another."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    """Write an array as a picture of the suffix's format; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def save_tiff(path: Path, array: np.ndarray, **options: object) -> Path:
    """Write bands "b h w" by rasterio, with a `mask` "h w" and a palette, `colors`, if given."""
    import rasterio

    count, height, width = array.shape
    shape = {"height": height, "width": width, "count": count, "dtype": array.dtype}
    mask, colors = options.pop("mask", None), options.pop("colors", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(path, "w", driver="GTiff", **shape, **options) as file,
        ):
            file.write(array)
            if mask is not None:
                file.write_mask(mask)
            if colors is not None:
                file.write_colormap(1, colors)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, and what it holds."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


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


def draw_masks(
    folder: Path, masks: Sequence[np.ndarray], suffix: str = "png", **options: object
) -> Spec:
    """These `masks/00.png` and on, each with a picture of noise: `images/00.png` and on."""
    for i, mask in enumerate(masks):
        save(folder / "images" / f"{i:02}.png", noise(*mask.shape[:2], seed=i))
        save(folder / "masks" / f"{i:02}.{suffix}", mask, **options)
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


def labelled(label: int, count: int, side: int = 8, seed: int = 0) -> np.ndarray:
    """Pictures "n h w 3" of one class, which its colour gives away; no two are equal."""
    color = np.random.default_rng(label).integers(40, 216, 3)
    noise = np.random.default_rng((seed, label)).normal(0, 20, (count, side, side, 3))
    return (color + noise).clip(0, 255).astype(np.uint8)


def cifar(classes: int, each: int, seed: int = 0) -> tuple[np.ndarray, list[int]]:
    """Rows "n 32 32 3" of every class in turn, and their labels."""
    labels = [label for _ in range(each) for label in range(classes)]
    by_class = [labelled(label, each, 32, seed) for label in range(classes)]
    return np.stack([by_class[label][i // classes] for i, label in enumerate(labels)]), labels


def save_batch(path: Path, pixels: np.ndarray, labels: dict[str, list[int]]) -> Path:
    """A batch of CIFAR as published: binary where the name ends in .bin, else pickled."""
    path.parent.mkdir(parents=True, exist_ok=True)
    planes = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
    if path.suffix == ".bin":
        columns = [np.array(values, np.uint8)[:, None] for values in labels.values()]
        path.write_bytes(np.concatenate([*columns, planes], axis=1).tobytes())
        return path
    path.write_bytes(pickle.dumps({"data": planes, **labels}, protocol=2))
    return path


def coarse_of(fine: Sequence[int]) -> list[int]:
    """The superclasses of CIFAR-100's classes, by number."""
    from pixelwright.data.layouts.cifar100 import COARSE_OF_FINE

    return [COARSE_OF_FINE[label] for label in fine]


def draw_cifar100(folder: Path, each: int = 2, seed: int = 0, form: str = "python") -> Spec:
    """The archive unpacked, "python" or "binary": `each` pictures of every class, one to test."""
    from pixelwright.data.layouts.cifar100 import COARSE, FINE

    home = folder / f"cifar-100-{form}"
    for split, count, start in (("train", each, seed), ("test", 1, seed + 100)):
        pixels, fine = cifar(100, count, start)
        labels = {"coarse_labels": coarse_of(fine), "fine_labels": fine}
        save_batch(home / (split if form == "python" else f"{split}.bin"), pixels, labels)
    if form == "python":
        meta = {"fine_label_names": list(FINE), "coarse_label_names": list(COARSE)}
        (home / "meta").write_bytes(pickle.dumps(meta, protocol=2))
    else:
        (home / "fine_label_names.txt").write_text("\n".join(FINE) + "\n")
        (home / "coarse_label_names.txt").write_text("\n".join(COARSE) + "\n\n")
    return Spec("cifar100", {"root": folder})


def draw_cifar10(folder: Path, each: int = 1, seed: int = 0, form: str = "python") -> Spec:
    """The archive unpacked, "python" or "binary": five batches to train on, one to test."""
    from pixelwright.data.layouts.cifar10 import NAMES

    home = folder / ("cifar-10-batches-py" if form == "python" else "cifar-10-batches-bin")
    suffix = "" if form == "python" else ".bin"
    for part, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        pixels, labels = cifar(10, each, seed + part)
        save_batch(home / f"{name}{suffix}", pixels, {"labels": labels})
    if form == "python":
        (home / "batches.meta").write_bytes(pickle.dumps({"label_names": list(NAMES)}, protocol=2))
    else:
        (home / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    return Spec("cifar10", {"root": folder})


ANIMALS = ("ant", "bee", "cat")


def draw_class_folders(
    folder: Path,
    splits: Sequence[str] = ("train", "val"),
    each: int = 3,
    names: Sequence[str] = ANIMALS,
    seed: int = 0,
) -> Spec:
    """`<split>/<class>/00.png` and on; without splits `<class>/00.png`."""
    for part, split in enumerate(splits or ("",)):
        for label, name in enumerate(names):
            for i, pixels in enumerate(labelled(label, each, seed=seed + 100 * part)):
                save(folder / split / name / f"{i:02}.png", pixels)
    return Spec("class-folders", {"root": folder})


def draw_csv(folder: Path, each: int = 4, seed: int = 0) -> Spec:
    """`labels.csv` of paths and labels, without splits, and the pictures that it lists."""
    lines = ["path,label"]
    for label, name in enumerate(ANIMALS):
        for i, pixels in enumerate(labelled(label, each, seed=seed)):
            save(folder / "pictures" / f"{name}-{i}.png", pixels)
            lines.append(f"pictures/{name}-{i}.png,{name}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return Spec("csv", {"file": folder / "labels.csv"})


LAYOUTS: dict[str, Callable[[Path], Spec]] = {
    "pair": draw_pair,
    "folders": draw_folders,
    "camvid": draw_camvid,
    "cityscapes": draw_cityscapes_zips,
    "voc2012": draw_voc2012,
    "cifar100": draw_cifar100,
    "cifar10": draw_cifar10,
    "class-folders": draw_class_folders,
    "csv": draw_csv,
}


def draw_run(
    folder: Path,
    data: Spec,
    model: str,
    side: tuple[int, int] | None = None,
    size: int | None = None,
) -> "Run":
    """A run whose network has the weights that a training would begin with.

    Args:
        folder: Is made.
        data: Whose classes are told apart.
        model: With its options.
        side: Height and width of the pictures, of a classifier.
        size: At which it sees them.
    """
    import torch

    from pixelwright import build
    from pixelwright.build.model import header
    from pixelwright.data.index import load
    from pixelwright.recipe import Recipe
    from pixelwright.run import Run
    from pixelwright.training import checkpoint

    torch.manual_seed(1)
    recipe = Recipe.from_dict({"data": data, "model": model, "size": size})
    classes = load(data).classes
    network = build.network(recipe.model, len(classes), 3, (0.5,), (0.25,), size)
    weights = {f"model/{name}": value for name, value in network.state_dict().items()}
    run = Run(folder)
    folder.mkdir()
    run.recipe_file.write_text(recipe.to_toml(), encoding="utf-8")
    checkpoint.save(run.model_file, weights, header(recipe, classes, side))
    return run


def counts(index: "Index") -> dict[str, int]:
    """How many entries each split has."""
    return {split: len(entries) for split, entries in index.splits.items()}


def names_of(index: "Index", split: str) -> Counter[str]:
    """How often each label occurs in a split."""
    return Counter(index.classes.names[int(str(e.target))] for e in index.splits[split])


def what_it_holds(index: "Index") -> Counter[tuple[str, str]]:
    """Every picture that is trained or validated on, and its class, in no order."""
    from pixelwright import images
    from pixelwright.data.dataset import Dataset

    found: Counter[tuple[str, str]] = Counter()
    for split in ("train", "val"):
        dataset = Dataset(index.splits[split], index.classes)
        for number, entry in enumerate(index.splits[split]):
            name = index.classes.names[int(str(entry.target))]
            found[(images.content(dataset.sample(number).image), name)] += 1
    return found
