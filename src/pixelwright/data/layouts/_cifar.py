"""Where the versions of CIFAR keep their pictures: pickled, binary, or files in class folders."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pixelwright import images
from pixelwright.data import class_tree
from pixelwright.data.index import entry_contents
from pixelwright.data.labels import with_held_out
from pixelwright.errors import DataError, PixelwrightWarning, first_few, shown
from pixelwright.types import Entry

Splits = dict[str, tuple[Entry, ...]]


@dataclass(frozen=True, slots=True)
class Version:
    """How one version lies on disk.

    Args:
        folder: What its archive unpacks to.
        train: Its files to train on.
        test: Its file to test on.
        names: The files that name the classes, by kind of label: pickled, or text of one a line.
    """

    folder: str
    train: tuple[str, ...]
    test: str
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Published:
    """One of the two data sets.

    Args:
        name: As in "CIFAR-10".
        layout: Its name, and what `pixelwright data get` calls it.
        kind: Of the labels that become targets.
        names: Of the classes, by kind of label.
        versions: The first that is there is taken.
    """

    name: str
    layout: str
    kind: str
    names: Mapping[str, tuple[str, ...]]
    versions: tuple[Version, ...]

    def held_by(self, root: Path) -> tuple[Version, Path] | None:
        """The version that a folder holds, and the folder of its files; None if there is none."""
        for version in self.versions:
            for home in (root, root / version.folder):
                if any(map(_is_file, _files(version, home))):
                    return version, home
        return None


def splits_of(root: Path, data: Published, *, val: float, seed: int) -> Splits:
    """The splits, with a part of the training pictures held out for validation.

    A training picture that is in the test split as well, pixel by pixel, is left out with a
    warning: the published test split stays what it is, and is never trained on (F35).

    Args:
        root: The folder that the user names.
        data: Which set.
        val: Share of each class to hold out.
        seed: Another seed holds out others.

    Raises:
        DataError: Nothing of the set is there, part of it is missing, or it is not as published.
    """
    held = data.held_by(root)
    if held is None:
        found = _in_folders(root, data)
    else:
        _check_names(data, *held)
        found = _in_rows(data, *held)
    if found.get("train"):
        found["train"] = _apart(found["train"], found.get("test", []))
    return with_held_out(found, val=val, seed=seed, where=root)


def _is_file(path: Path) -> bool:
    # In class folders, `train` and `test` are folders.
    return images.exists(path) and not images.is_folder(path)


def _files(version: Version, home: Path) -> list[Path]:
    return [home / name for name in (*version.train, version.test)]


def _in_rows(data: Published, version: Version, home: Path) -> dict[str, list[Entry]]:
    missing = [name for name in version.train if not _is_file(home / name)]
    if 0 < len(missing) < len(version.train):
        raise DataError(
            f"{shown(home)} lacks {first_few(missing)} of {data.name}'s {len(version.train)} files "
            "to train on. Unpack the archive again."
        )
    splits = {}
    if not missing:
        splits["train"] = list(_rows("train", [home / name for name in version.train], data.kind))
    if _is_file(home / version.test):
        splits["test"] = list(_rows("test", [home / version.test], data.kind))
    return splits


def _rows(split: str, files: Sequence[Path], kind: str) -> Iterator[Entry]:
    number = 0
    for path in files:
        labels = images.row_labels(path)
        if kind not in labels:
            raise DataError(
                f"{shown(path)} has no {kind} labels, only {' and '.join(labels)}: it belongs to "
                "the other CIFAR. Give the layout of its name: cifar10 or cifar100."
            )
        for row, label in enumerate(labels[kind].tolist()):
            yield Entry(f"{split}/{number:05}", path, label, row=row)
            number += 1


def _check_names(data: Published, version: Version, home: Path) -> None:
    """Raise where a file names other classes than the set has, or in another order."""
    for kind, name in version.names.items():
        path = home / name
        if not images.exists(path):
            continue
        if path.suffix == ".txt":
            lines = images.read_bytes(path).decode("utf-8", errors="replace").splitlines()
            found = tuple(line.strip() for line in lines if line.strip())
        else:
            found = images.row_names(path).get(kind, ())
        if found != data.names[kind]:
            strange = sorted(set(found) - set(data.names[kind])) or [
                "not all of them, or in disorder"
            ]
            raise DataError(
                f"{shown(path)} does not name the classes of {data.name}: "
                f"{shown(first_few(strange))}. For classes of your own, write the pictures into "
                "class folders or list them in a CSV file: layouts class-folders and csv."
            )


def _in_folders(root: Path, data: Published) -> dict[str, list[Entry]]:
    names = data.names[data.kind]
    if not images.is_folder(root):
        raise DataError(
            f"root={shown(root)} is a file. Unpack {data.name} (tar -xf {shown(root.name)}), and "
            "give the folder."
        )
    tree = class_tree.scan(root)
    strange = sorted(set(tree.names) - set(names))
    if len(strange) == len(tree.names):
        first = " or ".join(f"{v.folder}/{v.train[0]}" for v in data.versions)
        held = [path.name for path in images.children(root)]
        raise DataError(
            f"{shown(root)} holds no {first}, nor folders of {data.name}'s classes, only "
            f"{shown(first_few(held)) or 'nothing'}. Unpack {data.name} there (an archive: tar -xf "
            f"FILE), or fetch it: pixelwright data get {data.layout}."
        )
    if strange:
        raise DataError(
            f"{shown(root)} has folders of classes that {data.name} has not: "
            f"{shown(first_few(strange))}. Use the layout class-folders."
        )
    return class_tree.entries_of(tree, root, names)


def _apart(train: Sequence[Entry], test: Sequence[Entry]) -> list[Entry]:
    """The training pictures that are not in the test split; copies of one have one source."""
    content = entry_contents([*train, *test])
    tested = set(content[len(train) :])
    first: dict[str, str] = {}
    kept, copies = [], []
    for entry, what in zip(train, content, strict=False):
        if what in tested:
            copies.append(entry.key)
        else:
            kept.append(replace(entry, source=first.setdefault(what, entry.key)))
    if copies:
        warnings.warn(
            f"{len(copies):,} training pictures are in the test split as well, and left out of "
            f"training: {shown(first_few(copies))}.",
            PixelwrightWarning,
            stacklevel=4,
        )
    return kept
