"""Pictures listed in a CSV file with their labels: `path,label`, and maybe `split` and others.

Files: <file> has a header and a line for each picture; paths are relative to <root>, and may lead
into a zip archive.
    path,label,split                path,label,source,group         path,row,label
    a/1.png,cat,train               a/1.png,cat,patient 1,pets      stack.npy,0,cat
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from pixelwright.data.index import SPLITS
from pixelwright.data.labels import index_of, label_of, with_held_out
from pixelwright.data.table import Line, lines
from pixelwright.errors import DataError, first_few, shown, unknown
from pixelwright.images import exists, rows
from pixelwright.types import Entry, Index

_COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "image", "image_path"),
    "label": ("label", "class", "class_name"),
    "split": ("split", "subset", "set"),
    "row": ("row",),
    "source": ("source",),
    "group": ("group", "superclass"),
}


def csv(
    *,
    file: Path,
    root: Path | None = None,
    names: tuple[str, ...] = (),
    val: Annotated[float, Field(gt=0, lt=1)] = 0.2,
    test: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    seed: int = 0,
) -> Index:
    """Point at the pictures that a CSV file lists.

    Args:
        file: Has a header and the columns path and label. Others are read too: split, the name of a
            split; row, of which picture a file of many means; source, pictures of one stay in one
            split where these are drawn; group, the superclass of the label.
        root: What the paths are relative to; the folder of the file unless given.
        names: Of the classes in order; labels are these names, or their positions from 0. By
            default the labels there are, sorted.
        val: Share of each class to hold out for validation where no line says it, in (0, 1).
        test: Share of each class to hold out as a test split first, where no line says one; 0 holds
            out none.
        seed: Another seed holds out other pictures.
    """
    listed = list(lines(file, _COLUMNS, needed=("path", "label")))
    classes = names or _sorted(file, listed)
    entries = _entries(file, root or file.parent, listed, classes)
    splits: dict[str, list[Entry]] = {}
    for line, entry in zip(listed, entries, strict=True):
        splits.setdefault(_split_of(file, line), []).append(entry)
    held = with_held_out(splits, val=val, test=test, seed=seed, where=file)
    return index_of(file, classes, held, _groups(file, listed, entries, classes))


def _sorted(file: Path, listed: Sequence[Line]) -> tuple[str, ...]:
    """The labels that there are, numbers by their size."""
    found = {line["label"] for line in listed}
    for line in listed:
        if line["label"].startswith("-") and line["label"][1:].isdecimal():
            raise DataError(
                f"{shown(file)}, line {line.number}: the label is {line['label']}; classes are "
                "counted from 0, or have names. Remove pictures without a class."
            )
    if all(label.isdecimal() for label in found):
        return tuple(sorted(found, key=int))
    return tuple(sorted(found))


def _split_of(file: Path, line: Line) -> str:
    if "split" not in line.cells:
        return "train"
    if not line["split"]:
        raise DataError(
            f"{shown(file)}, line {line.number}: there is no split. Write train, val or test."
        )
    spelled = (split for split, words in SPLITS.items() if line["split"].lower() in words)
    return next(spelled, line["split"])


def _entries(file: Path, root: Path, listed: Sequence[Line], classes: Sequence[str]) -> list[Entry]:
    position = {name: label for label, name in enumerate(classes)}
    entries: list[Entry] = []
    first: dict[str, int] = {}
    missing: list[str] = []
    for line in listed:
        path, row, where = root / line["path"], None, f"{shown(file)}, line {line.number}"
        key = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
        if not exists(path):
            missing.append(key)
            continue
        if line.get("row"):
            row = _row(path, line["row"], where)
            key = f"{key}/{row:05}"
        if first.setdefault(key, line.number) != line.number:
            raise DataError(f"{where}: {shown(key)} stands in line {first[key]} already.")
        label = _label(line["label"], position, where)
        entries.append(Entry(key, path, label, row=row, source=line.get("source")))
    if missing:
        raise DataError(
            f"{len(missing):,} of {len(listed):,} pictures that {shown(file)} lists are not in "
            f"{shown(root)}: {shown(first_few(missing))}. Correct the paths, or give root=FOLDER."
        )
    return entries


def _row(path: Path, text: str, where: str) -> int:
    count = len(rows(path))
    if not text.isdecimal() or int(text) >= count:
        raise DataError(
            f"{where}: row {shown(text)} of {shown(path)} is not there; its rows are 0 to "
            f"{count - 1}."
        )
    return int(text)


def _label(text: str, position: Mapping[str, int], where: str) -> int:
    if text in position:
        return position[text]
    if text.isdecimal() and int(text) < len(position):
        return int(text)
    if text.lstrip("-").isdecimal():
        raise DataError(
            f"{where}: the label is {text}, but there are {len(position)} names: 0 to "
            f"{len(position) - 1}."
        )
    raise DataError(f"{where}: {unknown('class', shown(text), position)}")


def _groups(
    file: Path, listed: Sequence[Line], entries: Sequence[Entry], classes: Sequence[str]
) -> tuple[str, ...]:
    """The superclass of each class; none where the file has no such column."""
    found: dict[int, tuple[str, int]] = {}
    for line, entry in zip(listed, entries, strict=True):
        group, label = line.get("group"), label_of(entry)
        other, number = found.setdefault(label, (group, line.number))
        if group != other:
            raise DataError(
                f"{shown(file)} puts '{shown(classes[label])}' in the group '{shown(other)}' in "
                f"line {number} and in '{shown(group)}' in line {line.number}. A class has one."
            )
    if not any(group for group, _ in found.values()):
        return ()
    lacking = [name for k, name in enumerate(classes) if k not in found or not found[k][0]]
    if lacking:
        raise DataError(
            f"{shown(file)} has a group for some classes, but not for "
            f"{shown(first_few(lacking))}. Fill the column in, or leave it out."
        )
    return tuple(found[k][0] for k in range(len(classes)))
