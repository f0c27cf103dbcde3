import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelwright.data.augment import Augment, Draw, apply, draw
from pixelwright.types import IGNORE, Sample

EVERYTHING = Augment(
    flip=True,
    flip_vertical=True,
    rotate=180.0,
    scale=(0.5, 2.0),
    brightness=0.3,
    contrast=0.3,
    saturation=0.3,
    hue=0.5,
)


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> Sample:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Sample(image, rng.integers(-1, 7, (height, width)).astype(np.int16), "noise")


def linear(*rows: tuple[float, float, float]) -> Draw:
    return Draw(np.array(rows, dtype=np.float64))


def colored(*rows: tuple[float, float, float, float]) -> Draw:
    return Draw(np.array([[1.0, 0, 0], [0, 1, 0]]), np.array(rows, dtype=np.float32))


def same(one: Sample, image: np.ndarray, target: np.ndarray) -> bool:
    return np.array_equal(one.image, image) and np.array_equal(one.target, target)


# Hand-worked maps, from crop to image: x = a x' + b y' + c.


def test_the_identity_changes_nothing() -> None:
    sample = noise(5, 7)
    assert same(apply(linear((1, 0, 0), (0, 1, 0)), sample, (5, 7)), sample.image, sample.target)


def test_a_translation_is_a_slice() -> None:
    sample = noise(9, 8)
    out = apply(linear((1, 0, 3), (0, 1, 2)), sample, (4, 5))
    assert same(out, sample.image[2:6, 3:8], sample.target[2:6, 3:8])


def test_a_mirrored_crop_is_a_reversed_slice() -> None:
    sample = noise(9, 8)
    # Crop columns 0..4 come from image columns 6..2.
    out = apply(linear((-1, 0, 6), (0, 1, 2)), sample, (4, 5))
    assert same(out, sample.image[2:6, 2:7][:, ::-1], sample.target[2:6, 2:7][:, ::-1])


def test_both_flips_are_half_a_turn() -> None:
    sample = noise(6, 6)
    out = apply(linear((-1, 0, 5), (0, -1, 5)), sample, (6, 6))
    assert same(out, np.rot90(sample.image, 2), np.rot90(sample.target, 2))


def test_a_quarter_turn_is_exact() -> None:
    sample = noise(6, 6)
    # Turned counter-clockwise: crop (x', y') comes from image (5 - y', x').
    out = apply(linear((0, -1, 5), (1, 0, 0)), sample, (6, 6))
    assert same(out, np.rot90(sample.image), np.rot90(sample.target))


def test_half_a_pixel_to_the_right_is_the_mean_of_two() -> None:
    image = np.array([[[10], [20], [40]]], dtype=np.uint8)
    sample = Sample(image, np.zeros((1, 3), np.int16), "row")
    out = apply(linear((1, 0, 0.5), (0, 1, 0)), sample, (1, 2))
    assert out.image[0, :, 0].tolist() == [15, 30]


def test_zooming_in_by_two_enlarges_what_is_in_the_middle() -> None:
    sample = noise(8, 8)
    change = draw(Augment(flip=False, scale=(2.0, 2.0)), 0, 0, (4, 4), (8, 8))
    small = Sample(sample.image[2:6, 2:6], sample.target[2:6, 2:6], "")
    # The footprint is 4x4, all of the small image: each of its pixels becomes 2x2.
    assert np.array_equal(
        apply(change, small, (8, 8)).target, np.kron(small.target, np.ones((2, 2), np.int16))
    )


def test_beyond_the_edge_the_image_is_mirrored_and_the_target_ignored() -> None:
    image = np.arange(1, 5, dtype=np.uint8).reshape(1, 4, 1)
    sample = Sample(image, np.arange(4, dtype=np.int16).reshape(1, 4), "row")
    out = apply(linear((1, 0, -2), (0, 1, 0)), sample, (1, 8))
    assert out.image[0, :, 0].tolist() == [3, 2, 1, 2, 3, 4, 3, 2]
    assert out.target.tolist() == [[IGNORE, IGNORE, 0, 1, 2, 3, IGNORE, IGNORE]]


def test_a_colour_matrix_is_applied_to_every_pixel_and_saturates() -> None:
    sample = Sample(np.array([[[10, 100, 200]]], np.uint8), np.zeros((1, 1), np.int16), "")
    swapped = colored((0, 0, 1, 0), (0, 1, 0, 20), (2, 2, 2, 0))
    assert apply(swapped, sample, (1, 1)).image.tolist() == [[[200, 120, 255]]]


def test_a_grey_image_changes_as_the_grey_of_a_colour_image() -> None:
    grey = noise(32, 32, channels=1)
    rgb = Sample(np.repeat(grey.image, 3, axis=2), grey.target, "")
    for position in range(20):
        change = draw(EVERYTHING, 1, position, (32, 32), (24, 24))
        one, three = (apply(change, s, (24, 24)).image.astype(int) for s in (grey, rgb))
        assert np.abs(one - three).max() <= 1


# Draws.


def test_a_draw_depends_on_seed_and_position_alone() -> None:
    def matrices(seed: int, position: int) -> list[float]:
        change = draw(EVERYTHING, seed, position, (90, 70), (32, 32))
        assert change.color is not None
        return [*change.affine.ravel(), *change.color.ravel()]

    assert matrices(3, 5) == matrices(3, 5)
    assert len({tuple(matrices(s, p)) for s in range(5) for p in range(20)}) == 100


def test_one_option_does_not_shift_the_others() -> None:
    plain = draw(Augment(), 0, 9, (90, 70), (32, 32))
    bright = draw(Augment(brightness=0.5), 0, 9, (90, 70), (32, 32))
    assert np.array_equal(plain.affine, bright.affine)
    assert plain.color is None


def test_crops_without_variation_are_cut_from_everywhere_in_the_image() -> None:
    seen = np.zeros((20, 30), int)
    numbers = np.arange(600, dtype=np.int16).reshape(20, 30)
    sample = Sample(np.zeros((20, 30, 1), np.uint8), numbers, "")
    for position in range(3000):
        change = draw(Augment(flip=False), 0, position, (20, 30), (8, 8))
        crop = apply(change, sample, (8, 8)).target
        top, left = divmod(int(crop[0, 0]), 30)
        assert np.array_equal(crop, numbers[top : top + 8, left : left + 8])
        seen[top : top + 8, left : left + 8] += 1
    assert seen.min() > 0


@pytest.mark.parametrize("option", ["flip", "flip_vertical"])
def test_flips_happen_every_second_time(option: str) -> None:
    row = 0 if option == "flip" else 1
    options = Augment(**{"flip": False, option: True})
    signs = [draw(options, 0, p, (9, 9), (9, 9)).affine[row, row] for p in range(1000)]
    assert set(signs) == {-1, 1}
    assert abs(np.mean(signs)) < 0.1


def test_turns_and_zooms_fill_their_ranges() -> None:
    options = Augment(flip=False, rotate=20.0, scale=(0.5, 2.0))
    maps = [draw(options, 0, p, (64, 64), (32, 32)).affine for p in range(1000)]
    angles = [math.degrees(math.atan2(m[1, 0], m[0, 0])) for m in maps]
    zooms = [1 / math.hypot(m[0, 0], m[1, 0]) for m in maps]
    assert -20 <= min(angles) < -19.5 < 19.5 < max(angles) <= 20
    assert 0.5 <= min(zooms) < 0.51 < 1.96 < max(zooms) <= 2
    assert 0.93 < math.exp(np.mean(np.log(zooms))) < 1.07


def test_hue_and_saturation_leave_grey_alone() -> None:
    for position in range(50):
        change = draw(Augment(saturation=1.0, hue=0.5), 0, position, (9, 9), (9, 9))
        assert change.color is not None
        np.testing.assert_allclose(change.color @ [128, 128, 128, 1], 128, rtol=1e-5)


def test_contrast_turns_about_middle_grey_and_brightness_about_black() -> None:
    change = draw(Augment(contrast=0.5), 0, 1, (9, 9), (9, 9))
    assert change.color is not None
    np.testing.assert_allclose(change.color @ [127.5, 127.5, 127.5, 1], 127.5, rtol=1e-5)
    change = draw(Augment(brightness=0.5), 0, 1, (9, 9), (9, 9))
    assert change.color is not None
    assert change.color[:, 3].tolist() == [0, 0, 0]


# Odd shapes.


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (3, 70000), (70000, 3), (20, 100)])
def test_f14_any_size_gives_a_whole_crop_that_holds_some_of_it(height: int, width: int) -> None:
    sample = Sample(
        np.full((height, width, 3), 9, np.uint8), np.ones((height, width), np.int16), ""
    )
    options = Augment(flip_vertical=True, rotate=180.0, scale=(0.8, 1.25))
    for position in range(20):
        change = draw(options, 0, position, (height, width), (32, 48))
        out = apply(change, sample, (32, 48))
        assert out.image.shape == (32, 48, 3)
        assert (out.image == 9).all()
        # A turned pixel, a single one, can fall between all the points that are read.
        assert (out.target == 1).any() or height * width == 1


def test_f14_an_image_smaller_than_the_crop_lies_whole_in_its_middle() -> None:
    sample = noise(5, 6)
    out = apply(draw(Augment(flip=False), 0, 0, (5, 6), (9, 12)), sample, (9, 12))
    assert same(Sample(out.image[2:7, 3:9], out.target[2:7, 3:9], ""), sample.image, sample.target)
    assert (out.target != IGNORE).sum() == (sample.target != IGNORE).sum()


def test_crops_of_a_window_never_read_outside_it() -> None:
    image = np.full((60, 60, 3), 255, np.uint8)
    target = np.full((60, 60), 5, np.int16)
    image[20:40, 10:50], target[20:40, 10:50] = 7, 1
    window = Sample(image[20:40, 10:50], target[20:40, 10:50], "")
    for position in range(50):
        options = Augment(flip_vertical=True, rotate=180.0, scale=(0.4, 2.0))
        out = apply(draw(options, 0, position, (20, 40), (24, 24)), window, (24, 24))
        assert (out.image == 7).all()
        assert set(np.unique(out.target)) <= {IGNORE, 1}


def test_reading_only_a_part_of_the_image_equals_reading_all_of_it() -> None:
    image = cv2.GaussianBlur(noise(300, 200).image, (5, 5), 0)
    sample = Sample(image, np.arange(60000, dtype=np.int32).astype(np.int16).reshape(300, 200), "")
    for position in range(40):
        change = draw(Augment(rotate=180.0, scale=(0.5, 2.0)), 2, position, (300, 200), (32, 40))
        out = apply(change, sample, (32, 40))
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        whole = cv2.warpAffine(
            image, change.affine, (40, 32), flags=flags, borderMode=cv2.BORDER_REFLECT_101
        )
        assert np.abs(out.image.astype(int) - whole).max() <= 1
        # Where a pixel's place is a hair from a tie, the last digit decides.
        labels = cv2.warpAffine(
            sample.target,
            change.affine,
            (40, 32),
            flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
            borderValue=IGNORE,
        )
        assert (out.target == labels).mean() > 0.99


def test_writing_into_given_arrays_gives_the_same_and_allocates_none() -> None:
    sample = noise(50, 60)
    for options in (EVERYTHING, Augment()):
        for position in range(10):
            change = draw(options, 0, position, (50, 60), (32, 32))
            images, targets = np.zeros((2, 32, 32, 3), np.uint8), np.zeros((2, 32, 32), np.int16)
            apply(change, sample, (32, 32), into=Sample(images[1], targets[1], ""))
            fresh = apply(change, sample, (32, 32))
            assert same(fresh, images[1], targets[1])
            assert not images[0].any()


# F33: what happens to a mask.

SIZES = st.tuples(st.integers(1, 60), st.integers(1, 60))


@settings(deadline=None, max_examples=60)
@given(SIZES, SIZES, st.integers(0, 2**63), st.integers(0, 2**40))
def test_f33_a_varied_mask_holds_no_new_label(
    image: tuple[int, int], crop: tuple[int, int], seed: int, position: int
) -> None:
    # Labels 3 and 9 side by side: any blending would make 4 to 8.
    rng = np.random.default_rng(0)
    target = rng.choice(np.array([3, 9, 300], np.int16), image)
    sample = Sample(np.zeros((*image, 1), np.uint8), target, "")
    out = apply(draw(EVERYTHING, seed, position, image, crop), sample, crop)
    assert set(np.unique(out.target)) <= set(np.unique(target)) | {IGNORE}


def shifts(options: Augment, seed: int, size: tuple[int, int], axis: int) -> np.ndarray:
    """By how many pixels image and mask disagree, each holding its own coordinate."""
    at = 4 * np.indices(size)[axis]
    sample = Sample(at[..., None].astype(np.uint8), at.astype(np.int16), "")
    out = apply(draw(options, seed, axis, size, (24, 24)), sample, (24, 24))
    # Mirroring begins at the outermost pixel centres, half a pixel before the mask ends.
    inner = (out.target != IGNORE) & ~np.isin(out.target, (0, at.max()))
    return (out.image[..., 0].astype(float) - out.target)[inner] / 4


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32), st.floats(0, 180), st.floats(0.5, 2.0), SIZES, st.sampled_from([0, 1])
)
def test_f33_mask_and_image_stay_within_half_a_pixel(
    seed: int, rotate: float, zoom: float, size: tuple[int, int], axis: int
) -> None:
    options = Augment(flip_vertical=True, rotate=rotate, scale=(zoom, zoom))
    # An eighth of a pixel is half a grey level: the rounding of the image itself.
    assert np.abs(shifts(options, seed, size, axis)).max(initial=0) <= 0.5 + 0.125 + 1e-3


@pytest.mark.parametrize("axis", [0, 1])
def test_f33_mask_and_image_do_not_drift_apart_on_average(axis: int) -> None:
    options = Augment(flip=False, rotate=30.0, scale=(0.8, 1.25))
    everything = np.concatenate([shifts(options, seed, (50, 60), axis) for seed in range(200)])
    assert len(everything) > 50_000
    assert abs(everything.mean()) < 0.01
