import math

import numpy as np
import pytest
from scipy import ndimage

from pixelwright.metrics.objects import SIZES, across, object_rows
from pixelwright.types import IGNORE


def test_objects_are_counted_by_size_as_one_by_one() -> None:
    generator = np.random.default_rng(0)
    truth = ndimage.zoom(generator.integers(0, 4, (14, 17)), 3, order=0).astype(np.int16)
    prediction = np.roll(truth, 2, 1).astype(np.uint8)
    truth[:5, :20] = IGNORE
    expected = np.zeros((4, SIZES, 4), np.int64)
    around = np.ones((3, 3))
    for k in range(4):
        for which, labels in ((0, truth), (3, np.where(truth == IGNORE, -1, prediction))):
            regions, count = ndimage.label(labels == k, around)
            for number in range(1, count + 1):
                region = regions == number
                row = expected[k, int(math.log2(region.sum()))]
                right = int((region & (truth == prediction)).sum())
                if which == 0:
                    row[:3] += 1, region.sum(), right
                else:
                    row[3] += region.sum() - right
    rows = object_rows(prediction, truth, 4)
    found = np.zeros_like(expected)
    found[rows[:, 0], rows[:, 1]] = rows[:, 2:]
    assert np.array_equal(found, expected)
    assert len(rows) == expected.any(-1).sum()


def test_nothing_counted_has_no_objects() -> None:
    nothing = np.full((4, 4), IGNORE, np.int16)
    assert object_rows(np.zeros((4, 4), np.uint8), nothing, 2).shape == (0, 6)


def test_the_middle_pixel_lies_in_an_object_of_about_its_size() -> None:
    pixels = np.zeros(SIZES, np.int64)
    pixels[[4, 10]] = 100, 300  # in objects of 16 to 31 and of 1024 to 2047 pixels
    assert across(pixels, 0.1) == pytest.approx(math.sqrt(2 ** (4 + 0.4)))
    assert math.sqrt(1024) < across(pixels) < math.sqrt(2048)
    assert math.isnan(across(np.zeros(SIZES, np.int64)))
