"""Look at every picture of data with one label each: copies, contradictions, unequal classes."""

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pixelwright import images
from pixelwright.data.counts import THREADS
from pixelwright.data.findings import Findings, Photo, Share, absent, broken, look_at_image
from pixelwright.errors import DataError, PixelwrightWarning, shown
from pixelwright.types import Entry, Event, Index, OnEvent

UNEQUAL = 5
"""Times that the largest class may have the images of the smallest before it is told."""


@dataclass
class _Seen:
    """What all pictures showed.

    Args:
        content: What each picture shows, by file and row; those that cannot be read are not in it.
        sizes: Pictures of each height and width.
        modes: Files that are stored in colour, in grey and so on.
        grey: Pictures without colour.
        rotated: Files that EXIF turns.
        broken: Messages about single files.
    """

    content: dict[tuple[Path, int | None], str] = field(default_factory=dict)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    grey: int = 0
    rotated: int = 0
    broken: list[str] = field(default_factory=list)

    def of(self, entry: Entry) -> str:
        """What an entry shows; a name that no other has where that is not known."""
        place = (entry.image, entry.row)
        return self.content.get(place) or f"{entry.image} {entry.row}"


def check_labels(index: Index, on_event: OnEvent) -> Findings:
    """Decode every picture once, and report what is wrong or worth knowing.

    Args:
        index: Each image has one label.
        on_event: Gets the progress, in images.
    """
    # Filters are global and pool threads see them, so one context around all catches all.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        seen = _look(index, on_event)
    found = Findings(
        problems=(),
        warnings=(),
        classes=index.classes.names,
        splits={split: _share(entries, index) for split, entries in index.splits.items()},
        sizes=dict(seen.sizes.most_common()),
        grey=seen.grey,
        rotated=seen.rotated,
        palettes=0,
        values={},
        between=0,
        broken=tuple(seen.broken),
        one_label=True,
    )
    told = [str(w.message) for w in caught if issubclass(w.category, PixelwrightWarning)]
    return replace(
        found,
        problems=(*broken(found.broken), *_shared(index, seen)),
        warnings=(
            *(f"There is no split '{split}'. {why}" for split, why in index.absent.items()),
            *(*absent(found), *_unequal(found), *_contradicted(index, seen)),
            *(*_copies(index, seen), *_mixed(seen), *dict.fromkeys(told)),
        ),
    )


def _share(entries: Sequence[Entry], index: Index) -> Share:
    labels = [entry.target for entry in entries if isinstance(entry.target, int)]
    counts = np.bincount(np.array(labels, np.int64), minlength=len(index.classes)).tolist()
    return Share(len(entries), tuple(counts), tuple(counts), 0)


def _look(index: Index, on_event: OnEvent) -> _Seen:
    """Read every file once; errors are kept, not raised."""
    seen = _Seen()
    files: dict[Path, None] = {}
    stacks: dict[Path, set[int]] = {}
    for entry in (entry for entries in index.splits.values() for entry in entries):
        if entry.row is None:
            files[entry.image] = None
        else:
            stacks.setdefault(entry.image, set()).add(entry.row)
    total, done = len(files) + sum(map(len, stacks.values())), 0
    for path, wanted in stacks.items():
        try:
            _look_at_rows(path, sorted(wanted), seen)
        except DataError as error:
            seen.broken.append(str(error))
        done += len(wanted)
        on_event(Event("progress", {"what": "check", "done": done, "total": total}))
    for _ in _look_at_files(list(files), seen):
        done += 1
        on_event(Event("progress", {"what": "check", "done": done, "total": total}))
    return seen


def _look_at_rows(path: Path, wanted: Sequence[int], seen: _Seen) -> None:
    pixels, contents = images.rows(path), images.row_contents(path)
    seen.content.update({(path, row): contents[row] for row in wanted})
    seen.sizes[(pixels.shape[1], pixels.shape[2])] += len(wanted)
    red, green, blue = (pixels[..., channel] for channel in range(3))
    grey = ((red == green) & (red == blue)).all(axis=(1, 2))
    seen.grey += int(grey[list(wanted)].sum())


def _look_at_files(paths: Sequence[Path], seen: _Seen) -> Iterator[None]:
    def look(path: Path) -> Photo | DataError:
        try:
            return look_at_image(path)
        except DataError as error:
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        for path, photo in zip(paths, pool.map(look, paths), strict=True):
            if isinstance(photo, Photo):
                seen.content[(path, None)] = photo.content
                seen.sizes[photo.size] += 1
                seen.modes[_mode(photo.header)] += 1
                seen.grey += photo.grey
                seen.rotated += photo.header.orientation != 1
            else:
                seen.broken.append(str(photo))
            yield


def _mode(header: images.Header) -> str:
    if header.palette:
        return "palette"
    depth = "16-bit " if header.bits > 8 else ""
    alpha = " with transparency" if header.alpha else ""
    return f"{depth}{'grey' if header.channels < 3 else 'colour'}{alpha}"


def _unequal(found: Findings) -> list[str]:
    """Classes that have far fewer images to train on than others."""
    if "train" not in found.splits:
        return []
    counts = [(n, k) for k, n in enumerate(found.splits["train"].present) if n]
    if not counts or max(counts)[0] <= UNEQUAL * min(counts)[0]:
        return []
    (most, large), (least, small) = max(counts), min(counts)
    return [
        f"Classes are unequal in train: {shown(found.classes[large])} has {most:,} images, "
        f"{shown(found.classes[small])} {least:,}, {most / least:.0f} times fewer. A network "
        "neglects rare classes, and the share of right answers hides it: look at the mean over "
        "classes, and weigh the loss: cross-entropy:weights=inverse-frequency."
    ]


def _contradicted(index: Index, seen: _Seen) -> list[str]:
    """Pictures of equal pixels and unequal labels."""
    labels: dict[str, dict[int, Entry]] = {}
    for entry in (entry for entries in index.splits.values() for entry in entries):
        if isinstance(entry.target, int):
            labels.setdefault(seen.of(entry), {}).setdefault(entry.target, entry)
    several = [list(found.items()) for found in labels.values() if len(found) > 1]
    if not several:
        return []
    names = index.classes.names
    (label, one), (other_label, other) = several[0][:2]
    return [
        f"{shown(one.key)} is labelled {shown(names[label])}, and {shown(other.key)}, the same "
        f"picture, {shown(names[other_label])}{_more(several)}. At most one can be right: correct "
        "or remove them."
    ]


def _copies(index: Index, seen: _Seen) -> list[str]:
    """Pictures of one split and one label that show the same pixels."""
    twins: list[tuple[Entry, Entry]] = []
    for entries in index.splits.values():
        first: dict[tuple[str, object], Entry] = {}
        for entry in entries:
            other = first.setdefault((seen.of(entry), entry.target), entry)
            if other is not entry:
                twins.append((other, entry))
    if not twins:
        return []
    one, copy = twins[0]
    return [
        f"{shown(one.key)} and {shown(copy.key)} show the same pixels{_more(twins)}: copies count "
        "twice. Remove one of each."
    ]


def _shared(index: Index, seen: _Seen) -> list[str]:
    """What is wrong where two splits share a picture, by content or by source (F35)."""
    seen_in: dict[str, dict[str, Entry]] = {}
    for split, entries in index.splits.items():
        for entry in entries:
            seen_in.setdefault(seen.of(entry), {}).setdefault(split, entry)
            if entry.source:
                seen_in.setdefault(f"source {entry.source}", {}).setdefault(split, entry)
    twins = [list(found.items()) for found in seen_in.values() if len(found) > 1]
    if not twins:
        return []
    (first, one), (second, other) = twins[0][:2]
    return [
        f"{shown(one.key)} in {shown(first)} and {shown(other.key)} in {shown(second)} are the "
        f"same picture or of one source{_more(twins)}: scores would be too good. Keep each "
        "picture in one split: remove it from the others."
    ]


def _mixed(seen: _Seen) -> list[str]:
    told = []
    if len(seen.sizes) > 1:
        by_area = sorted(seen.sizes, key=lambda size: size[0] * size[1])
        small, large = (f"{height}x{width}" for height, width in (by_area[0], by_area[-1]))
        told.append(
            f"The pictures have {len(seen.sizes):,} sizes, from {small} to {large} (height x "
            "width). A network is shown one: give the recipe a size, such as size = 64."
        )
    if len(seen.modes) > 1:
        parts = ", ".join(f"{files:,} {mode}" for mode, files in seen.modes.most_common())
        told.append(f"The pictures are stored in different modes ({parts}); each becomes colour.")
    return told


def _more(found: Sequence[object]) -> str:
    return f", and {len(found) - 1:,} more like it" if len(found) > 1 else ""
