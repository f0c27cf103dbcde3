"""The scores are those that others publish, exactly, on random cases."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from pixelwright.metrics.confusion import Confusion
from pixelwright.types import IGNORE

SEEDS = st.integers(0, 2**32 - 1)


def labels(seed: int, classes: int, size: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Truth with ignored pixels, and a prediction that is right about half the time."""
    generator = np.random.default_rng(seed)
    occurring = generator.integers(0, classes, generator.integers(1, classes + 1))
    truth = generator.choice(occurring, size).astype(np.int16)
    guess = generator.integers(0, classes, size)
    prediction = np.where(generator.random(size) < 0.5, truth, guess).astype(np.uint8)
    truth[generator.random(size) < 0.2] = IGNORE
    return prediction, truth


def cityscapes_scores(
    prediction: np.ndarray, truth: np.ndarray, classes: int
) -> tuple[list[float], float]:
    """What evalPixelLevelSemanticLabeling.py of cityscapesScripts says, rule by rule.

    Pixel pairs are counted in a table of ids, with ignored ids in rows of their own. The score of a
    label: tp on the diagonal; fn the rest of its row; fp the rest of its column over rows that are
    not ignored; tp / (tp + fp + fn), NaN where that is 0 / 0. The mean is over scores that are not
    NaN.
    """
    ids = np.append(np.arange(classes), 255)
    pairs = list(zip(np.where(truth == IGNORE, 255, truth), prediction, strict=True))
    table = {(a, b): 0 for a in ids.tolist() for b in ids.tolist()}
    for a, b in pairs:
        table[int(a), int(b)] += 1
    scores = []
    for label in range(classes):
        tp = table[label, label]
        fn = sum(table[label, other] for other in ids.tolist() if other != label)
        fp = sum(table[row, label] for row in range(classes) if row != label)
        scores.append(tp / (tp + fp + fn) if tp + fp + fn else float("nan"))
    defined = [score for score in scores if not np.isnan(score)]
    return scores, sum(defined) / len(defined) if defined else float("nan")


@given(SEEDS, st.integers(2, 20))
def test_iou_is_that_of_the_cityscapes_benchmark(seed: int, classes: int) -> None:
    prediction, truth = labels(seed, classes)
    table = Confusion.of(prediction, truth, classes)
    scores, mean = cityscapes_scores(prediction, truth, classes)
    np.testing.assert_array_equal(table.iou(), scores)
    assert table.mean_iou() == pytest.approx(mean, abs=1e-15, nan_ok=True)


@given(SEEDS, st.integers(2, 20))
def test_scores_are_those_of_scikit_learn(seed: int, classes: int) -> None:
    prediction, truth = labels(seed, classes)
    table = Confusion.of(prediction, truth, classes)
    y, x = truth[truth != IGNORE], prediction[truth != IGNORE]
    every = list(range(classes))
    np.testing.assert_array_equal(table.counts, sklearn.confusion_matrix(y, x, labels=every))
    occurs = ~np.isnan(table.iou())
    iou = sklearn.jaccard_score(y, x, labels=every, average=None, zero_division=0)
    dice = sklearn.f1_score(y, x, labels=every, average=None, zero_division=0)
    np.testing.assert_array_equal(table.iou()[occurs], iou[occurs])
    np.testing.assert_array_equal(table.dice()[occurs], dice[occurs])
    assert table.mean_iou() == pytest.approx(iou[occurs].mean(), abs=1e-15)
    assert table.mean_dice() == pytest.approx(dice[occurs].mean(), abs=1e-15)
    assert table.pixel_accuracy() == sklearn.accuracy_score(y, x)
    found = table.accuracy()
    true = ~np.isnan(found)
    recall = sklearn.recall_score(y, x, labels=every, average=None, zero_division=0)
    np.testing.assert_array_equal(found[true], recall[true])
    with warnings.catch_warnings():
        # It says so where a class is predicted and never true: its mean leaves that class out.
        warnings.simplefilter("ignore", UserWarning)
        balanced = sklearn.balanced_accuracy_score(y, x)
    assert found[true].mean() == pytest.approx(balanced, abs=1e-15)


@pytest.mark.parametrize("classes", [1, 2, 255, 256, 300])
@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.int32, np.int64])
def test_any_number_of_classes_and_any_kind_of_integer_is_counted(
    classes: int, kind: type[np.integer]
) -> None:
    generator = np.random.default_rng(classes)
    truth = generator.integers(IGNORE, classes, (50, 60)).astype(np.int16)
    prediction = generator.integers(0, classes, (50, 60)).astype(kind)
    expected = np.zeros((classes, classes), np.int64)
    counted = truth != IGNORE
    np.add.at(expected, (truth[counted], prediction[counted]), 1)
    turned = Confusion.of(prediction.T, truth.T, classes)
    np.testing.assert_array_equal(Confusion.of(prediction, truth, classes).counts, expected)
    np.testing.assert_array_equal(turned.counts, expected)


def test_an_image_larger_than_one_piece_is_counted_to_the_last_pixel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prediction, truth = labels(0, 19, 5000)
    whole = Confusion.of(prediction, truth, 19).counts
    monkeypatch.setattr("pixelwright.metrics.confusion._PIECE", 77)
    np.testing.assert_array_equal(Confusion.of(prediction, truth, 19).counts, whole)


@pytest.mark.parametrize("wrong", [-2, 3, 259])
def test_a_target_that_is_no_class_is_never_counted_as_another(wrong: int) -> None:
    with pytest.raises(AssertionError):
        Confusion.of(np.zeros(4, np.uint8), np.array([0, 1, 2, wrong], np.int16), 3)
