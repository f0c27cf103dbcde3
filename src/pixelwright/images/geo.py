"""TIFFs of any size and any number of bands, read by windows: what the extra "geo" adds."""

import importlib.util
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped

from pixelwright.errors import DataError, shown
from pixelwright.images import archives
from pixelwright.images.headers import Header, damaged
from pixelwright.types import Window

CACHE_BYTES = 2**26
"""Of decoded blocks that GDAL may keep; its own default is a twentieth of the machine's memory."""

INSTALL = 'pip install "pixelwright[geo]"'

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6  # of TIFF's tag 262
JPEG = 7  # of tag 259


@dataclass(frozen=True, slots=True)
class Geo:
    """Where on earth a raster lies.

    Args:
        crs: The coordinate system as WKT; empty where only the transform is known.
        transform: x = a * column + b * row + c and y = d * column + e * row + f, as (a, ..., f),
            of a pixel's upper left corner, also where the file tells it of the middle.
        points: Ground control points as (row, column, x, y, z), in place of a transform.
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]
    points: tuple[tuple[float, float, float, float, float], ...] = ()


def installed() -> bool:
    """Whether rasterio is there."""
    return importlib.util.find_spec("rasterio") is not None


def reads(header: Header, tags: dict[int, int]) -> bool:
    """Whether GDAL's samples of a TIFF are those that it shows, as our other decoders have them.

    It neither turns pictures nor inverts white-is-zero, nor widens samples below 8 bits.
    """
    meaning = tags.get(262, BLACK_IS_ZERO)
    plain = meaning in (BLACK_IS_ZERO, RGB) or (header.palette and header.bits == 8)
    plain |= meaning == YCBCR and tags.get(259) == JPEG
    return plain and header.orientation == 1 and header.bits >= 8


@contextmanager
def environment() -> Iterator[None]:
    """GDAL with a small cache, that looks for no more files than it is given."""
    import rasterio

    options = {
        "GDAL_CACHEMAX": CACHE_BYTES,
        "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
        "GDAL_PAM_ENABLED": "NO",
    }
    with rasterio.Env(**options):
        yield


@contextmanager
def without_place() -> Iterator[None]:
    """Open files of which it is not known where they lie without a warning of rasterio's."""
    import rasterio

    # Only while a file is opened: the filters are those of all threads.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield


class GeoSource:
    """The samples of a TIFF, read by rasterio.

    Args:
        path: May lead into a zip archive.
        page: Which of several pages, from 1; None is the first.

    Raises:
        DataError: It is damaged, or has no such page.
    """

    def __init__(self, path: Path, page: int | None) -> None:
        self.path = path
        self._lock = threading.Lock()
        with self._reading(), without_place():
            self._file, self.pages = _opened(path, page)
            file = self._file
            self.height, self.width = file.height, file.width
            kinds = set(file.dtypes)
            if len(kinds) > 1 or any(kind.startswith(("complex", "c")) for kind in kinds):
                listed = ", ".join(sorted(kinds))
                raise DataError(
                    f"{shown(path)} has bands of {listed}; numbers of one type were expected."
                )
            self.kind = np.dtype(file.dtypes[0])
            self._table = _color_table(file)
            self.bands = file.count if self._table is None else 3
            self.alpha = self._table is None and file.colorinterp[-1].name == "alpha"
            bits = file.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", "16")
            self.bits = int(bits) if self.kind == np.uint16 else 16
            self.nodata: tuple[int | float | None, ...] = tuple(file.nodatavals)
            # A mask of its own, as beside lossy compression; not what follows from nodata or alpha.
            flags = [flag.name for flag in file.mask_flag_enums[0]]
            self._masked = flags == ["per_dataset"]
            self.geo = _geo(file)
            self.block: tuple[int, int] = file.block_shapes[0]
        block = self.block[0] * self.block[1] * file.count * self.kind.itemsize
        whole = self.height * self.width * file.count * self.kind.itemsize
        self.held = min(max(CACHE_BYTES, block), whole)

    def samples(
        self, window: Window, bands: tuple[int, ...], step: int = 1
    ) -> Shaped[np.ndarray, "h w b"]:
        """Chosen bands, from 0, of a part; one sample of `step` x `step`, their mean."""
        from rasterio.enums import Resampling

        chosen = (0,) if self._table is not None else bands
        shape = (-(-window.height // step), -(-window.width // step), len(chosen))
        found = np.empty(shape, self.kind)
        with self._reading():
            self._file.read(
                [band + 1 for band in chosen],
                window=_slices(window),
                # Moved axes: GDAL lays down the samples of a pixel side by side.
                out=found.transpose(2, 0, 1),
                resampling=Resampling.nearest if self._table is not None else Resampling.average,
            )
        if self._table is None:
            return found
        return np.asarray(self._table[found[..., 0]][..., list(bands)])

    def mask(self, window: Window) -> Bool[np.ndarray, "h w"] | None:
        """Where a mask of the file says that there are no data."""
        if not self._masked:
            return None
        with self._reading():
            return np.asarray(self._file.read_masks(1, window=_slices(window)) == 0)

    def close(self) -> None:
        self._file.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """One thread at a time, and errors as ours."""
        import rasterio

        with self._lock, environment():
            try:
                yield
            except rasterio.errors.RasterioError as error:
                # GDAL's own words, where rasterio only points at them.
                why = error.__cause__ or error
                raise damaged(self.path, f"it cannot be decoded ({why})") from error


def _slices(window: Window) -> tuple[tuple[int, int], tuple[int, int]]:
    return (
        (window.top, window.top + window.height),
        (window.left, window.left + window.width),
    )


def _opened(path: Path, page: int | None) -> tuple[Any, int]:
    """The data set, and how many pages there are."""
    import rasterio

    place = None if path.exists() else archives.inside(path)
    name = str(path) if place is None else f"/vsizip/{place[0]}/{place[1]}"
    file = rasterio.open(name, driver="GTiff")
    # Only true pages: GDAL leaves out overviews and masks, which are pages of the file as well.
    names = file.subdatasets
    pages = max(len(names), 1)
    if page is None or (page == 1 and pages == 1):
        return file, pages
    file.close()
    if not 1 <= page <= pages:
        told = "one page" if pages == 1 else f"{pages:,} pages"
        raise DataError(f"{shown(path)} has {told}, so there is no page {page}.")
    return rasterio.open(names[page - 1]), pages


def _color_table(file: Any) -> Shaped[np.ndarray, "n 3"] | None:
    if file.count != 1 or file.colorinterp[0].name != "palette":
        return None
    table = np.zeros((2 ** (8 * np.dtype(file.dtypes[0]).itemsize), 3), np.uint8)
    for index, color in file.colormap(1).items():
        table[index] = color[:3]
    return table


def _geo(file: Any) -> Geo | None:
    points, crs = file.gcps
    crs = file.crs or crs
    a, b, c, d, e, f = (float(value) for value in file.transform[:6])
    if crs is None and not points and file.transform.is_identity:
        return None
    return Geo(
        crs.to_wkt() if crs else "",
        (a, b, c, d, e, f),
        tuple((p.row, p.col, p.x, p.y, p.z or 0.0) for p in points),
    )
