"""Drawing one thing into its own small patch of a surface, where it is the highest."""

import numpy as np
from jaxtyping import Float64, UInt32

from pixelwright.data.scene.ground import Surface
from pixelwright.data.scene.noise import hashed, uniform
from pixelwright.types import Window

Patch = tuple[slice, slice]


def grid(window: Window) -> tuple[Float64[np.ndarray, "h 1"], Float64[np.ndarray, "1 w"]]:
    """The rows of a window as a column, and its columns as a row."""
    y = np.arange(window.top, window.top + window.height, dtype=np.float64)
    x = np.arange(window.left, window.left + window.width, dtype=np.float64)
    return y[:, None], x[None, :]


def patch_of(window: Window, y: float, x: float, radius: float) -> Patch | None:
    """The part of the window around a place, or None where they do not meet."""
    top = max(int(np.floor(y - radius)) - window.top, 0)
    left = max(int(np.floor(x - radius)) - window.left, 0)
    bottom = min(int(np.floor(y + radius)) + 2 - window.top, window.height)
    right = min(int(np.floor(x + radius)) + 2 - window.left, window.width)
    if top >= bottom or left >= right:
        return None
    return slice(top, bottom), slice(left, right)


def offsets(window: Window, patch: Patch, y: float, x: float) -> tuple[np.ndarray, np.ndarray]:
    """Offsets of the patch's pixels from (y, x)."""
    rows = np.arange(patch[0].start, patch[0].stop) + window.top
    columns = np.arange(patch[1].start, patch[1].stop) + window.left
    return (rows - y).astype(np.float32)[:, None], (columns - x).astype(np.float32)[None, :]


def put(
    surface: Surface,
    patch: Patch,
    where: np.ndarray,
    height: np.ndarray,
    paint: np.ndarray,
    kind: int,
) -> None:
    surface.height[patch][where] = height[where]
    surface.kind[patch][where] = kind
    surface.color[:, patch[0], patch[1]][:, where] = paint[:, where]


def cells(
    key: int, window: Window, cell: float, reach: int
) -> tuple[UInt32[np.ndarray, " n"], Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Hash and place (y, x) of one point in each grid cell within `reach` px of the window."""
    rows, columns = (
        np.arange(int((start - reach) // cell), int((start + length + reach) // cell) + 1)
        for start, length in ((window.top, window.height), (window.left, window.width))
    )
    h = hashed(key, rows[:, None], columns[None, :])
    y = (rows[:, None] + uniform(h, 1).astype(np.float64)) * cell
    x = (columns[None, :] + uniform(h, 2).astype(np.float64)) * cell
    return h.ravel(), y.ravel(), x.ravel()
