"""How an image is run within a budget: plans that fit, and what is said where none does."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from pixelwright.errors import PredictError
from pixelwright.inference.plan import (
    WHOLE_PIXELS,
    Costs,
    DoesNotFitError,
    Plan,
    _expected,
    plan_for,
    roomy,
)
from pixelwright.inference.stream import Stream
from pixelwright.nn.receptive import Field

FIELD = Field(before=20, after=18, stride=8, multiple=16)
"""So that parts lie at multiples of 16 and halos are 32."""

A_PIXEL = 100
"""Bytes of a pass, for each."""


class Streams(Stream):
    """What a stream would take: 500 bytes for each column of a band's rows and 40 more."""

    def __init__(self) -> None:
        pass

    def bytes(self, height: int, width: int, band: int, itemsize: int = 4) -> int:
        return 500 * width * (band + 40)


def costs(field: Field = FIELD, *, streams: bool = True, preparing: int = 0) -> Costs:
    return Costs(
        field,
        at_once=lambda rows, columns: A_PIXEL * rows * columns,
        stream=lambda: [Streams()] if streams else None,
        preparing=lambda: preparing,
        classes=3,
    )


def test_a_small_image_is_one_pass_over_its_padded_size() -> None:
    plan = plan_for(costs(), 100, 50, available=10**8)
    assert (plan.kind, plan.padded, plan.rows, plan.columns) == ("whole", (112, 64), 112, 64)
    assert plan.bytes == round(1.15 * A_PIXEL * 112 * 64)
    assert str(plan) == "in one pass, about 824 kB"
    [part] = plan.parts()
    assert (part.rows.start, part.rows.stop, part.columns.stop) == (0, 112, 64)


def test_a_given_tile_is_kept_to_and_aligned() -> None:
    plan = plan_for(costs(), 500, 300, available=10**9, tile=150)
    assert (plan.kind, plan.rows, plan.columns) == ("tiles", 144, 144)
    assert "tiles of 144 x 144" in str(plan)
    assert plan_for(costs(), 100, 100, available=10**9, tile=112).kind == "whole"
    with pytest.raises(PredictError, match="smaller than the 16 px"):
        plan_for(costs(), 500, 300, available=10**9, tile=15)
    with pytest.raises(PredictError, match="A tile of 150 px takes"):
        plan_for(costs(), 500, 300, available=10, tile=150)


def test_a_large_image_is_streamed_where_that_can_be_and_tiled_where_not() -> None:
    plan = plan_for(costs(), 9000, 800, available=10**9)
    assert plan.kind == "stream" and plan.band is not None and plan.band % 16 == 0
    assert f"stream, bands of {plan.band} rows, about " in str(plan)
    assert plan_for(costs(streams=False), 5000, 5000, available=10**9).kind == "tiles"


def test_a_stream_that_cannot_be_prepared_within_the_memory_is_never_looked_at() -> None:
    def never() -> None:
        raise AssertionError

    tight = Costs(FIELD, costs().at_once, never, preparing=lambda: 10**8)
    assert plan_for(tight, 5000, 5000, available=10**8).kind == "tiles"
    ample = plan_for(costs(preparing=10**8), 5000, 5000, available=2 * 10**8)
    assert ample.kind == "stream" and ample.bytes <= 10**8


@pytest.mark.parametrize("size", [(1, 1), (3000, 3000), (100, 90_000), (90_000, 100), (9001, 7)])
@pytest.mark.parametrize("streams", [True, False])
def test_every_budget_gives_a_plan_that_fits_or_says_what_would_do(
    size: tuple[int, int], streams: bool
) -> None:
    subject = costs(streams=streams)
    for available in np.geomspace(10, 10**11, 20).astype(int).tolist():
        try:
            plan = plan_for(subject, *size, available=available)
        except DoesNotFitError as error:
            enough = available + error.lacking + 1000
            assert plan_for(subject, *size, available=enough).bytes <= enough
        else:
            assert plan.bytes <= available


def test_parts_hold_each_pixel_once_whatever_the_plan() -> None:
    drawn = np.random.default_rng(0)
    for _ in range(60):
        height, width = (int(n) for n in drawn.integers(1, 700, 2))
        rows, columns = (16 * int(n) for n in drawn.integers(5, 30, 2))
        kind = str(drawn.choice(["tiles", "stream"]))
        band = 16 if kind == "stream" else None
        plan = Plan(kind, height, width, 16, 32, rows, columns, band)  # type: ignore[arg-type]
        times = np.zeros(plan.padded, int)
        for part in plan.parts():
            row, column = part.rows, part.columns
            assert row.stop - row.start <= max(rows, 16) and column.stop - column.start <= columns
            times[row.keep_start : row.keep_stop, column.keep_start : column.keep_stop] += 1
        assert (times[:height, :width] == 1).all()


def test_what_sees_the_whole_image_is_blended_by_the_largest_windows_that_fit() -> None:
    field = Field(0, 0, 16, 16, "attention")
    side = 3200
    assert side**2 > WHOLE_PIXELS
    assert plan_for(costs(field), side, side, available=10**10).kind == "whole"
    sides = []
    for available in (10**9, 5 * 10**8, 3 * 10**8):
        plan = plan_for(costs(field), side, side, available=available)
        assert plan.kind == "windows" and plan.bytes <= available
        assert f"blended windows of {plan.rows} x {plan.columns}" in str(plan)
        assert len(plan.parts()) == 1
        sides.append(plan.rows)
    assert sides == sorted(sides, reverse=True)
    with pytest.raises(PredictError, match="A window of 16 px takes"):
        plan_for(costs(field), side, side, available=100)


def test_a_plan_keeps_what_it_frees_if_it_is_small_and_twice_its_bytes_are_left() -> None:
    plan = Plan("stream", 64, 64, 1, 0, 64, 64, band=8, bytes=10**6)
    assert roomy(plan, 2 * 10**6) and not roomy(plan, 2 * 10**6 - 1)
    assert not roomy(replace(plan, bytes=2**29), 2**40)


@pytest.mark.parametrize(("width", "band"), [(1024, 512), (4096, 128)])
def test_bands_have_the_pixels_at_which_their_number_no_longer_matters(width, band) -> None:
    subject = replace(costs(), arena=True)  # strips would keep what they free
    plan = plan_for(subject, 8192, width, available=10**10)
    assert (plan.kind, plan.columns, plan.band) == ("stream", width, band)


def test_a_larger_budget_is_never_slower() -> None:
    subject = costs()

    def time_of(available: int) -> float:
        plan = plan_for(subject, 6000, 4000, available=available)
        return _expected(plan, available, subject)

    found = [time_of(int(available)) for available in np.geomspace(3 * 10**6, 10**11, 30)]
    assert all(b <= a for a, b in pairwise(found))
