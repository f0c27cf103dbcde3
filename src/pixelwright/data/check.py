"""Look at every file of a data set before anything is trained on it.

    findings = check(index)
    findings.problems, findings.warnings, findings.rows()

All files are decoded, so what is broken is told now, and all at once.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from pixelwright import images
from pixelwright.data.counts import THREADS, label_counts, value_counts, view
from pixelwright.data.findings import (
    Findings,
    Photo,
    Share,
    absent,
    broken,
    header_of,
    look_at_image,
)
from pixelwright.data.label_check import check_labels
from pixelwright.errors import DataError, PixelwrightWarning, first_few, shown
from pixelwright.types import Classes, Entry, Event, Index, OnEvent, silent


class _Use(NamedTuple):
    """An entry and the split it is in."""

    split: str
    entry: Entry


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
        on_event: Gets the progress, in images with their masks.
    """
    if index.one_label:
        return check_labels(index, on_event)
    uses: dict[tuple[Path, Path | int | None], list[_Use]] = {}
    for split, entries in index.splits.items():
        for entry in entries:
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
        problems=(*broken(found.broken), *shared(index, content)),
        warnings=(
            *(*left_out, *absent(found), *_all_ignored(looks)),
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
    return look


def _look_at_mask(look: _Look, path: Path, uses: Sequence[_Use], classes: Classes) -> None:
    look.palette = header_of(path).palette
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
