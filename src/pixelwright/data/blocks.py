"""One picture split in blocks: some for validation, the rest for training, a guard band between.

The arithmetic alone, on integers. Validation takes whole blocks in a knight's-move pattern, so that
they lie all over the picture; training takes all that is left beyond the guard, as rectangles.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool

from pixelwright.types import Window

SIDE = 64
"""Pixels. A smaller validation block holds too little context to be worth a score."""

GUARDS = 6
"""A block is this many guards wide or more: a 5 x 5 grid then keeps two thirds of the picture for
training and a fifth for validation, and the guard takes the rest."""

SLIVER = 4
"""A training window slimmer than a block by this factor is left out: it is mostly padding in any
crop, for two or three per cent of the picture."""

MOST = 32
"""Blocks along a side."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Blocks of a picture.

    Args:
        height: Pixels of the picture.
        width: Pixels of the picture.
        rows: Blocks from top to bottom.
        columns: Blocks from left to right.
    """

    height: int
    width: int
    rows: int
    columns: int

    @property
    def folds(self) -> int:
        """How many ways there are to choose the validation blocks; together they take each once."""
        return max(self.rows, self.columns)

    def validation(self, fold: int) -> list[tuple[int, int]]:
        """Row and column of the validation blocks: in a square grid one in each row and column."""
        if self.columns == 1:
            return [(fold, 0)]
        return [
            (row, (_knight(row, self.columns) + fold) % self.columns) for row in range(self.rows)
        ]

    def window(self, row: int, column: int) -> Window:
        top, bottom = (i * self.height // self.rows for i in (row, row + 1))
        left, right = (i * self.width // self.columns for i in (column, column + 1))
        return Window(top, left, bottom - top, right - left)


def _knight(row: int, columns: int) -> int:
    """Two columns on with each row, and each column once: no two such blocks touch (n >= 4)."""
    return 2 * row % columns if columns % 2 else (2 * row + 1) % (columns + 1)


def grid_for(height: int, width: int, guard: int, blocks: int = 0) -> Grid:
    """The grid for a picture.

    Args:
        height: Pixels.
        width: Pixels.
        guard: Pixels between training and validation.
        blocks: Blocks along a side, at least 2. With 0 there are 5 or 4, where they are at least
            `SIDE` pixels and `GUARDS` guards wide; in smaller or very long pictures 5 strips
            across the longer side.
    """
    if blocks:
        return Grid(height, width, blocks, blocks)
    for count in (5, 4):
        if min(height, width) // count >= max(SIDE, GUARDS * guard):
            return Grid(height, width, count, count)
    return Grid(height, width, 5, 1) if height > width else Grid(height, width, 1, 5)


def split(grid: Grid, fold: int, guard: int) -> tuple[list[Window], list[Window]]:
    """Windows to train on and windows to validate on.

    Between any training pixel and any validation pixel lie `guard` pixels or more, also diagonally.
    Windows do not overlap. Either list may be empty where the picture is too small.
    """
    blocks = [grid.window(row, column) for row, column in grid.validation(fold)]
    blocks = [window for window in blocks if window.height and window.width]
    free = _rectangles(grid.height, grid.width, [_grow(window, guard) for window in blocks])
    slim = min(grid.height // grid.rows, grid.width // grid.columns) // SLIVER
    worth = [window for window in free if min(window.height, window.width) >= slim]
    return worth or free[:1], [piece for window in blocks for piece in _pieces(window)]


def _pieces(window: Window) -> list[Window]:
    """A long validation block as up to 5 that are about square.

    Scores are drawn again by window for their interval, which one window alone would not have.
    """
    top, left, height, width = window
    count = min(5, max(window[2:]) // max(SIDE, min(window[2:]))) or 1
    if height >= width:
        edges = [i * height // count for i in range(count + 1)]
        return [Window(top + a, left, b - a, width) for a, b in pairwise(edges)]
    edges = [i * width // count for i in range(count + 1)]
    return [Window(top, left + a, height, b - a) for a, b in pairwise(edges)]


def _grow(window: Window, by: int) -> Window:
    return Window(window.top - by, window.left - by, window.height + 2 * by, window.width + 2 * by)


def _rectangles(height: int, width: int, holes: Sequence[Window]) -> list[Window]:
    """What is left of a picture without its holes, as rectangles, the largest first.

    Takes the largest rectangle that is free, again and again, until nothing is left.
    """
    rows = _edges(height, [(hole.top, hole.height) for hole in holes])
    columns = _edges(width, [(hole.left, hole.width) for hole in holes])
    free = np.ones((len(rows) - 1, len(columns) - 1), bool)
    for hole in holes:
        down = [hole.top <= y < hole.top + hole.height for y in rows[:-1]]
        across = [hole.left <= x < hole.left + hole.width for x in columns[:-1]]
        free[np.ix_(down, across)] = False
    found = []
    while free.any():
        top, bottom, left, right = _largest(free, rows, columns)
        free[top:bottom, left:right] = False
        height, width = rows[bottom] - rows[top], columns[right] - columns[left]
        found.append(Window(rows[top], columns[left], height, width))
    return found


def _edges(length: int, spans: Sequence[tuple[int, int]]) -> list[int]:
    """Where anything begins or ends along one axis, from 0 to `length`."""
    ends = {0, length}
    for start, size in spans:
        ends.update((min(max(start, 0), length), min(max(start + size, 0), length)))
    return sorted(ends)


def _largest(
    free: Bool[np.ndarray, "rows columns"], rows: Sequence[int], columns: Sequence[int]
) -> tuple[int, int, int, int]:
    """Top, bottom, left and right (in cells) of the free rectangle with the most pixels.

    For each bottom row, the free cells above it are bars; a rectangle ends where a lower bar
    begins.
    """
    best, where = 0, (0, 0, 0, 0)
    tops = [0] * free.shape[1]
    for bottom in range(free.shape[0]):
        tops = [top if free[bottom, j] else bottom + 1 for j, top in enumerate(tops)]
        open_bars: list[tuple[int, int]] = []
        for column, top in enumerate([*tops, bottom + 1]):
            left = column
            while open_bars and open_bars[-1][1] < top:
                left, above = open_bars.pop()
                area = (rows[bottom + 1] - rows[above]) * (columns[column] - columns[left])
                if area > best:
                    best, where = area, (above, bottom + 1, left, column)
            if not open_bars or open_bars[-1][1] > top:
                open_bars.append((left, top))
    return where
