"""Tiles along one axis."""

import pytest

from pixelwright.errors import PredictError
from pixelwright.inference.tiles import spans

CASES = [(16, 3, 2), (16, 3, 1), (64, 16, 8), (37, 5, 4), (100, 0, 1)]


@pytest.mark.parametrize("length", [1, 7, 64, 101])
@pytest.mark.parametrize(("tile", "halo", "align"), CASES)
def test_kept_parts_cover_the_axis_once(length: int, tile: int, halo: int, align: int) -> None:
    length = -(-length // align) * align
    found = list(spans(length, tile, halo, align))
    assert [i for s in found for i in range(s.keep_start, s.keep_stop)] == list(range(length))


@pytest.mark.parametrize("length", [8, 64, 320])
@pytest.mark.parametrize(("tile", "halo", "align"), CASES)
def test_tiles_are_aligned_and_keep_their_halo_except_at_the_edges(
    length: int, tile: int, halo: int, align: int
) -> None:
    for span in spans(length, tile, halo, align):
        assert 0 <= span.start < span.stop <= length
        assert span.stop - span.start <= tile
        assert span.start % align == span.stop % align == 0
        assert span.start == 0 or span.keep_start - span.start >= halo
        assert span.stop == length or span.stop - span.keep_stop >= halo


def test_an_axis_that_fits_is_one_tile_whatever_the_halo() -> None:
    (span,) = spans(64, tile=64, halo=500, align=16)
    assert (span.start, span.stop, span.keep_start, span.keep_stop) == (0, 64, 0, 64)


def test_a_tile_within_its_halos_is_refused_with_the_least_that_works() -> None:
    with pytest.raises(PredictError, match="Use a tile of 208 px or more"):
        list(spans(1024, tile=192, halo=94, align=16))
    assert len(list(spans(1024, tile=208, halo=94, align=16))) > 1
