"""Write pictures of any size row by row, so that none is ever in memory as a whole.

Each takes planes, in memory or on the disk, and gives a file that is there whole or not at all.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from jaxtyping import Shaped, UInt8

from pixelwright.files import replacing
from pixelwright.images.stored import Plane, npy_header
from pixelwright.images.write import ignored_value
from pixelwright.types import Color

CHUNK_BYTES = 2**22
"""Of the rows that are in memory at a time."""

STRIP_ROWS = 64
"""Height of the strips that `write_jpeg_strips` joins; whole blocks of any JPEG."""


def row_chunks(plane: Plane) -> Iterator[Shaped[np.ndarray, "rows w"]]:
    """The rows of a plane, some at a time."""
    row = max(int(np.prod(plane.shape[1:])) * plane.dtype.itemsize, 1)
    several = max(CHUNK_BYTES // row, 1)
    for top in range(0, plane.shape[0], several):
        yield plane[top : min(top + several, plane.shape[0])]


def write_labels(
    path: Path | str, plane: Plane, colors: Sequence[Color], *, scratch: Path | None = None
) -> None:
    """Write class indices as `write_mask` does: the file has the same content.

    Args:
        path: Where to.
        plane: Class indices "h w", and `ignored_value(len(colors))` where there is none.
        colors: One per class.
        scratch: Where the file lies until it is whole; its folder if not given.

    Raises:
        MachineError: If the file cannot be written.
    """
    ignored = ignored_value(len(colors))
    # 256 classes fit into a byte, unless some pixel has none.
    wide = len(colors) > 256 or (
        len(colors) == 256 and any((rows == ignored).any() for rows in row_chunks(plane))
    )
    if wide:
        _write_png(path, plane, np.dtype(">u2"), None, scratch)
    else:
        white: Color = (255, 255, 255)
        palette = (*colors, *(white for _ in range(256 - len(colors))))
        _write_png(path, plane, np.dtype(np.uint8), palette, scratch)


def write_grey(path: Path | str, plane: Plane, *, scratch: Path | None = None) -> None:
    """Write 8-bit values "h w" as a grey PNG. Arguments and errors as `write_labels`."""
    _write_png(path, plane, np.dtype(np.uint8), None, scratch)


def write_npy(path: Path | str, planes: Sequence[Plane], *, scratch: Path | None = None) -> None:
    """Write planes of one size and type as an array "k h w". Arguments as `write_labels`."""
    first = planes[0]
    with replacing(path, scratch=scratch) as file:
        file.write(npy_header((len(planes), *first.shape), first.dtype))
        for plane in planes:
            for rows in row_chunks(plane):
                file.write(np.ascontiguousarray(rows).data)


def _write_png(
    path: Path | str,
    plane: Plane,
    kind: np.dtype[np.uint8] | np.dtype[np.uint16],
    palette: Sequence[Color] | None,
    scratch: Path | None,
) -> None:
    height, width = plane.shape
    # Runs are all that there is to find in a map of labels: to look for more takes ten times as
    # long and gives larger files. What is not a map of labels varies from row to row instead.
    if palette is None and kind.itemsize == 1:
        packer, up = zlib.compressobj(3), True
    else:
        packer, up = zlib.compressobj(6, strategy=zlib.Z_RLE), False
    with replacing(path, scratch=scratch) as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        color = 0 if palette is None else 3
        _chunk(
            file, b"IHDR", struct.pack(">IIBBBBB", width, height, 8 * kind.itemsize, color, 0, 0, 0)
        )
        if palette is not None:
            _chunk(file, b"PLTE", bytes(sample for one in palette for sample in one))
        above = np.zeros(width, np.uint8)
        for rows in row_chunks(plane):
            lines = np.zeros((len(rows), 1 + width * kind.itemsize), np.uint8)
            lines[:, 1:] = rows.astype(kind, copy=False).view(np.uint8).reshape(len(rows), -1)
            if up:
                last = lines[-1, 1:].copy()
                lines[1:, 1:] -= lines[:-1, 1:].copy()
                lines[0, 1:] -= above
                lines[:, 0], above = 2, last
            if packed := packer.compress(lines.data):
                _chunk(file, b"IDAT", packed)
        _chunk(file, b"IDAT", packer.flush())
        _chunk(file, b"IEND", b"")


def _chunk(file: BinaryIO, kind: bytes, body: bytes) -> None:
    file.write(struct.pack(">I", len(body)) + kind)
    file.write(body)
    file.write(struct.pack(">I", zlib.crc32(body, zlib.crc32(kind))))


def write_jpeg_strips(
    path: Path | str,
    strips: Iterable[UInt8[np.ndarray, "h w 3"]],
    height: int,
    *,
    quality: int = 92,
    scratch: Path | None = None,
) -> None:
    """Write a picture that comes in strips, as `write_jpeg` would write it whole.

    A JPEG may restart its entropy coding after a fixed number of blocks. So each strip is encoded
    by OpenCV as a picture of its own, and the coded blocks are joined with restart marks between.

    Paper: ITU-T T.81, 1992, B.2, https://www.w3.org/Graphics/JPEG/itu-t81.pdf

    Args:
        path: Where to.
        strips: Of `STRIP_ROWS` rows each, the last one of what is left.
        height: Rows of all strips together, at most 65,535.
        quality: Of the JPEG, to 100.
        scratch: Where the file lies until it is whole; its folder if not given.

    Raises:
        MachineError: If the file cannot be written.
    """
    with replacing(path, scratch=scratch) as file:
        for number, strip in enumerate(strips):
            swapped = cv2.cvtColor(np.ascontiguousarray(strip), cv2.COLOR_RGB2BGR)
            _, encoded = cv2.imencode(".jpg", swapped, [cv2.IMWRITE_JPEG_QUALITY, quality])
            data = encoded.tobytes()
            start, blocks = _scan_of(data)
            if number == 0:
                file.write(_header_for(data[:start], height, blocks))
            else:
                file.write(bytes((0xFF, 0xD0 + (number - 1) % 8)))
            file.write(data[start:-2])
        file.write(b"\xff\xd9")


def _scan_of(data: bytes) -> tuple[int, int]:
    """Where the coded blocks of a JPEG begin, and how many blocks (MCU) there are."""
    at, blocks = 2, 0
    while True:
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == 0xFFC0:
            height, width = struct.unpack_from(">HH", data, at + 5)
            across, down = data[at + 11] >> 4, data[at + 11] & 15
            blocks = -(-height // (8 * down)) * -(-width // (8 * across))
        at += 2 + length
        if marker == 0xFFDA:
            return at, blocks


def _header_for(start: bytes, height: int, interval: int) -> bytes:
    """The header of a strip, made that of a picture with restarts."""
    at = 2
    while (found := struct.unpack_from(">HH", start, at))[0] != 0xFFC0:
        at += 2 + found[1]
    scan = start.rindex(b"\xff\xda")
    restarts = struct.pack(">HHH", 0xFFDD, 4, interval)
    sized = start[: at + 5] + struct.pack(">H", height) + start[at + 7 : scan]
    return sized + restarts + start[scan:]
