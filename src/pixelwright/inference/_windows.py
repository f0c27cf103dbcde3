"""Convolutions and poolings by rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelwright.inference._rows import Rows, clipped, flat, rows_of


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
        return clipped(*self._seen(rows), height)

    def _padded(self, slab: Tensor, rows: Rows, height: int, value: float) -> tuple[Tensor, int]:
        """The rows under the windows, and the padding that is left to the operator."""
        first, stop = self._seen(rows)
        above, below = max(-first, 0), max(stop - height, 0)
        if above == below <= self.padding[0]:
            return slab, above
        return F.pad(slab, (0, 0, above, below), value=value), 0


@dataclass(frozen=True)
class Conv(_Windowed):
    """A convolution.

    Args:
        weight: "d c/groups kh kw".
        bias: "d", or None.
        groups: Of channels.
        relu: Whether a ReLU follows.
    """

    weight: Tensor
    bias: Tensor | None
    groups: int
    relu: bool = False

    def run(
        self, slabs: Sequence[Tensor], starts: Sequence[int], rows: Rows, heights: Sequence[int]
    ) -> Tensor:
        slab, above = self._padded(slabs[0], rows, heights[0], 0.0)
        padding = (above, self.padding[1])
        if self.relu and _fuses(slab, self.weight):
            fused: Tensor = torch.ops.mkldnn._convolution_pointwise(
                slab,
                self.weight,
                self.bias,
                padding,
                self.stride,
                self.dilation,
                self.groups,
                "relu",
                [],
                "",
            )
            return fused
        found = F.conv2d(
            slab, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )
        return found.relu_() if self.relu else found

    def workspace_bytes(self, given: int, rows: int, width: int) -> int:
        """Weights in an order of their own, and a padded input."""
        return self.weight.nbytes + (given if any(self.padding) else 0)


def _fuses(slab: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN computes a ReLU within a convolution; PyTorch calls that for Inductor only."""
    plain = slab.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return plain and slab.device.type == "cpu" and there and bool(torch.backends.mkldnn.enabled)


@dataclass(frozen=True)
class MaxPool(_Windowed):
    """A max pooling.

    Args:
        ceil: Whether a last window may begin inside the map and end outside.
        relu: Whether a ReLU follows.
    """

    ceil: bool
    relu: bool = False

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
        found = F.max_pool2d(slab, self.kernel, self.stride, padding, self.dilation, self.ceil)
        return found.relu_() if self.relu else found

    def overwrites(self, same: bool) -> bool:
        return self.kernel == self.stride and self.padding == (0, 0) and self.dilation == (1, 1)

    def run_over(
        self, slabs: Sequence[Tensor], starts: Sequence[int], rows: Rows, heights: Sequence[int]
    ) -> Tensor:
        if not self._whole(slabs[0], rows):
            return self.run(slabs, starts, rows, heights)
        return self._pooled(slabs[0], None)

    def writes(self, slabs: Sequence[Tensor], rows: Rows, spare: bool) -> bool:
        return spare and self.kernel[1] > 1 and self._whole(slabs[0], rows)

    def run_into(self, slabs: Sequence[Tensor], rows: Rows, out: Tensor) -> None:
        self._pooled(slabs[0], out)

    def _whole(self, slab: Tensor, rows: Rows) -> bool:
        """Whether rows of pixels divide into windows."""
        whole = slab.shape[2] == self.kernel[0] * (rows[1] - rows[0])
        whole = whole and slab.shape[3] % self.kernel[1] == 0
        return whole and slab.device.type == "cpu" and flat(slab) is not None

    def _pooled(self, slab: Tensor, out: Tensor | None) -> Tensor:
        """Over rows, within the slab, then over columns: on a CPU faster than `max_pool2d`."""
        (high, wide), channels, width = self.kernel, slab.shape[1], slab.shape[3]
        lines = flat(slab)
        assert lines is not None
        first = lines[::high]
        for row in range(1, high):
            torch.maximum(first, lines[row::high], out=first)
        groups = first.view(-1, width // wide, wide, channels)
        into = None if out is None else out[0].permute(1, 2, 0)
        found = groups[:, :, 0]
        for column in range(1, wide):
            found = torch.maximum(found, groups[:, :, column], out=into)
        found = found.relu_() if self.relu else found
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
        return clipped(first, (rows[1] - 1 + self.padding[0]) // self.stride[0] + 1, height)

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
        return rows_of(found, rows[0] - begin, rows[1] - begin)
