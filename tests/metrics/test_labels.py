"""Scores of classifiers: by hand, beside scikit-learn, and read back as they were written."""

import json
import math
import time
import warnings

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as sk

from pixelwright.errors import CheckpointError
from pixelwright.metrics import Scores, read_scores
from pixelwright.metrics.calibration import Calibration
from pixelwright.metrics.confusion import Confusion
from pixelwright.metrics.intervals import percentiles, resample_cells, resample_sums
from pixelwright.metrics.labels import TITLES, LabelScores

ANIMALS = ("cat", "dog", "oak", "pine")
KINDS = ("animal", "animal", "tree", "tree")


def made(truth: list[int], taken: list[int], sure: float = 0.7) -> LabelScores:
    """Each image is given one class with this probability, the other three share the rest."""
    likely = np.full((len(truth), 4), (1 - sure) / 3)
    likely[np.arange(len(truth)), taken] = sure
    keys = [f"image {i}" for i in range(len(truth))]
    return LabelScores.of_probabilities(ANIMALS, keys, np.array(truth), likely, groups=KINDS)


# Cats: right, taken for a dog twice. Dogs: right. Oaks: right, taken for a pine, for a cat.
SEVEN = made([0, 0, 0, 1, 2, 2, 2], [0, 1, 1, 1, 2, 3, 0])


def drawn(images: int, classes: int, seed: int = 0, groups: int = 0) -> LabelScores:
    """Images of unequal classes, scored by a network that is right now and then."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(classes, size=images) * rng.integers(2, size=images)
    logits = rng.normal(0, 1, (images, classes)).astype(np.float32)
    logits[np.arange(images), truth] += 1.5
    names = tuple(f"class {k}" for k in range(classes))
    above = [f"group {k % groups}" for k in range(classes)] if groups else []
    keys = [f"{i:05}" for i in range(images)]
    return LabelScores.of_logits(names, keys, truth, logits, groups=above, split="val")


def probabilities(scores: LabelScores, seed: int = 0) -> np.ndarray:
    """What `drawn` with this seed gave its network, made probabilities by hand."""
    rng = np.random.default_rng(seed)
    images, classes = len(scores.keys), len(scores.names)
    truth = rng.integers(classes, size=images) * rng.integers(2, size=images)
    logits = rng.normal(0, 1, (images, classes)).astype(np.float32).astype(np.float64)
    logits[np.arange(images), truth] += 1.5
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def test_scores_of_a_hand_worked_case() -> None:
    # 3 of 7 images are right, 1 of 3 cats, 1 of 1 dog, 1 of 3 oaks; there is no pine.
    assert SEVEN.top1 == SEVEN.value == pytest.approx(3 / 7)
    assert SEVEN.class_accuracy()[:3].tolist() == pytest.approx([1 / 3, 1, 1 / 3])
    assert SEVEN.mean_class_accuracy == pytest.approx((1 / 3 + 1 + 1 / 3) / 3)
    # A cat taken for a dog is still an animal: only the oak taken for a cat is not.
    assert SEVEN.group_accuracy == pytest.approx(6 / 7)
    assert SEVEN.group_accuracies().tolist() == pytest.approx([1, 2 / 3])
    # The truth has 0.7 where it is found and 0.1 where it is not.
    assert SEVEN.log_loss == pytest.approx(-(3 * math.log(0.7) + 4 * math.log(0.1)) / 7)
    # All confidences lie in one bin: 0.7 against 3 of 7.
    assert SEVEN.calibration_error == pytest.approx(0.7 - 3 / 7)
    assert SEVEN.confusion.tolist() == [[1, 2, 0, 0], [0, 1, 0, 0], [1, 0, 1, 1], [0, 0, 0, 0]]
    assert SEVEN.group_confusion.tolist() == [[4, 0], [1, 2]]


def test_the_top_five_hold_the_truth_or_not() -> None:
    logits = np.tile(np.arange(7, dtype=np.float32), (3, 1))  # class 6 first, then 5 down to 0
    names = [f"class {k}" for k in range(7)]
    scores = LabelScores.of_logits(names, ["a", "b", "c"], np.array([6, 2, 1]), logits)
    assert scores.top.tolist() == [[6, 5, 4, 3, 2]] * 3
    assert (scores.top1, scores.top5) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_the_top_five_of_five_classes_say_nothing() -> None:
    assert math.isnan(SEVEN.top5)
    assert "top5" not in SEVEN.known
    assert "val_top5" not in SEVEN.row()
    assert "top-5" not in SEVEN.verdict()


@pytest.mark.parametrize("seed", range(3))
def test_scores_agree_with_scikit_learn(seed: int) -> None:
    scores = drawn(400, 12, seed)
    truth, likely, labels = scores.truth, probabilities(scores, seed), np.arange(12)
    assert scores.top1 == sk.top_k_accuracy_score(truth, likely, k=1, labels=labels)
    assert scores.top5 == sk.top_k_accuracy_score(truth, likely, k=5, labels=labels)
    taken = scores.top[:, 0]
    assert np.array_equal(scores.confusion, sk.confusion_matrix(truth, taken, labels=labels))
    assert scores.log_loss == pytest.approx(sk.log_loss(truth, likely, labels=labels), rel=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that are predicted and have no image
        assert scores.mean_class_accuracy == pytest.approx(sk.balanced_accuracy_score(truth, taken))
        precision = sk.precision_score(
            truth, taken, labels=labels, average=None, zero_division=np.nan
        )
    np.testing.assert_allclose(scores.classes().precision, precision)
    np.testing.assert_allclose(scores.likely, -np.sort(-likely, 1)[:, :5], rtol=1e-5)


def test_probabilities_and_their_logarithms_give_the_same_scores() -> None:
    from_logits = drawn(200, 8)
    likely = probabilities(from_logits)
    keys, truth = from_logits.keys, from_logits.truth.astype(np.int64)
    again = LabelScores.of_probabilities(from_logits.names, keys, truth, likely)
    assert np.array_equal(again.top, from_logits.top)
    np.testing.assert_allclose(again.losses, from_logits.losses, rtol=1e-4, atol=1e-6)


def test_a_probability_of_nothing_costs_much_and_not_all() -> None:
    scores = LabelScores.of_probabilities(
        ("a", "b"), ["x", "y"], np.array([1, 0]), np.array([[1.0, 0.0], [1.0, 0.0]])
    )
    assert scores.losses.tolist() == pytest.approx([87.34, 0.0], abs=0.01)
    assert scores.hardest(1) == [("x", pytest.approx(0, abs=1e-37))]


def test_large_logits_neither_overflow_nor_lose_the_loss() -> None:
    logits = np.array([[2000.0, 0.0], [0.0, 90.0]], np.float32)
    scores = LabelScores.of_logits(("a", "b"), ["x", "y"], np.array([1, 1]), logits)
    assert scores.losses.tolist() == [2000.0, 0.0]
    assert scores.likely[:, 0].tolist() == [1.0, 1.0]


def test_of_equally_likely_classes_the_first_comes_first() -> None:
    scores = LabelScores.of_logits(
        tuple("abcdefg"), ["x"], np.array([0]), np.zeros((1, 7), np.float32)
    )
    assert scores.top[0].tolist() == [0, 1, 2, 3, 4]


def test_many_images_are_worked_through_in_parts_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = drawn(50, 9)
    monkeypatch.setattr("pixelwright.metrics.answers._AT_ONCE", 40)
    parts = drawn(50, 9)
    for name in ("top", "likely", "losses"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


def test_a_network_that_gives_no_numbers_has_no_loss_and_says_so() -> None:
    logits = np.array([[math.nan, math.nan], [2.0, 1.0], [math.inf, 0.0]], np.float32)
    scores = LabelScores.of_logits(("a", "b"), ["x", "y", "z"], np.array([1, 0, 0]), logits)
    assert np.isnan(scores.losses).tolist() == [True, False, True]
    assert math.isnan(scores.log_loss)
    assert math.isnan(scores.interval("log_loss")[0])
    assert any("no number for 2 of 3 images" in note for note in scores.notes())
    again = LabelScores.from_json(json.loads(json.dumps(scores.to_json(), allow_nan=False)))
    assert np.array_equal(again.losses, scores.losses, equal_nan=True)
    assert [key for key, _ in scores.hardest(5)] == ["y"]


def test_the_most_confused_pairs_come_first_with_their_surest_images() -> None:
    first, second, third = SEVEN.confused(5)
    assert (first.truth, first.taken, first.images) == ("cat", "dog", 2)
    assert first.keys == ("image 1", "image 2")
    assert {second[:3], third[:3]} == {("oak", "cat", 1), ("oak", "pine", 1)}
    likely = np.array([[0.4, 0.6], [0.1, 0.9], [0.8, 0.2]])
    pairs = LabelScores.of_probabilities(
        ("a", "b"), ["x", "y", "z"], np.array([0, 0, 0]), likely
    ).confused()
    assert [pair.keys for pair in pairs] == [("y", "x")]
    assert made([0, 1], [0, 1]).confused() == []


def test_images_of_a_class_that_were_found_come_with_the_surest_first() -> None:
    likely = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8]])
    scores = LabelScores.of_probabilities(("a", "b"), ["x", "y", "z"], np.zeros(3, int), likely)
    assert scores.found("a", 5) == ["y", "x"]
    assert scores.found("b", 5) == []


def test_the_hardest_images_come_first() -> None:
    likely = np.array([[0.9, 0.1], [0.3, 0.7], [0.5, 0.5]])
    scores = LabelScores.of_probabilities(("a", "b"), ["x", "y", "z"], np.zeros(3, int), likely)
    assert scores.hardest(2) == [("y", pytest.approx(0.3)), ("z", pytest.approx(0.5))]


def test_intervals_equal_a_plain_loop_over_resampled_images() -> None:
    scores = drawn(60, 7, groups=3)
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {name: [] for name in TITLES}
    for chosen in rng.integers(60, size=(2000, 60)):
        one = LabelScores(
            scores.names,
            scores.groups,
            scores.keys,
            scores.truth[chosen],
            scores.top[chosen],
            scores.likely[chosen],
            scores.losses[chosen],
        )
        for name in TITLES:
            found[name].append(getattr(one, name))
    for name in TITLES:
        low, high = percentiles(np.array(found[name])).tolist()
        assert scores.interval(name) == pytest.approx((low, high), abs=1e-9), name


@pytest.mark.parametrize(("found", "images"), [(0, 7), (5, 10), (50, 50), (1, 1)])
def test_the_interval_of_a_class_is_that_of_a_share(found: int, images: int) -> None:
    taken = [0] * found + [1] * (images - found)
    ends = made([0] * images, taken).class_intervals()
    expected = binomtest(found, images).proportion_ci(method="wilson")
    assert ends[0].tolist() == pytest.approx([expected.low, expected.high], abs=1e-12)
    assert np.isnan(ends[2:]).all()


def test_cells_are_counted_in_the_same_draws_as_sums() -> None:
    cells = np.random.default_rng(1).integers(4, size=30) * 2  # cells 1, 3, 5 and 7 stay empty
    sums = resample_sums(np.eye(8)[cells], draws=50)
    assert np.array_equal(resample_cells(cells, 8, draws=50), sums)


def test_the_calibration_of_each_image_adds_up_to_that_of_all() -> None:
    rng = np.random.default_rng(2)
    sure, right = rng.random(100).astype(np.float32), rng.random(100) < 0.5
    each, whole = Calibration.each(sure, right), Calibration.of(sure, right)
    for one, all_ in zip(each, whole, strict=True):
        np.testing.assert_allclose(one.sum(0), all_, atol=1e-12)


def test_ten_thousand_images_of_a_hundred_classes_have_their_intervals_at_once() -> None:
    scores = drawn(10_000, 100, groups=20)
    start = time.process_time()
    scores.interval("top1"), scores.interval("log_loss")
    scores.class_intervals(), scores.group_intervals()
    assert time.process_time() - start < 5


def test_one_image_or_none_has_no_interval() -> None:
    one = made([0], [0])
    assert all(math.isnan(end) for name in TITLES for end in one.interval(name))
    assert any("two labelled images" in note for note in one.notes())
    assert "interval" not in one.verdict()
    none = LabelScores.of_logits(("a", "b"), [], np.zeros(0, int), np.zeros((0, 2), np.float32))
    assert math.isnan(none.top1)
    assert none.to_json()["top1"] is None
    assert none.further() == []


def test_a_class_without_images_is_left_out_and_named() -> None:
    assert math.isnan(SEVEN.class_accuracy()[3])
    assert any("3 of 4 classes" in note and "pine" in note for note in SEVEN.notes())
    never = made([0, 1, 2, 3], [0, 0, 2, 3]).notes()
    assert never == ["Never predicted: dog."]


def test_json_is_read_back_with_nothing_lost() -> None:
    scores = drawn(80, 30, groups=6)
    table = json.loads(json.dumps(scores.to_json(), allow_nan=False))
    again = read_scores(table)
    assert isinstance(again, LabelScores)
    assert again.to_json() == scores.to_json()
    for name in ("truth", "top", "likely", "losses"):
        mine, theirs = getattr(scores, name), getattr(again, name)
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)
    assert (again.names, again.groups, again.keys) == (scores.names, scores.groups, scores.keys)


def test_the_json_says_its_task_and_every_score_with_its_interval() -> None:
    table = SEVEN.to_json()
    assert table["task"] == "labels"
    assert table["top1_low"] <= table["top1"] <= table["top1_high"]
    assert table["top5"] is None
    assert table["classes"]["cat"]["images"] == 3
    assert table["classes"]["pine"]["accuracy"] is None
    assert table["superclasses"]["tree"]["accuracy"] == pytest.approx(2 / 3)
    assert table["confused"][0] == {
        "truth": "cat",
        "taken": "dog",
        "images": 2,
        "keys": ["image 1", "image 2"],
    }


def test_one_reader_reads_both_kinds_of_scores() -> None:
    masks = Scores.of_images(("a", "b"), [("x", Confusion(np.array([[3, 1], [0, 4]])))])
    assert isinstance(read_scores(masks.to_json()), Scores)
    assert isinstance(read_scores(SEVEN.to_json()), LabelScores)


@pytest.mark.parametrize(
    "wrong",
    [
        {"keys": ["a"]},
        {"top": [[9, 1, 2, 3]] * 7},
        {"truth": [-1] * 7},
        {"truth": [100_000] * 7},
        {"groups": ["animal"]},
        {"losses": "none"},
        {"likely": None},
    ],
)
def test_what_is_not_scores_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(CheckpointError, match="not scores"):
        read_scores({**SEVEN.to_json(), **wrong})


def test_few_classes_are_told_one_by_one_and_many_by_superclass() -> None:
    head, cat, *_, last = SEVEN.table()
    assert head == ("class", "accuracy", "95 % interval", "precision", "images")
    # Two are called cat, one of them is.
    assert (cat[0], cat[1], cat[3], cat[4]) == ("cat", "0.333", "0.500", "3")
    assert last[0] == "mean"
    assert last[4] == "7"
    head, *rows = drawn(500, 30, groups=6).table()
    assert head[0] == "superclass"
    assert [row[0] for row in rows] == [*(f"group {g}" for g in range(6)), "all"]
    assert len(drawn(500, 30).table()) == 32


def test_a_verdict_tells_top1_its_interval_top5_and_the_images() -> None:
    scores = drawn(1200, 10)
    low, high = scores.interval("top1")
    assert scores.verdict() == (
        f"top-1 {scores.top1:.3f} (95 % interval {low:.3f} to {high:.3f}), "
        f"top-5 {scores.top5:.3f} on 1,200 images of 'val'"
    )


def test_further_sentences_tell_calibration_log_loss_and_confusions() -> None:
    told = " ".join(SEVEN.further())
    assert "Calibration error 0.271" in told
    assert "27.1 points above its accuracy" in told
    assert "guessing evenly is 1.386" in told
    assert "cat for dog (2 of 3)" in told


def test_a_log_is_told_the_score_by_which_models_are_chosen() -> None:
    row = SEVEN.row()
    assert row["score"] == row["val_top1"] == SEVEN.top1
    assert math.isnan(row["val_loss"])
    assert set(row["val_accuracy"]) == set(ANIMALS)
    assert set(drawn(500, 30, groups=6).row()["val_accuracy"]) == {f"group {g}" for g in range(6)}


def test_a_data_frame_has_one_row_per_class() -> None:
    pytest.importorskip("pandas")
    frame = SEVEN.to_pandas()
    assert frame.loc["cat", "accuracy"] == pytest.approx(1 / 3)
    assert frame["accuracy_low"].dtype.kind == "f"
    assert frame.loc["cat", "images"] == 3


def test_f86_names_are_escaped_in_a_notebook() -> None:
    scores = LabelScores.of_probabilities(
        ("<script>alert(1)</script>", "a & b"), ["x", "y"], np.array([0, 1]), np.eye(2)
    )
    shown = scores._repr_html_()
    assert "<script>" not in shown
    assert "a &amp; b" in shown
