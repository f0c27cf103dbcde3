"""Small pictures with one label each, decoded once and kept; epochs then do not touch the disk.

pictures = Resident.of(index.splits["train"], index.classes)
pictures.images, pictures.labels            # uint8 "n h w c", int16 "n"
one = fitted(images.read_image("photo.jpg"), (32, 32))
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Int16, UInt8

from pixelwright import images, memory
from pixelwright.data.counts import view
from pixelwright.errors import DataError, shown
from pixelwright.types import Classes, Entry

_Pixels = UInt8[np.ndarray, "h w c"]

_AT_ONCE = 64
"""Pictures that a thread decodes in one go."""


@dataclass(frozen=True, eq=False)
class Resident:
    """The pictures of a split, all of one size, and their labels.

    Args:
        images: Pixel values.
        labels: Class indices.
        keys: Of the entries.
    """

    images: UInt8[np.ndarray, "n h w c"]
    labels: Int16[np.ndarray, " n"]
    keys: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def of(
        cls,
        entries: Sequence[Entry],
        classes: Classes,
        channels: int = 3,
        size: int | None = None,
        budget: int | None = None,
        *,
        side: tuple[int, int] | None = None,
    ) -> "Resident":
        """Decode a split.

        Without `size` pictures are kept as they are. With it the middle square is taken of each,
        and shrunk to `size` where it is larger; smaller ones are left to the network, whose first
        layer enlarges them, unless they differ in size: then all are brought to `size`.

        Args:
            entries: At least one, each with one label.
            classes: What the labels mean.
            channels: 3 for colour, 1 for grey.
            size: Side in pixels at which the network sees pictures.
            budget: Most bytes of pixels; None takes half of the memory that is free.
            side: Height and width to which all pictures are brought, in place of `size`.

        Raises:
            DataError: An entry has no label, or one that no class has; a picture cannot be read;
                they differ in size, and nothing says to which to bring them; they do not fit into
                the budget.
        """
        assert entries, "there is nothing to decode"
        labels = _labels(entries, classes)
        decoder = _Decoder(entries, channels, memory.free() // 2 if budget is None else budget)
        if side is None:
            try:
                pixels = decoder.alike(size)
            except _SizeError as found:
                if size is None:
                    raise decoder.differ(found.number, found.size) from None
                pixels = decoder.brought_to((size, size))
        else:
            pixels = decoder.brought_to(side)
        return cls(pixels, labels, tuple(entry.key for entry in entries))


def fitted(picture: _Pixels, side: tuple[int, int]) -> UInt8[np.ndarray, "tall wide c"]:
    """A picture brought to a height and width: its largest middle part of that shape, resized.

    Args:
        picture: Of any size.
        side: Height and width of the result.
    """
    height, width = picture.shape[:2]
    times = min(height / side[0], width / side[1])
    # Rounded, a part could be a pixel too long.
    tall = min(max(round(side[0] * times), 1), height)
    wide = min(max(round(side[1] * times), 1), width)
    top, left = (height - tall) // 2, (width - wide) // 2
    part = picture[top : top + tall, left : left + wide]
    if (tall, wide) == side:
        return part
    how = cv2.INTER_AREA if times > 1 else cv2.INTER_LINEAR
    resized = cv2.resize(part, side[::-1], interpolation=how)
    return np.asarray(resized, np.uint8).reshape(*side, picture.shape[2])


def _labels(entries: Sequence[Entry], classes: Classes) -> Int16[np.ndarray, " n"]:
    found = []
    for entry in entries:
        target = entry.target
        if not isinstance(target, int):
            lacks = "no label" if target is None else "a mask in place of a label"
            raise DataError(
                f"{_name(entry)} has {lacks}, so no classifier can learn from it or be scored on "
                f"it."
            )
        if not 0 <= target < len(classes):
            raise DataError(
                f"{_name(entry)} has the label {target}, but there are {len(classes)} classes, 0 "
                f"to {len(classes) - 1}."
            )
        found.append(target)
    return np.array(found, np.int16)


def _name(entry: Entry) -> str:
    return shown(entry.image) if entry.row is None else f"{shown(entry.image)}, row {entry.row},"


class _SizeError(Exception):
    """A picture has another size than the first."""

    def __init__(self, number: int, size: tuple[int, int]) -> None:
        super().__init__(number, size)
        self.number, self.size = number, size


class _Decoder:
    """Reads the pictures of some entries into one array.

    Args:
        entries: At least one.
        channels: Of the pictures.
        budget: Most bytes of the array.
    """

    def __init__(self, entries: Sequence[Entry], channels: int, budget: int) -> None:
        self._entries = entries
        self._channels = channels
        self._budget = budget
        paths = {entry.image for entry in entries if entry.row is not None}
        self._stacks = {path: images.rows(path) for path in paths}

    def alike(self, size: int | None) -> UInt8[np.ndarray, "n h w c"]:
        """All pictures, as `size` says.

        Raises:
            _SizeError: They would differ in size.
        """

        def kept(picture: _Pixels) -> tuple[int, int]:
            height, width = picture.shape[:2]
            if size is None:
                return height, width
            square = min(height, width, size)
            return square, square

        side = kept(self._read(0))

        def prepare(number: int) -> _Pixels:
            picture = self._read(number)
            if kept(picture) != side:
                raise _SizeError(number, (picture.shape[0], picture.shape[1]))
            return fitted(picture, side)

        return self._all(side, prepare)

    def brought_to(self, side: tuple[int, int]) -> UInt8[np.ndarray, "n h w c"]:
        """All pictures, at one height and width."""
        return self._all(side, lambda number: fitted(self._read(number), side))

    def differ(self, number: int, size: tuple[int, int]) -> DataError:
        """Why pictures of several sizes cannot be learnt from as they are."""
        first = self._read(0).shape
        sizes = f"{first[0]}x{first[1]}", f"{size[0]}x{size[1]}"
        names = (_name(self._entries[at]).rstrip(",") for at in (0, number))
        one, other = (f"{name} ({size})" for name, size in zip(names, sizes, strict=True))
        return DataError(
            f"The pictures differ in size: {one} and {other}. Set size = "
            f"{min(*first[:2], *size)} in the recipe, or another side in pixels, and the middle "
            f"square of each is brought to it."
        )

    def _read(self, number: int) -> _Pixels:
        entry = self._entries[number]
        if entry.row is None:
            picture = images.read_image(entry.image, self._channels)
        else:
            stack = self._stacks[entry.image]
            # Where anything is wrong, the reader of single rows says what.
            fine = self._channels == 3 and 0 <= entry.row < len(stack)
            row = entry.row
            picture = stack[row] if fine else images.read_row(entry.image, row, self._channels)
        return view(picture, entry.window)

    def _all(
        self, side: tuple[int, int], prepare: Callable[[int], _Pixels]
    ) -> UInt8[np.ndarray, "n h w c"]:
        total = len(self._entries)
        self._check_budget(side)
        out = np.empty((total, *side, self._channels), np.uint8)

        def fill(start: int) -> None:
            for number in range(start, min(start + _AT_ONCE, total)):
                out[number] = prepare(number)

        with ThreadPoolExecutor(thread_name_prefix="pixelwright-decoder") as pool:
            # In order, so that of several bad pictures the same one is named every time.
            for _ in pool.map(fill, range(0, total, _AT_ONCE)):
                pass
        return out

    def _check_budget(self, side: tuple[int, int]) -> None:
        total = len(self._entries)
        need = total * side[0] * side[1] * self._channels
        if need <= self._budget:
            return
        largest = int((self._budget / total / self._channels) ** 0.5)
        smaller = f"set size = {largest} or less in the recipe, or " if largest >= 8 else ""
        raise DataError(
            f"{total:,} pictures of {side[0]}x{side[1]} take {_gigabytes(need)} in memory, and "
            f"{_gigabytes(self._budget)} may be used, half of what is free. To fit, {smaller}take "
            f"fewer pictures."
        )


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:.3g} GB"
