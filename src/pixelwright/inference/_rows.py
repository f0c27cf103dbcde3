"""Which rows of its inputs an operator needs for some rows of its output, and how it computes them.

Rows are counted from the top of the whole map, so that a step neither knows nor cares how the map
is cut into bands. Half-open ranges throughout.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

Rows = tuple[int, int]
"""The first row, and the one behind the last."""


@runtime_checkable
class RowOp(Protocol):
    """An operator that can be run for some rows of its output."""

    def height(self, heights: Sequence[int]) -> int:
        """Rows of the output, given those of the inputs."""
        ...

    def needs(self, number: int, rows: Rows, height: int) -> Rows:
        """What it needs of an input for these rows of its output.

        Args:
            number: Of the input.
            rows: Of the output, at least one.
            height: Of that input.
        """
        ...

    def run(
        self, slabs: Sequence[Tensor], starts: Sequence[int], rows: Rows, heights: Sequence[int]
    ) -> Tensor:
        """These rows of the output.

        Args:
            slabs: Of each input just the rows that are needed.
            starts: The first row of each slab.
            rows: Of the output.
            heights: Of each input.
        """
        ...


def _clipped(first: int, stop: int, height: int) -> Rows:
    first = min(max(first, 0), height - 1)
    return first, max(min(stop, height), first + 1)


def _rows_of(map_: Tensor, first: int, stop: int) -> Tensor:
    """Rows of "n c h w"; a view."""
    return map_ if (first, stop) == (0, map_.shape[2]) else map_[:, :, first:stop]


@dataclass(frozen=True)
class Node:
    """An operator and the maps that it takes.

    Args:
        op: How it is computed.
        inputs: Numbers of maps, at least one.
        dim: Where the rows of its result lie.
        values: Of its result, for each of its rows and columns.
        columns: Of its result, for each column of the image.
    """

    op: RowOp
    inputs: tuple[int, ...]
    dim: int
    values: int
    columns: float


@runtime_checkable
class Overwriting(Protocol):
    """A `RowOp` that can compute within the memory of its first input."""

    def overwrites(self, same: bool) -> bool:
        """Whether it ever does.

        Args:
            same: Whether its result is as large as that input.
        """
        ...

    def run_over(
        self, slabs: Sequence[Tensor], starts: Sequence[int], rows: Rows, heights: Sequence[int]
    ) -> Tensor:
        """As `RowOp.run`; what the first slab holds afterwards is left open."""
        ...


def flat(map_: Tensor) -> Tensor | None:
    """A map "1 c h w" as "h wc", a view; None where its values do not lie so.

    Loops over long rows are faster than loops over the few channels of a pixel.
    """
    if map_.ndim != 4 or len(map_) != 1:
        return None
    last = map_[0].permute(1, 2, 0)
    return last.flatten(1) if last.is_contiguous() else None


@dataclass(frozen=True)
class _Windowed:
    """Windows of `kernel` rows, `stride` apart, `dilation` between their rows."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    def height(self, heights: Sequence[int]) -> int:
        span = self.dilation[0] * (self.kernel[0] - 1)
        return (heights[0] + 2 * self.padding[0] - span - 1) // self.stride[0] + 1

    def _seen(self, rows: Rows) -> Rows:
        """The rows under the windows; some may lie outside the map."""
        first, last = (row * self.stride[0] - self.padding[0] for row in (rows[0], rows[1] - 1))
        return first, last + self.dilation[0] * (self.kernel[0] - 1) + 1

    def needs(self, number: int, rows: Rows, height: int) -> Rows:
        return _clipped(*self._seen(rows), height)

    def _padded(self, slab: Tensor, rows: Rows, height: int, value: float) -> tuple[Tensor, int]:
        """The rows under the windows, and the padding that is left to the operator."""
        first, stop = self._seen(rows)
        above, below = max(-first, 0), max(stop - height, 0)
        if above == below <= self.padding[0]:
            return slab, above
        return F.pad(slab, (0, 0, above, below), value=value), 0


@dataclass(frozen=True)
class Conv(_Windowed):
    weight: Tensor
    bias: Tensor | None
    groups: int

    def run(
        self, slabs: Sequence[Tensor], starts: Sequence[int], rows: Rows, heights: Sequence[int]
    ) -> Tensor:
        slab, above = self._padded(slabs[0], rows, heights[0], 0.0)
        padding = (above, self.padding[1])
        return F.conv2d(
            slab, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )


@dataclass(frozen=True)
class MaxPool(_Windowed):
    ceil: bool

    def height(self, heights: Sequence[int]) -> int:
        rows = super().height(heights)
        span = self.dilation[0] * (self.kernel[0] - 1) + 1
        left = (heights[0] + 2 * self.padding[0] - span) % self.stride[0]
        # With ceil_mode a last window may begin inside the map and end outside.
        begins = rows * self.stride[0] - self.padding[0]
        return rows + (self.ceil and left > 0 and begins < heights[0])

    def run(
        self, slabs: Sequence[Tensor], starts: Sequence[int], rows: Rows, heights: Sequence[int]
    ) -> Tensor:
        slab, above = self._padded(slabs[0], rows, heights[0], float("-inf"))
        padding = (above, self.padding[1])
        return F.max_pool2d(slab, self.kernel, self.stride, padding, self.dilation, self.ceil)

    def overwrites(self, same: bool) -> bool:
        return self.kernel == self.stride and self.padding == (0, 0) and self.dilation == (1, 1)

    def run_over(
        self, slabs: Sequence[Tensor], starts: Sequence[int], rows: Rows, heights: Sequence[int]
    ) -> Tensor:
        """Over rows, then over columns: on a CPU faster than `max_pool2d`."""
        slab, (high, wide) = slabs[0], self.kernel
        lines, channels, width = flat(slab), slab.shape[1], slab.shape[3]
        whole = slab.shape[2] == high * (rows[1] - rows[0]) and width % wide == 0
        if lines is None or not whole or slab.device.type != "cpu":
            return self.run(slabs, starts, rows, heights)
        first = lines[::high]
        for row in range(1, high):
            torch.maximum(first, lines[row::high], out=first)
        groups = first.view(-1, width // wide, wide, channels)
        found = groups[:, :, 0]
        for column in range(1, wide):
            found = torch.maximum(found, groups[:, :, column])
        return found.permute(2, 0, 1)[None]


@dataclass(frozen=True)
class AvgPool(_Windowed):
    """Padding counts as zeros, or there is none."""

    divisor: int | None

    def run(
        self, slabs: Sequence[Tensor], starts: Sequence[int], rows: Rows, heights: Sequence[int]
    ) -> Tensor:
        slab, above = self._padded(slabs[0], rows, heights[0], 0.0)
        padding = (above, self.padding[1])
        return F.avg_pool2d(slab, self.kernel, self.stride, padding, divisor_override=self.divisor)


@dataclass(frozen=True)
class Transposed:
    """A transposed convolution: row j writes to `j * stride - padding + dilation * m`."""

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, int]
    padding: tuple[int, int]
    output_padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    @property
    def _span(self) -> int:
        return self.dilation[0] * (self.weight.shape[2] - 1)

    def height(self, heights: Sequence[int]) -> int:
        rows = (heights[0] - 1) * self.stride[0] - 2 * self.padding[0] + self._span + 1
        return rows + self.output_padding[0]

    def needs(self, number: int, rows: Rows, height: int) -> Rows:
        # A kernel smaller than the stride leaves rows that no row writes to.
        at = rows[0] + self.padding[0]
        first = min(-((self._span - at) // self.stride[0]), at // self.stride[0])
        return _clipped(first, (rows[1] - 1 + self.padding[0]) // self.stride[0] + 1, height)

    def run(
        self, slabs: Sequence[Tensor], starts: Sequence[int], rows: Rows, heights: Sequence[int]
    ) -> Tensor:
        slab, stride = slabs[0], self.stride[0]
        begin = starts[0] * stride - self.padding[0]
        made = (slab.shape[2] - 1) * stride + self._span + 1
        missing = max(rows[1] - begin - made, 0)
        found = F.conv_transpose2d(
            slab,
            self.weight,
            self.bias,
            self.stride,
            (0, self.padding[1]),
            (missing, self.output_padding[1]),
            self.groups,
            self.dilation,
        )
        return _rows_of(found, rows[0] - begin, rows[1] - begin)


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
        return _clipped(below - more, above + 2 + more, height)

    def run(
        self, slabs: Sequence[Tensor], starts: Sequence[int], rows: Rows, heights: Sequence[int]
    ) -> Tensor:
        high, wide = self.factor
        slab, begin = slabs[0], starts[0] * high
        size = (slab.shape[2] * high, slab.shape[3] * wide)
        corners = None if self.mode == "nearest" else False
        found = F.interpolate(slab, size=size, mode=self.mode, align_corners=corners)
        return _rows_of(found, rows[0] - begin, rows[1] - begin)


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
        found = _rows_of(self._placed(slabs[0]), rows[0] - begin, rows[1] - begin)
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
        return _clipped(min(found), max(found) + 1, height)

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
            slab = _rows_of(slab, inner[0] - starts[0], inner[1] - starts[0])
            sides = (left, right, inner[0] - first, stop - inner[1])
            return F.pad(slab, sides, value=self.value)
        wanted = [self._source(row, height) - starts[0] for row in range(*rows)]
        if wanted == list(range(wanted[0], wanted[0] + len(wanted))):
            slab = _rows_of(slab, wanted[0], wanted[0] + len(wanted))
        else:
            slab = slab[:, :, torch.tensor(wanted, device=slab.device)]
        return F.pad(slab, (left, right, 0, 0), mode=self.mode) if left or right else slab
