"""Decoded entries, kept in memory as far as they fit."""

import threading
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int16, UInt8

from pixelwright import images, memory
from pixelwright.data.counts import view
from pixelwright.errors import DataError, PixelwrightWarning, first_few
from pixelwright.types import Classes, Entry, Sample


class _Files(NamedTuple):
    """What one decoding reads; several entries may be windows of it."""

    image: Path
    mask: Path | None
    row: int | None = None


class _Pixels(NamedTuple):
    image: UInt8[np.ndarray, "h w c"]
    mask: Int16[np.ndarray, "h w"] | None


class Dataset:
    """The samples of one split.

    A file is decoded when it is first asked for, once however many entries are windows of it, and
    then kept. If not everything fits into the budget, the first files that fit are kept and the
    others are decoded every time. Replacing what was kept would decode more, as an epoch asks for
    every file before it asks for one again. Rows of an array are kept by `images` already.

    Args:
        entries: In the order that `sample` counts.
        classes: How mask values become class indices.
        channels: Of the images, 1 or 3.
        budget: Bytes of decoded pixels to keep; None takes half of the memory that is free, 0 keeps
            none.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        classes: Classes,
        channels: int = 3,
        budget: int | None = None,
    ) -> None:
        self.entries = tuple(entries)
        self.classes = classes
        self.channels = channels
        self.budget = memory.free() // 2 if budget is None else budget
        self._kept: dict[_Files, _Pixels] = {}
        self._lock = threading.Lock()
        self._decoding: dict[_Files, threading.Lock] = {}

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of every entry, from windows and file headers; nothing is decoded."""
        files = self._file_sizes
        return tuple(
            (entry.window.height, entry.window.width) if entry.window else files[_files(entry)]
            for entry in self.entries
        )

    @cached_property
    def pictures(self) -> tuple[tuple[int, int], ...]:
        """Height and width of the file that each entry is, or is a window of."""
        files = self._file_sizes
        return tuple(files[_files(entry)] for entry in self.entries)

    def sample(self, number: int) -> Sample:
        """The decoded entry. Its arrays are views of kept memory: read them, do not write.

        Safe to call from several threads.

        Raises:
            DataError: The files cannot be read, differ in size, or changed since the first look.
        """
        entry = self.entries[number]
        image, mask = self._decoded(_files(entry))
        image = view(image, entry.window)
        mask = None if mask is None else view(mask, entry.window)
        if isinstance(entry.target, int):
            return Sample(image, entry.target, entry.key)
        if mask is None:
            raise DataError(
                f"{entry.image} has no target: it can be predicted, but not learnt from or scored."
            )
        return Sample(image, mask, entry.key)

    @cached_property
    def _file_sizes(self) -> dict[_Files, tuple[int, int]]:
        found: dict[_Files, tuple[int, int]] = {}
        of_array: dict[Path, tuple[int, int]] = {}
        for files in map(_files, self.entries):
            if files.row is None:
                found[files] = images.size(files.image)
                continue
            if files.image not in of_array:
                of_array[files.image] = images.size(files.image, files.row)
            found[files] = of_array[files.image]
        return found

    @cached_property
    def _keep(self) -> frozenset[_Files]:
        keep, too_large, left = set(), [], self.budget
        for files, (height, width) in self._file_sizes.items():
            if files.row is not None:
                continue
            need = height * width * (self.channels + (2 if files.mask else 0))
            if need <= left:
                left -= need
                keep.add(files)
            elif need > self.budget > 0:
                too_large.append(files.image)
        if too_large:
            warnings.warn(
                f"{first_few(too_large)}: larger when decoded than the "
                f"{self.budget / 2**20:.0f} MiB there are to keep pictures in, so decoded anew "
                f"each time, which is slow. Cut such files into smaller ones.",
                PixelwrightWarning,
                stacklevel=2,
            )
        return frozenset(keep)

    def _decoded(self, files: _Files) -> _Pixels:
        if files.row is not None:
            return self._decode(files)
        with self._lock:
            keep = files in self._keep
            decoding = self._decoding.setdefault(files, threading.Lock())
        # Others who want the same file wait here, others who want another do not.
        with decoding:
            if files in self._kept:
                return self._kept[files]
            pixels = self._decode(files)
            if keep:
                self._kept[files] = pixels
            return pixels

    def _decode(self, files: _Files) -> _Pixels:
        if files.row is None:
            image = images.read_image(files.image, self.channels)
        else:
            image = images.read_row(files.image, files.row, self.channels)
        if image.shape[:2] != self._file_sizes[files]:
            raise DataError(
                f"{files.image} was {_by(self._file_sizes[files])} at first and is "
                f"{_by(image.shape)} now. Leave the files alone while they are in use."
            )
        if files.mask is None:
            return _Pixels(image, None)
        mask = images.read_mask(files.mask, self.classes)
        images.check_sizes(files.image, image.shape[:2], files.mask, mask.shape[:2])
        return _Pixels(image, mask)


def _files(entry: Entry) -> _Files:
    mask = entry.target if isinstance(entry.target, Path) else None
    return _Files(entry.image, mask, entry.row)


def _by(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"
