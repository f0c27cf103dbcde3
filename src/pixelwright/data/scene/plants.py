"""Trees: woods, hedges, avenues, gardens, river banks, and some that stand alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pixelwright.data.scene import land as plan
from pixelwright.data.scene.ground import TREE, WOOD, Surface, crop_of
from pixelwright.data.scene.noise import key_of, smooth, uniform
from pixelwright.data.scene.stamp import cells, grid, offsets, patch_of, put
from pixelwright.types import Window

CELL = 10.0  # px of the grid that holds one tree at most in each cell


@dataclass(frozen=True, slots=True)
class Crown:
    y: float
    x: float
    radius: float
    draw: tuple[float, ...]


def grow(seed: int, surface: Surface, window: Window) -> None:
    """Draw the trees that touch the window."""
    y, x = grid(window)
    leaves = smooth(key_of(seed, 62), y, x, 3.4, 2) - 0.5
    for crown in crowns(seed, window):
        _grow(crown, surface, window, leaves)


def crowns(seed: int, window: Window) -> Iterator[Crown]:
    """Trees whose crown may be seen, in a fixed order."""
    h, y, x = cells(key_of(seed, 63), window, CELL, reach=16)
    spot = plan.survey(seed, y, x)
    chance, radius = _forestry(seed, spot, y, x, uniform(h, 3))
    room = (spot.road > radius * 0.45) & (spot.water > 1.5)
    draws = np.stack([uniform(h, 4 + k) for k in range(5)], axis=-1)
    for k in np.flatnonzero(room & (uniform(h, 20) < chance)):
        yield Crown(float(y[k]), float(x[k]), float(radius[k]), tuple(float(d) for d in draws[k]))


def _forestry(
    seed: int, spot: plan.Land, y: np.ndarray, x: np.ndarray, size: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Probability and radius of a tree at each place."""
    chance = np.full(y.shape, 0.0025, dtype=np.float32)
    radius = 4 + 5 * size
    country = ~spot.village
    copse = smooth(key_of(seed, 64), y, x, 150.0, 2) > 0.68
    chance = np.where(country & copse & (crop_of(spot.parcel) == 3), 0.5, chance)
    wood = country & (crop_of(spot.parcel) == WOOD) & (spot.border > 2) & (spot.end > 2)
    chance = np.where(wood, 0.93, chance)
    radius = np.where(wood, 5 + 6 * size, radius)
    hedge = country & (spot.stands == plan.HEDGE) & (spot.border < 4.5)
    hedge |= country & (spot.kind == plan.NONE) & (spot.offset < 5)
    chance = np.where(hedge, 0.75, chance)
    radius = np.where(hedge & ~wood, 3.5 + 3.5 * size, radius)
    avenue = (spot.kind == plan.MAIN) & (spot.road > 4) & (spot.road < 10)
    chance = np.where(avenue, np.maximum(chance, 0.16), chance)
    chance = np.where((spot.water > 1) & (spot.water < 13), np.maximum(chance, 0.3), chance)
    # Gardens: behind the houses, and along the borders of the lots.
    behind = spot.village & ((spot.road > 36) | (spot.end < 4))
    chance = np.where(spot.village, np.where(behind, 0.15, 0.0), chance)
    radius = np.where(spot.village, 2.6 + 4.4 * size, radius)
    fu, fv = plan.farm(spot.block)
    du, dv = np.abs(spot.u - fu), np.abs(spot.v - fv)
    yard = (du < 40) & (dv < 62)
    rim = yard & ((du > 32) | (dv > 53))
    chance = np.where(yard, np.where(rim, 0.35, 0.0), chance)
    return chance, radius


def _grow(c: Crown, surface: Surface, window: Window, leaves: np.ndarray) -> None:
    patch = patch_of(window, c.y, c.x, c.radius + 2)
    if patch is None:
        return
    dy, dx = offsets(window, patch, c.y, c.x)
    texture = leaves[patch]
    ratio = (dy * dy + dx * dx) / np.float32(c.radius * c.radius) + texture * np.float32(0.75)
    inside = ratio < 1
    dome = np.sqrt(np.clip(1 - ratio, 0, 1))
    conifer = c.draw[0] < 0.2
    if conifer:
        dome = 1 - np.sqrt(np.clip(ratio, 0, 1))
    trunk = c.radius * (0.8 + 0.9 * c.draw[1])
    height = np.float32(trunk) + dome * np.float32(c.radius * (1.5 if conifer else 0.95))
    height = height + texture * 2.5
    where = inside & (height > surface.height[patch])
    green = np.array(
        (
            0.075 + 0.075 * c.draw[2] * c.draw[3],
            0.125 + 0.085 * c.draw[2],
            0.055 + 0.03 * c.draw[3],
        ),
        dtype=np.float32,
    ) * np.float32(0.62 if conifer else 0.8 + 0.35 * c.draw[4])
    put(surface, patch, where, height, green[:, None, None] * (1 + 1.1 * texture), TREE)
