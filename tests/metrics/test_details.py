import json

import numpy as np
import pytest

from pixelwright.errors import CheckpointError
from pixelwright.metrics.confusion import Confusion
from pixelwright.metrics.details import Details
from pixelwright.metrics.scores import Scores
from pixelwright.types import IGNORE


def images(count: int, classes: int = 3) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Predictions, truths and confidences of pictures of different sizes."""
    generator = np.random.default_rng(5)
    drawn = []
    for number in range(count):
        truth = np.kron(generator.integers(IGNORE, classes, (4, 5 + number)), np.ones((6, 6)))
        guess = generator.integers(0, classes, truth.shape)
        prediction = np.where((generator.random(truth.shape) < 0.3) | (truth < 0), guess, truth)
        sure = generator.uniform(0.4, 1, truth.shape).astype(np.float32)
        drawn.append((prediction.astype(np.int16), truth.astype(np.int16), sure))
    return drawn


def parts(count: int = 4) -> list[Details]:
    return [
        Details.of(*image, 3, {"cross-entropy": 0.25 * number, "dice": 0.5})
        for number, image in enumerate(images(count))
    ]


def scores(count: int = 4) -> Scores:
    tables = [(str(i), Confusion.of(p, t, 3)) for i, (p, t, _) in enumerate(images(count))]
    return Scores.of_images(("a", "b", "c"), tables, details=Details.joined(parts(count), 3))


def test_counts_of_images_add_up_to_those_of_all() -> None:
    details = scores().details
    assert details is not None
    alone = parts()
    for name in ("boundary", "near_margins", "calibration"):
        total = np.sum([np.stack(getattr(one, name)) for one in alone], axis=0)
        np.testing.assert_allclose(total, np.stack(getattr(details, name)), atol=1e-9)
    assert np.array_equal(sum(one.sizes for one in alone), details.sizes)
    halves = [Details.joined(alone[:2], 3), Details.joined(alone[2:], 3)]
    assert Details.joined(halves, 3).to_json() == details.to_json()


def test_near_and_far_from_a_boundary_are_all_pixels() -> None:
    found = scores()
    details = found.details
    assert details is not None
    near = details.near_margins
    assert (near.truth <= found.total.pixels).all()
    assert (near.hit <= np.minimum(near.truth, near.predicted)).all()
    # Every true pixel lies in one object.
    assert np.array_equal(details.sizes[:, 1].sum(1), found.total.pixels)
    assert np.array_equal(details.sizes[:, 2].sum(1), np.diagonal(found.total.counts))


def test_scores_with_details_are_read_back_with_nothing_lost() -> None:
    found = scores()
    again = Scores.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert again.to_json() == found.to_json()
    for name in ("mean_boundary_iou", "calibration_error"):
        low, high = again.interval(name)
        assert low <= getattr(again, name) <= high
    ends = again.boundary_intervals()
    assert (ends[:, 0] <= again.boundary_iou()).all()
    assert (again.boundary_iou() <= ends[:, 1]).all()


def test_losses_are_means_over_pixels_with_intervals_over_images() -> None:
    found = scores().losses()
    pixels = [int((target != IGNORE).sum()) for _, target, _ in images(4)]
    mean = sum(0.25 * i * n for i, n in enumerate(pixels)) / sum(pixels)
    value, low, high = found["cross-entropy"]
    assert value == pytest.approx(mean)
    assert low < value < high
    # Equal in every image: no doubt.
    assert found["dice"] == pytest.approx((0.5, 0.5, 0.5))


def test_scores_of_an_older_file_have_no_details_and_no_column_for_them() -> None:
    table = scores().to_json()
    for name in ("details", "losses", "calibration", "confusion"):
        table.pop(name)
    old = Scores.from_json(table)
    assert old.details is None
    assert np.isnan(old.mean_boundary_iou)
    assert old.losses() == {}
    assert old.to_json()["mean_boundary_iou"] is None
    assert "boundary IoU" not in old.table()[0]
    assert "boundary IoU" in scores().table()[0]
    assert {len(row) for row in scores().table()} == {len(scores().table()[0])}


def test_one_image_has_no_intervals_of_what_is_in_its_details() -> None:
    one = scores(1)
    assert np.isnan(one.interval("calibration_error")).all()
    assert np.isnan(one.boundary_intervals()).all()
    assert np.isnan(one.losses()["dice"][1:]).all()
    json.dumps(one.to_json(), allow_nan=False)


def test_no_images_and_images_without_labels_are_no_error() -> None:
    nothing = np.full((5, 5), IGNORE, np.int16)
    blank = Details.of(np.zeros((5, 5), np.int16), nothing, np.ones((5, 5), np.float32), 3)
    for parts in ([], [blank, blank]):
        tables = [("x", Confusion.empty(3))] * len(parts)
        found = Scores.of_images(("a", "b", "c"), tables, details=Details.joined(parts, 3))
        assert found.to_json()["calibration_error"] is None
        assert Scores.from_json(found.to_json()).to_json() == found.to_json()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("bins", [[1.0]]), ("objects", [[9, 0, 0, 1, 1, 1, 1]]), ("losses", {"a": [1]})],
)
def test_details_that_do_not_fit_the_images_are_refused(name: str, wrong: object) -> None:
    table = scores().to_json()
    table["details"][name] = wrong
    with pytest.raises(CheckpointError, match="not scores"):
        Scores.from_json(table)
