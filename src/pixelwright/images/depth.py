"""Samples of any depth as pixel values from 0 to 255."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Shaped, UInt8, UInt16

from pixelwright.errors import DataError, shown
from pixelwright.images.files import number_from_environment, tell
from pixelwright.types import Window

Samples = Shaped[np.ndarray, "..."]

MOST_DARK = 2**14
"""16-bit pictures whose samples all stay below use less than a quarter of their range."""


def to_8_bits(samples: Samples, path: Path | str) -> UInt8[np.ndarray, "..."]:
    """Samples of a whole picture as 8-bit pixel values, rounded.

    Raises:
        DataError: Their range is not known, or some are not in it (F12).
    """
    if samples.dtype == np.uint8:
        return samples
    if samples.dtype == np.uint16:
        return _from_16_bits(samples, path)
    if samples.dtype == np.bool_:
        return samples.astype(np.uint8) * np.uint8(255)
    checked = Depth(path, samples.dtype).checked(samples)
    rounded: Samples = np.rint(checked * 255).astype(np.uint8)
    return rounded


def bits_stated() -> int:
    """How many bits of 16-bit samples are used, as PIXELWRIGHT_IMAGE_BITS says; 0 if it does not.

    Raises:
        DataError: It is no number above 0.
    """
    return number_from_environment("PIXELWRIGHT_IMAGE_BITS", 0)


def warn_of_dark(highest: int, path: Path | str) -> None:
    """Say that 16-bit pictures become dark where none of their samples is high."""
    if 0 < highest < MOST_DARK:
        tell(
            path,
            "16-bit pictures that use less than a quarter of their range become dark",
            "(state their bits, such as PIXELWRIGHT_IMAGE_BITS=12)",
        )


@dataclass(frozen=True)
class Depth:
    """How the samples of one picture become pixel values; its parts are turned alike.

    Args:
        path: Names the picture in messages.
        kind: Of the samples, as stored.
        bits: Of 16-bit samples, how many are used.

    Raises:
        DataError: The range of such samples is not known (F12).
    """

    path: Path | str
    kind: np.dtype[Any]
    bits: int = 16

    def __post_init__(self) -> None:
        if self.kind not in (np.uint8, np.uint16, np.bool_) and self.kind.kind != "f":
            raise DataError(
                f"{shown(self.path)} has samples of type {self.kind}, whose range is not known. "
                "Save it with 8 or 16 bits, unsigned."
            )
        if self.kind == np.uint16 and self.bits > 16:
            raise DataError(
                f"PIXELWRIGHT_IMAGE_BITS is {self.bits}, but the samples of {shown(self.path)} "
                "have at most 16 bits."
            )

    def pixel_values(
        self,
        samples: Shaped[np.ndarray, "h w c"],
        invalid: Bool[np.ndarray, "h w"] | None = None,
        window: Window | None = None,
    ) -> UInt8[np.ndarray, "h w c"] | Float32[np.ndarray, "h w c"]:
        """Pixel values in [0, 255]: 8 bits as they are, deeper samples as fractions of them.

        Args:
            samples: Of the picture, or of a window of it.
            invalid: Where there are no data: what stands there may be anything, and becomes 0
                unless it is in the range.
            window: Names the part in messages.

        Raises:
            DataError: A sample is NaN, infinite or out of the range (F12).
        """
        if samples.dtype == np.uint8:
            return samples
        if samples.dtype == np.bool_:
            return samples.astype(np.uint8) * np.uint8(255)
        checked = self.checked(samples, invalid, window)
        if samples.dtype != np.uint16:
            return np.asarray(checked * checked.dtype.type(255), np.float32)
        scaled = checked.astype(np.float32)
        # Exact, but for the last division: 65535 * 255 is below 2**24.
        scaled *= 255
        scaled /= 2**self.bits - 1
        return scaled

    def for_eyes(self, samples: Shaped[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w c"]:
        """As `pixel_values`, rounded to 8 bits; what is out of the range is black or white."""
        if samples.dtype == np.uint8:
            return samples
        if samples.dtype == np.bool_:
            return samples.astype(np.uint8) * np.uint8(255)
        top = 2**self.bits - 1 if samples.dtype == np.uint16 else 1
        scaled = np.nan_to_num(samples.astype(np.float32)) * np.float32(255 / top)
        rounded: Samples = np.rint(scaled.clip(0, 255)).astype(np.uint8)
        return rounded

    def checked(
        self,
        samples: Samples,
        invalid: Bool[np.ndarray, "h w"] | None = None,
        window: Window | None = None,
    ) -> Samples:
        """The samples, of which all are in the range. Arguments and errors as `pixel_values`."""
        if samples.dtype == np.uint16 and self.bits == 16:
            return samples
        top = 2**self.bits - 1 if samples.dtype == np.uint16 else 1
        usable = (samples >= 0) & (samples <= top)
        if usable.all():
            return samples
        counted = slice(None) if invalid is None else ~invalid
        if not usable[counted].all():
            raise self._refusal(samples[counted], window)
        return np.where(usable, samples, samples.dtype.type(0))

    def _refusal(self, samples: Samples, window: Window | None) -> DataError:
        name = shown(self.path)
        if window is not None:
            bottom, right = window.top + window.height, window.left + window.width
            name += f" (rows {window.top} to {bottom}, columns {window.left} to {right})"
        if self.kind == np.uint16:
            return DataError(
                f"{name} has a sample of {samples.max()}, but its {self.bits} bits allow at most "
                f"{2**self.bits - 1}. Correct PIXELWRIGHT_IMAGE_BITS, or declare the value that "
                "stands for no data."
            )
        odd = samples.size - np.count_nonzero(np.isfinite(samples))
        if odd:
            return DataError(
                f"{name} has {odd:,} samples that are NaN or infinite. Replace them, save it with "
                "8 or 16 bits, or predict it with --nodata nan."
            )
        return DataError(
            f"{name} has fractional samples from {samples.min():g} to {samples.max():g}; a range "
            "of 0 to 1 was expected. Scale it, or save it with 8 or 16 bits."
        )


def _from_16_bits(samples: UInt16[np.ndarray, "..."], path: Path | str) -> Samples:
    bits = number_from_environment("PIXELWRIGHT_IMAGE_BITS", 16)
    top, highest = 2**bits - 1, int(samples.max())
    if bits > 16 or highest > top:
        raise DataError(
            f"{shown(path)} has a sample of {highest}, but PIXELWRIGHT_IMAGE_BITS={bits} allows "
            f"at most {top}. Samples have at most 16 bits."
        )
    if bits == 16:
        warn_of_dark(highest, path)
    table = np.minimum(np.arange(2**16), top) / top * 255
    scaled: Samples = np.rint(table).astype(np.uint8)[samples]
    return scaled
