"""Pictures in a folder for each class: `<split>/<class>/*.png`, or `<class>/*.png`.

tree = scan(Path("data/flowers"))
tree.names, {split: len(classes) for split, classes in tree.splits.items()}
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pixelwright.data.index import SPLITS
from pixelwright.errors import DataError, PixelwrightWarning, first_few, shown
from pixelwright.images import IMAGE_SUFFIXES, children, is_folder
from pixelwright.types import Entry

Pictures = Mapping[str, Sequence[Path]]
"""The pictures of each class by its name."""


@dataclass(frozen=True, slots=True)
class Tree:
    """What lies in the folders of classes.

    Args:
        names: Of the classes of all splits together, in order (F34).
        splits: Each one's pictures; "train" alone where no folder says which are validation.
        absent: Why a split that one may look for is not there.
    """

    names: tuple[str, ...]
    splits: Mapping[str, Pictures]
    absent: Mapping[str, str] = field(default_factory=dict)


def scan(root: Path, train_split: str = "train") -> Tree:
    """The pictures of each class; of no class where there are no such folders.

    The folder of a split may be called in any of the usual ways, `valid` as well as `val`; folders
    beside it that hold classes are splits of their own names.

    Args:
        root: Holds a folder for each class, or a folder of such for each split.
        train_split: The folder to train on, where there are splits.

    Raises:
        DataError: Folders are not all of one kind, or two names differ in case alone.
    """
    splits, absent = _splits(_folders(root), train_split)
    if train_split != "train" and "train" not in splits:
        raise DataError(f"train_split={train_split}: {shown(root)} has no such folder of classes.")
    folders = splits or {"train": root}
    found = {split: _classes(folder) for split, folder in folders.items()}
    empty = [
        folders[split] / name
        for split, classes in found.items()
        for name, pictures in classes.items()
        if not pictures
    ]
    _tell_empty([*empty, *(folder for split, folder in splits.items() if not found[split])])
    splits_held = {
        split: {name: pictures for name, pictures in classes.items() if pictures}
        for split, classes in found.items()
    }
    names = sorted({name for classes in splits_held.values() for name in classes})
    _refuse_alike(root, names)
    return Tree(tuple(names), splits_held, absent)


def is_tree(root: Path) -> bool:
    """Whether a folder holds pictures by class, so plainly that nobody has to say so."""
    held = _folders(root)
    if splits := _splits(held, "train")[0]:
        names = {name for folder in splits.values() for name in _folders(folder)}
        folders = [folder for split in splits.values() for folder in _folders(split).values()]
    else:
        names, folders = set(held), list(held.values())
        # Images and masks lie beside each other: these are splits or their masks, not classes.
        known = [word for words in SPLITS.values() for word in words]
        if len({name.lower() for name in names} & set(known)) > 1:
            return False
        if any(name.lower().startswith(word) for name in names - set(known) for word in ("train",)):
            return False
    words = ("image", "mask", "label", "annot", "img", "gt", "groundtruth")
    if any(name.lower().startswith(words) for name in names):
        return False
    return len(names) >= 2 and any(_pictures(folder) for folder in folders)


def entries_of(
    tree: Tree, root: Path, names: Sequence[str] | None = None
) -> dict[str, list[Entry]]:
    """The pictures as entries of each split, called by their path below `root`.

    Args:
        tree: Of `scan`.
        root: The folder that was scanned.
        names: Of the classes by position; those of the tree unless given.
    """
    position = {name: label for label, name in enumerate(names or tree.names)}
    return {
        split: [
            Entry(path.relative_to(root).as_posix(), path, position[name])
            for name, pictures in sorted(classes.items())
            for path in pictures
        ]
        for split, classes in tree.splits.items()
    }


def _folders(folder: Path) -> dict[str, Path]:
    """The folders of a folder by name; hidden ones are passed over."""
    if not is_folder(folder):
        return {}
    found = (path for path in children(folder) if not path.name.startswith((".", "__MACOSX")))
    return {
        path.name: path
        for path in found
        if path.suffix.lower() not in IMAGE_SUFFIXES and is_folder(path)
    }


def _pictures(folder: Path) -> list[Path]:
    """The pictures directly in a folder; hidden files and other files are passed over."""
    return [
        path
        for path in children(folder)
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    ]


def _splits(held: Mapping[str, Path], train_split: str) -> tuple[dict[str, Path], dict[str, str]]:
    """The folder of each split, and why one is absent; empty where the folders are classes.

    A folder of a split holds folders, and no pictures: `train` may be a class as well.
    """
    spelled = {word: split for split, words in SPLITS.items() for word in words}
    if train_split != "train":
        spelled = {word: split for word, split in spelled.items() if split != "train"}
        spelled[train_split.lower()] = "train"
    flat = {name for name, path in held.items() if _pictures(path)}
    of_classes = {name for name, path in held.items() if name not in flat and _folders(path)}
    known = sorted(name for name in of_classes if name.lower() in spelled)
    if not known:
        return {}, {}
    absent = {}
    for name in sorted(flat):
        # The rule where a server scores the test split.
        if spelled.get(name.lower()) != "test":
            raise DataError(
                f"{shown(held[name])} holds pictures, but {shown(held[known[0]])} beside it a "
                "folder for each class. Give each split a folder of classes."
            )
        absent["test"] = (
            f"The pictures in {shown(held[name])} lie in no folders of classes, so they can be "
            "predicted, but not scored."
        )
    splits: dict[str, Path] = {}
    for name in sorted(held.keys() - flat):
        if name not in of_classes and name.lower() not in spelled:
            continue  # neither pictures nor folders: notes, or nothing
        if name.lower() in SPLITS["train"] and name.lower() not in spelled:
            continue  # another folder is trained on
        split = spelled.get(name.lower(), name)
        if split in splits:
            raise DataError(
                f"{shown(splits[split])} and {shown(held[name])} are both the split '{split}'. "
                "Rename one, or give train_split=NAME."
            )
        splits[split] = held[name]
    return splits, absent


def _classes(folder: Path) -> dict[str, list[Path]]:
    found = {}
    for name, path in _folders(folder).items():
        found[name] = _pictures(path)
        if not found[name] and (deeper := _folders(path)):
            raise DataError(
                f"{shown(path)} holds folders ({shown(first_few(deeper))}) and no pictures. The "
                "pictures of a class lie directly in its folder."
            )
    return found


def _tell_empty(folders: Sequence[Path]) -> None:
    if folders:
        warnings.warn(
            f"Folders without a picture: {shown(first_few(folders))}. They are passed over.",
            PixelwrightWarning,
            stacklevel=4,
        )


def _refuse_alike(root: Path, names: Sequence[str]) -> None:
    """Names that differ in case are one class to some disks, and a slip to most people (F17)."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(name.casefold(), name)
        if other != name:
            raise DataError(
                f"{shown(root)} has the classes '{shown(other)}' and '{shown(name)}', which differ "
                "in capitals alone. Give the folders of one class one name."
            )
