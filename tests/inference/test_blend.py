"""Blended windows, held against sums over the whole picture in float64."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pixelwright.errors import PredictError
from pixelwright.inference.blend import Grid, Place, Seams, blended, grid_of, seam_difference
from pixelwright.types import Window

SIZES = [(1, 1), (5, 70), (16, 16), (17, 33), (40, 23), (61, 64), (97, 41)]


class SeesAll(nn.Module):
    """Every pixel sees the mean of the picture."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.maps = nn.Conv2d(3, 4, 3, padding=1)
        self.gate = nn.Linear(4, 4)
        self.head = nn.Conv2d(4, 3, 1)
        self.double()

    def forward(self, images: Tensor) -> Tensor:
        x = self.maps(images.double() / 64)
        gate = self.gate(x.mean(dim=(2, 3))).exp()[..., None, None]
        return self.head(x * gate)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def reader(image: np.ndarray):
    def read(window: Window) -> np.ndarray:
        assert window.top >= 0 <= window.left
        assert 0 < window.height <= len(image) - window.top
        assert 0 < window.width <= image.shape[1] - window.left
        return image[window.top :, window.left :][: window.height, : window.width]

    return read


def pasted(pieces, height: int, width: int) -> np.ndarray:
    """All parts in one array; every pixel has to come exactly once."""
    whole, times = None, np.zeros((height, width), int)
    for window, logits in pieces:
        assert logits.shape[1:] == window[2:]
        if whole is None:
            whole = np.zeros((len(logits), height, width), logits.numpy().dtype)
        rows = slice(window.top, window.top + window.height)
        columns = slice(window.left, window.left + window.width)
        whole[:, rows, columns] = logits.numpy()
        times[rows, columns] += 1
    assert (times == 1).all()
    assert whole is not None
    return whole


def weights(places: tuple[Place, ...], length: int) -> np.ndarray:
    """Of every window at every pixel, straight from the formula."""
    middles = np.arange(length) + 0.5
    rows = []
    for place in places:
        share_in = (middles - place.begin) / max(place.rise, 1)
        share_out = (place.end - middles) / max(place.fall, 1)
        inside = (middles > place.begin) & (middles < place.end)
        row = np.sin(np.pi / 2 * share_in.clip(0, 1)) ** 2 if place.rise else np.ones(length)
        if place.fall:
            row = row * np.sin(np.pi / 2 * share_out.clip(0, 1)) ** 2
        rows.append(row * inside)
    return np.array(rows)


def reference(image: np.ndarray, model: nn.Module, grid: Grid) -> np.ndarray:
    """Sums of probabilities over the whole padded picture, divided by the sums of weights."""
    (high, wide), total, weight = grid.size, 0.0, 0.0
    height, width = grid.rows[-1].start + high, grid.columns[-1].start + wide
    below, beside = height - grid.height, width - grid.width
    padded = np.pad(image, ((0, below), (0, beside), (0, 0)), mode="edge")
    down, across = weights(grid.rows, height), weights(grid.columns, width)
    for row, place_row in enumerate(grid.rows):
        for column, place_column in enumerate(grid.columns):
            part = np.s_[place_row.start :, place_column.start :]
            pixels = np.ascontiguousarray(padded[part][:high, :wide].transpose(2, 0, 1)[None])
            with torch.no_grad():
                likely = model(torch.from_numpy(pixels)).softmax(1)[0].numpy()
            one = np.zeros((len(likely), height, width))
            one[:, place_row.start :, place_column.start :][:, :high, :wide] = likely
            each = down[row][:, None] * across[column]
            total, weight = total + one * each, weight + each
    return (total / weight)[:, : grid.height, : grid.width]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.4])
def test_blended_windows_equal_sums_over_the_whole_picture(
    height: int, width: int, batch: int, overlap: float
) -> None:
    image, model = noise(height, width), SeesAll()
    grid = grid_of(height, width, (20, 25), multiple=4, overlap=overlap)
    got = pasted(blended(reader(image), model, grid, batch=batch), height, width)
    np.testing.assert_allclose(np.exp(got), reference(image, model, grid), rtol=0, atol=1e-12)


@pytest.mark.parametrize("multiple", [1, 4, 7])
@pytest.mark.parametrize("side", [7, 28, 64])
@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.25, 0.49])
def test_weights_add_up_to_one_at_every_pixel(side: int, multiple: int, overlap: float) -> None:
    for length in [*range(1, 3 * side), 1000]:
        grid = grid_of(length, 1, (side, side), multiple, overlap)
        padded = grid.rows[-1].start + grid.size[0]
        assert length <= padded < length + multiple
        each = weights(grid.rows, padded)
        np.testing.assert_allclose(each.sum(axis=0), 1, rtol=0, atol=1e-12)
        assert (each > 0).sum(axis=0).max() <= 2
        for place in grid.rows:
            assert place.start % multiple == 0
            assert place.start <= place.begin <= place.end <= place.start + grid.size[0]


def test_neighbours_share_at_least_the_overlap_and_no_window_is_one_too_many() -> None:
    for length in range(64, 800, 8):
        grid = grid_of(length, 64, (64, 64), multiple=8, overlap=0.25)
        starts = [place.start for place in grid.rows]
        assert all(one + 64 - other >= 16 for one, other in pairwise(starts))
        assert len(starts) == math.ceil((length - 64) / 48) + 1


@pytest.mark.parametrize("multiple", [1, 16, 48])
def test_large_windows_begin_where_the_steps_of_encoders_do(multiple: int) -> None:
    for length in range(500, 1200, 37):
        grid = grid_of(length, 48, (400, 48), multiple)
        assert all(place.start % 32 == 0 for place in grid.rows)
        assert grid.rows[-1].start + grid.size[0] == -(-length // multiple) * multiple
        assert 400 - math.lcm(multiple, 32) < grid.size[0] + multiple <= 400 + multiple


def test_a_seam_worked_out_by_hand() -> None:
    # 12 pixels, windows of 8: they begin at 0 and 4, and share 4 to 7, of which a quarter of a
    # window, 5 and 6, is the seam. There the second weighs sin(pi/2 * 1/4)^2 and sin(pi/2 * 3/4)^2.
    grid = grid_of(1, 12, (1, 8), multiple=1, overlap=0.25)
    assert grid.columns == (Place(0, 0, 7, 0, 2), Place(4, 5, 12, 2, 0))
    answers = iter([[9.0, 0.0], [0.0, 9.0]])

    def run(images: Tensor) -> Tensor:
        return torch.tensor(next(answers)).reshape(1, 2, 1, 1).expand(1, 2, *images.shape[2:])

    got = np.exp(pasted(blended(reader(noise(1, 12)), run, grid), 1, 12)[1, 0])
    sure, unsure = 1 / (1 + math.exp(-9)), 1 / (1 + math.exp(9))
    quarter = math.sin(math.pi / 8) ** 2
    mixed = [w * sure + (1 - w) * unsure for w in (quarter, 1 - quarter)]
    np.testing.assert_allclose(got, [*[unsure] * 5, *mixed, *[sure] * 5], rtol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(13, 9), (16, 16), (1, 1)])
def test_a_picture_that_fits_into_one_window_is_one_pass(height: int, width: int) -> None:
    image, model = noise(height, width), SeesAll()
    grid = grid_of(height, width, (64, 64), multiple=8)
    padded = np.pad(image, ((0, -height % 8), (0, -width % 8), (0, 0)), mode="edge")
    with torch.no_grad():
        logits = model(torch.from_numpy(padded.transpose(2, 0, 1)[None].copy()))[0]
    got = pasted(blended(reader(image), model, grid), height, width)
    expected = logits.log_softmax(0)[:, :height, :width].numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)
    assert seam_difference(reader(image), model, grid) == Seams(0, 0)


@pytest.mark.parametrize("row", [1, 2, 3])
def test_going_on_from_a_row_gives_the_same_bits(row: int) -> None:
    image, model = noise(97, 41), SeesAll()
    grid = grid_of(97, 41, (32, 32), multiple=4)
    assert len(grid.rows) == 4
    everything = list(blended(reader(image), model, grid, batch=2))
    rest = list(blended(reader(image), model, grid, batch=2, row=row))
    late = [piece for piece in everything if piece[0].top >= grid.rows[row].begin]
    assert [window for window, _ in rest] == [window for window, _ in late]
    for (_, one), (_, other) in zip(rest, late, strict=True):
        assert torch.equal(one, other)


def test_sums_of_half_precision_are_float32_and_runs_in_inference_mode_are_welcome() -> None:
    model = SeesAll()

    @torch.inference_mode()
    def run(images: Tensor) -> Tensor:
        return model(images).bfloat16()

    image = noise(40, 40)
    grid = grid_of(40, 40, (24, 24), multiple=4)
    got = pasted(blended(reader(image.astype(np.float32)), run, grid), 40, 40)
    assert got.dtype == np.float32
    np.testing.assert_allclose(np.exp(got), reference(image, model, grid), rtol=0, atol=0.02)


def test_a_class_that_no_window_believes_in_has_a_finite_logit() -> None:
    def run(images: Tensor) -> Tensor:
        return torch.tensor([0.0, -1e4]).reshape(1, 2, 1, 1).expand(1, 2, *images.shape[2:])

    grid = grid_of(20, 20, (12, 12), multiple=4)
    assert np.isfinite(pasted(blended(reader(noise(20, 20)), run, grid), 20, 20)).all()


def most_held(height: int, grid: Grid, batch: int) -> int:
    """The most bytes of tensors at one time while a picture so high is blended."""
    image = noise(height, 96)

    def run(images: Tensor) -> Tensor:
        return images.repeat(1, 4, 1, 1).float()

    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        for _ in blended(reader(image), run, grid, batch=batch):
            pass
    assert profile.profiler is not None
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


@pytest.mark.parametrize("batch", [1, 2])
def test_memory_is_what_is_stated_and_does_not_grow_with_the_height(batch: int) -> None:
    short, tall = (grid_of(height, 96, (32, 32), multiple=4) for height in (60, 600))
    assert short.held_bytes(12, batch) == tall.held_bytes(12, batch)
    logits = batch * 12 * 32 * 32 * 5  # as bytes and as float32
    for height, grid in ((60, short), (600, tall)):
        assert most_held(height, grid, batch) <= grid.held_bytes(12, batch) + logits


def test_seams_differ_for_a_model_that_sees_all_and_not_for_one_that_sees_a_pixel() -> None:
    image = noise(90, 120)
    image[:, 60:] //= 4
    grid = grid_of(90, 120, (40, 40), multiple=4)
    pixelwise = nn.Conv2d(3, 3, 1).double()
    near = seam_difference(reader(image), lambda x: pixelwise(x.double()), grid)
    assert near.differing == 0
    assert near.pixels == 3 * 40 * 40
    far = seam_difference(reader(image), SeesAll(), grid)
    assert 0 < far.share < 0.5
    assert far + near == Seams(far.differing, far.pixels + near.pixels)


def test_seams_of_a_strip_lie_along_one_axis() -> None:
    image = noise(30, 200)
    grid = grid_of(30, 200, (40, 40), multiple=4)
    assert len(grid.rows) == 1
    assert seam_difference(reader(image), SeesAll(), grid, places=2).pixels == 2 * 30 * 40


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 5, (8, 8), 4), "no pixels: it is 0 x 5"),
        ((9, 9, (8, 3), 4), "window of 8 x 3 px is smaller than the 4 px"),
        ((9, 9, (8, 8), 4, 0.5), "from 0 up to 0.5, not by 0.5"),
    ],
)
def test_grids_that_cannot_be_are_refused(arguments: tuple, words: str) -> None:
    with pytest.raises(PredictError, match=words):
        grid_of(*arguments)
