"""Resizing, padding and pixel shuffles by rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelwright.inference._rows import Rows, clipped, rows_of


@dataclass(frozen=True)
class Grow:
    """Interpolation to `factor` times the size, over half-pixel centres.

    Args:
        mode: nearest, bilinear or bicubic; a whole factor upwards takes nearest-exact likewise.
        factor: Of rows and of columns.
    """

    mode: str
    factor: tuple[int, int]

    def height(self, heights: Sequence[int]) -> int:
        return heights[0] * self.factor[0]

    def needs(self, number: int, rows: Rows, height: int) -> Rows:
        factor = self.factor[0]
        first, last = rows[0], rows[1] - 1
        if factor == 1 or self.mode == "nearest":
            return first // factor, last // factor + 1
        # floor((i + 1/2) / factor - 1/2), in whole numbers.
        below, above = (((2 * row + 1) - factor) // (2 * factor) for row in (first, last))
        more = {"bilinear": 0, "bicubic": 1}[self.mode]
        return clipped(below - more, above + 2 + more, height)

    def run(
        self, slabs: Sequence[Tensor], starts: Sequence[int], rows: Rows, heights: Sequence[int]
    ) -> Tensor:
        high, wide = self.factor
        slab, begin = slabs[0], starts[0] * high
        size = (slab.shape[2] * high, slab.shape[3] * wide)
        corners = None if self.mode == "nearest" else False
        found = F.interpolate(slab, size=size, mode=self.mode, align_corners=corners)
        return rows_of(found, rows[0] - begin, rows[1] - begin)


@dataclass(frozen=True)
class Shrink:
    """Interpolation to a whole part of the size: each group of `factor` rows gives one.

    Args:
        mode: nearest, nearest-exact, bilinear or bicubic.
        factor: Of rows and of columns.
    """

    mode: str
    factor: tuple[int, int]

    def height(self, heights: Sequence[int]) -> int:
        return heights[0] // self.factor[0]

    def needs(self, number: int, rows: Rows, height: int) -> Rows:
        return rows[0] * self.factor[0], rows[1] * self.factor[0]

    def run(
        self, slabs: Sequence[Tensor], starts: Sequence[int], rows: Rows, heights: Sequence[int]
    ) -> Tensor:
        slab = slabs[0]
        size = (slab.shape[2] // self.factor[0], slab.shape[3] // self.factor[1])
        corners = False if self.mode == "bilinear" else None
        return F.interpolate(slab, size=size, mode=self.mode, align_corners=corners)


@dataclass(frozen=True)
class Shuffle:
    """Channels become `factor` x `factor` pixels.

    Args:
        factor: Of rows and of columns.
        before: Rows and columns that the first pixels begin before the map; as many are missing of
            the last ones.
        planes: Channels of the result, if each of them shall lie by itself, not each pixel; more
            channels of the input are left out.
    """

    factor: int
    before: int = 0
    planes: int | None = None

    def height(self, heights: Sequence[int]) -> int:
        return (heights[0] - (self.before > 0)) * self.factor

    def needs(self, number: int, rows: Rows, height: int) -> Rows:
        first, last = rows[0] + self.before, rows[1] - 1 + self.before
        return first // self.factor, last // self.factor + 1

    def run(
        self, slabs: Sequence[Tensor], starts: Sequence[int], rows: Rows, heights: Sequence[int]
    ) -> Tensor:
        begin = starts[0] * self.factor - self.before
        found = rows_of(self._placed(slabs[0]), rows[0] - begin, rows[1] - begin)
        return found[..., self.before : self.before - self.factor] if self.before else found

    def _placed(self, slab: Tensor) -> Tensor:
        """`pixel_shuffle`, into the default memory format if so wished."""
        if self.planes is None:
            return F.pixel_shuffle(slab, self.factor)
        number, _, height, width = slab.shape
        parts = slab[:, : self.planes * self.factor**2]
        # n c y x h w
        parts = parts.view(number, self.planes, self.factor, self.factor, height, width)
        placed = parts.permute(0, 1, 4, 2, 5, 3).contiguous()  # n c h y w x
        return placed.flatten(4).flatten(2, 3)


@dataclass(frozen=True)
class Unshuffle:
    """`factor` x `factor` pixels become channels."""

    factor: int

    def height(self, heights: Sequence[int]) -> int:
        return heights[0] // self.factor

    def needs(self, number: int, rows: Rows, height: int) -> Rows:
        return rows[0] * self.factor, rows[1] * self.factor

    def run(
        self, slabs: Sequence[Tensor], starts: Sequence[int], rows: Rows, heights: Sequence[int]
    ) -> Tensor:
        return F.pixel_unshuffle(slabs[0], self.factor)


@dataclass(frozen=True)
class Pad:
    """Rows and columns added, or with negative numbers taken away.

    Args:
        mode: constant, reflect or replicate.
        sides: Left, right, above, below.
        value: Of a constant padding.
    """

    mode: str
    sides: tuple[int, int, int, int]
    value: float = 0.0

    def height(self, heights: Sequence[int]) -> int:
        return heights[0] + self.sides[2] + self.sides[3]

    def _source(self, row: int, height: int) -> int:
        """The row that a row of the output repeats; outside the map where it is a constant."""
        row -= self.sides[2]
        if self.mode == "replicate":
            return min(max(row, 0), height - 1)
        if self.mode == "reflect":
            row = abs(row)
            return 2 * (height - 1) - row if row >= height else row
        return row

    def needs(self, number: int, rows: Rows, height: int) -> Rows:
        edges = {rows[0], rows[1] - 1}
        # The map's own first and last rows are where a mirrored range turns around.
        turns = {self.sides[2], self.sides[2] + height - 1}
        found = [
            self._source(row, height)
            for row in edges | {t for t in turns if rows[0] <= t < rows[1]}
        ]
        return clipped(min(found), max(found) + 1, height)

    def run(
        self, slabs: Sequence[Tensor], starts: Sequence[int], rows: Rows, heights: Sequence[int]
    ) -> Tensor:
        slab, height = slabs[0], heights[0]
        left, right = self.sides[:2]
        if self.mode == "constant":
            first, stop = rows[0] - self.sides[2], rows[1] - self.sides[2]
            inner = max(first, 0), min(stop, height)
            if inner[0] >= inner[1]:
                # All of it is padding.
                wide = slab.shape[3] + left + right
                return slab.new_full((*slab.shape[:2], stop - first, wide), self.value)
            slab = rows_of(slab, inner[0] - starts[0], inner[1] - starts[0])
            sides = (left, right, inner[0] - first, stop - inner[1])
            return F.pad(slab, sides, value=self.value)
        wanted = [self._source(row, height) - starts[0] for row in range(*rows)]
        if wanted == list(range(wanted[0], wanted[0] + len(wanted))):
            slab = rows_of(slab, wanted[0], wanted[0] + len(wanted))
        else:
            slab = slab[:, :, torch.tensor(wanted, device=slab.device)]
        return F.pad(slab, (left, right, 0, 0), mode=self.mode) if left or right else slab
