"""How often each class occurs, and the class weights that follow from it.

counts = class_counts(index.splits["train"], index.classes)
weights = median_frequency(counts)                 # one per class, for the cross-entropy
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float64, Int16, Int64, Integer

from pixelwright import images
from pixelwright.data import cache
from pixelwright.types import Classes, Entry, Window

T = TypeVar("T")

THREADS = 4
"""Decoders wait for disks as well as for cores."""

# np.bincount makes an int64 copy: this many pixels at a time bound it to 32 MiB.
_CHUNK = 2**22


@dataclass(frozen=True, slots=True)
class Counts:
    """How often each class occurs. Counts add.

    Args:
        pixels: Pixels of each class; for class labels, images.
        present: Pixels that are not ignored, of the images in which the class occurs.
    """

    pixels: Int64[np.ndarray, " k"]
    present: Int64[np.ndarray, " k"]

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.pixels + other.pixels, self.present + other.present)

    @classmethod
    def of(cls, pixels: Int64[np.ndarray, " k"]) -> "Counts":
        """The counts of one image."""
        return cls(pixels, np.where(pixels > 0, pixels.sum(), 0))


def class_counts(entries: Sequence[Entry], classes: Classes) -> Counts:
    """Count the classes of labelled entries; each mask file is read once.

    What was counted before is taken from the cache, unless a file has changed since.

    Raises:
        DataError: A mask cannot be read.
    """

    def count() -> dict[str, np.ndarray]:
        total = _count(entries, classes)
        return {"pixels": total.pixels, "present": total.present}

    found = cache.kept("counts", entries, classes, count)
    return Counts(found["pixels"], found["present"])


def _count(entries: Sequence[Entry], classes: Classes) -> Counts:
    labels = [entry.target for entry in entries if isinstance(entry.target, int)]
    images_of = np.bincount(np.array(labels, np.int64), minlength=len(classes))
    total = Counts(images_of, images_of)
    by_entry = over_masks(
        entries, classes, lambda _, target: Counts.of(label_counts(target, len(classes)))
    )
    return sum(by_entry, total)


def over_masks(
    entries: Sequence[Entry],
    classes: Classes,
    work: Callable[[int, Int16[np.ndarray, "h w"]], T],
) -> list[T]:
    """`work(number, target)` for every entry that has a mask; several at a time.

    A file is read once where the entries that are windows of it follow each other.

    Raises:
        DataError: A mask cannot be read.
    """
    masks = [(n, entry) for n, entry in enumerate(entries) if isinstance(entry.target, Path)]
    by_file = [list(group) for _, group in groupby(masks, key=lambda numbered: numbered[1].target)]

    def on_file(group: list[tuple[int, Entry]]) -> list[T]:
        target = images.read_mask(Path(str(group[0][1].target)), classes)
        return [work(number, view(target, entry.window)) for number, entry in group]

    with ThreadPoolExecutor(THREADS) as pool:
        return [result for results in pool.map(on_file, by_file) for result in results]


def view(
    pixels: Integer[np.ndarray, "h w *c"], window: Window | None
) -> Integer[np.ndarray, "_ _ *c"]:
    """The part of an image or a mask that a window shows; no copy."""
    if window is None:
        return pixels
    top, left, height, width = window
    return pixels[top : top + height, left : left + width]


def label_counts(target: Int16[np.ndarray, "h w"], classes: int) -> Int64[np.ndarray, " k"]:
    """Pixels of each class; `IGNORE` counts nowhere."""
    total = np.zeros(classes + 1, np.int64)
    for rows in _chunks(target):
        total += np.bincount(rows.ravel() + 1, minlength=classes + 1)
    return total[1:]


def value_counts(raw: Integer[np.ndarray, "h w"]) -> Counter[int]:
    """Pixels of each raw mask value that occurs."""
    total: Counter[int] = Counter()
    for rows in _chunks(raw):
        if raw.dtype in (np.uint8, np.uint16):
            pixels = np.bincount(rows.ravel())
            values = pixels.nonzero()[0]
            pixels = pixels[values]
        else:
            values, pixels = np.unique(rows, return_counts=True)
        total.update(dict(zip(values.tolist(), pixels.tolist(), strict=True)))
    return total


def _chunks(array: Integer[np.ndarray, "h w"]) -> Iterator[Integer[np.ndarray, "_ w"]]:
    step = max(1, _CHUNK // max(1, array.shape[1]))
    for top in range(0, array.shape[0], step):
        yield array[top : top + step]


def median_frequency(counts: Counts) -> Float64[np.ndarray, " k"]:
    """Weight each class by the median frequency over its own frequency.

    A class's frequency is its share of the pixels of the images in which it occurs.

    Paper: Eigen and Fergus, 2015, https://arxiv.org/abs/1411.4734
    Differs: normalised, see `_normalised`.
    """
    seen = counts.pixels > 0
    frequency = counts.pixels[seen] / counts.present[seen]
    return _normalised(np.median(frequency) / frequency if seen.any() else frequency, counts)


def inverse_frequency(counts: Counts) -> Float64[np.ndarray, " k"]:
    """Weight each class by one over its pixels, so that all classes weigh the same in sum."""
    return _normalised(1 / counts.pixels[counts.pixels > 0], counts)


def effective_number(counts: Counts, beta: float = 0.999999) -> Float64[np.ndarray, " k"]:
    """Weight each class by one over its effective number of pixels, (1 - beta^n) / (1 - beta).

    Args:
        counts: Of the training split.
        beta: In [0, 1). With 0 all classes weigh the same; towards 1 it becomes
            `inverse_frequency`. 1 / (1 - beta) is the number of pixels above which more of them
            hardly matter.

    Paper: Cui et al., 2019, https://arxiv.org/abs/1901.05555
    Differs: normalised, see `_normalised`.
    """
    assert 0 <= beta < 1, f"beta {beta} is not in [0, 1)"
    pixels = counts.pixels[counts.pixels > 0]
    # (1 - beta) / (1 - beta**n), without the loss of digits where beta**n is close to 1.
    power = np.expm1(pixels * np.log(beta)) if beta else -np.ones(len(pixels))
    return _normalised((1 - beta) / -power, counts)


def _normalised(weights: Float64[np.ndarray, " seen"], counts: Counts) -> Float64[np.ndarray, " k"]:
    """Weights of all classes from those of the classes seen, with a mean over pixels of 1.

    The loss, and with it the useful learning rate, then keep their size. A class that
    never occurs gets the largest weight of the others: it has no pixel to weigh.
    """
    seen = counts.pixels > 0
    if not seen.any():
        return np.ones(len(seen))
    mean = float((weights * counts.pixels[seen]).sum() / counts.pixels.sum())
    full = np.full(len(seen), weights.max() / mean)
    full[seen] = weights / mean
    return full
