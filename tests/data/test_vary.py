from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

import tiny
from pixelwright.data.augment import Augment, _draw_color
from pixelwright.data.batches import ResidentLoader
from pixelwright.data.draws import Draws, Pairs, _color, draw_batch, draw_pairs
from pixelwright.data.on_device import OnDevice
from pixelwright.data.resident import Resident
from pixelwright.data.uniform import mixed, uniform
from pixelwright.data.vary import varied
from pixelwright.types import Window

SIXTEEN = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
GREY = np.array([128, 128, 128], np.uint8)


def nothing(count: int, channels: int = 1) -> Draws:
    zero, no = np.zeros(count, np.int64), np.zeros(count, np.bool_)
    fill = np.full(channels, 99, np.uint8)
    return Draws(no, no, zero, zero, None, None, (), None, fill)


def pictures(count: int, channels: int = 3, size: tuple[int, int] = (20, 24)) -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 6, 7, channels)).astype(np.uint8)
    fine = [cv2.resize(one, size[::-1], interpolation=cv2.INTER_CUBIC) for one in coarse]
    return np.stack(fine).reshape(count, *size, channels)


# The numbers.


def test_random_numbers_are_those_of_splitmix64() -> None:
    # The first five of its sequence from 1234567, as Vigna's C code prints them.
    steps = np.arange(1, 6, dtype=np.uint64) * 0x9E3779B97F4A7C15
    assert mixed(steps + np.uint64(1234567)).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_random_numbers_depend_on_seed_stream_position_and_column_alone() -> None:
    all_ = uniform(5, 2, np.arange(100), 9)
    assert all_.shape == (100, 9)
    assert np.array_equal(uniform(5, 2, np.array([70, 3]), 4), all_[[70, 3], :4])
    for other in (uniform(6, 2, np.arange(100), 9), uniform(5, 3, np.arange(100), 9)):
        assert np.abs(other - all_).min() > 0


def test_random_numbers_are_even_and_independent() -> None:
    u = np.concatenate([uniform(seed, 5, np.arange(20_000), 8) for seed in range(3)])
    assert u.min() >= 0
    assert u.max() < 1
    count = len(u)
    for column in u.T:
        cells = np.bincount((column * 100).astype(int), minlength=100)
        # Chi-squared with 99 degrees of freedom is below 165 in all but one of 10,000 cases.
        assert ((cells - count / 100) ** 2 / (count / 100)).sum() < 165
    # Neighbours: columns of one position, positions in one column, seeds.
    shifted = [u[:, :-1] - 0.5, u[:-1] - 0.5, u[:20_000] - 0.5]
    beside = [u[:, 1:] - 0.5, u[1:] - 0.5, u[20_000:40_000] - 0.5]
    for one, other in zip(shifted, beside, strict=True):
        # The standard deviation of such a mean of products is 1/12 over the root of their number.
        assert np.abs((one * other).mean(0)).max() < 4.5 / 12 / np.sqrt(len(one))


def test_a_far_position_of_a_long_training_has_numbers_too() -> None:
    far = uniform(2**63, 0, np.array([2**40, 2**40 + 1]), 32)
    assert len(np.unique(far)) == 64


# By hand, on a picture of 4x4 whose values count from 0 to 15.


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]),
        ({"move_x": 1}, [[1, 2, 3, 2], [5, 6, 7, 6], [9, 10, 11, 10], [13, 14, 15, 14]]),
        ({"move_x": -2}, [[2, 1, 0, 1], [6, 5, 4, 5], [10, 9, 8, 9], [14, 13, 12, 13]]),
        ({"move_y": -1}, [[4, 5, 6, 7], [0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]),
        ({"move_y": 3}, [[12, 13, 14, 15], [8, 9, 10, 11], [4, 5, 6, 7], [0, 1, 2, 3]]),
        ({"flip_x": True}, [[3, 2, 1, 0], [7, 6, 5, 4], [11, 10, 9, 8], [15, 14, 13, 12]]),
        ({"flip_y": True}, [[12, 13, 14, 15], [8, 9, 10, 11], [4, 5, 6, 7], [0, 1, 2, 3]]),
        # Moved first, and then mirrored.
        (
            {"move_y": -1, "move_x": 1, "flip_x": True},
            [[6, 7, 6, 5], [2, 3, 2, 1], [6, 7, 6, 5], [10, 11, 10, 9]],
        ),
        (
            {"move_y": 1, "flip_y": True, "holes": [1, 2, 2, 1]},
            [[8, 9, 10, 11], [12, 13, 99, 15], [8, 9, 99, 11], [4, 5, 6, 7]],
        ),
    ],
)
def test_pictures_move_and_mirror_as_by_hand(
    change: dict[str, object], expected: list[list[int]]
) -> None:
    arrays = {key: np.array([value]) for key, value in change.items()}
    draws = replace(nothing(1), **arrays)
    assert varied(SIXTEEN, np.array([0]), draws)[0, ..., 0].tolist() == expected
    tensor = OnDevice(SIXTEEN, "cpu").varied(np.array([0]), draws)
    assert tensor[0, 0].tolist() == expected


def test_each_picture_of_a_batch_gets_its_own() -> None:
    source = np.concatenate([SIXTEEN, SIXTEEN + 100])
    draws = replace(nothing(3), move_x=np.array([0, 1, -1]), flip_x=np.array([True, False, True]))
    out = varied(source, np.array([1, 0, 1]), draws)[:, 0, :, 0].tolist()
    assert out == [[103, 102, 101, 100], [1, 2, 3, 2], [102, 101, 100, 101]]


def test_pictures_that_are_kept_do_not_change() -> None:
    source = pictures(6)
    before = source.copy()
    augment = Augment(
        shift=3, flip_vertical=True, brightness=0.5, noise=0.1, cutout=0.5, cutmix=1.0
    )
    draws = draw_batch(augment, 0, np.arange(6), (20, 24), GREY)
    for numbers in (np.arange(6), np.zeros(6, np.int64)):
        varied(source, numbers, draws, draw_pairs(augment, 0, 0, 6, (20, 24)))
    assert np.array_equal(source, before)


# What is drawn.


def test_moves_are_even_and_every_second_picture_is_mirrored() -> None:
    draws = draw_batch(Augment(shift=2, flip_vertical=True), 0, np.arange(5000), (32, 32), GREY)
    for moves in (draws.move_y, draws.move_x):
        assert sorted(Counter(moves.tolist())) == [-2, -1, 0, 1, 2]
        assert min(Counter(moves.tolist()).values()) > 850
    for flips in (draws.flip_x, draws.flip_y):
        assert 0.47 < flips.mean() < 0.53
    assert abs(np.corrcoef(draws.flip_x, draws.flip_y)[0, 1]) < 0.05
    assert draws.affine is None
    assert draws.color is None
    assert draws.holes is None


def test_no_option_moves_or_mirrors_unasked() -> None:
    draws = draw_batch(Augment(flip=False), 0, np.arange(100), (32, 32), GREY)
    assert not (draws.flip_x.any() or draws.flip_y.any())
    assert not (draws.move_x.any() or draws.move_y.any())


def test_a_turn_by_next_to_nothing_equals_the_copy() -> None:
    source, numbers = pictures(40), np.arange(40)
    for options in (Augment(shift=5), Augment(shift=3, flip_vertical=True)):
        copied = draw_batch(options, 1, numbers, (20, 24), GREY)
        turned = draw_batch(replace(options, rotate=1e-9), 1, numbers, (20, 24), GREY)
        assert turned.affine is not None
        assert np.array_equal(varied(source, numbers, copied), varied(source, numbers, turned))


def test_zooming_in_shows_a_part_from_anywhere_and_out_the_whole_in_the_middle() -> None:
    size, positions = (32, 32), np.arange(400)
    corners = np.array([[0, 0, 1], [31, 31, 1]])

    def seen(zoom: float) -> np.ndarray:
        options = Augment(flip=False, scale=(zoom, zoom))
        affine = draw_batch(options, 0, positions, size, GREY).affine
        assert affine is not None
        return corners @ affine.transpose(0, 2, 1)

    inside = seen(2.0)
    assert np.allclose(inside[:, 1] - inside[:, 0], 15.5)
    # Pixel centres are integers, so the picture reaches from -0.5 to 31.5, a pixel's half from
    # its centre, which is a quarter of what is seen.
    assert -0.25 <= inside.min() < 0.5
    assert 30.5 < inside.max() <= 31.25
    outside = seen(0.5)
    assert np.allclose(outside.mean(1), 15.5)
    assert np.allclose(outside[:, 1] - outside[:, 0], 62)


def test_a_turn_is_about_the_middle() -> None:
    affine = draw_batch(Augment(rotate=90.0), 0, np.arange(50), (20, 24), GREY).affine
    assert affine is not None
    assert np.allclose(affine @ np.array([11.5, 9.5, 1]), [11.5, 9.5])
    angles = np.degrees(np.arctan2(affine[:, 1, 0], affine[:, 1, 1]))
    assert angles.min() < -60
    assert angles.max() > 60


def test_colour_matrices_are_those_of_crops() -> None:
    options = Augment(brightness=0.3, contrast=0.4, saturation=0.5, hue=0.2)
    u = np.random.default_rng(0).random((20, 4))
    found = _color(options, u, 3)
    expected = np.stack([_draw_color(options, one) for one in u])
    assert np.allclose(found, expected, atol=1e-6)
    grey = _color(options, u, 1)
    assert np.allclose(grey[:, 0, 0], expected[:, 0, :3].sum(1), atol=1e-5)
    assert np.allclose(grey[:, 0, 1], expected[:, 0, 3], atol=1e-4)


def test_every_second_picture_loses_a_rectangle_up_to_a_share() -> None:
    source = np.zeros((400, 32, 32, 3), np.uint8)
    draws = draw_batch(Augment(flip=False, cutout=0.25), 0, np.arange(400), (32, 32), GREY)
    out = varied(source, np.arange(400), draws)
    cut = (out == 128).all(axis=3)
    assert (cut.any(axis=3 - 1)[..., None] | ~cut).all()
    assert np.array_equal(cut, (out == 128).any(axis=3))
    shares = cut.mean((1, 2))
    assert 0.43 < (shares > 0).mean() < 0.55
    assert 0.23 < shares.max() < 0.27
    for mask in cut[shares > 0]:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert mask.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    # No row and no column is spared.
    assert cut.any((0, 1)).all()
    assert cut.any((0, 2)).all()


def test_holes_are_filled_with_the_mean_colour_of_the_data() -> None:
    images = np.full((10, 16, 16, 3), (10, 20, 30), np.uint8)
    images[::2] = 90, 100, 110
    data = Resident(images, np.zeros(10, np.int16), tuple("abcdefghij"))
    batch = ResidentLoader(data, Augment(cutout=0.3), batch_size=10).batch(0)
    colors = Counter(map(tuple, batch.images.reshape(-1, 3).tolist()))
    assert set(colors) == {(10, 20, 30), (90, 100, 110), (50, 60, 70)}


# Mixing.


def test_mixup_blends_by_its_share() -> None:
    source = np.stack([np.full((4, 4, 3), value, np.uint8) for value in (100, 200, 7)])
    pairs = Pairs(np.array([1, 0, 2]), 0.25, None)
    out = varied(source, np.arange(3), nothing(3, 3), pairs)
    # 25 + 150, 50 + 75, and itself.
    assert [int(np.unique(one)[0]) for one in out] == [175, 125, 7]
    assert all(len(np.unique(one)) == 1 for one in out)


def test_cutmix_pastes_a_box() -> None:
    source = np.concatenate([SIXTEEN, SIXTEEN + 100])
    pairs = Pairs(np.array([1, 0]), 1 - 2 / 16, Window(1, 2, 2, 1))
    out = varied(source, np.arange(2), nothing(2), pairs)[..., 0].tolist()
    assert out[0] == [[0, 1, 2, 3], [4, 5, 106, 7], [8, 9, 110, 11], [12, 13, 14, 15]]
    assert out[1][1] == [104, 105, 6, 107]


def test_the_share_of_cutmix_is_what_is_left_of_a_picture() -> None:
    for step in range(60):
        pairs = draw_pairs(Augment(cutmix=1.0), 0, step, 8, (12, 10))
        assert pairs is not None
        assert pairs.box is not None
        top, left, height, width = pairs.box
        assert min(top, left, height, width) >= 0
        assert top + height <= 12
        assert left + width <= 10
        assert pairs.share == 1 - height * width / 120


def shares(augment: Augment) -> np.ndarray:
    found = [draw_pairs(augment, 0, step, 4, (64, 64)) for step in range(1500)]
    return np.array([pairs.share for pairs in found if pairs is not None])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_are_from_a_beta_distribution(alpha: float) -> None:
    found = shares(Augment(mixup=alpha))
    assert len(found) == 1500
    assert abs(found.mean() - 0.5) < 0.03
    assert np.isclose(found.var(), 1 / (4 * (2 * alpha + 1)), rtol=0.1)
    assert np.array_equal(found * 256, np.rint(found * 256))


def test_where_both_are_on_each_batch_takes_one_of_them() -> None:
    augment = Augment(mixup=1.0, cutmix=1.0)
    found = [draw_pairs(augment, 0, step, 4, (32, 32)) for step in range(1000)]
    boxes = [pairs for pairs in found if pairs is not None and pairs.box is not None]
    assert 450 < len(boxes) < 550


def test_partners_are_an_order_of_the_batch_and_their_labels_are_told() -> None:
    images = np.stack([np.full((8, 8, 3), 10 * i, np.uint8) for i in range(20)])
    data = Resident(images, np.arange(20, dtype=np.int16), tuple(map(str, range(20))))
    loader = ResidentLoader(data, Augment(mixup=1.0), batch_size=6, seed=1)
    assert (
        loader.batch(0).keys == ResidentLoader(data, Augment(), batch_size=6, seed=1).batch(0).keys
    )
    for step in range(9):
        batch = loader.batch(step)
        assert batch.mix is not None
        assert sorted(batch.mix.targets) == sorted(batch.targets)
        own, other = 10.0 * batch.targets, 10.0 * batch.mix.targets
        expected = np.rint(batch.mix.share * own + (1 - batch.mix.share) * other)
        assert np.array_equal(batch.images[:, 0, 0, 0], expected)


# On a GPU, or with tensors on a CPU.

EXACT = [
    Augment(flip=False),
    Augment(shift=4),
    Augment(shift=4, flip_vertical=True, cutout=0.4),
    Augment(shift=2, mixup=0.5),
    Augment(shift=2, cutmix=1.0, cutout=0.2),
]
NEAR = [
    Augment(shift=3, rotate=30.0, scale=(0.6, 1.5)),
    Augment(brightness=0.3, contrast=0.3, saturation=0.4, hue=0.2),
    Augment(shift=2, rotate=10.0, contrast=0.5, cutout=0.2, mixup=1.0, cutmix=1.0),
]


def both(augment: Augment, channels: int, device: str) -> tuple[np.ndarray, np.ndarray]:
    source = pictures(40, channels)
    rng = np.random.default_rng(1)
    numbers = rng.integers(0, 40, 24)
    fill = np.arange(50, 50 + channels).astype(np.uint8)
    draws = draw_batch(augment, 3, numbers * 7, (20, 24), fill)
    pairs = draw_pairs(augment, 3, 11, 24, (20, 24))
    tensor = OnDevice(source, device).varied(numbers, draws, pairs)
    assert tensor.shape == (24, channels, 20, 24)
    assert tensor.dtype == torch.uint8
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    return varied(source, numbers, draws, pairs), tensor.cpu().permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("augment", EXACT)
def test_tensors_move_mirror_cut_and_mix_as_arrays_do(augment: Augment, channels: int) -> None:
    assert np.array_equal(*both(augment, channels, "cpu"))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("augment", NEAR)
def test_tensors_turn_and_recolour_as_arrays_do(augment: Augment, channels: int) -> None:
    ours, theirs = both(augment, channels, "cpu")
    assert np.abs(ours.astype(float) - theirs).mean() < 1
    assert np.quantile(np.abs(ours.astype(float) - theirs), 0.99) <= 2


@pytest.mark.gpu
@pytest.mark.parametrize("augment", EXACT)
def test_a_gpu_makes_the_batches_of_a_cpu(augment: Augment) -> None:
    images = pictures(40)
    data = Resident(images, np.zeros(40, np.int16), tuple(map(str, range(40))))
    here, there = (
        ResidentLoader(data, augment, batch_size=16, device=device).batch(2)
        for device in (None, "cuda")
    )
    assert there.images.is_cuda
    assert np.array_equal(here.images, there.images.cpu().permute(0, 2, 3, 1).numpy())
    assert here.keys == there.keys


def test_on_a_cpu_batches_are_arrays_whatever_it_is_called() -> None:
    data = Resident(tiny.scene(8, 8)[0][None], np.zeros(1, np.int16), ("a",))
    for device in (None, "cpu", torch.device("cpu")):
        batch = ResidentLoader(data, Augment(), batch_size=2, device=device).batch(0)
        assert isinstance(batch.images, np.ndarray)
