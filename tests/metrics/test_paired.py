"""Paired tests over images and seeds: values worked out by hand, and simulated studies."""

import math
from dataclasses import replace

import numpy as np
import pytest

from pixelwright.metrics.confusion import Margins
from pixelwright.metrics.paired import Trained, estimate, holm


def tables(shares: list[float]) -> np.ndarray:
    """Images of 100 pixels of class 0 and 100 of class 1, of each of which a share is right."""
    hit = np.round(100 * np.array(shares)).astype(np.int64)
    found = np.zeros((len(hit), 2, 2), np.int64)
    found[:, 0, 0] = found[:, 1, 1] = hit
    found[:, 0, 1] = found[:, 1, 0] = 100 - hit
    return found


def pixel_accuracy(sums: np.ndarray) -> np.ndarray:
    return np.asarray(Margins.of(sums).pixel_accuracy())


def accuracy(*seeds: list[float]) -> Trained:
    return Trained.of([tables(shares) for shares in seeds], pixel_accuracy)


def test_an_interval_of_a_hand_worked_case() -> None:
    # Accuracy of images of one size is their mean: leaving one out of 0.2, 0.4, 0.6, 0.8 gives
    # 0.6, 8/15, 7/15, 0.4, whose jackknife variance is that of a mean, 0.2/3 / 4 = 1/60.
    found = estimate(accuracy([0.2, 0.4, 0.6, 0.8]))
    assert float(found.value) == pytest.approx(0.5)
    # Student's t at 97.5 % with 3 degrees of freedom is 3.182446.
    assert float(found.high - found.value) == pytest.approx(3.182446 * math.sqrt(1 / 60), rel=1e-6)


def test_seeds_and_images_add_in_a_hand_worked_case() -> None:
    # Seeds of 0.5 and 0.6 on two images each; images vary by (0.4 + 0.5) / 2 and (0.6 + 0.7) / 2.
    found = estimate(accuracy([0.4, 0.6], [0.5, 0.7]))
    images = 0.2**2 / 4  # the variance of 0.45 and 0.65, 0.02, over two images
    seeds = 0.005 / 2
    assert float(found.value) == pytest.approx(0.55)
    # Both parts have one degree of freedom, at whose 97.5 % Student's t is 12.706205.
    reach = 12.706205 * math.sqrt(images + seeds)
    assert float(found.high - found.value) == pytest.approx(reach, rel=1e-6)
    assert float(found.p) == pytest.approx(
        1 - 2 / math.pi * math.atan(0.55 / math.sqrt(images + seeds))
    )


def test_the_same_images_cancel_in_a_difference() -> None:
    hard_and_easy = [0.2, 0.4, 0.6, 0.8]
    better = [share + 0.1 for share in hard_and_easy]
    better[0] += 0.02
    found = estimate(accuracy(better), accuracy(hard_and_easy))
    assert float(found.value) == pytest.approx(0.105)
    assert float(found.low) > 0.08
    assert float(found.p) < 0.001


def test_equal_systems_differ_by_nothing() -> None:
    one = accuracy([0.2, 0.4, 0.6])
    found = estimate(one, one)
    assert (float(found.value), float(found.p)) == (0.0, 1.0)


def test_one_image_says_nothing() -> None:
    found = estimate(accuracy([0.5]), accuracy([0.7]))
    assert float(found.value) == pytest.approx(-0.2)
    assert math.isnan(found.p)
    assert math.isnan(found.low)


def test_a_single_seed_beside_several_varies_as_those_do() -> None:
    several = accuracy([0.4, 0.6], [0.5, 0.7], [0.45, 0.65])
    single = accuracy([0.5, 0.7])
    with_seeds, without = estimate(several, single), estimate(accuracy([0.4, 0.6]), single)
    assert float(with_seeds.high - with_seeds.low) > float(without.high - without.low)


def test_networks_of_equal_seeds_are_pairs() -> None:
    # Both move by 0.1 from seed to seed, their difference not at all: only images are left.
    of_a = [tables([0.4, 0.6, 0.7]), tables([0.5, 0.7, 0.8])]
    of_b = [tables([0.2, 0.5, 0.5]), tables([0.3, 0.6, 0.6])]
    a, b = (Trained.of(counts, pixel_accuracy, (0, 1)) for counts in (of_a, of_b))
    other_order = Trained.of(of_b[::-1], pixel_accuracy, (1, 0))
    images = estimate(accuracy([0.4, 0.6, 0.7]), accuracy([0.2, 0.5, 0.5]))
    assert float(estimate(a, b).p) == pytest.approx(float(images.p))
    assert float(estimate(a, other_order).p) == pytest.approx(float(images.p))
    nested = Trained.of(of_b, pixel_accuracy, (2, 3))
    assert float(estimate(a, nested).p) > float(images.p)


def test_the_classes_of_a_score_are_tested_each() -> None:
    counts = [tables([0.2, 0.4]), tables([0.3, 0.4])]
    found = estimate(Trained.of(counts, lambda sums: Margins.of(sums).iou()))
    assert found.value.shape == found.low.shape == found.p.shape == (2,)


def test_holm_of_a_hand_worked_case() -> None:
    # 3 * 0.01, then 2 * 0.03, then 1 * 0.04 raised to the one before it.
    assert holm([0.03, 0.01, 0.04]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_what_tested_nothing_counts_not() -> None:
    corrected = holm([math.nan, 0.02])
    assert math.isnan(corrected[0])
    assert corrected[1] == 0.02


def simulated(
    rng: np.random.Generator, seeds: int, gain: float, studies: int = 1, images: int = 30
) -> Trained:
    """Systems on images of known difficulty; networks differ by seed, and by seed and image."""
    difficulty = np.random.default_rng(images).normal(1.5, 0.8, (images, 1, 2))
    luck = rng.normal(gain, 0.15, (seeds, 1, studies, 2))
    luck = luck + rng.normal(0, 0.3, (seeds, images, studies, 2))
    hit = rng.binomial(500, 1 / (1 + np.exp(-difficulty - luck)))
    tables = np.zeros((*hit.shape, 2), np.int64)
    for k in range(2):
        tables[..., k, k], tables[..., k, 1 - k] = hit[..., k], 500 - hit[..., k]
    total = tables.sum(1)
    score = Margins.mean_iou
    return Trained(score(Margins.of(total)), score(Margins.of(total[:, None] - tables)))


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_systems_that_differ_by_luck_alone_are_rarely_told_apart(seeds: int, paired: bool) -> None:
    rng = np.random.default_rng(1)
    names = tuple(range(seeds)) if paired else ()
    drawn = [replace(simulated(rng, seeds, 0.0, 1000), seeds=names) for _ in range(2)]
    found = estimate(*drawn)
    assert 0.005 < (found.p < 0.05).mean() < 0.06


def test_one_seed_each_takes_luck_for_a_difference() -> None:
    # Why a verdict of one seed each speaks of these runs only.
    rng = np.random.default_rng(6)
    drawn = [simulated(rng, 1, 0.0, 1000) for _ in range(2)]
    assert (estimate(*drawn).p < 0.05).mean() > 0.2


def test_a_large_difference_is_found_with_three_seeds() -> None:
    rng = np.random.default_rng(2)
    found = estimate(simulated(rng, 3, 0.8, 200), simulated(rng, 3, 0.0, 200))
    assert (found.p < 0.05).mean() > 0.95


def test_an_interval_holds_the_difference_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    many = simulated(rng, 2000, 0.3), simulated(rng, 2000, 0.0)
    truth = float(many[0].values.mean() - many[1].values.mean())
    found = estimate(simulated(rng, 3, 0.3, 1000), simulated(rng, 3, 0.0, 1000))
    held = (found.low <= truth) & (truth <= found.high)
    assert held.mean() > 0.94
