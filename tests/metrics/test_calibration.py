import numpy as np
import pytest

from pixelwright.metrics.calibration import Calibration


def test_the_error_of_a_hand_worked_case() -> None:
    # Of two bins: confidences 0.3 and 0.5 have their mean 0.3 and 0.7 apart; bin 0 holds 0.3,
    # which is wrong, bin 1 holds 0.5 and 0.9 of which one is right.
    # (1 * |0.3 - 0| + 2 * |0.7 - 0.5|) / 3 = 0.7 / 3.
    confidence = np.array([0.3, 0.5, 0.9], np.float32)
    found = Calibration.of(confidence, np.array([False, False, True]), bins=2)
    assert float(found.error()) == pytest.approx(0.7 / 3)
    assert found.bias() == pytest.approx(1.7 / 3 - 1 / 3)
    assert [row[:3] for row in found.rows()] == [(0.0, 0.5, 1), (0.5, 1.0, 2)]


def test_a_model_that_is_right_as_often_as_it_says_has_hardly_an_error() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.2, 1, 200_000).astype(np.float32)
    honest = Calibration.of(confidence, generator.random(200_000) < confidence)
    boastful = Calibration.of(np.sqrt(confidence), generator.random(200_000) < confidence)
    assert float(honest.error()) < 0.005
    assert honest.bias() == pytest.approx(0, abs=0.005)
    assert float(boastful.error()) == pytest.approx(boastful.bias(), abs=0.001)
    assert boastful.bias() > 0.1


def test_parts_add_up_to_the_whole() -> None:
    generator = np.random.default_rng(1)
    confidence, right = generator.random(100), generator.random(100) < 0.5
    parts = [Calibration.of(confidence[s], right[s]) for s in (slice(30), slice(30, None))]
    whole = Calibration.of(confidence, right)
    for one, other, both in zip(*parts, whole, strict=True):
        np.testing.assert_allclose(one + other, both, atol=1e-12)


def test_full_confidence_and_none_have_bins_and_no_pixels_have_no_error() -> None:
    edges = Calibration.of(np.array([0.0, 1.0, np.nan]), np.array([True, True, False]))
    assert edges.pixels[[0, -1]].tolist() == [2, 1]
    assert np.isnan(float(Calibration.of(np.zeros(0), np.zeros(0, bool)).error()))
