from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from pixelwright.data.augment import Augment, Draw, apply, draw
from pixelwright.data.damage import HOLES, NUMBERS, Damage, draw_damage, spoil
from pixelwright.types import IGNORE, Sample, Window

NOTHING = Damage(blur=0.0, noise=0.0, noise_seed=0, jpeg=0, holes=())
ALL = {"blur": 2.0, "noise": 0.1, "jpeg": 30, "cutout": 0.4}
STRAIGHT = np.array([[1.0, 0, 0], [0, 1, 0]])
CROP = (40, 56)


def picture(channels: int = 3) -> Sample:
    rng = np.random.default_rng(0)
    smooth = cv2.GaussianBlur(rng.integers(0, 256, (*CROP, 3), dtype=np.uint8), (0, 0), 3)
    image = np.ascontiguousarray(smooth[..., :channels])
    return Sample(image, rng.integers(0, 5, CROP).astype(np.int16), "")


def spoiled(channels: int = 3, **changes: object) -> tuple[Sample, Sample]:
    """A picture before and after."""
    before = picture(channels)
    after = apply(Draw(STRAIGHT, None, replace(NOTHING, **changes)), before, CROP)
    return before, after


def drawn(count: int, **options: Any) -> list[Damage]:
    rng = np.random.default_rng(3)
    settings = {"blur": 0.0, "noise": 0.0, "jpeg": 0, "cutout": 0.0, **options}
    return [draw_damage(rng.random(NUMBERS), **settings, crop=CROP) for _ in range(count)]


# Draws.


def test_each_kind_happens_to_every_second_crop_whatever_the_others_do() -> None:
    found = drawn(2000, **ALL)
    happens = np.array([[d.blur > 0, d.noise > 0, d.jpeg > 0, bool(d.holes)] for d in found])
    assert np.abs(happens.mean(axis=0) - 0.5).max() < 0.05
    assert np.abs(np.corrcoef(happens.T) - np.eye(4)).max() < 0.08


def test_strengths_fill_their_ranges() -> None:
    found = drawn(2000, **ALL)
    sigmas = [d.blur for d in found if d.blur]
    deviations = [d.noise for d in found if d.noise]
    qualities = [d.jpeg for d in found if d.jpeg]
    assert min(sigmas) < 0.05
    assert 1.95 < max(sigmas) < 2.0
    assert 25 < max(deviations) <= 25.5
    assert set(qualities) == set(range(30, 101))
    assert {d.jpeg for d in drawn(50, jpeg=100)} == {0, 100}


def test_holes_lie_inside_and_take_the_share_that_was_drawn() -> None:
    areas = []
    for damage in drawn(800, cutout=0.4):
        assert len(damage.holes) <= HOLES
        for top, left, height, width in damage.holes:
            assert top >= 0
            assert left >= 0
            assert top + height <= CROP[0]
            assert left + width <= CROP[1]
            assert 1 / 2.4 < height / width < 2.4 or height * width < 60
        areas.append(sum(hole.height * hole.width for hole in damage.holes) / CROP[0] / CROP[1])
    assert 0.35 < max(areas) < 0.42
    assert np.mean(areas) == pytest.approx(0.1, abs=0.02)


def test_one_kind_does_not_shift_what_another_draws() -> None:
    alone, together = (
        draw(Augment(**options), 0, 5, (90, 70), CROP) for options in ({"blur": 2.0}, ALL)
    )
    plain = draw(Augment(), 0, 5, (90, 70), CROP)
    assert alone.damage is not None
    assert together.damage is not None
    assert alone.damage.blur == together.damage.blur
    assert np.array_equal(plain.affine, together.affine)
    assert plain.damage is None


def test_a_draw_depends_on_seed_and_position_alone() -> None:
    options = Augment(**ALL, rotate=20.0, brightness=0.1)
    sample = picture()
    one, other = (
        [apply(draw(options, 1, p, CROP, (24, 24)), sample, (24, 24)) for p in order]
        for order in (range(12), reversed(range(12)))
    )
    for a, b in zip(one, reversed(other), strict=True):
        assert np.array_equal(a.image, b.image)
        assert np.array_equal(a.target, b.target)
    assert len({a.image.tobytes() for a in one}) == 12


# What is done.


@pytest.mark.parametrize("channels", [1, 3])
def test_blur_is_a_gaussian_and_leaves_the_target(channels: int) -> None:
    before, after = spoiled(channels, blur=1.5)
    expected = cv2.GaussianBlur(before.image, (0, 0), 1.5).reshape(before.image.shape)
    assert np.array_equal(after.image, expected)
    assert np.array_equal(after.target, before.target)


@pytest.mark.parametrize("channels", [1, 3])
def test_noise_has_its_deviation_and_differs_between_channels(channels: int) -> None:
    image = np.full((200, 200, channels), 128, np.uint8)
    spoil(replace(NOTHING, noise=10.0, noise_seed=7), image, None)
    added = image.astype(float) - 128
    assert added.std() == pytest.approx(10, rel=0.03)
    assert abs(added.mean()) < 0.2
    if channels == 3:
        assert np.abs(np.corrcoef(added.reshape(-1, 3).T) - np.eye(3)).max() < 0.03
    neighbours = np.corrcoef(added[:, :-1].ravel(), added[:, 1:].ravel())
    assert abs(neighbours[0, 1]) < 0.03


def test_noise_saturates_instead_of_wrapping() -> None:
    image = np.full((50, 50, 3), 250, np.uint8)
    spoil(replace(NOTHING, noise=20.0), image, None)
    assert image.min() > 150


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_loses_more_the_lower_the_quality_and_keeps_colours_in_order(channels: int) -> None:
    losses = []
    for quality in (100, 60, 10):
        before, after = spoiled(channels, jpeg=quality)
        losses.append(np.abs(after.image.astype(int) - before.image).mean())
        means = before.image.mean(axis=(0, 1)) - after.image.mean(axis=(0, 1))
        assert np.abs(means).max() < 2
    assert losses[0] < losses[1] < losses[2]
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    spoil(replace(NOTHING, jpeg=50), red, None)
    assert red.mean(axis=(0, 1)) == pytest.approx([200, 0, 0], abs=4)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_cut_out_is_grey_and_counts_nowhere(channels: int) -> None:
    before, after = spoiled(channels, holes=(Window(2, 3, 10, 20),))
    hole = np.zeros(CROP, bool)
    hole[2:12, 3:23] = True
    assert (after.target[hole] == IGNORE).all()
    assert np.array_equal(after.target[~hole], before.target[~hole])
    assert np.array_equal(after.image[~hole], before.image[~hole])
    assert np.abs(after.image[hole] - before.image.mean(axis=(0, 1))).max() <= 0.5


def test_a_picture_with_one_label_keeps_it() -> None:
    sample = Sample(picture().image, 3, "")
    damage = replace(NOTHING, holes=(Window(0, 0, 9, 9),))
    assert apply(Draw(STRAIGHT, None, damage), sample, CROP).target == 3
