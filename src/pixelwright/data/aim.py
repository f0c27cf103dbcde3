"""Class-aware cropping: an index of where classes occur, and crops that are aimed at them.

places = places_of(index.splits["train"], classes)
aim = ClassAware(places, share=0.5, slots=slots).draw(seed=0, position=17)
aim.entry, aim.pixel                     # None where this draw is left to chance
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int16, Int32, Int64, UInt32

from pixelwright.data import cache
from pixelwright.data.augment import generator
from pixelwright.data.counts import label_counts, over_masks
from pixelwright.types import Classes, Entry

# Apart from what else is drawn for the same position.
_STREAM = 2

_KEPT = 2**20
"""Pixels of a class that are remembered, over all entries; 4 MiB."""
_FEWEST, _MOST = 16, 4096
"""Pixels of a class that are remembered in one entry."""

# Pixels looked at at a time: places of 64 bits in a large picture would fill the memory.
_CHUNK = 2**22

ENOUGH = 64
"""An entry with fewer pixels of a class is aimed at in proportion: a stray pixel is no object."""


_Row = tuple[int, int, int, UInt32[np.ndarray, " kept"]]
"""Class, entry, pixels, and those that are remembered."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where classes occur: one row for each class in each entry in which it does, class by class.

    Args:
        classes: Class of the row.
        entries: Entry of the row.
        pixels: How many pixels of the class the entry has; `ENOUGH` for a label of all of it.
        stops: Where the remembered pixels of the row end in `at`; they begin where the row
            before ends.
        at: Remembered pixels, drawn from the whole of each row: row of the picture times its
            width plus column, within the entry.
    """

    classes: Int32[np.ndarray, " rows"]
    entries: Int32[np.ndarray, " rows"]
    pixels: Int64[np.ndarray, " rows"]
    stops: Int64[np.ndarray, " rows"]
    at: UInt32[np.ndarray, " pixels"]


@dataclass(frozen=True, slots=True)
class Aim:
    """What a crop is aimed at.

    Args:
        entry: Which one to crop.
        label: The class.
        pixel: Its place in the flattened entry; None for a label of all of it.
    """

    entry: int
    label: int
    pixel: int | None


def places_of(entries: Sequence[Entry], classes: Classes) -> Places:
    """Where each class occurs in labelled entries, within their windows.

    Depends on the entries alone. Kept in the cache, unless a mask has changed since.

    Raises:
        DataError: A mask cannot be read.
    """
    most = min(max(_KEPT // max(len(entries), 1), _FEWEST), _MOST)

    def compute() -> dict[str, np.ndarray]:
        return _arrays(entries, classes, most)

    return Places(**cache.kept("places", entries, classes, compute, most=most))


def _arrays(entries: Sequence[Entry], classes: Classes, most: int) -> dict[str, np.ndarray]:
    def look(number: int, target: Int16[np.ndarray, "h w"]) -> list[_Row]:
        pixels = label_counts(target, len(classes))
        return [
            (int(k), number, int(pixels[k]), _spread(target, int(k), int(pixels[k]), number, most))
            for k in pixels.nonzero()[0]
        ]

    rows = [row for found in over_masks(entries, classes, look) for row in found]
    nowhere = np.zeros(0, np.uint32)
    for number, entry in enumerate(entries):
        if isinstance(entry.target, int):
            rows.append((entry.target, number, ENOUGH, nowhere))
    rows.sort(key=lambda row: row[:2])
    return {
        "classes": np.array([row[0] for row in rows], np.int32),
        "entries": np.array([row[1] for row in rows], np.int32),
        "pixels": np.array([row[2] for row in rows], np.int64),
        "stops": np.cumsum([len(row[3]) for row in rows], dtype=np.int64),
        "at": np.concatenate([nowhere, *(row[3] for row in rows)]),
    }


def _spread(
    target: Int16[np.ndarray, "h w"], label: int, pixels: int, number: int, most: int
) -> UInt32[np.ndarray, " kept"]:
    """Up to `most` of the pixels with a label: one from each of equally large parts of them."""
    ranks = np.arange(min(pixels, most), dtype=np.float64)
    if pixels > most:
        ranks = (ranks + generator(number, label, _STREAM).random(most)) * (pixels / most)
    wanted = ranks.astype(np.int64)
    found, before = [], 0
    step = max(1, _CHUNK // max(1, target.shape[1]))
    for top in range(0, target.shape[0], step):
        at = np.flatnonzero(target[top : top + step] == label)
        first, last = np.searchsorted(wanted, (before, before + len(at)))
        found.append(at[wanted[first:last] - before] + top * target.shape[1])
        before += len(at)
    return np.concatenate(found).astype(np.uint32)


class ClassAware:
    """Aims a share of the crops at classes drawn evenly, however rare they are.

    A crop that is aimed takes a class that occurs, each equally likely; then an entry in which it
    occurs, each as likely as it has crops in an epoch, and less where it has fewer than `ENOUGH`
    pixels of the class; then one of those pixels, each about equally likely. Wherever the pixel
    lies in the crop is equally likely too, as far as the crop stays inside the image.

    Args:
        places: Where classes occur.
        share: Of the crops that are aimed, in [0, 1].
        slots: Crops of each entry in an epoch.

    Paper: Rota Bulò et al., 2018, https://arxiv.org/abs/1712.02616, and Zhu et al., 2019,
    https://arxiv.org/abs/1812.01593, on Cityscapes
    Differs: They crop around centroids of a class's regions, once per epoch and class; here any
    pixel of the class may be anywhere in the crop, and every draw is independent.
    """

    def __init__(self, places: Places, share: float, slots: Int[np.ndarray, " entries"]) -> None:
        self.share = share
        self._places = places
        self.labels = np.unique(places.classes)
        self._first = np.searchsorted(places.classes, self.labels)
        self._last = np.searchsorted(places.classes, self.labels, side="right")
        weights = slots[places.entries] * np.minimum(places.pixels / ENOUGH, 1.0)
        self._until = np.cumsum(weights)

    def draw(self, seed: int, position: int) -> Aim | None:
        """What the crop of this draw is aimed at; None where it is not."""
        u = generator(seed, position, _STREAM).random(4)
        if u[0] >= self.share or not len(self.labels):
            return None
        k = int(u[1] * len(self.labels))
        first, last = int(self._first[k]), int(self._last[k])
        before = float(self._until[first - 1]) if first else 0.0
        lot = before + float(u[2]) * (float(self._until[last - 1]) - before)
        row = min(max(int(np.searchsorted(self._until, lot, side="right")), first), last - 1)
        places = self._places
        start, stop = int(places.stops[row - 1]) if row else 0, int(places.stops[row])
        pixel = int(places.at[start + int(u[3] * (stop - start))]) if stop > start else None
        return Aim(int(places.entries[row]), int(self.labels[k]), pixel)
