"""Two operators that run as one."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pixelwright.inference._rows import Node, Rows, workspace_bytes


@dataclass(frozen=True)
class Joined:
    """One operator behind another, which is computed anew for each band: a few rows for two bands.

    In return the map between them is not copied to where it would wait for the next band.

    Args:
        first: Takes one map.
        last: Takes the map of the first alone.
    """

    first: Node
    last: Node

    def height(self, heights: Sequence[int]) -> int:
        return self.last.op.height([self.first.op.height(heights)])

    def needs(self, number: int, rows: Rows, height: int) -> Rows:
        between = self._between(rows, self.first.op.height([height]))
        return self.first.op.needs(number, between, height)

    def _between(self, rows: Rows, height: int) -> Rows:
        """The rows between both.

        Args:
            rows: Of the result.
            height: Of the map between.
        """
        return self.last.op.needs(0, rows, height)

    def run(
        self, slabs: Sequence[Tensor], starts: Sequence[int], rows: Rows, heights: Sequence[int]
    ) -> Tensor:
        height = self.first.op.height(heights)
        between = self._between(rows, height)
        found = self.first.op.run(slabs, starts, between, heights)
        return self.last.op.run([found], [between[0]], rows, [height])

    def workspace_bytes(self, given: int, rows: int, width: int) -> int:
        """The map between both, and what they take in turn."""
        first, stop = self._between((rows, 2 * rows), 4 * rows)  # in the middle of a map
        held = (stop - first) * self.first.values * round(self.first.columns * width)
        ops = ((self.first.op, given, stop - first), (self.last.op, held, rows))
        return held + max(workspace_bytes(*one, width) for one in ops)
