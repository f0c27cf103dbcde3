"""Maps of numbers in [0, 1] as colours over a picture."""

from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from pixelwright.render.colors import three_channels
from pixelwright.types import Color

OUTLINE: Color = (0, 190, 235)
"""A blue that the heat's colours lack."""

_STEPS = 256


def heat_colors(heat: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Black for 0, over violet, red and orange, to pale yellow for 1: equal steps look equal."""
    places = np.rint(heat.clip(0, 1) * (_STEPS - 1)).astype(np.uint8)
    return np.asarray(_table()[places])


def heat_color(value: float) -> Color:
    """The colour of one value."""
    red, green, blue = heat_colors(np.full((1, 1), value))[0, 0].tolist()
    return red, green, blue


def heat_over(
    image: UInt8[np.ndarray, "h w c"], heat: Float[np.ndarray, "h w"], alpha: float = 0.6
) -> UInt8[np.ndarray, "h w 3"]:
    """The heat over the image, which becomes grey: all colour is heat.

    Args:
        image: One channel or three.
        heat: In [0, 1].
        alpha: Weight of the heat, in [0, 1].
    """
    grey = cv2.cvtColor(three_channels(image), cv2.COLOR_RGB2GRAY)
    below = np.repeat(grey[:, :, None], 3, axis=2)
    return np.asarray(cv2.addWeighted(below, 1 - alpha, heat_colors(heat), alpha, 0))


def outline(picture: UInt8[np.ndarray, "h w 3"], pixels: Bool[np.ndarray, "h w"]) -> None:
    """Draw a line along the inner edge of some pixels, into the picture."""
    inside = cv2.erode(pixels.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0)
    picture[pixels & (inside == 0)] = OUTLINE


@lru_cache(maxsize=1)
def _table() -> UInt8[np.ndarray, "256 3"]:
    """Matplotlib's inferno, by Smith and van der Walt: https://bids.github.io/colormap."""
    from matplotlib import colormaps

    colors = colormaps["inferno"](np.linspace(0, 1, _STEPS))[:, :3]
    return np.asarray(np.rint(255 * colors), np.uint8)
