"""Houses on the lots of villages, and farmsteads in the country."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pixelwright.data.scene import land as plan
from pixelwright.data.scene.ground import ROOF, Surface, reflectance
from pixelwright.data.scene.land import BLOCK, LOT, VILLAGE_STRIP
from pixelwright.data.scene.noise import hashed, key_of, smooth, uniform
from pixelwright.data.scene.stamp import grid, offsets, patch_of, put
from pixelwright.types import Window

LARGEST = 60  # px from the middle of a building to its farthest corner, at most

ROOFS = reflectance(
    (168, 104, 80),
    (182, 124, 92),
    (142, 92, 76),
    (122, 118, 116),
    (98, 98, 102),
    (146, 136, 124),
    (186, 182, 174),
)
PANEL = reflectance((44, 52, 78))[0]


@dataclass(frozen=True, slots=True)
class Building:
    y: float
    x: float
    along: tuple[float, float]
    half_length: float
    half_depth: float
    draw: tuple[float, ...]
    flat: bool


def build(seed: int, surface: Surface, window: Window) -> None:
    """Draw the buildings that touch the window."""
    y, x = grid(window)
    rough = smooth(key_of(seed, 61), y, x, 2.3, 2) - 0.5
    for building in buildings(seed, window):
        _raise(building, surface, window, rough)


def buildings(seed: int, window: Window) -> Iterator[Building]:
    """Those of villages and farms near enough to be seen, in a fixed order."""
    reach = int(1.2 * BLOCK + plan.BEND + LARGEST)
    rows = np.arange(
        int((window.top - reach) // BLOCK), int((window.top + window.height + reach) // BLOCK) + 1
    )
    columns = np.arange(
        int((window.left - reach) // BLOCK), int((window.left + window.width + reach) // BLOCK) + 1
    )
    h, sy, sx, _ = plan.sites(seed, rows, columns)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            block = h[i : i + 1, j]
            lots = _village_lots(block) if plan.is_village(block)[0] else _farm_lots(block)
            if lots[0].size:
                site = (row * BLOCK + float(sy[i, j]), column * BLOCK + float(sx[i, j]))
                yield from _houses(seed, window, block, site, *lots)


def _village_lots(block: np.ndarray) -> tuple[np.ndarray, ...]:
    """Middle (u, v) and hash of each lot, and whether it is a barn."""
    strips = np.arange(-8, 8)[:, None] + np.zeros((1, 26), dtype=np.int64)
    pieces = np.arange(-13, 13)[None, :] + np.zeros_like(strips)
    lot = plan.parcel_of(np.broadcast_to(block, strips.shape), strips, pieces)
    back = 20 + 8 * uniform(lot, 21)
    odd = (strips & 1) == 1
    u = (strips + odd) * VILLAGE_STRIP + np.where(odd, -back, back)
    v = (pieces + 0.5 - uniform(block, 8)) * LOT + 5 * (uniform(lot, 22) - 0.5)
    kept = uniform(lot, 23) < 0.93
    return u[kept], v[kept], lot[kept], np.zeros(int(kept.sum()), dtype=bool)


def _farm_lots(block: np.ndarray) -> tuple[np.ndarray, ...]:
    fu, fv = plan.farm(block)
    if fu[0] > 1e5:
        return tuple(np.zeros(0, dtype=t) for t in (np.float32, np.float32, np.uint32, bool))
    number = np.arange(4)
    lot = hashed(block, number, number)
    u = fu + np.where(number % 2 == 0, -19, 19) + 6 * (uniform(lot, 21) - 0.5)
    v = fv + np.where(number < 2, -28, 28) + 10 * (uniform(lot, 22) - 0.5)
    kept = (uniform(lot, 23) < 0.8) | (number == 0)
    return u[kept], v[kept], lot[kept], (number < 3)[kept]


def _houses(
    seed: int,
    window: Window,
    block: np.ndarray,
    site: tuple[float, float],
    u: np.ndarray,
    v: np.ndarray,
    lot: np.ndarray,
    barn: np.ndarray,
) -> Iterator[Building]:
    ny, nx = (float(part[0]) for part in plan.direction(block))
    wy = site[0] + v.astype(np.float64) * ny + u.astype(np.float64) * nx
    wx = site[1] + v.astype(np.float64) * nx - u.astype(np.float64) * ny
    y, x = plan.unbent(seed, wy, wx)
    length = np.where(barn, 17 + 11 * uniform(lot, 24), 9.5 + 5.5 * uniform(lot, 24))
    depth = np.where(barn, 8.5 + 4 * uniform(lot, 25), 7 + 3 * uniform(lot, 25))
    spot = plan.survey(seed, y, x)
    fits = (spot.block == block) & (spot.road > depth + 3) & (spot.water > length + 2)
    near = (y > window.top - LARGEST) & (y < window.top + window.height + LARGEST)
    near &= (x > window.left - LARGEST) & (x < window.left + window.width + LARGEST)
    draws = np.stack([uniform(lot, 26 + k) for k in range(10)], axis=-1)
    for k in np.flatnonzero(fits & near):
        lean = (float(draws[k, 0]) - 0.5) * 0.12
        along = (ny - lean * nx, nx + lean * ny)
        norm = float(np.sqrt(along[0] ** 2 + along[1] ** 2))
        if draws[k, 1] < 0.25 and not barn[k]:
            along = (-along[1], along[0])
        yield Building(
            y=float(y[k]),
            x=float(x[k]),
            along=(along[0] / norm, along[1] / norm),
            half_length=float(length[k]),
            half_depth=float(depth[k]),
            draw=tuple(float(d) for d in draws[k]),
            flat=bool(draws[k, 2] < 0.12),
        )


def _raise(b: Building, surface: Surface, window: Window, rough: np.ndarray) -> None:
    patch = patch_of(window, b.y, b.x, b.half_length + b.half_depth + 12)
    if patch is None:
        return
    dy, dx = offsets(window, patch, b.y, b.x)
    s = dy * b.along[0] + dx * b.along[1]
    t = dx * b.along[0] - dy * b.along[1]
    roof, base = _gable(b, s, t, b.half_length, b.half_depth, hip=b.draw[3] < 0.3)
    inside = base
    if b.draw[4] < 0.45 and not b.flat:
        # A wing at a right angle: together an L or a T.
        shift = (b.draw[5] - 0.5) * b.half_length
        reach = b.half_depth + 4 + 5 * b.draw[6]
        side = 1 if b.draw[6] < 0.5 else -1
        wing, over = _gable(
            b, side * t - reach / 2, s - shift, reach / 2 + 1, b.half_depth * 0.72, hip=False
        )
        roof = np.where(over, np.maximum(roof, wing), roof)
        inside = base | over
    texture = rough[patch]
    color = ROOFS[int(b.draw[7] * len(ROOFS))] * np.float32(0.75 + 0.5 * b.draw[8])
    tiles = np.abs(t * 0.42 - np.floor(t * 0.42) - 0.5) * 4 - 1
    tone = 1 + 0.4 * texture + 0.05 * tiles
    if b.flat:
        color = ROOFS[3 + int(b.draw[7] * 4)]
        rim = np.minimum(b.half_length - np.abs(s), b.half_depth - np.abs(t))
        tone = np.where(rim < 1.6, 1.35, 1 + 0.5 * texture)
    paint = color[:, None, None] * tone
    if b.draw[9] < 0.2:
        panels = (np.abs(s) < b.half_length * 0.6) & (t > 1.5) & (t < b.half_depth * 0.75)
        paint = np.where(panels, PANEL[:, None, None], paint)
    chimney = (np.abs(s - b.half_length * 0.4) < 1.4) & (np.abs(t - 2.0) < 1.4)
    if not b.flat and b.draw[8] < 0.7:
        roof = roof + 4 * chimney
        paint = np.where(chimney, ROOFS[2][:, None, None], paint)
    where = inside & (roof > surface.height[patch])
    put(surface, patch, where, roof + 0.5 * texture, paint, ROOF)


def _gable(
    b: Building, s: np.ndarray, t: np.ndarray, length: float, depth: float, *, hip: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Height and extent of a roof with its ridge along `s`."""
    inside = (np.abs(s) < length) & (np.abs(t) < depth)
    eaves = 7 + 4 * b.draw[5]
    if b.flat:
        return np.full(inside.shape, eaves, dtype=np.float32), inside
    rise = 1 - np.abs(t) / depth
    if hip:
        rise = np.minimum(rise, (length - np.abs(s)) / depth)
    return np.float32(eaves) + rise * np.float32(depth * 0.62), inside
