"""Which images a comparison shows, and where it looks closer."""

import numpy as np

from pixelwright.study.pictures import _choose, _where_they_differ


def test_images_are_shown_where_cases_differ_then_typical_then_hardest_ones() -> None:
    scores = np.full((2, 100), 0.6)
    scores[0, [10, 11, 50]] = 0.9, 0.89, 0.8
    scores[:, [70, 90]] = 0.1, 0.2
    scores[:, 5] = np.nan
    chosen = dict(_choose(scores))
    # Image 11 is too near to image 10, perhaps the next frame of a film.
    assert chosen["apart"] == [10, 50]
    assert chosen["hardest"] == [70, 90]
    assert len(chosen["typical"]) == 2
    assert len({place for places in chosen.values() for place in places}) == 6


def test_one_case_differs_from_nothing() -> None:
    assert dict(_choose(np.array([[0.5, 0.7, 0.9]])))["apart"] == []


def test_the_close_up_holds_the_disputed_edge() -> None:
    target = np.zeros((200, 300), np.int16)
    target[:, 200:] = 1
    one, other = target.copy(), target.copy()
    other[120:140, 198:202] ^= 1  # at the edge
    other[10:60, 10:60] = 1  # far from any edge, though larger
    rows, columns = _where_they_differ([one, other], target)
    assert rows.start <= 120 < 140 <= rows.stop
    assert columns.start <= 198 < 202 <= columns.stop
    assert rows.stop - rows.start == 50


def test_a_tiny_image_is_its_own_close_up() -> None:
    target = np.zeros((7, 5), np.int16)
    rows, columns = _where_they_differ([target, target + 1], target)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (5, 5)
