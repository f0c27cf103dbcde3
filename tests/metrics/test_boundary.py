import cv2
import numpy as np
import pytest

from pixelwright.metrics.boundary import boundary_margins, near_boundary, outline_lengths
from pixelwright.types import IGNORE


def maps(seed: int, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """A prediction and a truth of smooth regions that mostly agree, a corner of it ignored."""
    generator = np.random.default_rng(seed)
    fields = generator.standard_normal((classes, 5, 7)).astype(np.float32)
    shifted = fields + 0.4 * generator.standard_normal(fields.shape).astype(np.float32)
    drawn = [
        np.argmax([cv2.resize(f, (53, 37), interpolation=cv2.INTER_CUBIC) for f in some], axis=0)
        for some in (shifted, fields)
    ]
    prediction, truth = drawn[0].astype(np.uint8), drawn[1].astype(np.int16)
    truth[:9, 30:] = IGNORE
    return prediction, truth


def published_boundary(mask: np.ndarray, ratio: float) -> np.ndarray:
    """`mask_to_boundary` of the code that goes with the paper."""
    mask = mask.astype(np.uint8)
    height, width = mask.shape
    dilation = max(1, round(ratio * (height**2 + width**2) ** 0.5))
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=dilation)
    return (mask - eroded[1:-1, 1:-1]).astype(bool)


@pytest.mark.parametrize("ratio", [0.001, 0.02, 0.1])
@pytest.mark.parametrize("seed", range(5))
def test_boundary_iou_is_the_published_one_of_each_class(seed: int, ratio: float) -> None:
    prediction, truth = maps(seed)
    found = boundary_margins(prediction, truth, 4, ratio=ratio)
    for k in range(4):
        true = published_boundary(truth == k, ratio)
        guess = published_boundary((prediction == k) & (truth != IGNORE), ratio)
        assert found.hit[k] == (true & guess).sum()
        assert found.truth[k] == true.sum()
        assert found.predicted[k] == guess.sum()


def test_boundary_iou_of_a_hand_worked_case() -> None:
    # Columns 0-4 are class 0 and 5-9 class 1; predicted one column to the right. The diagonal of
    # 3 x 10 gives a band of one pixel: of 3 x 5 class 0, all but the inner 1 x 3, 12 pixels; of the
    # predicted 3 x 6, 14. Both hold rows 0 and 2 of columns 0-4, and column 0: 11.
    truth = np.repeat([[0] * 5 + [1] * 5], 3, axis=0).astype(np.int16)
    prediction = np.repeat([[0] * 6 + [1] * 4], 3, axis=0).astype(np.uint8)
    found = boundary_margins(prediction, truth, 2)
    assert (found.hit[0], found.truth[0], found.predicted[0]) == (11, 12, 14)
    assert found.iou()[0] == 11 / 15


def test_more_classes_than_bytes_have_boundaries_too() -> None:
    prediction, truth = maps(1)
    few = boundary_margins(prediction, truth, 4)
    far = truth.copy()
    far[truth != IGNORE] += 296
    many = boundary_margins(prediction.astype(np.uint16) + 296, far, 300)
    assert np.array_equal(many.hit[296:], few.hit)
    assert np.array_equal(near_boundary(far, 300), near_boundary(truth, 4))


def test_near_a_boundary_is_where_a_counted_pixel_of_another_class_is_close() -> None:
    _, truth = maps(2)
    found = near_boundary(truth, 4, 3)
    for y, x in np.ndindex(truth.shape):
        around = truth[max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4]
        others = set(around.ravel().tolist()) - {IGNORE, int(truth[y, x])}
        assert found[y, x] == (truth[y, x] != IGNORE and bool(others))


def test_outlines_are_counted_in_sides_of_pixels() -> None:
    # A strip of class 1, two wide and six long, at the picture's edge; one neighbour is ignored.
    truth = np.zeros((6, 8), np.int16)
    truth[:, 2:4] = 1
    truth[0, 4] = IGNORE
    assert outline_lengths(truth, 3).tolist() == [11, 11, 0]
