"""Arrays that stay on the disk and are read and written by windows.

A memory map would do the same in less code, but the pages that it has touched count as memory of
the process until the system wants them back; a prediction that promises its memory needs better.
"""

import copy
import io
import math
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

from pixelwright.errors import DataError, shown
from pixelwright.images.files import Source, opened, tell
from pixelwright.images.headers import damaged
from pixelwright.types import Window

NPY = b"\x93NUMPY"
"""How a .npy file begins."""


@runtime_checkable
class Plane(Protocol):
    """Rows of pixels, in memory or on the disk: an array "h w" is one."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


class StoredPlane:
    """A plane "h w *rest" in a file.

    Args:
        path: Of the file; it is opened here, and stays open until `close`.
        shape: Height, width, and what a pixel holds.
        kind: Of the samples.
        offset: Bytes of the file before the first sample.
        writable: Whether it is written to as well.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        shape: Sequence[int],
        kind: np.dtype[Any] | type[np.generic],
        offset: int = 0,
        *,
        writable: bool = False,
    ) -> None:
        self.path = path
        self.shape = tuple(shape)
        self.dtype = np.dtype(kind)
        self._offset = offset
        self._pixel = self.dtype.itemsize * int(np.prod(self.shape[2:]))
        # Unbuffered: what is read is read into the caller's array at once.
        self._file = path.open("r+b" if writable else "rb", buffering=0)
        self._lock = threading.Lock()

    def __getitem__(self, rows: slice) -> Shaped[np.ndarray, "..."]:
        start, stop, step = rows.indices(self.shape[0])
        assert step == 1, "only rows that follow each other are read at once"
        return self.read(Window(start, 0, max(stop - start, 0), self.shape[1]))

    def read(self, window: Window) -> Shaped[np.ndarray, "..."]:
        """A copy of a part, in memory.

        Raises:
            OSError: The disk refuses, or the file has become shorter.
        """
        part = np.empty((window.height, window.width, *self.shape[2:]), self.dtype)
        with self._lock:
            for at, piece in self._pieces(window, part):
                self._file.seek(at)
                while len(piece):
                    got = self._file.readinto(piece)
                    if not got:
                        raise OSError(f"{shown(self.path)} has become shorter while it was read")
                    piece = piece[got:]  # noqa: PLW2901
        return part

    def write(self, window: Window, part: Shaped[np.ndarray, "..."]) -> None:
        """Replace a part.

        Raises:
            OSError: The disk refuses, such as when it is full.
        """
        part = np.ascontiguousarray(part, self.dtype)
        assert part.shape == (*window[2:], *self.shape[2:]), f"{part.shape} for {window}"
        with self._lock:
            for at, piece in self._pieces(window, part):
                self._file.seek(at)
                while len(piece):
                    piece = piece[self._file.write(piece) or 0 :]  # noqa: PLW2901

    def rows(self, top: int, height: int) -> "StoredPlane":
        """Some rows as a plane of their own, over the same open file."""
        part = copy.copy(self)
        part.shape = (height, *self.shape[1:])
        part._offset = self._offset + top * self.shape[1] * self._pixel
        return part

    def sync(self) -> None:
        """Wait until the disk holds what was written."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def _pieces(
        self, window: Window, part: Shaped[np.ndarray, "..."]
    ) -> list[tuple[int, memoryview]]:
        """Where in the file the bytes of a contiguous part lie, and those bytes."""
        if not part.size:
            return []
        data = part.reshape(-1).view(np.uint8).data
        line = self.shape[1] * self._pixel
        at = self._offset + window.top * line + window.left * self._pixel
        if window.width == self.shape[1]:
            return [(at, data)]
        width = window.width * self._pixel
        return [
            (at + row * line, data[row * width : (row + 1) * width]) for row in range(window.height)
        ]


def npy_header(shape: Sequence[int], kind: np.dtype[Any] | type[np.generic]) -> bytes:
    """How a .npy file of such an array begins; the samples follow, rows first."""
    file = io.BytesIO()
    told = {"shape": tuple(shape), "fortran_order": False, "descr": np.dtype(kind).str}
    np.lib.format.write_array_header_1_0(file, told)
    return file.getvalue()


def open_npy(path: Path, page: int | None = None) -> StoredPlane:
    """The picture in a .npy file, as a plane "h w b" that stays on the disk.

    Raises:
        DataError: As `npy_picture`.
    """
    with opened(path) as file:
        shape, kind, offset = npy_picture(file, path, page)
    return StoredPlane(path, shape, kind, offset)


def read_npy_header(file: Source, path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape of the array in a .npy file, whether columns come first, and the type of its samples.

    Args:
        file: At its start; left at the first sample.
        path: Names the file in messages.

    Raises:
        DataError: The header cannot be read.
    """
    try:
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        return read(file)
    except (ValueError, KeyError) as error:
        raise damaged(path, f"its .npy header cannot be read ({error})") from error


def npy_picture(
    file: Source, path: Path, page: int | None
) -> tuple[tuple[int, int, int], np.dtype[Any], int]:
    """Height, width and bands of the picture in a .npy file, the type of its samples, and where.

    Args:
        file: An array "h w", "h w b", or several pictures "n h w b"; at its start.
        path: Names the file in messages.
        page: Which of several, from 1; None is the first, with a warning if there are others.

    Raises:
        DataError: It is cut short, or holds no array that is a picture.
    """
    shape, fortran, kind = read_npy_header(file, path)
    offset = file.tell()
    there = file.seek(0, os.SEEK_END) - offset
    if kind.hasobject or not 2 <= len(shape) <= 4 or not all(shape) or fortran:
        order = ", columns first" if fortran else ""
        raise DataError(
            f"{shown(path)} holds {kind} of shape {shape}{order}. A picture was expected: numbers "
            "of shape (height, width) or (height, width, bands), rows first."
        )
    # Python's integers: NumPy's product of a lying header would overflow.
    needed = math.prod(int(length) for length in shape) * kind.itemsize
    if there != needed:
        raise damaged(path, f"{needed:,} bytes of samples are declared and {there:,} are there")
    pages = shape[0] if len(shape) == 4 else 1
    if not 1 <= (1 if page is None else page) <= pages:
        raise DataError(f"{shown(path)} has {pages:,} pictures, so there is no page {page}.")
    if pages > 1 and page is None:
        tell(path, "Only the first page or frame is read", "of pictures with several")
    if len(shape) == 4:
        shape = shape[1:]
        offset += ((page or 1) - 1) * (needed // pages)
    height, width, bands = (*shape, 1)[:3]
    return (height, width, bands), kind, offset
