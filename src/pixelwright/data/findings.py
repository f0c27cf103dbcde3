"""What a look at every file of a data set found, and what there is to say of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pixelwright import images
from pixelwright.errors import first_few


@dataclass(frozen=True, slots=True)
class Share:
    """What one split holds.

    Args:
        entries: How many.
        pixels: Of each class; where each image has one label, images.
        present: Entries in which each class occurs.
        ignored: Pixels that count nowhere.
    """

    entries: int
    pixels: tuple[int, ...]
    present: tuple[int, ...]
    ignored: int


@dataclass(frozen=True, slots=True)
class Findings:
    """What a look at every file found.

    Args:
        problems: What must be put right first, one sentence or two each.
        warnings: What is worth knowing.
        classes: Names.
        splits: What each split holds.
        sizes: Image files of each (height, width).
        grey: Image files without colour, also where they are stored as colour.
        rotated: Image files that EXIF turns.
        palettes: Mask files with a palette.
        values: Pixels of each raw value in the masks; empty for colour masks.
        between: Mask pixels that are neither 0 nor the highest value, where masks are cut at half.
        broken: Every message about a single file; `problems` shows the first few.
        one_label: Each image has one label in place of a mask.
    """

    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    classes: tuple[str, ...]
    splits: Mapping[str, Share]
    sizes: Mapping[tuple[int, int], int]
    grey: int
    rotated: int
    palettes: int
    values: Mapping[int, int]
    between: int
    broken: tuple[str, ...] = ()
    one_label: bool = False

    @property
    def files(self) -> int:
        """Image files that could be read."""
        return sum(self.sizes.values())

    def shares(self, split: str = "train") -> dict[str, float]:
        """The part of each class in the counted pixels of a split, in [0, 1], by name."""
        pixels = self.splits[split].pixels
        total = max(1, sum(pixels))
        return {name: n / total for name, n in zip(self.classes, pixels, strict=True)}

    def rows(self) -> list[tuple[str, ...]]:
        """A table: one header, then a row for each class, with its share and images by split."""
        header = ["class"]
        for split in self.splits:
            what = ("images", "share") if self.one_label else ("pixels", "images")
            header += [f"{split} {one}" for one in what]
        table = [tuple(header)]
        shares = {split: self.shares(split) for split in self.splits}
        for k, name in enumerate(self.classes):
            row = [name]
            for split, share in self.splits.items():
                part = f"{shares[split][name]:.2%}" if share.pixels[k] else "none"
                if self.one_label:
                    row += [f"{share.present[k]:,}", part]
                else:
                    row += [part, f"{share.present[k]} of {share.entries}"]
            table.append(tuple(row))
        return table

    def to_json(self) -> dict[str, Any]:
        """All of it in JSON's types."""
        return {
            "problems": list(self.problems),
            "warnings": list(self.warnings),
            "broken": list(self.broken),
            "splits": {
                split: {
                    "entries": share.entries,
                    "ignored": share.ignored,
                    "classes": {
                        name: {"entries": share.present[k]}
                        | ({} if self.one_label else {"pixels": share.pixels[k]})
                        for k, name in enumerate(self.classes)
                    },
                }
                for split, share in self.splits.items()
            },
            "sizes": [[height, width, n] for (height, width), n in self.sizes.items()],
            "grey": self.grey,
            "rotated": self.rotated,
            "palettes": self.palettes,
            "values": {str(value): pixels for value, pixels in self.values.items()},
            "between": self.between,
        }


class Photo(NamedTuple):
    """What an image showed.

    Args:
        size: Height and width, upright.
        grey: It is without colour, also where it is stored as colour.
        header: What its file declares.
        content: Equal for images of equal pixels, however they are stored.
    """

    size: tuple[int, int]
    grey: bool
    header: images.Header
    content: str


def look_at_image(path: Path) -> Photo:
    """Decode an image.

    Raises:
        DataError: It cannot be read.
    """
    pixels = images.read_image(path)
    height, width = pixels.shape[:2]
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    grey = bool(np.array_equal(red, green) and np.array_equal(red, blue))
    # The pixels, not the file: the same picture may be stored in two formats (F35).
    return Photo((height, width), grey, header_of(path), images.content(pixels))


def header_of(path: Path) -> images.Header:
    """What a file declares of its picture."""
    with images.opened(path) as file:
        return images.read_header(file, path)


def broken(messages: Sequence[str], most: int = 3) -> list[str]:
    """The first few messages about single files, and how many more there are."""
    shown_ones = list(messages[:most])
    if len(messages) > most:
        shown_ones.append(f"{len(messages) - most} more files have problems.")
    return shown_ones


def absent(found: Findings) -> list[str]:
    """Classes that a split lacks (F30)."""
    names = np.array(found.classes)
    has = {split: np.array(share.pixels) > 0 for split, share in found.splits.items()}
    lacking = [split for split in ("train", "val") if split not in has]
    if lacking:
        return [f"There is no split {' or '.join(lacking)}: enough to evaluate, not to train."]
    train, told = has["train"], []
    what = "images" if found.one_label else "pixels"
    for split in [split for split in has if split != "train"] if found.one_label else ["val"]:
        if (has[split] & ~train).any():
            told.append(
                f"NOT LEARNABLE: {first_few(names[has[split] & ~train], 8)} occurs in {split} but "
                f"never in train, so all its {what} will count as errors. Split the data otherwise."
            )
        if (train & ~has[split]).any():
            told.append(
                f"{first_few(names[train & ~has[split]], 8)} occurs in train but never in {split}: "
                "its score is n/a and stays out of the mean."
            )
    if (nowhere := ~train & ~has["val"]).any():
        told.append(
            f"{first_few(names[nowhere], 8)}: neither in train nor in val, so not learnt and "
            "scored as n/a."
        )
    return told
