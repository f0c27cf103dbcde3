"""`manifest.csv`: which picture each image of a data set was cut from, and where.

Any data set may have one beside its folders; `image` (relative to it) and `source` are read.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePosixPath

from pixelwright.errors import DataError, first_few, shown
from pixelwright.files import write_text
from pixelwright.images import exists, read_bytes
from pixelwright.types import Entry

FILE = "manifest.csv"
JOURNAL = "patches.jsonl"
"""Lies beside it where `data.patches` writes both, and before it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One image.

    Args:
        split: The folder it lies in.
        image: Its file, relative to the manifest.
        mask: Its mask's file.
        source: What it was cut from; images of one source belong in one split.
        source_file: The picture it was cut from.
        city: What the picture was taken in, where the layout knows.
        top: Row of the picture.
        left: Column of the picture.
        height: Pixels.
        width: Pixels.
    """

    split: str
    image: str
    mask: str
    source: str
    source_file: str
    city: str
    top: int
    left: int
    height: int
    width: int


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write one line an image under a header.

    Raises:
        MachineError: The file cannot be written.
    """
    names = [field.name for field in fields(Row)]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(names)
    table.writerows([getattr(row, name) for name in names] for row in rows)
    write_text(path, text.getvalue())


def refuse_unfinished(root: Path) -> None:
    """Raise where patches are being cut, or were not cut to the end."""
    if exists(root / JOURNAL) and not exists(root / FILE):
        raise DataError(
            f"{shown(root)} holds patches that were not cut to the end. Give the same "
            "`pixelwright data patches` again."
        )


def with_sources(
    splits: Mapping[str, tuple[Entry, ...]], root: Path
) -> dict[str, tuple[Entry, ...]]:
    """The entries with the sources that the folder's manifest states, if it has one.

    Raises:
        DataError: The manifest lists images that are not there, or lacks some that are.
    """
    path = root / FILE
    if not exists(path):
        return dict(splits)
    text = read_bytes(path).decode("utf-8-sig", errors="surrogateescape")
    table = csv.DictReader(io.StringIO(text, newline=""))
    if not {"image", "source"} <= set(table.fieldnames or ()):
        return dict(splits)  # another's file of that name
    rows = {PurePosixPath(row["image"] or ""): row for row in table}
    there = {
        PurePosixPath(entry.image.relative_to(root).as_posix()): entry
        for entries in splits.values()
        for entry in entries
    }
    folders = {image.parent for image in there}
    gone = [str(image) for image in rows if image.parent in folders and image not in there]
    unlisted = [str(image) for image in there if image not in rows]
    if gone or unlisted:
        what = f"lists {len(gone)} images that are not there" if gone else "lacks"
        raise DataError(
            f"{shown(path)} {what}: {shown(first_few(gone or unlisted))}. Cut the data set again, "
            "or correct the lines."
        )
    listed = {entry: rows[image] for image, entry in there.items()}
    return {
        split: tuple(
            replace(
                entry,
                source=listed[entry]["source"] or "",
                group=listed[entry].get("city") or "",
            )
            for entry in entries
        )
        for split, entries in splits.items()
    }
