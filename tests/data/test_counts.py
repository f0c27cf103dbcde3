from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny
from pixelwright.data import counts
from pixelwright.data.counts import Counts, class_counts, value_counts
from pixelwright.types import Classes, Entry, Window

CLASSES = Classes(("a", "b"), ((0, 0, 0), (255, 0, 0)), {0: 0, 1: 1, 255: -1})

# Two images of 4 pixels: one with 3 of class 0 and 1 of class 1, one of class 0 alone.
WORKED = Counts(np.array([7, 1]), np.array([8, 4]))


def test_pixels_are_counted_and_ignored_ones_are_not(tmp_path: Path) -> None:
    masks = {"x": [[0, 0], [0, 1]], "y": [[0, 0], [0, 0]], "z": [[255, 255], [255, 0]]}
    entries = [
        Entry(key, tmp_path, tiny.save(tmp_path / f"{key}.png", np.array(values, np.uint8)))
        for key, values in masks.items()
    ]
    found = class_counts(entries, CLASSES)
    assert found.pixels.tolist() == [8, 1]
    assert found.present.tolist() == [9, 4]


def test_windows_of_one_mask_are_counted_apart(tmp_path: Path) -> None:
    mask = tiny.save(tmp_path / "m.png", np.array([[0, 0, 1, 1], [0, 0, 1, 0]], np.uint8))
    windows = [Window(0, 0, 2, 2), Window(0, 2, 2, 1)]
    found = class_counts([Entry(str(w), mask, mask, w) for w in windows], CLASSES)
    assert found.pixels.tolist() == [4, 2]
    assert found.present.tolist() == [4, 2]


def test_class_labels_are_counted_as_images() -> None:
    found = class_counts([Entry(str(i), Path("x"), int(i > 1)) for i in range(5)], CLASSES)
    assert found.pixels.tolist() == [2, 3]


def test_counts_add() -> None:
    total = Counts.of(np.array([3, 1])) + Counts.of(np.array([4, 0]))
    assert total.pixels.tolist() == WORKED.pixels.tolist()
    assert total.present.tolist() == WORKED.present.tolist()


def test_large_masks_are_counted_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "_CHUNK", 7)
    for dtype in (np.uint8, np.uint16, np.int32):
        raw = np.arange(60, dtype=dtype).reshape(12, 5) % 3
        assert value_counts(raw) == {0: 20, 1: 20, 2: 20}
    assert counts.label_counts(raw.astype(np.int16) - 1, 2).tolist() == [20, 20]


def test_median_frequency_of_a_hand_worked_case() -> None:
    # Frequencies 7/8 and 1/4, median 9/16, so weights 9/14 and 9/4; their mean over the 8 pixels is
    # (7 * 9/14 + 9/4) / 8 = 27/32, and divided by it they are 16/21 and 8/3.
    assert counts.median_frequency(WORKED) == pytest.approx([16 / 21, 8 / 3])


def test_inverse_frequency_of_a_hand_worked_case() -> None:
    # 1/7 and 1, of mean (1 + 1) / 8 = 1/4.
    assert counts.inverse_frequency(WORKED) == pytest.approx([4 / 7, 4])


def test_effective_number_of_a_hand_worked_case() -> None:
    # beta 1/2: 2 pixels count as 1.5, 1 as 1. Weights 2/3 and 1, mean (2 * 2/3 + 1) / 3 = 7/9.
    case = Counts(np.array([2, 1]), np.array([3, 3]))
    assert counts.effective_number(case, beta=0.5) == pytest.approx([6 / 7, 9 / 7])


def test_effective_number_goes_from_equal_weights_to_inverse_frequency() -> None:
    case = Counts(np.array([500, 20]), np.array([520, 520]))
    assert counts.effective_number(case, beta=0.0) == pytest.approx([1, 1])
    nearly = counts.effective_number(case, beta=1 - 1e-12)
    assert nearly == pytest.approx(counts.inverse_frequency(case), rel=1e-6)


schemes = pytest.mark.parametrize(
    "scheme", [counts.median_frequency, counts.inverse_frequency, counts.effective_number]
)


@schemes
@given(pixels=st.lists(st.integers(0, 10**12), min_size=1, max_size=9))
def test_weights_are_finite_and_their_mean_over_pixels_is_1(
    scheme: Callable[[Counts], np.ndarray], pixels: list[int]
) -> None:
    count = np.array(pixels, np.int64)
    weights = scheme(Counts(count, np.where(count > 0, count.sum(), 0)))
    assert np.isfinite(weights).all()
    assert (weights > 0).all()
    if count.sum():
        assert (weights * count).sum() / count.sum() == pytest.approx(1)


@schemes
def test_a_class_that_never_occurs_weighs_as_much_as_the_rarest(
    scheme: Callable[[Counts], np.ndarray],
) -> None:
    weights = scheme(Counts(np.array([90, 0, 10]), np.array([100, 0, 100])))
    assert weights[1] == weights[2] > weights[0]
