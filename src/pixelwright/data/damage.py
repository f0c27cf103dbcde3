"""What a lens, a sensor and a file format do to a picture: blur, noise, JPEG; and cut-out.

damage = draw_damage(random_numbers, blur=1.5, noise=0.05, jpeg=40, cutout=0.2, crop=(256, 256))
spoil(damage, image, target)                       # in place
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float64, Int16, UInt8

from pixelwright.types import IGNORE, Window

HOLES = 4
"""Most rectangles that are cut out of one crop."""

NUMBERS = 10 + 3 * HOLES
"""Random numbers that a draw takes."""


@dataclass(frozen=True, slots=True)
class Damage:
    """What is done to one crop, in this order.

    Args:
        blur: Sigma of a Gaussian, in pixels; 0 for none.
        noise: Standard deviation of what is added to each value, in grey levels; 0 for none.
        noise_seed: Of the noise.
        jpeg: Quality at which the crop is compressed and read back; 0 for not at all.
        holes: What is cut out.
    """

    blur: float
    noise: float
    noise_seed: int
    jpeg: int
    holes: tuple[Window, ...]


def draw_damage(
    u: Float64[np.ndarray, " numbers"],
    *,
    blur: float,
    noise: float,
    jpeg: int,
    cutout: float,
    crop: tuple[int, int],
) -> Damage:
    """Draw what is done to a crop: each of the four is done to every second one, independently.

    Args:
        u: `NUMBERS` of them, even in [0, 1): always as many, so that no option shifts another.
        blur: Largest sigma; drawn evenly from 0.
        noise: Largest standard deviation, in parts of the full range; drawn evenly from 0.
        jpeg: Lowest quality; drawn evenly from 100 down; 0 for none.
        cutout: Largest share of the crop that is cut out; drawn evenly from 0.
        crop: Height and width.
    """
    blurs, noises, compresses, cuts = (u[:4] < 0.5).tolist()
    return Damage(
        blur=float(u[4]) * blur if blurs else 0.0,
        noise=255 * float(u[5]) * noise if noises else 0.0,
        noise_seed=int(u[6] * 2**31),
        jpeg=100 - math.floor(u[7] * (101 - jpeg)) if jpeg and compresses else 0,
        holes=_holes(float(u[8]) * cutout, u[9:], crop) if cutout and cuts else (),
    )


def _holes(
    share: float, u: Float64[np.ndarray, " numbers"], crop: tuple[int, int]
) -> tuple[Window, ...]:
    """One to `HOLES` rectangles inside a crop that are this share of it together.

    Each has the same area, at most twice as long as wide; where they overlap it is less.
    """
    count = 1 + int(u[0] * HOLES)
    area = share * crop[0] * crop[1] / count
    found = []
    for shape, down, across in u[1:].reshape(-1, 3)[:count].tolist():
        aspect = 2.0 ** (2 * shape - 1)
        height = min(round(math.sqrt(area * aspect)), crop[0])
        width = min(round(math.sqrt(area / aspect)), crop[1])
        top, left = int(down * (crop[0] - height + 1)), int(across * (crop[1] - width + 1))
        if height and width:
            found.append(Window(top, left, height, width))
    return tuple(found)


def spoil(
    damage: Damage,
    image: UInt8[np.ndarray, "h w c"],
    target: Int16[np.ndarray, "h w"] | None,
) -> None:
    """Do it, in place, as it happens to a photograph: the lens first, then sensor and file.

    What is cut out gets the mean colour of the crop, and its target becomes `IGNORE`: nobody can
    know what is there, and a network that is asked to guess learns to paint classes over flat
    patches. What it learns is to label the rest with a part of its context gone.

    Args:
        damage: From `draw_damage`.
        image: One channel or three.
        target: None where the image has one label.

    Paper: DeVries and Taylor, 2017, cut-out, https://arxiv.org/abs/1708.04552, and French et al.,
    2020, https://arxiv.org/abs/1906.01916, who leave what was cut out of the loss of a segmenter
    Differs: One to four rectangles of any size, inside the crop, instead of one square of fixed
    size that may poke out; the crop's mean instead of the data set's.
    """
    if damage.blur:
        cv2.GaussianBlur(image, (0, 0), damage.blur, dst=image)
    if damage.noise:
        _add_noise(image, damage.noise, damage.noise_seed)
    if damage.jpeg:
        image[...] = _compressed(image, damage.jpeg)
    mean = cv2.mean(image)[: image.shape[2]] if damage.holes else ()
    for top, left, height, width in damage.holes:
        image[top : top + height, left : left + width] = np.round(mean)
        if target is not None:
            target[top : top + height, left : left + width] = IGNORE


def _add_noise(image: UInt8[np.ndarray, "h w c"], deviation: float, seed: int) -> None:
    # A third of the time of NumPy's normal numbers. OpenCV keeps a generator for each thread.
    cv2.setRNGSeed(seed)
    added = np.empty(image.shape, np.int16)
    channels = image.shape[2]
    cv2.randn(added, np.zeros(channels), np.full(channels, deviation))
    cv2.add(image, added, dst=image, dtype=cv2.CV_8U)


def _compressed(image: UInt8[np.ndarray, "h w c"], quality: int) -> UInt8[np.ndarray, "h w c"]:
    """The picture after a visit to a JPEG file, its colours at half the resolution as is usual."""
    grey = image.shape[2] == 1
    pixels = image if grey else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, file = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    how = cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR_RGB
    return np.asarray(cv2.imdecode(file, how)).reshape(image.shape)
