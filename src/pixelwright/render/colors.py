"""The colours of classes, and label maps drawn in them."""

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float, Integer, UInt8

from pixelwright.types import IGNORE, Color

# Dark slate for the first class, which mostly is the background, then the colours of Okabe and
# Ito, which people with any form of colour blindness tell apart: https://jfly.uni-koeln.de/color
_FIRST: tuple[Color, ...] = (
    (38, 45, 58),
    (255, 149, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
HATCH: tuple[Color, Color] = ((242, 242, 242), (186, 186, 186))
"""Of `IGNORE` pixels: paper and lines."""

# How the three kinds of dichromats see linear RGB: Machado et al., 2009, severity 1,
# https://doi.org/10.1109/TVCG.2009.113. The identity is everyone else.
_VISIONS = np.array(
    [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
    ]
)
# Oklab, https://bottosson.github.io/posts/oklab: equal distances look about equally different.
_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


@lru_cache(maxsize=16)
def palette(count: int) -> tuple[Color, ...]:
    """Colours for `count` classes, all different, also for colour-blind eyes where possible.

    The first is dark, the second vivid: background and foreground of a task with two classes. The
    colours of few classes are the first colours of many, so adding a class recolours nothing.
    """
    chosen = list(_FIRST[:count])
    # 13 levels a channel are 2197 candidates; more classes than a third of that need more.
    levels = max(13, math.ceil((3 * count) ** (1 / 3)))
    axis = np.linspace(0, 255, levels).round().astype(np.uint8)
    candidates = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    seen = _seen(candidates)
    # Oklab stretches what is nearly black: such colours are far apart in it and look the same.
    candidates, seen = candidates[seen[:, 0, 0] > 0.35], seen[seen[:, 0, 0] > 0.35]
    taken = np.array([*_FIRST, *HATCH], np.uint8)
    nearest = np.min([_distance(seen, color) for color in _seen(taken)], axis=0)
    while len(chosen) < count:
        best = int(nearest.argmax())
        red, green, blue = candidates[best].tolist()
        chosen.append((red, green, blue))
        nearest = np.minimum(nearest, _distance(seen, seen[best]))
    return tuple(chosen)


def _seen(colors: UInt8[np.ndarray, "n 3"]) -> Float[np.ndarray, "n visions 3"]:
    """Each colour in Oklab, as each kind of eye sees it."""
    light = ((colors / 255 + 0.055) / 1.055) ** 2.4
    by_eye = np.einsum("vij,nj->nvi", _VISIONS, light).clip(0, 1)
    return np.asarray(np.cbrt(by_eye @ _TO_LMS.T) @ _TO_LAB.T)


def _distance(
    seen: Float[np.ndarray, "n visions 3"], color: Float[np.ndarray, "visions 3"]
) -> Float[np.ndarray, " n"]:
    """How different each colour is from one, to the eye that tells them apart worst."""
    return np.asarray(np.linalg.norm(seen - color, axis=-1).min(axis=-1))


def colorize(
    target: Integer[np.ndarray, "h w"], colors: Sequence[Color]
) -> UInt8[np.ndarray, "h w 3"]:
    """The picture of a label map. `IGNORE` pixels are hatched in pale grey."""
    table = np.array([*colors, (0, 0, 0)], np.uint8)
    picture: np.ndarray = table[target]
    ignored = target == IGNORE
    if ignored.any():
        rows, columns = np.nonzero(ignored)
        picture[rows, columns] = np.array(HATCH, np.uint8)[((rows + columns) % 8 < 2).astype(int)]
    return picture


def overlay(
    image: UInt8[np.ndarray, "h w c"],
    target: Integer[np.ndarray, "h w"],
    colors: Sequence[Color],
    alpha: float = 0.5,
) -> UInt8[np.ndarray, "h w 3"]:
    """The image, tinted by class; `IGNORE` pixels stay as they are.

    Args:
        image: One channel or three.
        target: Class indices, or `IGNORE`.
        colors: One per class.
        alpha: Weight of the tint, in [0, 1].
    """
    image = three_channels(image)
    mixed = cv2.addWeighted(image, 1 - alpha, colorize(target, colors), alpha, 0)
    ignored = target == IGNORE
    mixed[ignored] = image[ignored]
    return np.asarray(mixed)


def three_channels(image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w 3"]:
    return image if image.shape[2] == 3 else np.repeat(image[:, :, :1], 3, axis=2)
