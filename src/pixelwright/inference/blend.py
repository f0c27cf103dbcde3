"""Predict by overlapping windows whose results are blended, for models that see the whole image.

    grid = grid_of(height, width, window=(1024, 1024), multiple=32)
    for window, logits in blended(raster.read, model, grid):
        ...                                      # "k h w": each part of the image once
    seams = seam_difference(raster.read, model, grid)
    print(f"{seams.share:.2%} of the pixels at seams depend on where the windows lie")

If a pixel sees the whole image, through attention or global pooling, no cutting gives what one pass
over all of it gives. Where two windows overlap, the answer goes over from one to the other: at a
share t of the way across, the next window weighs sin(pi t / 2)^2 and the one before the rest,
so that weights are smooth and add up to one at every pixel.

Probabilities are blended, not logits. A mean of logits is a geometric mean of probabilities, in
which a window that is wildly sure outweighs the other whatever its weight; normalisation over a
window without contrast makes such logits. A mean of probabilities is also what ensembles and
views are joined by.

Paper: Pielawski and Wählby, 2020, https://doi.org/10.1371/journal.pone.0229839 (Hann windows)
Differs: the weight is one wherever a window is alone, so that no division by their sum is needed.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from pixelwright.errors import PredictError
from pixelwright.types import Window

OVERLAP = 0.25
"""Share of a window that its neighbour sees too, at least.

Classes that differ from one whole pass, with a MobileNetV3 of squeeze and excitation and windows of
224 px on CamVid: 6.3 % by 9 windows an image at 0.25, 5.9 % by 12 at 0.45. By MONAI's Gaussian
weights over logits it was 8.4 % with 12.
"""

STEP = 32
"""Windows begin at multiples of this where they can: encoders halve five times, and a window that
begins between their steps sees every pattern shifted (7.0 % of classes differ, not 5.9 %)."""

Read = Callable[[Window], Shaped[np.ndarray, "h w c"]]
"""Pixel values of a part of the image, as `images.Raster.read` gives them."""

Run = Callable[[Tensor], Tensor]
"""From pixel values "n c h w" to logits "n k h w"."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one window lies along one axis.

    Args:
        start: First pixel that the network sees.
        begin: First pixel that the window has a say in.
        end: Behind the last one.
        rise: Of them at the beginning, over which its weight goes from 0 to 1.
        fall: Of them at the end, over which it goes back: where the next window rises.
    """

    start: int
    begin: int
    end: int
    rise: int
    fall: int


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the windows lie on an image.

    Args:
        height: Of the image.
        width: Of the image.
        size: Height and width of each window.
        steps: Windows begin at multiples of these, downwards and across.
        rows: From top to bottom.
        columns: From left to right.
    """

    height: int
    width: int
    size: tuple[int, int]
    steps: tuple[int, int]
    rows: tuple[Place, ...]
    columns: tuple[Place, ...]

    def held_bytes(self, classes: int, batch: int = 1, itemsize: int = 4) -> int:
        """What blending holds beside the network, and beside pixels and logits of a batch.

        Args:
            classes: That the model tells apart.
            batch: Windows that are run together.
            itemsize: Bytes of a probability.
        """
        below = max(row.fall for row in self.rows) * self.columns[-1].end
        beside = max(column.fall for column in self.columns) * self.size[0]
        # Probabilities of the batch, a copy of the logits in their order, and one window's part.
        windows = (2 * batch + 1) * math.prod(self.size)
        return (below + beside + windows) * classes * itemsize


def grid_of(
    height: int, width: int, window: tuple[int, int], multiple: int, overlap: float = OVERLAP
) -> Grid:
    """The fewest windows that overlap by at least a share of their size, evenly spread.

    Args:
        height: Of the image.
        width: Of the image.
        window: Most rows and columns that the network may see.
        multiple: Windows begin at multiples of this, and are multiples of it long.
        overlap: Share of a window, in [0, 0.5).

    Raises:
        PredictError: The image has no pixels, the window is too small for the model, or the overlap
            is out of range.
    """
    if not height * width:
        raise PredictError(f"The image has no pixels: it is {height} x {width}.")
    if not 0 <= overlap < 0.5:
        raise PredictError(f"Windows overlap by a share from 0 up to 0.5, not by {overlap}.")
    if min(window) < multiple:
        raise PredictError(
            f"A window of {window[0]} x {window[1]} px is smaller than the {multiple} px whose "
            f"multiples the model takes. Use windows of {multiple} px or more."
        )
    sides = [most // multiple * multiple for most in window]
    steps = [_step(side, multiple) for side in sides]
    high, rows = _axis(height, sides[0], multiple, steps[0], overlap)
    wide, columns = _axis(width, sides[1], multiple, steps[1], overlap)
    return Grid(height, width, (high, wide), (steps[0], steps[1]), rows, columns)


def _step(side: int, multiple: int) -> int:
    """What windows begin at multiples of; small ones cannot afford to."""
    step = math.lcm(multiple, STEP)
    return step if side >= 4 * step else multiple


def _axis(
    length: int, side: int, multiple: int, step: int, overlap: float
) -> tuple[int, tuple[Place, ...]]:
    """Length and places of the windows along one axis."""
    padded = -(-length // multiple) * multiple
    if padded <= side:
        return padded, (Place(0, 0, padded, 0, 0),)
    left = -(-(padded - side) // step)
    side = padded - left * step
    count = -(-left // max(math.floor(side * (1 - overlap) / step), 1))
    starts = [i * left // count * step for i in range(count + 1)]
    # Seams lie in the middle of overlaps, and so far apart that no pixel has three windows.
    middles = [(start + following + side) // 2 for start, following in pairwise(starts)]
    apart = min((b - a for a, b in pairwise(middles)), default=side)
    shared = min(a + side - b for a, b in pairwise(starts))
    seam = min(shared, apart, round(side * overlap))
    begins = [0, *(middle - seam // 2 for middle in middles)]
    ends = [*(begin + seam for begin in begins[1:]), padded]
    rises, falls = [0, *[seam] * count], [*[seam] * count, 0]
    return side, tuple(map(Place, starts, begins, ends, rises, falls))


def blended(
    read: Read, run: Run, grid: Grid, *, batch: int = 1, row: int = 0
) -> Iterator[tuple[Window, Float[Tensor, "k h w"]]]:
    """Each part of the image once, with logits whose softmax is the blend of the windows'.

    Held are the sums of one window and of the overlap with the windows below and beside it,
    `Grid.held_bytes`, however large the image is.

    Args:
        read: Gives the pixels; it is asked only for what lies within the image. Beyond the right
            and bottom edge the last column and row are repeated.
        run: The model; where its logits lie the sums lie too.
        grid: Of the image.
        batch: Windows that are run together.
        row: Of windows to begin with, to go on where another run was cut off: results are those
            that a run from the beginning gives from there on.
    """
    # What the row above adds to the first rows has to be computed again.
    rows = grid.rows[max(row - 1, 0) :]
    for place, window, likely in _pieces(read, run, grid, rows, grid.columns, batch):
        if row and place is rows[0]:
            continue
        yield window, likely.clamp_min_(torch.finfo(likely.dtype).tiny).log_()


def _pieces(
    read: Read, run: Run, grid: Grid, rows: Sequence[Place], columns: Sequence[Place], batch: int
) -> Iterator[tuple[Place, Window, Float[Tensor, "k h w"]]]:
    """Each part once, with its row of windows and its probabilities."""
    below: Tensor | None = None
    for row in rows:
        above, below, beside = below, None, None
        for column, likely in _windows(read, run, grid, row, columns, batch):
            part = _weighted(likely, row, column)
            del likely
            if beside is not None:
                part[..., : column.rise] += beside
            own = column.end - column.begin - column.fall
            beside, part = part[..., own:].clone(), part[..., :own]
            across = slice(column.begin, column.begin + own)
            if above is not None:
                part[:, : row.rise] += above[..., across]
            done = row.end - row.begin - row.fall
            if row.fall:
                if below is None:
                    below = part.new_empty(len(part), row.fall, columns[-1].end)
                below[..., across] = part[:, done:]
            height = min(done, grid.height - row.begin)
            width = min(own, grid.width - column.begin)
            if height > 0 and width > 0:
                yield row, Window(row.begin, column.begin, height, width), part[:, :height, :width]


def _windows(
    read: Read, run: Run, grid: Grid, row: Place, columns: Sequence[Place], batch: int
) -> Iterator[tuple[Place, Float[Tensor, "k h w"]]]:
    """The probabilities of all windows of a row, one by one."""
    for first in range(0, len(columns), batch):
        some = columns[first : first + batch]
        images = np.stack([_patch(read, grid, row.start, column.start) for column in some])
        # Moved axes of an "n h w c" array are the channels_last format, which is the faster one.
        likely = _probabilities(run, torch.from_numpy(images).permute(0, 3, 1, 2))
        yield from zip(some, likely, strict=True)
        del images, likely  # or they would be held while the next ones are made


@torch.no_grad()
def _probabilities(run: Run, images: Tensor) -> Float[Tensor, "n k h w"]:
    logits = run(images)
    # At least float32, or a sum of bfloat16 values has two digits.
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(dim=1)


def _patch(read: Read, grid: Grid, top: int, left: int) -> Shaped[np.ndarray, "h w c"]:
    high, wide = grid.size
    # A window that lies in the padding altogether repeats the last row or column as well.
    first, before = min(top, grid.height - 1), min(left, grid.width - 1)
    height, width = min(high, grid.height - first), min(wide, grid.width - before)
    pixels = read(Window(first, before, height, width))
    return np.pad(pixels, ((0, high - height), (0, wide - width), (0, 0)), mode="edge")


def _weighted(
    likely: Float[Tensor, "k h w"], row: Place, column: Place
) -> Float[Tensor, "k part_h part_w"]:
    """What a window has a say in, times its weights."""
    part = likely[
        :,
        row.begin - row.start : row.end - row.start,
        column.begin - column.start : column.end - column.start,
    ].clone()
    part[:, : row.rise] *= _ramp(row.rise, part)[:, None]
    part[:, part.shape[1] - row.fall :] *= 1 - _ramp(row.fall, part)[:, None]
    part[..., : column.rise] *= _ramp(column.rise, part)
    part[..., part.shape[2] - column.fall :] *= 1 - _ramp(column.fall, part)
    return part


def _ramp(length: int, like: Tensor) -> Float[Tensor, " length"]:
    """Weights that rise from 0 to 1, at the middles of so many pixels."""
    middles = torch.arange(length, dtype=torch.float64) + 0.5
    weights: Tensor = torch.sin(middles / max(length, 1) * (math.pi / 2)).square()
    return weights.to(like.device, like.dtype)


@dataclass(frozen=True, slots=True)
class Seams:
    """How much classes depend on where windows lie; of several samples they add.

    Args:
        differing: Pixels whose class is another one.
        pixels: That were looked at.
    """

    differing: int = 0
    pixels: int = 0

    @property
    def share(self) -> float:
        """Of pixels that differ, in [0, 1]; 0 where there is no seam."""
        return self.differing / self.pixels if self.pixels else 0.0

    def __add__(self, other: "Seams") -> "Seams":
        return Seams(self.differing + other.differing, self.pixels + other.pixels)


def seam_difference(read: Read, run: Run, grid: Grid, *, places: int = 3) -> Seams:
    """How many pixels around seams have another class than one whole pass over the seam gives.

    Where four windows meet, or two, a window of their size is laid over the middle, which is the
    largest pass that fits, and its classes are compared with those of the blend.

    Args:
        read: As for `blended`.
        run: As for `blended`.
        grid: Of the image.
        places: Where that is done, evenly spread; each takes five passes, or up to ten.
    """
    meetings = list(product(_meetings(grid.rows), _meetings(grid.columns)))
    if meetings == [(None, None)]:
        return Seams()
    count = min(places, len(meetings))
    chosen = [meetings[(2 * i + 1) * len(meetings) // (2 * count)] for i in range(count)]
    return sum((_around(read, run, grid, *meeting) for meeting in chosen), Seams())


def _meetings(places: Sequence[Place]) -> list[int | None]:
    """Which windows have one behind them; None stands for the whole axis, if there is but one."""
    return [*range(len(places) - 1)] if len(places) > 1 else [None]


def _around(read: Read, run: Run, grid: Grid, row: int | None, column: int | None) -> Seams:
    top, rows = _over(grid.rows, grid.size[0], grid.steps[0], row)
    left, columns = _over(grid.columns, grid.size[1], grid.steps[1], column)
    whole = _probabilities(
        run, torch.from_numpy(_patch(read, grid, top, left)[None]).permute(0, 3, 1, 2)
    )
    expected = whole[0].max(dim=0).indices
    seams = Seams()
    for _, window, likely in _pieces(read, run, grid, rows, columns, batch=1):
        begin, before = max(window.top, top), max(window.left, left)
        end = min(window.top + window.height, top + grid.size[0])
        behind = min(window.left + window.width, left + grid.size[1])
        if begin >= end or before >= behind:
            continue
        got = likely[
            :,
            begin - window.top : end - window.top,
            before - window.left : behind - window.left,
        ]
        same = expected[begin - top : end - top, before - left : behind - left]
        differing = int((got.max(dim=0).indices != same).sum())
        seams += Seams(differing, same.numel())
    return seams


def _over(
    places: Sequence[Place], side: int, step: int, meeting: int | None
) -> tuple[int, list[Place]]:
    """Where a window lies whose middle is a seam, and all windows that have a say within it."""
    if meeting is None:
        return 0, list(places)
    between = (places[meeting].start + places[meeting + 1].start) // 2
    start = between // step * step
    said = [place for place in places if place.end > start and place.begin < start + side]
    return start, said
