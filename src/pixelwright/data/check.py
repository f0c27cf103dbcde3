"""Look at every file of a data set before anything is trained on it.

    findings = check(index)
    findings.problems, findings.warnings, findings.rows()

All files are decoded, so what is broken is told now, and all at once.
"""

import hashlib
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64

from pixelwright import images
from pixelwright.data.counts import THREADS, label_counts, value_counts, view
from pixelwright.errors import DataError, PixelwrightWarning, first_few, shown
from pixelwright.types import Classes, Entry, Event, Index, OnEvent, silent


@dataclass(frozen=True, slots=True)
class Share:
    """What one split holds.

    Args:
        entries: How many.
        pixels: Of each class; for class labels, images.
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
            header += [f"{split} pixels", f"{split} images"]
        table = [tuple(header)]
        for k, name in enumerate(self.classes):
            row = [name]
            for split, share in self.splits.items():
                part = f"{self.shares(split)[name]:.2%}" if share.pixels[k] else "none"
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
                        name: {"pixels": share.pixels[k], "entries": share.present[k]}
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


class _Use(NamedTuple):
    """An entry and the split it is in."""

    split: str
    entry: Entry


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


@dataclass
class _Look:
    """What one image and its mask showed."""

    image: Photo | None = None
    palette: bool = False
    values: Counter[int] = field(default_factory=Counter)
    labels: list[tuple[_Use, Int64[np.ndarray, " k"], int]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def check(index: Index, on_event: OnEvent = silent) -> Findings:
    """Decode every file of an index, each once, and report what is wrong or worth knowing.

    Args:
        index: Of any layout.
        on_event: Gets the progress, in pairs of image and mask.
    """
    uses: dict[tuple[Path, Path | int | None], list[_Use]] = {}
    for split, entries in index.splits.items():
        for entry in entries:
            # Class labels are no files: entries of one image that differ in label are kept apart.
            uses.setdefault((entry.image, entry.target), []).append(_Use(split, entry))
    looks = []
    # Filters are global and pool threads see them, so one context around the pool catches all.
    with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(THREADS) as pool:
        warnings.simplefilter("always")
        for look in pool.map(lambda group: _look(group, index.classes), uses.values()):
            looks.append(look)
            on_event(Event("progress", {"what": "check", "done": len(looks), "total": len(uses)}))
    left_out = [f"There is no split '{split}'. {why}" for split, why in index.absent.items()]
    told = [str(w.message) for w in caught if issubclass(w.category, PixelwrightWarning)]
    found = _gather(looks, index)
    content = {
        uses[0].entry.image: look.image.content
        for uses, look in zip(uses.values(), looks, strict=True)
        if look.image
    }
    return replace(
        found,
        problems=(*_broken(found.broken), *shared(index, content)),
        warnings=(
            *(*left_out, *_absent(found), *_all_ignored(looks)),
            *(*_copies(index, content), *dict.fromkeys(told)),
        ),
    )


def _look(uses: Sequence[_Use], classes: Classes) -> _Look:
    """Read one image and its mask; errors are kept, not raised."""
    look = _Look()
    entry = uses[0].entry
    mask = entry.target if isinstance(entry.target, Path) else None
    try:
        look.image = look_at_image(entry.image)
    except DataError as error:
        look.broken.append(str(error))
    if mask is not None:
        try:
            _look_at_mask(look, mask, uses, classes)
        except DataError as error:
            look.broken.append(str(error))
    elif isinstance(entry.target, int):
        one = (np.arange(len(classes)) == entry.target).astype(np.int64)
        look.labels = [(use, one, 0) for use in uses]
    return look


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
    digest = hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).hexdigest()
    return Photo((height, width), grey, _header(path), f"{height}x{width} {digest}")


def _look_at_mask(look: _Look, path: Path, uses: Sequence[_Use], classes: Classes) -> None:
    look.palette = _header(path).palette
    raw = images.raw_mask(path)
    if raw.ndim == 2 and not classes.by_color:
        look.values = value_counts(raw)
    if look.image is not None:
        # By itself, so that a mask of the wrong size is not looked at further by windows.
        size = (raw.shape[0], raw.shape[1])
        images.check_sizes(uses[0].entry.image, look.image.size, path, size)
    target = images.read_mask(path, classes)
    for use in uses:
        part = view(target, use.entry.window)
        pixels = label_counts(part, len(classes))
        look.labels.append((use, pixels, part.size - int(pixels.sum())))


def _header(path: Path) -> images.Header:
    with images.opened(path) as file:
        return images.read_header(file, path)


def _gather(looks: Iterable[_Look], index: Index) -> Findings:
    """Add up what all files showed."""
    count = len(index.classes)
    pixels = {split: np.zeros(count, np.int64) for split in index.splits}
    present = {split: np.zeros(count, np.int64) for split in index.splits}
    ignored = dict.fromkeys(index.splits, 0)
    sizes: Counter[tuple[int, int]] = Counter()
    values: Counter[int] = Counter()
    for look in looks:
        values.update(look.values)
        if look.image is not None:
            sizes[look.image.size] += 1
        for use, counts, unlabelled in look.labels:
            pixels[use.split] += counts
            present[use.split] += counts > 0
            ignored[use.split] += unlabelled
    between = 0
    if index.classes.threshold:
        between = sum(n for value, n in values.items() if 0 < value < max(values))
    return Findings(
        problems=(),
        warnings=(),
        classes=index.classes.names,
        splits={
            split: Share(
                len(entries),
                tuple(pixels[split].tolist()),
                tuple(present[split].tolist()),
                ignored[split],
            )
            for split, entries in index.splits.items()
        },
        sizes=dict(sizes.most_common()),
        grey=sum(look.image.grey for look in looks if look.image),
        rotated=sum(look.image.header.orientation != 1 for look in looks if look.image),
        palettes=sum(look.palette for look in looks),
        values=dict(sorted(values.items())),
        between=between,
        broken=tuple(message for look in looks for message in look.broken),
    )


def _broken(messages: Sequence[str], most: int = 3) -> list[str]:
    """The first few messages about single files, and how many more there are."""
    shown_ones = list(messages[:most])
    if len(messages) > most:
        shown_ones.append(f"{len(messages) - most} more files have problems.")
    return shown_ones


def _absent(found: Findings) -> list[str]:
    """Classes that a split lacks (F30)."""
    names = np.array(found.classes)
    has = {split: np.array(share.pixels) > 0 for split, share in found.splits.items()}
    lacking = [split for split in ("train", "val") if split not in has]
    if lacking:
        return [f"There is no split {' or '.join(lacking)}: enough to evaluate, not to train."]
    train, val = has["train"], has["val"]
    told = []
    if (val & ~train).any():
        told.append(
            f"NOT LEARNABLE: {first_few(names[val & ~train], 8)} occurs in val but never in train, "
            "so all its pixels will count as errors. Split the data otherwise."
        )
    if (train & ~val).any():
        told.append(
            f"{first_few(names[train & ~val], 8)} occurs in train but never in val: its score is "
            "n/a and stays out of the mean."
        )
    if (~train & ~val).any():
        told.append(
            f"{first_few(names[~train & ~val], 8)}: neither in train nor in val, so not learnt and "
            "scored as n/a."
        )
    return told


def _all_ignored(looks: Sequence[_Look]) -> list[str]:
    """Entries without a pixel that counts (F29)."""
    empty = [use.entry.key for look in looks for use, pixels, _ in look.labels if not pixels.any()]
    if not empty:
        return []
    return [f"{len(empty)} masks ignore every pixel, so they teach nothing: {first_few(empty)}."]


def _copies(index: Index, content: Mapping[Path, str]) -> list[str]:
    """Images of one split that show the same pixels."""
    twins: list[tuple[Path, Path]] = []
    for entries in index.splits.values():
        first: dict[str, Path] = {}
        for path in dict.fromkeys(entry.image for entry in entries):
            other = first.setdefault(content.get(path, str(path)), path)
            if other != path:
                twins.append((other, path))
    if not twins:
        return []
    one, copy = twins[0]
    more = f", and {len(twins) - 1} more like it" if len(twins) > 1 else ""
    return [
        f"{shown(one)} and {shown(copy)} show the same pixels{more}: copies count twice. "
        f"'pixelwright data check ... --repair OUT' writes a copy of the data without them."
    ]


def shared(index: Index, content: Mapping[Path, str]) -> list[str]:
    """What is wrong where two splits share a picture, by content or by source (F35)."""
    if index.guard is not None:
        return []
    seen_in: dict[str, dict[str, Entry]] = {}
    for split, entries in index.splits.items():
        for entry in entries:
            what = content.get(entry.image, str(entry.image))
            seen_in.setdefault(what, {}).setdefault(split, entry)
            if entry.source:
                seen_in.setdefault(f"source {entry.source}", {}).setdefault(split, entry)
    twins = [list(found.items()) for found in seen_in.values() if len(found) > 1]
    if not twins:
        return []
    (first, one), (second, other) = twins[0][:2]
    more = f", and {len(twins) - 1} more like it" if len(twins) > 1 else ""
    return [
        f"{shown(one.image)} in {first} and {shown(other.image)} in {second} are the same picture "
        f"or parts of one{more}: scores would be too good. Keep each picture in one split; "
        "--repair OUT writes a copy of the data that does."
    ]
