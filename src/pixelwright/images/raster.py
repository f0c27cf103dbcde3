"""Pictures of any size, read by windows as the pixel values that a network takes.

    with open_raster("mosaic.tif", channels=3) as raster:
        window = Window(0, 0, 512, raster.width)
        pixels = raster.read(window)         # uint8 or float32 "h w c", from 0 to 255
        nothing = raster.invalid(window)     # where there are no data, or None

TIFFs are read from the disk by rasterio, if the extra "geo" is there, and .npy files as they lie;
their size knows no limit. Anything else is decoded whole when it is opened.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import Bool, Float32, Shaped, UInt8

from pixelwright.errors import DataError, shown
from pixelwright.images.bands import NoData, chosen, opaque, values_of
from pixelwright.images.depth import Depth, bits_stated, warn_of_dark
from pixelwright.images.files import tell
from pixelwright.images.photos import is_grey
from pixelwright.images.sources import ArraySource, Source, source_of
from pixelwright.types import Window


class Raster:
    """A picture as a network takes it. May be read by one thread while another looks at it.

    Attributes:
        height: Rows of pixels.
        width: Columns of pixels.
        channels: Of the pixel values.
        dtype: `uint8`, or `float32` where samples are deeper than 8 bits, which are all kept.
        held: Bytes that it keeps in memory.
        decoded: Whether they lie there already; else they are what reading comes to keep.
        block: Height and width of what is decoded at once; windows that cut blocks cost more.
        geo: Where on earth it lies; None if unknown.
        has_nodata: Whether there may be pixels without data.
        source: The file; None for an array.

    Raises:
        DataError: Its bands do not fit the channels (F10, F11), or the range of its samples is not
            known (F12).
    """

    def __init__(
        self,
        samples: Source,
        channels: int,
        *,
        path: Path | None = None,
        bands: Sequence[int] | None = None,
        nodata: NoData | None = None,
    ) -> None:
        self._samples = samples
        self.source = path
        self.height, self.width, self.channels = samples.height, samples.width, channels
        self.held, self.block, self.geo = samples.held, samples.block, samples.geo
        self.decoded = isinstance(samples, ArraySource)
        self._name: Path | str = path or "The image"
        self._bands = chosen(samples, channels, bands, self._name)
        bits = bits_stated() or samples.bits
        self._depth = Depth(self._name, samples.kind, bits)
        self.dtype = np.dtype(np.uint8 if samples.kind in (np.uint8, np.bool_) else np.float32)
        self._nodata = values_of(samples, self._bands, nodata)
        self._masked = nodata is None
        self._by_alpha = nodata == "alpha" and samples.alpha
        self._drops_alpha = bands is None and samples.alpha and not self._by_alpha
        self._last: tuple[Window, Bool[np.ndarray, "h w"] | None] | None = None
        self._lock = threading.Lock()
        self.has_nodata = (
            self._by_alpha
            or any(value is not None for value in self._nodata)
            or (self._masked and samples.mask(Window(0, 0, 1, 1)) is not None)
        )
        if nodata == "alpha" and not samples.alpha:
            tell(self._name, "--nodata alpha does nothing", "to pictures without transparency")
        if samples.kind == np.uint16 and bits == 16:
            warn_of_dark(self._highest(), self._name)

    def read(self, window: Window) -> UInt8[np.ndarray, "h w c"] | Float32[np.ndarray, "h w c"]:
        """Pixel values in [0, 255].

        Where there are no data they are as stored, or 0 if that is nothing that a sample can be.

        Raises:
            DataError: The file is damaged there, has samples out of range (F12), or colours where
                the network takes grey (F10).
        """
        samples, invalid = self._load(window)
        pixels = self._depth.pixel_values(samples, invalid, window)
        count = pixels.shape[2]
        if count == self.channels:
            return np.ascontiguousarray(pixels)
        if count == 1:
            return np.repeat(pixels, self.channels, axis=2)
        self._refuse_colors(pixels)
        return np.ascontiguousarray(pixels[..., :1])

    def invalid(self, window: Window) -> Bool[np.ndarray, "h w"] | None:
        """Where there are no data: what the file declares, or the value that was given.

        A pixel has none where all bands that are used have the value; of fractions, where any has.

        Raises:
            DataError: The file is damaged there.
        """
        if not self.has_nodata:
            return None
        with self._lock:
            last = self._last
        if last is not None and _within(window, last[0]) and last[1] is not None:
            top, left = window.top - last[0].top, window.left - last[0].left
            return last[1][top : top + window.height, left : left + window.width].copy()
        return self._load(window)[1]

    def picture(self, window: Window, step: int = 1) -> UInt8[np.ndarray, "h w c"]:
        """For people to look at: rounded, and if `step` is above 1, one pixel of `step` x `step`.

        Raises:
            DataError: The file is damaged there.
        """
        samples = self._samples.samples(window, self._bands, step)
        pixels = self._depth.for_eyes(samples)
        if pixels.shape[2] == self.channels:
            return np.ascontiguousarray(pixels)
        if pixels.shape[2] == 1:
            return np.repeat(pixels, self.channels, axis=2)
        return np.ascontiguousarray(pixels[..., :1])

    def close(self) -> None:
        self._samples.close()

    def __enter__(self) -> "Raster":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _load(
        self, window: Window
    ) -> tuple[Shaped[np.ndarray, "h w b"], Bool[np.ndarray, "h w"] | None]:
        assert _within(window, Window(0, 0, self.height, self.width)), f"{window} lies outside"
        alpha = self._by_alpha or self._drops_alpha
        bands = (*self._bands, self._samples.bands - 1) if alpha else self._bands
        samples = self._samples.samples(window, bands)
        clear = samples[..., -1] if alpha else None
        if clear is not None:
            samples = samples[..., :-1]
        invalid = self._missing(samples, clear, window)
        if self._drops_alpha and clear is not None and int(clear.min()) < opaque(clear.dtype):
            self._drops_alpha = False
            what = "Transparency is dropped (--nodata alpha would use it)"
            tell(self._name, what, "from pictures")
        with self._lock:
            self._last = window, invalid
        return samples, invalid

    def _missing(
        self,
        samples: Shaped[np.ndarray, "h w b"],
        clear: Shaped[np.ndarray, "h w"] | None,
        window: Window,
    ) -> Bool[np.ndarray, "h w"] | None:
        if self._by_alpha and clear is not None:
            return np.asarray(clear == 0)
        missing = self._samples.mask(window) if self._masked else None
        found = [
            np.isnan(samples[..., i]) if value != value else samples[..., i] == value  # noqa: PLR0124
            for i, value in enumerate(self._nodata)
            if value is not None
        ]
        if found and samples.dtype.kind == "f":
            missing = np.logical_or.reduce([*found, *([] if missing is None else [missing])])
        elif found and len(found) == len(self._nodata):
            by_value = np.logical_and.reduce(found)
            missing = by_value if missing is None else missing | by_value
        if missing is None and self.has_nodata:
            return np.zeros(samples.shape[:2], np.bool_)
        return missing

    def _refuse_colors(self, pixels: Shaped[np.ndarray, "h w 3"]) -> None:
        if not is_grey(pixels):
            raise DataError(
                f"{shown(self._name)} is a colour picture, but the network takes grey ones. "
                "Save it in grey, or name the band to use, such as --bands 1."
            )

    def _highest(self) -> int:
        """The highest sample at some places all over; a file of any size is not read whole."""
        side = 64
        highest = 0
        for top in np.linspace(0, max(self.height - side, 0), 5).astype(int).tolist():
            for left in np.linspace(0, max(self.width - side, 0), 5).astype(int).tolist():
                height, width = min(side, self.height), min(side, self.width)
                samples, invalid = self._load(Window(top, left, height, width))
                seen = samples if invalid is None else samples[~invalid]
                highest = max(highest, int(seen.max(initial=0)))
        return highest


def open_raster(
    path: Path | str,
    channels: int,
    *,
    bands: Sequence[int] | None = None,
    nodata: NoData | None = None,
    page: int | None = None,
) -> Raster:
    """A picture's file, to be read by windows.

    16-bit samples are scaled by the bits that PIXELWRIGHT_IMAGE_BITS states, or that the file
    declares, or 16. Grey pictures are repeated for 3 channels, with a warning.

    Args:
        path: Any picture, or an array in a .npy file; may lead into a zip archive.
        channels: That the network takes.
        bands: Which to use as the channels, from 1, in that order; None for all colours there are.
        nodata: What stands for no data, in place of what the file declares.
        page: Which page or frame, from 1; None is the first, with a warning if there are others.

    Raises:
        DataError: As `read_image` and `Raster`; also where there is no such band or page.
    """
    path = Path(path)
    source = source_of(path, page)
    try:
        return Raster(source, channels, path=path, bands=bands, nodata=nodata)
    except BaseException:
        source.close()
        raise


def array_raster(
    array: Shaped[np.ndarray, "h w *c"],
    channels: int,
    *,
    bands: Sequence[int] | None = None,
    nodata: NoData | None = None,
) -> Raster:
    """An array in memory as a raster: "h w" or "h w c" with samples as a file would hold them.

    Raises:
        DataError: As `Raster`.
    """
    samples = array[..., np.newaxis] if array.ndim == 2 else array
    return Raster(ArraySource(samples, alpha=False), channels, bands=bands, nodata=nodata)


def _within(window: Window, other: Window) -> bool:
    return (
        other.top <= window.top
        and other.left <= window.left
        and window.top + window.height <= other.top + other.height
        and window.left + window.width <= other.left + other.width
    )
