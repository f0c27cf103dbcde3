import itertools

import numpy as np
import pytest

from pixelwright.render import (
    colorize,
    comparison,
    contact_sheet,
    overlay,
    palette,
    shares_below,
    side_by_side,
)
from pixelwright.render.labelled import Labelled, labelled_sheet
from pixelwright.types import IGNORE, Classes


def classes(count: int) -> Classes:
    return Classes(tuple(f"class {k}" for k in range(count)), palette(count))


@pytest.mark.parametrize("count", [1, 2, 11, 100, 256])
def test_every_class_has_a_colour_of_its_own(count: int) -> None:
    assert len(set(palette(count))) == count


def test_more_classes_keep_the_colours_of_fewer() -> None:
    assert palette(40)[:19] == palette(19)


def test_a_dark_background_and_a_vivid_foreground_for_two_classes() -> None:
    background, foreground = palette(2)
    assert max(background) < 80
    assert max(foreground) - min(foreground) > 200


def test_colours_of_a_street_scene_differ_for_colour_blind_eyes_too() -> None:
    from pixelwright.render.colors import _distance, _seen

    seen = _seen(np.array(palette(11), np.uint8))
    closest = min(_distance(seen[a : a + 1], seen[b])[0] for a, b in pairs(11))
    # 0.02 in Oklab is about the least difference that can be seen side by side.
    assert closest > 0.06


def pairs(count: int) -> list[tuple[int, int]]:
    return list(itertools.combinations(range(count), 2))


def test_labels_become_their_colours_and_ignored_pixels_pale() -> None:
    target = np.array([[0, 1], [IGNORE, 1]], np.int16)
    picture = colorize(target, ((10, 20, 30), (200, 100, 0)))
    assert picture[0].tolist() == [[10, 20, 30], [200, 100, 0]]
    assert picture[1, 0].min() > 150


def test_an_overlay_mixes_image_and_colour_and_leaves_ignored_pixels_alone() -> None:
    image = np.full((1, 2, 3), 100, np.uint8)
    mixed = overlay(image, np.array([[1, IGNORE]], np.int16), ((0, 0, 0), (200, 0, 0)), alpha=0.25)
    assert mixed.tolist() == [[[125, 75, 75], [100, 100, 100]]]


def test_a_grey_image_can_be_overlaid() -> None:
    mixed = overlay(np.zeros((4, 5, 1), np.uint8), np.zeros((4, 5), np.int16), palette(2))
    assert mixed.shape == (4, 5, 3)


@pytest.mark.parametrize("size", [(1, 1), (3, 5000), (50, 40), (700, 900)])
@pytest.mark.parametrize("count", [2, 30])
def test_images_of_any_shape_make_a_panel(size: tuple[int, int], count: int) -> None:
    image = np.zeros((*size, 3), np.uint8)
    target = np.zeros(size, np.int16)
    panel = comparison(image, target, np.ones(size, np.uint8), classes(count), caption="a caption")
    assert 200 < max(panel.shape[:2]) < 2500


def test_a_panel_without_truth_shows_no_errors() -> None:
    image = np.zeros((300, 300, 3), np.uint8)
    prediction = np.zeros((300, 300), np.int16)
    with_truth = comparison(image, prediction, prediction, classes(2))
    without = comparison(image, None, prediction, classes(2))
    assert without.shape[0] < with_truth.shape[0]  # one row of three, not two of two


def test_wrong_pixels_stand_out_and_right_ones_do_not() -> None:
    image = np.full((300, 300, 3), 90, np.uint8)
    truth = np.zeros((300, 300), np.int16)
    wrong = comparison(image, truth, truth + 2, classes(3))
    right = comparison(image, truth, truth, classes(3))

    def magenta(panel: np.ndarray) -> int:
        return int((panel == (230, 25, 110)).all(-1).sum())

    assert magenta(wrong) >= 300 * 300
    assert magenta(right) < 400  # the swatch of the legend


def test_a_target_that_counts_nowhere_still_makes_a_panel() -> None:
    target = np.full((20, 30), IGNORE, np.int16)
    comparison(np.zeros((20, 30, 3), np.uint8), target, np.zeros((20, 30), np.uint8), classes(2))


def test_a_contact_sheet_takes_pictures_of_different_sizes() -> None:
    pictures = [np.zeros((size, 60, 3), np.uint8) for size in (30, 400, 90)]
    sheet = contact_sheet(pictures, 2, titles=("a", "b" * 500, "\u202e$x^$ <b>"), caption="three")
    assert sheet.dtype == np.uint8
    assert sheet.shape[2] == 3


def test_bars_below_a_sheet_are_cut_in_the_classes_shares() -> None:
    colors = ((200, 0, 0), (0, 200, 0), (0, 0, 200))
    classes = Classes(("a", "b", "c"), colors)
    sheet = np.full((50, 440, 3), 255, np.uint8)
    whole = shares_below(sheet, classes, {"images": [75, 0, 25], "crops": [1, 0, 1]})
    assert np.array_equal(whole[:50], sheet)
    bars = [row for row in whole[50:] if (row == colors[0]).all(axis=1).sum() > 100]
    lengths = {tuple(int((row == color).all(axis=1).sum()) for color in colors) for row in bars}
    # 400 pixels between margins of 20.
    assert lengths == {(300, 0, 100), (200, 0, 200)}
    assert shares_below(sheet, classes, {"none": [0, 0, 0]}).shape[1] == 440


def test_systems_stand_side_by_side_whatever_their_number() -> None:
    image, target = np.zeros((30, 40, 1), np.uint8), np.zeros((30, 40), np.int16)
    classes = Classes(("field", "road"), palette(2))
    one = side_by_side(image, target, [("a", target)], classes)
    four = side_by_side(image, target, [(name, target) for name in "abcd"], classes)
    assert four.shape[0] * four.shape[1] > one.shape[0] * one.shape[1]


def test_small_pictures_stand_in_rows_above_their_lines() -> None:
    tiny_one = np.full((8, 8, 3), 200, np.uint8)
    wide = np.full((50, 400, 1), 60, np.uint8)
    pictures = [Labelled(tiny_one, ("oak", "93 % pine")), Labelled(wide, ("x" * 500,))]
    sheet = labelled_sheet([("", pictures)], columns=2, side=64, text=10)
    # Two columns of 64, the gap of half a line between them, a margin of one line around.
    assert sheet.shape[1] == 2 * 10 + 2 * 64 + 5
    assert (sheet[10:74, 10:74] == 200).all(), "enlarged to the whole side"
    assert (sheet[66:74, 79:143] == 60).all(), "made smaller, on the line of the others"
    assert (sheet[78:] < 128).any(), "the lines below"


def test_groups_without_pictures_have_no_heading() -> None:
    one = [Labelled(np.zeros((8, 8, 3), np.uint8), ("a",))]
    alone = labelled_sheet([("first", one)])
    assert np.array_equal(labelled_sheet([("first", one), ("second", [])]), alone)
    assert len(labelled_sheet([("first", one), ("second", one)])) > 1.8 * len(alone)
