"""Where the samples of a picture come from: decoded whole, or read by windows from a file."""

import io
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Bool, Shaped

from pixelwright.errors import DataError, shown
from pixelwright.images import archives, geo
from pixelwright.images.files import opened, read_bytes, tell
from pixelwright.images.headers import read_header, tiff_tags
from pixelwright.images.photos import read_samples
from pixelwright.images.stored import NPY, StoredPlane, npy_picture, open_npy
from pixelwright.types import Window

GEO_KEYS = 34735
"""The TIFF tag that names a coordinate system."""

CHUNK_PIXELS = 2**22
"""That are read at a time where a smaller picture is made of them."""


@runtime_checkable
class Source(Protocol):
    """Where the samples of a raster come from, as stored."""

    height: int
    width: int
    bands: int
    kind: np.dtype[Any]
    bits: int
    alpha: bool
    nodata: tuple[int | float | None, ...]
    held: int
    block: tuple[int, int]
    geo: geo.Geo | None

    def samples(
        self, window: Window, bands: tuple[int, ...], step: int = 1
    ) -> Shaped[np.ndarray, "h w b"]: ...

    def mask(self, window: Window) -> Bool[np.ndarray, "h w"] | None: ...

    def close(self) -> None: ...


def source_of(path: Path, page: int | None) -> Source:
    """The samples of a file; the arguments and errors of `open_raster`."""
    with opened(path) as file:
        start = file.read(8)
        if start.startswith(NPY):
            return _npy(path, page)
        tags: dict[int, int] = {}
        file.seek(0)
        if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            header = read_header(file, path, any_size=True)
            file.seek(0)
            tags = tiff_tags(file)
            if geo.installed() and geo.reads(header, tags) and _utf8(path):
                return _by_rasterio(path, page)
            if header.channels > 4:
                raise DataError(
                    f"{shown(path)} has {header.channels} bands, which are read only with the "
                    f"extra for geodata: {geo.INSTALL}"
                )
    samples, header = read_samples(path, page)
    if GEO_KEYS in tags:
        why = "as its pixels are stored" if geo.installed() else f"without: {geo.INSTALL}"
        tell(path, "The georeference is not kept", f"({why}) of pictures")
    samples = samples.reshape(*samples.shape[:2], -1)
    return ArraySource(samples, alpha=samples.shape[2] in (2, 4))


class _PlainSource:
    """Samples that lie side by side: no blocks, no mask, no place on the earth."""

    def __init__(
        self, shape: tuple[int, ...], kind: np.dtype[Any], *, alpha: bool, held: int
    ) -> None:
        self.height, self.width, self.bands = shape
        self.kind, self.bits, self.alpha, self.held = kind, 16, alpha, held
        self.block = (1, 1)
        self.geo: geo.Geo | None = None
        self.nodata: tuple[int | float | None, ...] = (None,) * self.bands

    def samples(
        self, window: Window, bands: tuple[int, ...], step: int = 1
    ) -> Shaped[np.ndarray, "h w b"]:
        return _decimated(self._part, window, bands, step)

    def _part(self, window: Window) -> Shaped[np.ndarray, "h w b"]:
        raise NotImplementedError

    def mask(self, window: Window) -> Bool[np.ndarray, "h w"] | None:
        return None

    def close(self) -> None:
        pass


class ArraySource(_PlainSource):
    """Samples that lie in memory."""

    def __init__(self, array: Shaped[np.ndarray, "h w b"], *, alpha: bool) -> None:
        super().__init__(array.shape, array.dtype, alpha=alpha, held=array.nbytes)
        self._array = array

    def _part(self, window: Window) -> Shaped[np.ndarray, "h w b"]:
        rows = slice(window.top, window.top + window.height)
        return self._array[rows, window.left : window.left + window.width]


class StoredSource(_PlainSource):
    """Samples that lie uncompressed in a file."""

    def __init__(self, plane: StoredPlane) -> None:
        super().__init__(plane.shape, plane.dtype.newbyteorder("="), alpha=False, held=0)
        self._plane = plane

    def _part(self, window: Window) -> Shaped[np.ndarray, "h w b"]:
        try:
            return self._plane.read(window).astype(self.kind, copy=False)
        except OSError as error:
            raise DataError(
                f"{shown(self._plane.path)} cannot be read: {error.strerror or error}."
            ) from error

    def close(self) -> None:
        self._plane.close()


def _decimated(
    read: Callable[[Window], Shaped[np.ndarray, "h w all"]],
    window: Window,
    bands: tuple[int, ...],
    step: int,
) -> Shaped[np.ndarray, "h w b"]:
    """Chosen bands of a window; of each `step` x `step` samples one, their mean.

    The window is read some rows at a time where less of it is returned.
    """
    if step == 1:
        return _bands_of(read(window), bands)
    several = max(CHUNK_PIXELS // (step * window.width), 1) * step
    parts = []
    for top in range(0, window.height, several):
        height = min(several, window.height - top)
        chunk = Window(window.top + top, window.left, height, window.width)
        parts.append(_smaller(_bands_of(read(chunk), bands), step))
    return np.concatenate(parts)


def _smaller(
    samples: Shaped[np.ndarray, "h w b"], step: int
) -> Shaped[np.ndarray, "less_h less_w b"]:
    """Means of squares, in the type of the samples; at the ends repeated to be whole ones."""
    height, width = (-(-length // step) for length in samples.shape[:2])
    below, beside = height * step - samples.shape[0], width * step - samples.shape[1]
    samples = np.pad(samples, ((0, below), (0, beside), (0, 0)), mode="edge")
    kind = samples.dtype
    plain = samples if kind in (np.uint8, np.uint16) else samples.astype(np.float32)
    small = cv2.resize(np.ascontiguousarray(plain), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small.reshape(height, width, -1), kind)


def _bands_of(
    samples: Shaped[np.ndarray, "h w all"], bands: tuple[int, ...]
) -> Shaped[np.ndarray, "h w b"]:
    count = samples.shape[2]
    if bands == tuple(range(len(bands))):
        return samples if len(bands) == count else samples[..., : len(bands)]
    return samples[..., list(bands)]


def _by_rasterio(path: Path, page: int | None) -> geo.GeoSource:
    source = geo.GeoSource(path, page)
    if source.pages > 1 and page is None:
        tell(path, "Only the first page or frame is read", "of pictures with several")
    return source


def _npy(path: Path, page: int | None) -> Source:
    if not path.exists() and archives.inside(path) is not None:
        data = read_bytes(path)
        shape, kind, offset = npy_picture(io.BytesIO(data), path, page)
        array = np.frombuffer(data, kind, math.prod(shape), offset).reshape(shape)
        return ArraySource(array.astype(kind.newbyteorder("="), copy=False), alpha=False)
    return StoredSource(open_npy(path, page))


def _utf8(path: Path) -> bool:
    """Whether GDAL can be told the name."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True
