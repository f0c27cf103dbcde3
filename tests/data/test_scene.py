"""The procedural scene: every window of it is the same picture."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from pixelwright.data.scene import CLASSES, PIECE, Scene, draw, write_pair
from pixelwright.errors import DataError
from pixelwright.types import Window

WHOLE = Scene(seed=1, height=700, width=523)


@pytest.fixture(scope="module")
def whole() -> tuple[np.ndarray, np.ndarray]:
    return draw(WHOLE)


@pytest.mark.parametrize(
    "window",
    [
        Window(0, 0, 64, 64),
        Window(636, 459, 64, 64),
        Window(301, 17, 1, 400),
        Window(5, 222, 333, 1),
        Window(410, 300, 97, 111),
        Window(699, 522, 1, 1),
    ],
)
def test_a_window_is_the_crop_of_the_whole_bit_for_bit(
    whole: tuple[np.ndarray, np.ndarray], window: Window
) -> None:
    rows = slice(window.top, window.top + window.height)
    columns = slice(window.left, window.left + window.width)
    image, mask = draw(WHOLE, window)
    np.testing.assert_array_equal(image, whole[0][rows, columns])
    np.testing.assert_array_equal(mask, whole[1][rows, columns])


def test_pieces_meet_without_a_seam() -> None:
    scene = Scene(seed=3, height=40, width=PIECE + 60)
    across, _ = draw(scene)
    alone, _ = draw(scene, Window(0, PIECE - 50, 40, 100))
    np.testing.assert_array_equal(across[:, PIECE - 50 : PIECE + 50], alone)


def test_a_larger_scene_continues_a_smaller_one() -> None:
    small, _ = draw(Scene(seed=8, height=50, width=60))
    large, _ = draw(Scene(seed=8, height=90, width=91))
    np.testing.assert_array_equal(large[:50, :60], small)


def test_the_picture_is_the_same_on_every_machine() -> None:
    # Only operations that IEEE 754 rounds exactly are used, so this holds beyond this processor.
    image, mask = draw(Scene(seed=3, height=2000, width=2000), Window(560, 510, 160, 160))
    assert set(np.unique(mask)) == {0, 1, 2, 3, 4}
    assert hashlib.sha256(image.tobytes() + mask.tobytes()).hexdigest() == (
        "e0e15f3258e3bdca7cfb9bc2da3cb73d1738261463d64a70641c4f275cfe13a6"
    )


def test_every_class_occurs(whole: tuple[np.ndarray, np.ndarray]) -> None:
    shares = np.bincount(whole[1].ravel(), minlength=len(CLASSES)) / whole[1].size
    assert shares.size == len(CLASSES)
    assert shares.min() > 0.005


def test_seeds_differ_in_place_and_light(whole: tuple[np.ndarray, np.ndarray]) -> None:
    image, mask = draw(Scene(seed=4, height=700, width=523))
    assert (mask != whole[1]).mean() > 0.1
    assert abs(image.astype(float) - whole[0]).mean() > 10


@pytest.mark.parametrize("seed", [0, -1, 2**70])
def test_any_integer_is_a_seed(seed: int) -> None:
    image, mask = draw(Scene(seed, 7, 9))
    assert image.shape == (7, 9, 3)
    assert mask.shape == (7, 9)
    assert image.std() > 1


def test_a_far_corner_costs_only_itself() -> None:
    image, _ = draw(Scene(1, 10_000_000, 10_000_000), Window(9_000_000, 8_000_000, 20, 30))
    assert image.shape == (20, 30, 3)
    assert image.std() > 1


def test_a_foreground_makes_the_mask_binary(whole: tuple[np.ndarray, np.ndarray]) -> None:
    window = Window(410, 300, 97, 111)
    _, mask = draw(Scene(1, 700, 523, foreground=("tree", "road")), window)
    expected = np.isin(whole[1][410:507, 300:411], [CLASSES.index("tree"), CLASSES.index("road")])
    np.testing.assert_array_equal(mask, expected)


def test_a_written_pair_reads_back(tmp_path: Path) -> None:
    scene = Scene(5, 40, 30, foreground=("tree",))
    rgb, gt = write_pair(tmp_path / "new", scene)
    image, mask = draw(scene)
    np.testing.assert_array_equal(cv2.imread(str(rgb))[..., ::-1], image)
    np.testing.assert_array_equal(cv2.imread(str(gt), cv2.IMREAD_UNCHANGED), mask * 255)


def test_a_scene_that_cannot_be_says_why() -> None:
    with pytest.raises(DataError, match="Did you mean 'tree'"):
        Scene(1, 10, 10, foreground=("trees",))
    with pytest.raises(DataError, match="0 x 10 pixels"):
        Scene(1, 0, 10)
    with pytest.raises(DataError, match="does not lie in a scene of 10 x 10"):
        draw(Scene(1, 10, 10), Window(5, 5, 6, 5))
