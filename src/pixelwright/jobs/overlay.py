"""The classes over the picture, drawn strip by strip, for pictures of any size."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Integer, UInt8

from pixelwright import images, render
from pixelwright.images import streaming
from pixelwright.types import IGNORE, Color, Window

LONGEST = 8192
"""Most pixels to a side: what viewers open without trouble."""


def scale_of(height: int, width: int) -> int:
    """How many pixels of the picture to a side become one of its overlay."""
    return -(-max(height, width) // LONGEST)


def strips(
    raster: images.Raster, labels: images.Plane, colors: Sequence[Color], ignored: int
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """An overlay of at most 8192 pixels a side, `streaming.STRIP_ROWS` rows at a time.

    Of a larger picture, each pixel is the mean of a square of the picture's, under the class of the
    square's middle.

    Args:
        raster: The picture.
        labels: A class index for each of its pixels.
        colors: One per class.
        ignored: The index that is no class; there the picture shows as it is.
    """
    step = scale_of(raster.height, raster.width)
    rows = -(-raster.height // step)
    for start in range(0, rows, streaming.STRIP_ROWS):
        stop = min(start + streaming.STRIP_ROWS, rows)
        top, bottom = start * step, min(stop * step, raster.height)
        picture = raster.picture(Window(top, 0, bottom - top, raster.width), step)
        raw = labels[top:bottom] if step == 1 else _middles(labels, step, start, stop)
        target = np.where(raw == ignored, IGNORE, raw.astype(np.int32))
        yield render.overlay(picture, target, colors)


def _middles(labels: images.Plane, step: int, start: int, stop: int) -> Integer[np.ndarray, "h w"]:
    """Every `step`-th label, of the rows from `start` to `stop` of the smaller picture."""
    height, width = labels.shape
    columns = np.minimum(np.arange(-(-width // step)) * step + step // 2, width - 1)
    rows = np.minimum(np.arange(start, stop) * step + step // 2, height - 1).tolist()
    return np.stack([labels[row : row + 1][0, columns] for row in rows])
