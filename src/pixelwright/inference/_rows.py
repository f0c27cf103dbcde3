"""What an operator by rows is: which rows of its inputs it needs, and how it computes its own.

Rows are counted from the top of the whole map, so that a step neither knows nor cares how the map
is cut into bands. Half-open ranges throughout.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

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


def clipped(first: int, stop: int, height: int) -> Rows:
    """The part of some rows that lies in a map; one row of it at least."""
    first = min(max(first, 0), height - 1)
    return first, max(min(stop, height), first + 1)


def rows_of(map_: Tensor, first: int, stop: int) -> Tensor:
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


@runtime_checkable
class Writing(Protocol):
    """A `RowOp` that can compute into memory that it is given."""

    def writes(self, slabs: Sequence[Tensor], rows: Rows, spare: bool) -> bool:
        """Whether it can for these.

        Args:
            slabs: Of each input.
            rows: Of the output.
            spare: Whether it may leave anything in the first slab.
        """
        ...

    def run_into(self, slabs: Sequence[Tensor], rows: Rows, out: Tensor) -> None:
        """These rows of the output, where `writes`.

        Args:
            slabs: Of each input.
            rows: Of the output.
            out: Of the shape of the result; channels lie last.
        """
        ...


@runtime_checkable
class WithWorkspace(Protocol):
    """A `RowOp` that takes memory besides its input and its result."""

    def workspace_bytes(self, given: int, rows: int, width: int) -> int:
        """How much.

        Args:
            given: Bytes of the rows that are added to its input.
            rows: That are added to its result, at least one.
            width: Bytes of a row of the image if it had one channel.
        """
        ...


def workspace_bytes(op: RowOp, given: int, rows: int, width: int) -> int:
    """What any operator takes; arguments as in `WithWorkspace`, but there may be no rows."""
    return op.workspace_bytes(given, rows, width) if isinstance(op, WithWorkspace) and rows else 0


def flat(map_: Tensor) -> Tensor | None:
    """A map "1 c h w" as "h wc", a view; None where its values do not lie so.

    Loops over long rows are faster than loops over the few channels of a pixel.
    """
    if map_.ndim != 4 or len(map_) != 1:
        return None
    last = map_[0].permute(1, 2, 0)
    return last.flatten(1) if last.is_contiguous() else None
