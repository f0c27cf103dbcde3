"""The eight ways to lay a square onto itself."""

import itertools

import pytest
import torch

from pixelwright.inference.views import ALL_EIGHT, MIRRORED, PLAIN, View


@pytest.mark.parametrize("view", ALL_EIGHT, ids=str)
def test_logits_turned_back_lie_where_the_picture_does(view: View) -> None:
    image = torch.arange(2 * 3 * 5).reshape(1, 2, 3, 5)
    seen = view.of(image)
    assert seen.shape == ((1, 2, 5, 3) if view.turned else (1, 2, 3, 5))
    assert torch.equal(view.back(seen), image)


def test_a_quarter_turn_worked_out_by_hand() -> None:
    image = torch.tensor([[[[1, 2, 3], [4, 5, 6]]]])
    assert View(turned=True).of(image).tolist() == [[[[1, 4], [2, 5], [3, 6]]]]
    assert View(across=True).of(image).tolist() == [[[[3, 2, 1], [6, 5, 4]]]]
    assert View(upside=True).of(image).tolist() == [[[[4, 5, 6], [1, 2, 3]]]]
    # The transpose mirrored is a turn to the right.
    right = View(across=True, turned=True)
    assert right.of(image).tolist() == [[[[4, 1], [5, 2], [6, 3]]]]


def test_all_eight_are_different() -> None:
    image = torch.arange(9).reshape(1, 1, 3, 3)
    pairs = itertools.combinations([view.of(image) for view in ALL_EIGHT], 2)
    assert not any(torch.equal(one, other) for one, other in pairs)
    assert PLAIN[0] in MIRRORED and set(MIRRORED) <= set(ALL_EIGHT)


def test_only_views_that_keep_the_order_of_rows_can_be_streamed() -> None:
    assert [view.by_rows for view in ALL_EIGHT] == [True, True] + [False] * 6
