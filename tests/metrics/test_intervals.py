import numpy as np
import pytest

from pixelwright.metrics.confusion import Confusion
from pixelwright.metrics.intervals import percentiles, resample


def tables(images: int, classes: int = 3, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    right = np.eye(classes) * generator.uniform(1, 30, (images, 1, 1))
    return generator.poisson(right + 3, (images, classes, classes)).astype(np.int64)


def test_draws_equal_a_plain_loop_over_resampled_images() -> None:
    counts = tables(7)
    drawn = resample(counts, draws=20, seed=3)
    generator = np.random.default_rng(3)
    for draw, chosen in enumerate(generator.integers(7, size=(20, 7))):
        pooled = Confusion(counts[chosen].sum(0))
        assert drawn.mean_iou()[draw] == pooled.mean_iou()
        assert drawn.mean_dice()[draw] == pooled.mean_dice()
        assert drawn.pixel_accuracy()[draw] == pooled.pixel_accuracy()


def test_equal_seeds_give_equal_intervals_and_other_seeds_nearly_so() -> None:
    counts = tables(40)
    first, same, other = (percentiles(resample(counts, seed=seed).mean_iou()) for seed in (0, 0, 1))
    assert np.array_equal(first, same)
    assert first == pytest.approx(other, abs=0.01)
    assert not np.array_equal(first, other)


def test_equal_images_leave_no_doubt() -> None:
    counts = np.tile(tables(1), (5, 1, 1))
    low, high = percentiles(resample(counts).mean_iou())
    assert low == high == Confusion(counts[0]).mean_iou()


def test_the_width_of_a_proportion_is_the_known_one() -> None:
    # 400 images of one pixel, 30 % right: the error of a mean is sqrt(p(1-p)/n) = 0.0229.
    right = (np.arange(400) < 120).astype(np.int64)
    counts = np.zeros((400, 2, 2), np.int64)
    counts[:, 0, 0], counts[:, 0, 1] = right, 1 - right
    low, high = percentiles(resample(counts).pixel_accuracy())
    assert (low, high) == pytest.approx((0.3 - 1.96 * 0.0229, 0.3 + 1.96 * 0.0229), abs=0.005)


def test_more_images_than_fit_in_one_chunk_give_the_same_draws(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = tables(10)
    whole = resample(counts, draws=50).iou()
    monkeypatch.setattr("pixelwright.metrics.intervals._CHUNK", 70)
    assert np.array_equal(resample(counts, draws=50).iou(), whole)


def test_draws_without_a_score_are_left_out() -> None:
    drawn = np.array([[0.5, np.nan], [np.nan, np.nan], [0.7, np.nan]])
    ends = percentiles(drawn, level=1 - 1e-9)
    assert ends[:, 0].tolist() == pytest.approx([0.5, 0.7])
    assert np.isnan(ends[:, 1]).all()
