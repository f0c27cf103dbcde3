"""The plan of the land: blocks between roads, their parcels and streets, and a river.

Blocks are the cells of a jittered grid, bent by slow noise; their borders are roads, lanes, tracks
or hedges. A block is divided into strips along a direction of its own: fields in the country, rows
of lots between streets in a village.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8, UInt32

from pixelwright.data.scene.noise import hashed, key_of, mixed, smooth, uniform

BLOCK = 430.0  # px between the sites of neighbouring blocks; a pixel is about half a metre
BEND = 48.0  # px by which noise moves the borders
# With sites at most 0.28 of a block off the centre, whatever lies within 40 px of a border is
# closest to two sites of the 3 x 3 around it, so nine candidates are enough.
JITTER = 0.28

NONE, MAIN, LANE, TRACK, STREET = range(5)
HALF_WIDTH = np.array([-8.0, 7.0, 4.5, 2.8, 5.0], dtype=np.float32)  # of a road, by kind, in px
OPEN, MARGIN, HEDGE, DITCH = range(4)  # what stands on the border of two parcels

LOT = 38.0  # px of a village lot along its street
VILLAGE_STRIP = 64.0  # px from a street to the backs of its lots


@dataclass(frozen=True)
class Land:
    """What the plan says about each of many places; all arrays have one shape.

    Args:
        block: A hash that names the block.
        village: Whether the block is one.
        u: Place across the strips of the block, in px from its site.
        v: Place along them.
        road: Distance to the nearest road surface in px, negative on it.
        kind: Of that road.
        offset: Distance from the middle of that road.
        along: Place along that road, in px.
        parcel: A hash that names the parcel (or the lot in a village).
        border: Distance to the border of the parcel along its long sides, in px.
        stands: What stands on that border.
        end: Distance to its short sides.
        water: Distance to the river bank in px, negative in the water.
    """

    block: UInt32[np.ndarray, "*s"]
    village: Bool[np.ndarray, "*s"]
    u: Float32[np.ndarray, "*s"]
    v: Float32[np.ndarray, "*s"]
    road: Float32[np.ndarray, "*s"]
    kind: UInt8[np.ndarray, "*s"]
    offset: Float32[np.ndarray, "*s"]
    along: Float32[np.ndarray, "*s"]
    parcel: UInt32[np.ndarray, "*s"]
    border: Float32[np.ndarray, "*s"]
    stands: UInt8[np.ndarray, "*s"]
    end: Float32[np.ndarray, "*s"]
    water: Float32[np.ndarray, "*s"]


def survey(seed: int, y: np.ndarray, x: np.ndarray) -> Land:
    """The plan at the places (y, x), given as a column and a row or as two equal shapes."""
    wy, wx = bent(seed, y, x)
    blocks = _blocks(seed, wy, wx)
    strips = _strips(blocks)
    water = _river(seed, y, x)
    street = strips.pop("street")
    on_street = street < blocks["road"]
    road = np.where(on_street, street, blocks["road"])
    return Land(
        block=blocks["block"],
        village=blocks["village"],
        u=blocks["u"],
        v=blocks["v"],
        road=road,
        kind=np.where(on_street, np.uint8(STREET), blocks["kind"]),
        offset=np.where(on_street, street + HALF_WIDTH[STREET], blocks["offset"]),
        along=np.where(on_street, blocks["v"], blocks["along"]),
        water=water,
        **strips,
    )


def bent(seed: int, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the straight plan has the places (y, x) of the picture."""
    moves = [
        (smooth(key_of(seed, 11 + axis), y, x, 330.0) - 0.5) * (2 * BEND)
        + (smooth(key_of(seed, 13 + axis), y, x, 75.0) - 0.5) * 7.0
        for axis in (0, 1)
    ]
    return y + moves[0], x + moves[1]


def unbent(seed: int, wy: np.ndarray, wx: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `bent`, to a fraction of a pixel."""
    y, x = wy, wx
    for _ in range(6):
        by, bx = bent(seed, y, x)
        y, x = y + (wy - by), x + (wx - bx)
    return y, x


def direction(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The unit vector (y, x) along the strips of a block, from its hash."""
    t = uniform(block, 1) * 2 - 1
    # The rational points of the circle: no sine, so the same on every machine.
    return (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)


def parcel_of(block: np.ndarray, strip: np.ndarray, piece: np.ndarray) -> np.ndarray:
    """The hash that names a parcel: a strip of a block, and the piece along it."""
    return hashed(hashed(block, strip, strip), piece, strip)


def farm(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place (u, v) of the farmstead of each block; far outside where there is none."""
    none = is_village(block) | (uniform(block, 9) > 0.55)
    u = (uniform(block, 10) - 0.5) * np.float32(0.5 * BLOCK)
    v = (uniform(block, 11) - 0.5) * np.float32(0.5 * BLOCK)
    return np.where(none, np.float32(1e6), u), np.where(none, np.float32(1e6), v)


def is_village(seed_of_block: np.ndarray) -> np.ndarray:
    return np.asarray(uniform(seed_of_block, 2) < 0.24)


class Sites(NamedTuple):
    """The blocks of a rectangle of grid cells: hash, place within the cell in px, region."""

    hash: UInt32[np.ndarray, "rows columns"]
    y: Float32[np.ndarray, "rows columns"]
    x: Float32[np.ndarray, "rows columns"]
    region: UInt32[np.ndarray, "rows columns"]


def sites(seed: int, rows: np.ndarray, columns: np.ndarray) -> Sites:
    """The blocks of the grid cells `rows` x `columns`."""
    rows, columns = rows[:, None], columns[None, :]
    h = hashed(key_of(seed, 21), rows, columns)
    y = (0.5 + (uniform(h, 3) * 2 - 1) * JITTER) * np.float32(BLOCK)
    x = (0.5 + (uniform(h, 4) * 2 - 1) * JITTER) * np.float32(BLOCK)
    # Main roads run between regions, which are groups of blocks, so that they never end nowhere.
    shift = hashed(key_of(seed, 22), rows // 2, np.zeros_like(rows)) & np.uint32(1)
    region = hashed(key_of(seed, 23), rows // 2, (columns + shift.astype(np.int64)) // 2)
    return Sites(h, y, x, region)


def _blocks(seed: int, wy: np.ndarray, wx: np.ndarray) -> dict[str, np.ndarray]:
    cy, cx = np.floor(wy / BLOCK), np.floor(wx / BLOCK)
    ry, rx = (wy - cy * BLOCK).astype(np.float32), (wx - cx * BLOCK).astype(np.float32)
    rows = np.arange(int(cy.min()) - 1, int(cy.max()) + 2)
    columns = np.arange(int(cx.min()) - 1, int(cx.max()) + 2)
    table = sites(seed, rows, columns)
    flat = Sites(*(part.ravel() for part in table))
    cell = ((cy - rows[0]) * len(columns) + (cx - columns[0])).astype(np.int32)

    def around() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Each of the nine candidates: which, and the way to it."""
        for i, j in product((-1, 0, 1), repeat=2):
            site = cell + np.int32(i * len(columns) + j)
            dy = flat.y[site] + (np.float32(i * BLOCK) - ry)
            yield site, dy, flat.x[site] + (np.float32(j * BLOCK) - rx)

    home, ay, ax = cell, ry, rx
    near = np.full(ry.shape, np.inf, dtype=np.float32)
    for site, dy, dx in around():
        squared = dy * dy + dx * dx
        closer = squared < near
        near = np.where(closer, squared, near)
        home = np.where(closer, site, home)
        ay, ax = np.where(closer, dy, ay), np.where(closer, dx, ax)

    # The two nearest borders, since the road of the second may reach over the first at a junction.
    first = second = np.full(ry.shape, np.inf, dtype=np.float32)
    one = two = home
    for site, dy, dx in around():
        gap = np.sqrt((dy - ay) * (dy - ay) + (dx - ax) * (dx - ax))
        border = np.where(site == home, np.float32(np.inf), dy * dy + dx * dx - near)
        border /= np.maximum(gap, 1) * 2
        best, better = border < first, border < second
        two = np.where(best, one, np.where(better, site, two))
        second = np.where(best, first, np.where(better, border, second))
        one, first = np.where(best, site, one), np.where(best, border, first)

    nearest = _road(flat, len(columns), home, one, first, ay, ax)
    other = _road(flat, len(columns), home, two, second, ay, ax)
    over = other["road"] < nearest["road"]
    block = flat.hash[home]
    ny, nx = direction(block)
    return {
        "block": block,
        "village": is_village(block),
        "u": ax * ny - ay * nx,
        "v": -(ay * ny + ax * nx),
        **{name: np.where(over, other[name], nearest[name]) for name in nearest},
    }


def _road(
    flat: Sites,
    width: int,
    home: np.ndarray,
    other: np.ndarray,
    border: np.ndarray,
    ay: np.ndarray,
    ax: np.ndarray,
) -> dict[str, np.ndarray]:
    """The road on the border of the blocks `home` and `other`, at a distance from that border."""
    chance = uniform(mixed(flat.hash[home] + flat.hash[other]))
    country = np.where(chance < 0.5, LANE, np.where(chance < 0.75, TRACK, NONE))
    kind = np.where(flat.region[home] != flat.region[other], MAIN, country).astype(np.uint8)
    rows = (other // width - home // width).astype(np.float32)
    columns = (other % width - home % width).astype(np.float32)
    ey = flat.y[other] - flat.y[home] + rows * np.float32(BLOCK)
    ex = flat.x[other] - flat.x[home] + columns * np.float32(BLOCK)
    gap = np.maximum(np.sqrt(ey * ey + ex * ex), 1)
    along = np.abs((ay * ex - ax * ey) / gap)
    return {"road": border - HALF_WIDTH[kind], "kind": kind, "offset": border, "along": along}


def _strips(blocks: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    block, village, u, v = (blocks[name] for name in ("block", "village", "u", "v"))
    width = np.where(village, np.float32(VILLAGE_STRIP), 70 + 90 * uniform(block, 5))
    strip = np.floor(u / width)
    inside = u - strip * width
    lower = inside < width * np.float32(0.5)
    side = np.where(lower, inside, width - inside)
    line = (strip + ~lower).astype(np.int64)
    # Every second border may be missing: its two strips are one wide field.
    pair = (strip // 2).astype(np.int64)
    merged = ~village & (uniform(hashed(block, pair, pair), 6) < 0.5)
    odd = (line & 1) == 1
    side = np.where(merged & odd, np.maximum(side, width - side), side)
    line = np.where(merged & odd, line + np.where(lower, 1, -1), line)
    owner = np.where(merged, pair * 2, strip.astype(np.int64))

    at_line = hashed(block, line, np.full_like(line, 77))
    chance = uniform(at_line)
    stands = np.where(chance < 0.3, HEDGE, np.where(chance < 0.7, MARGIN, DITCH))
    stands = np.where(village, OPEN, stands).astype(np.uint8)
    is_street = village & ((line & 1) == 0)  # every second line; the others are backs of lots
    street = np.where(is_street, side - HALF_WIDTH[STREET], np.float32(1e6))

    length = np.where(village, np.float32(LOT), 180 + 260 * uniform(hashed(block, owner, owner), 7))
    piece = np.floor(v / length + uniform(block, 8))
    place = v + uniform(block, 8) * length - piece * length
    end = np.minimum(place, length - place)
    parcel = parcel_of(block, owner, piece.astype(np.int64))
    return {"parcel": parcel, "border": side, "stands": stands, "end": end, "street": street}


def _river(seed: int, y: np.ndarray, x: np.ndarray) -> Float32[np.ndarray, "*s"]:
    """Distance to a band around one level of slow noise, which winds as a river does."""
    key, period = key_of(seed, 31), 1100.0
    level = smooth(key, y, x, period, 2)
    gy = smooth(key, y + 4, x, period, 2) - smooth(key, y - 4, x, period, 2)
    gx = smooth(key, y, x + 4, period, 2) - smooth(key, y, x - 4, period, 2)
    slope = np.sqrt(gy * gy + gx * gx) * np.float32(1 / 8) + np.float32(4e-4)
    wobble = (smooth(key_of(seed, 32), y, x, 24.0, 2) - 0.5) * 5
    half = 5 + 13 * smooth(key_of(seed, 33), y, x, 500.0)
    return np.asarray(np.abs(level - np.float32(0.5)) / slope - half + wobble)
