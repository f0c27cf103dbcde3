import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelwright.metrics.confusion import Confusion
from pixelwright.types import IGNORE


def test_rows_are_truth_and_columns_are_prediction() -> None:
    target = np.array([0, 0, 0, 1, 1, 2], np.int16)
    prediction = np.array([0, 0, 1, 1, 2, 0], np.uint8)
    counts = Confusion.of(prediction, target, 3).counts
    assert counts.tolist() == [[2, 1, 0], [0, 1, 1], [1, 0, 0]]


def test_scores_of_a_hand_worked_table() -> None:
    # Class 0: hit 3 of 4 true, 5 predicted.  IoU 3/(4+5-3) = 1/2, Dice 6/9, recall 3/4.
    # Class 1: hit 4 of 6 true, 5 predicted.  IoU 4/(6+5-4) = 4/7, Dice 8/11, recall 4/6.
    table = Confusion(np.array([[3, 1], [2, 4]]))
    assert table.iou().tolist() == pytest.approx([1 / 2, 4 / 7])
    assert table.dice().tolist() == pytest.approx([2 / 3, 8 / 11])
    assert table.accuracy().tolist() == pytest.approx([3 / 4, 2 / 3])
    assert table.mean_iou() == pytest.approx((1 / 2 + 4 / 7) / 2)
    assert table.mean_dice() == pytest.approx((2 / 3 + 8 / 11) / 2)
    assert table.pixel_accuracy() == pytest.approx(7 / 10)


def test_ignored_pixels_count_nowhere() -> None:
    target = np.array([[0, IGNORE], [1, IGNORE]], np.int16)
    prediction = np.array([[0, 1], [0, 0]], np.int16)
    assert Confusion.of(prediction, target, 2).counts.tolist() == [[1, 0], [1, 0]]


def test_f30_a_class_absent_everywhere_is_undefined_and_left_out_of_the_mean() -> None:
    # Class 1 occurs nowhere; the others have IoU 2/3 and 1/2.
    table = Confusion(np.array([[2, 0, 0], [0, 0, 0], [1, 0, 1]]))
    assert math.isnan(table.iou()[1])
    assert math.isnan(table.dice()[1])
    assert table.mean_iou() == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_f31_a_class_predicted_but_absent_from_truth_counts_as_zero() -> None:
    table = Confusion(np.array([[3, 1], [0, 0]]))
    assert table.iou().tolist() == [3 / 4, 0]
    assert table.mean_iou() == 3 / 8
    assert table.dice()[1] == 0
    assert math.isnan(table.accuracy()[1])


def test_a_large_map_is_counted_as_its_pieces_are() -> None:
    rng = np.random.default_rng(3)
    target = rng.integers(IGNORE, 5, (3, 300_001)).astype(np.int16)
    prediction = rng.integers(0, 5, target.shape).astype(np.uint8)
    cells = target.astype(np.int64)[target >= 0] * 5 + prediction[target >= 0]
    counts = np.bincount(cells, minlength=25).reshape(5, 5)
    assert np.array_equal(Confusion.of(prediction, target, 5).counts, counts)


def test_nothing_counted_is_undefined_and_not_an_error() -> None:
    nothing = Confusion.of(np.zeros(4, np.uint8), np.full(4, IGNORE, np.int16), 2)
    assert math.isnan(nothing.mean_iou())
    assert math.isnan(nothing.mean_dice())
    assert math.isnan(nothing.pixel_accuracy())


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_scores_equal_those_of_sets_of_pixels(classes: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    target = generator.integers(IGNORE, classes, 40).astype(np.int16)
    prediction = generator.integers(0, classes, 40).astype(np.uint8)
    table = Confusion.of(prediction, target, classes)
    for k in range(classes):
        true = {i for i in range(40) if target[i] == k}
        found = {i for i in range(40) if prediction[i] == k and target[i] != IGNORE}
        if true | found:
            assert table.iou()[k] == len(true & found) / len(true | found)
            assert table.dice()[k] == 2 * len(true & found) / (len(true) + len(found))
        else:
            assert math.isnan(table.iou()[k])
        assert table.pixels[k] == len(true)


@given(st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_parts_add_up_to_the_whole(cut: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    target = generator.integers(IGNORE, 4, 30).astype(np.int16)
    prediction = generator.integers(0, 4, 30).astype(np.int16)
    parts = [Confusion.of(prediction[s], target[s], 4) for s in (slice(cut), slice(cut, None))]
    whole = Confusion.of(prediction, target, 4)
    assert np.array_equal((parts[0] + parts[1]).counts, whole.counts)
    assert np.array_equal((whole + Confusion.empty(4)).counts, whole.counts)
