"""How sure a score is: the bootstrap over images."""

import numpy as np
from jaxtyping import Float, Float64, Int64, Integer, Num

from pixelwright.metrics.confusion import Margins

LEVEL = 0.95
DRAWS = 2000
_CHUNK = 4_000_000
"""Numbers drawn at a time: 32 MB."""


def resample(
    tables: Int64[np.ndarray, "images k k"], *, draws: int = DRAWS, seed: int = 0
) -> Margins:
    """The pooled margins of `draws` data sets, as `resample_sums` draws them.

    Args:
        tables: One confusion table per image.
        draws: See there.
        seed: See there.
    """
    # The scores need 3k numbers per image, not k*k.
    margins = np.stack(Margins.of(tables), axis=1)
    return Margins(*np.moveaxis(resample_sums(margins, draws=draws, seed=seed), 1, 0))


def resample_sums(
    values: Num[np.ndarray, "images *n"], *, draws: int = DRAWS, seed: int = 0
) -> Float64[np.ndarray, "draws *n"]:
    """The sums over `draws` data sets as large as this one, drawn from its images.

    Images are drawn with replacement, never pixels: pixels of one image are not independent, and
    resampling them would make every interval far too narrow.

    Args:
        values: Whatever adds, of each image.
        draws: 2000 gives about two stable digits of an interval's ends.
        seed: Equal seeds draw the same images on every machine, for whatever is summed.

    Paper: Efron, 1979, https://doi.org/10.1214/aos/1176344552
    """
    images = len(values)
    # float64 adds pixel counts exactly.
    per_image = values.reshape(images, -1).astype(np.float64)
    generator = np.random.default_rng(seed)
    step = max(1, _CHUNK // images)
    sums = [
        _how_often(generator, min(step, draws - start), images) @ per_image
        for start in range(0, draws, step)
    ]
    return np.concatenate(sums).reshape(draws, *values.shape[1:])


def resample_cells(
    cells: Integer[np.ndarray, " images"], count: int, *, draws: int = DRAWS, seed: int = 0
) -> Int64[np.ndarray, "draws cells"]:
    """How many images of each cell there are in the data sets that `resample_sums` draws.

    The sums of one column for each cell, without the columns: images that are counted in one cell
    only, such as those of one class, take the same time whatever the number of cells.

    Args:
        cells: In which of `count` cells each image is counted.
        count: Of cells.
        draws: See `resample_sums`.
        seed: See `resample_sums`.
    """
    images = len(cells)
    present, number = np.unique(cells, return_inverse=True)
    generator = np.random.default_rng(seed)
    step = max(1, _CHUNK // images)
    found = np.zeros((draws, count), np.int64)
    for start in range(0, draws, step):
        size = min(step, draws - start)
        drawn = number[generator.integers(images, size=(size, images))]
        drawn += len(present) * np.arange(size)[:, None]
        sums = np.bincount(drawn.ravel(), minlength=size * len(present))
        found[start : start + size, present] = sums.reshape(size, -1)
    return found


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
