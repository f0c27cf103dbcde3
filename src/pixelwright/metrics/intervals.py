"""How sure a score is: the bootstrap over images."""

import numpy as np
from jaxtyping import Float, Float64, Int64

from pixelwright.metrics.confusion import Margins

LEVEL = 0.95
DRAWS = 2000
_CHUNK = 4_000_000
"""Numbers drawn at a time: 32 MB."""


def resample(
    tables: Int64[np.ndarray, "images k k"], *, draws: int = DRAWS, seed: int = 0
) -> Margins:
    """The pooled counts of `draws` data sets as large as this one, drawn from its images.

    Images are drawn with replacement, never pixels: pixels of one image are not independent, and
    resampling them would make every interval far too narrow.

    Args:
        tables: One confusion table per image.
        draws: 2000 gives about two stable digits of an interval's ends.
        seed: Equal seeds give equal intervals on every machine.

    Paper: Efron, 1979, https://doi.org/10.1214/aos/1176344552
    """
    images, classes = tables.shape[:2]
    # The scores need 3k numbers per image, not k*k, and float64 adds pixel counts exactly.
    per_image = np.concatenate(Margins.of(tables), axis=-1).astype(np.float64)
    generator = np.random.default_rng(seed)
    pooled = []
    step = max(1, _CHUNK // images)
    for start in range(0, draws, step):
        count = min(step, draws - start)
        pooled.append(_how_often(generator, count, images) @ per_image)
    return Margins(*np.split(np.concatenate(pooled), [classes, 2 * classes], axis=-1))


def _how_often(
    generator: np.random.Generator, draws: int, images: int
) -> Float64[np.ndarray, "draws images"]:
    """How often each image occurs in each draw."""
    drawn = generator.integers(images, size=(draws, images)) + images * np.arange(draws)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=draws * images)
    return counts.reshape(draws, images).astype(np.float64)


def percentiles(
    drawn: Float[np.ndarray, "draws *scores"], level: float = LEVEL
) -> Float64[np.ndarray, "2 *scores"]:
    """The lower and the upper end of the percentile interval of each score.

    Draws in which a score is undefined say nothing about it and are left out.

    Args:
        drawn: The score in each bootstrap draw.
        level: Coverage, in (0, 1).
    """
    tail = 50 * (1 - level)
    ends = np.full((2, *drawn.shape[1:]), np.nan)
    some = ~np.isnan(drawn).all(axis=0)
    ends[:, some] = np.nanpercentile(drawn[:, some], [tail, 100 - tail], axis=0)
    return ends
