"""Which bands of a picture are used, and which of their values stand for no data."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pixelwright.errors import DataError, RecipeError, shown
from pixelwright.images.files import tell
from pixelwright.images.sources import Source

NoData = int | float | Literal["alpha"]
"""A sample's value as stored, NaN, or "alpha": where a picture is transparent."""


def nodata_of(text: str) -> NoData:
    """What `--nodata` says: a number, "nan" or "alpha".

    Raises:
        RecipeError: It is none of these.
    """
    if text.strip().lower() == "alpha":
        return "alpha"
    try:
        return float(text)
    except ValueError:
        raise RecipeError(
            f"--nodata is {shown(text)!r}; a number, nan or alpha was expected: the value that "
            "stands where a picture has no data."
        ) from None


def check_bands(bands: Sequence[int], channels: int) -> None:
    """See that bands can become the channels of a network, whatever the pictures are.

    Raises:
        DataError: They are of another number, or not counted from 1.
    """
    wrong = [band for band in bands if band < 1]
    if wrong:
        raise DataError(f"--bands are counted from 1, so there is no band {wrong[0]}. Correct it.")
    if len(bands) not in (1, channels):
        one = "" if channels == 1 else ", or one that is repeated"
        raise DataError(
            f"--bands names {len(bands)} bands, but the network takes {channels} "
            f"channel{'s'[: channels != 1]}. Name {channels}{one}."
        )


def chosen(
    samples: Source, channels: int, bands: Sequence[int] | None, name: Path | str
) -> tuple[int, ...]:
    """Which bands, from 0, become the channels: as many, one to be repeated, or three of grey."""
    if bands is not None:
        check_bands(bands, channels)
        wrong = [band for band in bands if band > samples.bands]
        if wrong:
            raise DataError(
                f"{shown(name)} has {samples.bands} bands, counted from 1, so there is no band "
                f"{wrong[0]}. Correct --bands."
            )
        return tuple(band - 1 for band in bands)
    colors = samples.bands - samples.alpha
    if colors == 1 and channels > 1:
        tell(name, f"Grey is repeated in {channels} channels", "of pictures")
    if colors == 4 and channels == 3:
        tell(name, "The fourth band is not used (--bands says which are)", "of pictures")
        return (0, 1, 2)
    if colors in (channels, 1) or (colors, channels) == (3, 1):
        return tuple(range(colors))
    example = ",".join(map(str, range(min(channels, colors), 0, -1)))
    raise DataError(
        f"{shown(name)} has {colors} bands, but the network takes {channels} channels. Say which, "
        f"such as --bands {example}."
    )


def values_of(
    samples: Source, bands: tuple[int, ...], given: NoData | None
) -> tuple[float | int | None, ...]:
    """The value of each used band that stands for no data; None where no sample can have it."""
    if given == "alpha":
        return (None,) * len(bands)
    declared: tuple[int | float | None, ...] = (
        samples.nodata if given is None else (given,) * samples.bands
    )
    if len(declared) < samples.bands:  # one band of palette indices has become three of colours
        declared = (None,) * samples.bands
    return tuple(_as_stored(declared[band], samples.kind) for band in bands)


def _as_stored(value: int | float | None, kind: np.dtype[Any]) -> float | int | None:
    if value is None:
        return None
    if kind.kind == "f":
        # As rounded to the type of the samples, in which nothing else would be equal to it.
        with np.errstate(over="ignore"):
            return float(kind.type(value))
    if not math.isfinite(value) or value != int(value):
        return None
    top = 1 if kind == np.bool_ else np.iinfo(kind).max
    return int(value) if 0 <= value <= top else None


def opaque(kind: np.dtype[Any]) -> int:
    """The alpha of a pixel that hides all that is behind it."""
    return 1 if kind.kind in "fb" else int(np.iinfo(kind).max)
