"""Images in folders, their masks of the same names in others, split by folder or by lot.

Files, on disk or in a zip archive, in any of these arrangements (other usual names are known too,
such as `labels`, `valid`):
    <root>/images, <root>/masks                             a part is held out for validation
    <root>/train/images, <root>/train/masks, <root>/val/...
    <root>/images/train, <root>/masks/train, <root>/images/val, ...
    <root>/train, <root>/trainannot, <root>/val, <root>/valannot
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field

from pixelwright.data import class_file, manifest
from pixelwright.data.classes import classes_from_masks
from pixelwright.data.index import SPLITS, hold_out, pair_by_name, with_sources
from pixelwright.errors import DataError, RecipeError
from pixelwright.images import children, is_folder
from pixelwright.types import Entry, Index

_IMAGES = ("images", "image", "imgs", "img", "img_dir", "jpegimages", "inputs", "input", "rgb")
_MASKS = (
    *("masks", "mask", "labels", "label", "annotations", "annotation", "annot", "ann_dir", "gt"),
    *("groundtruth", "ground_truth", "targets", "target", "segmentationclass", "seg"),
)

_NOTHING = class_file.Declared()

Folders = tuple[Path, Path]
"""Images and masks of a split."""


def folders(
    *,
    root: Path | None = None,
    images: Path | None = None,
    masks: Path | None = None,
    names: tuple[str, ...] = (),
    colors: tuple[str, ...] = (),
    values: tuple[int, ...] = (),
    ignore: tuple[int, ...] = (),
    ignore_colors: tuple[str, ...] = (),
    classes: Path | None = None,
    train_split: str = "train",
    val: Annotated[float, Field(gt=0, lt=1)] = 0.2,
    test: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    seed: int = 0,
) -> Index:
    """Point at folders of images and masks.

    Args:
        root: Holds images and masks in one of the usual arrangements, and maybe a file that
            declares the classes, and a `manifest.csv` that says which images share a source.
        images: Folder of images, or of a folder for each split; instead of `root`.
        masks: Folder of their masks, arranged alike.
        names: Of the classes; by default the class file in `root`, or what masks show.
        colors: Of the classes, such as #ff8000; those in the masks where masks are colour pictures.
        values: Raw value of each class in the masks; 0, 1, 2 and on unless given.
        ignore: Raw values that count nowhere.
        ignore_colors: Colours that count nowhere, where masks are colour pictures.
        classes: File that declares the classes, a line of `name,r,g,b` or `r g b name` for each,
            or a `classes.toml`; by default the one in `root`.
        train_split: Folder to train on where there are several, such as train_small.
        val: Part to hold out for validation where no folder says it, in (0, 1).
        test: Part to hold out as a test split first, where no folder is one; 0 holds out none.
        seed: Another seed holds out other images.
    """
    found = find(
        root=root,
        images=images,
        masks=masks,
        declared=class_file.Declared(names, colors, values, ignore, ignore_colors),
        classes=classes,
        train_split=train_split,
    )
    declared = found.declared
    splits = {
        split: tuple(Entry(key, image, mask) for key, image, mask in pair_by_name(*where))
        for split, where in found.splits.items()
    }
    if root:
        splits = manifest.with_sources(splits, root)
    _hold_out(splits, val, test, seed, where=root or images)
    paths = [Path(str(entry.target)) for entries in splits.values() for entry in entries]
    shown = classes_from_masks(
        paths,
        declared.names,
        declared.colors,
        declared.values,
        declared.ignore,
        declared.ignore_colors,
        either=found.from_file,
    )
    order = [split for split in SPLITS if split in splits]
    return Index(shown, {split: splits[split] for split in order})


def _hold_out(
    splits: dict[str, tuple[Entry, ...]],
    val: float,
    test: float,
    seed: int,
    where: Path | None,
) -> None:
    """Move parts of the training split to a test split, if asked, and to validation, if missing."""
    if test and ("test" in splits or "train" not in splits):
        raise RecipeError(
            f"test={test}: {where} has a folder for its test split. Leave the option out."
            if "test" in splits
            else f"test={test}: {where} has no training split to hold it out from."
        )
    if test:
        splits["train"], splits["test"] = hold_out(with_sources(splits["train"]), test, seed)
    if "train" in splits and "val" not in splits:
        splits["train"], splits["val"] = hold_out(with_sources(splits["train"]), val, seed)


class Found(NamedTuple):
    """Folders, before a file of them is paired or read.

    Args:
        splits: Images and masks of each; "train" alone where no folder says which are validation.
        declared: What is said of the classes.
        from_file: A class file says it.
    """

    splits: dict[str, Folders]
    declared: class_file.Declared
    from_file: bool


def find(
    *,
    root: Path | None = None,
    images: Path | None = None,
    masks: Path | None = None,
    declared: class_file.Declared = _NOTHING,
    classes: Path | None = None,
    train_split: str = "train",
) -> Found:
    """The folders that the options of `folders` stand for."""
    given = declared.names or declared.colors or declared.values
    if classes and given:
        raise RecipeError(
            "Layout folders takes classes=FILE, or names, colors and values; not both."
        )
    file = classes or (class_file.find(root) if root and not given else None)
    if file:
        declared = class_file.read(file).ignoring(declared.ignore, declared.ignore_colors)
    if root:
        manifest.refuse_unfinished(root)
    splits = _splits(root, images, masks, _spelled(train_split))
    if train_split != "train" and not _lies_in(train_split, splits.get("train")):
        raise DataError(f"train_split={train_split}: {root or images} has no such folder.")
    return Found(splits, declared, file is not None)


def _lies_in(name: str, where: Folders | None) -> bool:
    """Whether images lie in a folder of this name, or in `images` within it."""
    if where is None:
        return False
    return name.lower() in (where[0].name.lower(), where[0].parent.name.lower())


def _spelled(train_split: str) -> "Spellings":
    return SPLITS if train_split == "train" else {**SPLITS, "train": (train_split.lower(),)}


Spellings = Mapping[str, tuple[str, ...]]
"""How the folder of each split may be called, in lower case."""


def _splits(
    root: Path | None, images: Path | None, masks: Path | None, spelled: Spellings
) -> dict[str, Folders]:
    """Images and masks of each split; "train" alone where no folder says which are validation.

    Raises:
        RecipeError: Neither root nor both of the others are given, or all of them.
        DataError: The folders are in no arrangement that is known.
    """
    if root and (images or masks):
        raise RecipeError("Layout folders takes root=..., or images=... and masks=..., not both.")
    if root:
        found = dict(_in_root(root, spelled))
        if not found:
            raise DataError(
                f"{root} is in no arrangement that is known: it has no folders images and masks, "
                "train and trainannot, or train/images and train/masks. Give images=... and "
                "masks=... instead; for pictures in a folder for each class, class-folders:root=..."
            )
    elif images and masks:
        for name, path in (("images", images), ("masks", masks)):
            if path.is_file():
                raise RecipeError(
                    f"{name}={path} is one file. For one picture and its mask use the layout pair: "
                    f"pair:image={images},mask={masks}."
                )
        found = dict(_in_two(images, masks, spelled)) or {"train": (images, masks)}
    else:
        raise RecipeError("Layout folders needs root=..., or both images=... and masks=....")
    return found


def _in_root(root: Path, spelled: Spellings) -> Iterator[tuple[str, Folders]]:
    held = _folders_in(root)
    images, masks = _first(held, _IMAGES), _first(held, _MASKS)
    if images and masks:
        yield from dict(_in_two(images, masks, spelled)).items() or [("train", (images, masks))]
        return
    for split, spellings in spelled.items():
        folder = _first(held, spellings)
        if folder is None:
            continue
        inner = _folders_in(folder)
        inner_images, inner_masks = _first(inner, _IMAGES), _first(inner, _MASKS)
        beside = [f"{folder.name.lower()}{gap}{mask}" for mask in _MASKS for gap in ("", "_", "-")]
        beside_masks = _first(held, beside)
        if inner_images and inner_masks:
            yield split, (inner_images, inner_masks)
        elif beside_masks:
            yield split, (folder, beside_masks)
        elif split != "test":  # a test split without masks is the rule where a server scores it
            raise DataError(
                f"{folder} has no masks: neither {folder.name}/images and {folder.name}/masks nor "
                f"{folder.name}annot beside it. Give images=... and masks=... instead."
            )


def _in_two(images: Path, masks: Path, spelled: Spellings) -> Iterator[tuple[str, Folders]]:
    image_folders, mask_folders = _folders_in(images), _folders_in(masks)
    for split, spellings in spelled.items():
        pair = _first(image_folders, spellings), _first(mask_folders, spellings)
        if pair[0] and pair[1]:
            yield split, (pair[0], pair[1])
        elif split != "test" and (pair[0] or pair[1]):
            alone, other = (pair[0], masks) if pair[0] else (pair[1], images)
            raise DataError(f"There is {alone}, but no such folder in {other}. Add or remove it.")


def _folders_in(folder: Path) -> dict[str, Path]:
    """The folders of a folder by their name in lower case."""
    if not is_folder(folder):
        return {}
    return {path.name.lower(): path for path in children(folder) if is_folder(path)}


def _first(held: Mapping[str, Path], names: tuple[str, ...] | list[str]) -> Path | None:
    return next((held[name] for name in names if name in held), None)
