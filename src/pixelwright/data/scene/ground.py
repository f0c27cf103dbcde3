"""The bare ground: soil, crops, gardens, road surfaces and water, as reflectance and small relief.

Colours are given as they look in flat sunshine, in [0, 255], and kept squared: the picture's tone
curve is a square root.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from pixelwright.data.scene import land as plan
from pixelwright.data.scene.land import Land
from pixelwright.data.scene.noise import grain, key_of, smooth, uniform

FIELD, ROAD, ROOF, TREE, WATER = range(5)


@dataclass(frozen=True)
class Surface:
    """What the camera will see, before light.

    Args:
        color: Reflectance.
        height: In px above the ground; gives shading and shadows.
        kind: FIELD, ROAD, ROOF, TREE or WATER.
    """

    color: Float32[np.ndarray, "3 h w"]
    height: Float32[np.ndarray, "h w"]
    kind: UInt8[np.ndarray, "h w"]


def reflectance(*colors: tuple[int, int, int]) -> Float32[np.ndarray, "colors 3"]:
    return (np.array(colors, dtype=np.float32) / np.float32(255)) ** 2


# Share of parcels, colour, contrast of rows, contrast of patches, of each crop.
CROPS = (
    (0.14, (142, 118, 96), 0.13, 0.35),  # ploughed
    (0.13, (188, 170, 122), 0.08, 0.20),  # ripe grain
    (0.14, (116, 132, 78), 0.10, 0.40),  # young grain
    (0.19, (104, 124, 70), 0.00, 0.45),  # meadow
    (0.05, (172, 164, 84), 0.05, 0.25),  # rape
    (0.10, (78, 104, 58), 0.22, 0.30),  # maize
    (0.13, (150, 144, 102), 0.14, 0.35),  # stubble
    (0.12, (70, 74, 48), 0.00, 0.50),  # wood: what shows between the crowns
)
WOOD = 7
LAWN, GRAVEL, SOIL, GRASS = reflectance(
    (104, 126, 72), (160, 150, 132), (134, 114, 92), (120, 128, 80)
)
SURFACES = reflectance(  # by kind of road
    (110, 120, 76), (134, 132, 130), (150, 146, 138), (172, 156, 126), (140, 138, 134)
)
PAINT, PAVEMENT, DEEP, SHALLOW = reflectance(
    (214, 212, 204), (170, 166, 156), (58, 76, 78), (96, 104, 84)
)


def crop_of(parcel: np.ndarray) -> np.ndarray:
    """Index into `CROPS` of each parcel."""
    shares = np.cumsum([crop[0] for crop in CROPS], dtype=np.float64)[:-1].astype(np.float32)
    return np.searchsorted(shares, uniform(parcel, 1), side="right").astype(np.uint8)


def bare(seed: int, land: Land, y: np.ndarray, x: np.ndarray) -> Surface:
    """The ground of a grid, before buildings and trees stand on it."""
    fine = smooth(key_of(seed, 41), y, x, 5.0, 3) - 0.5
    clumps = smooth(key_of(seed, 42), y, x, 15.0, 2) - 0.5
    patches = smooth(key_of(seed, 43), y, x, 110.0, 3) - 0.5
    color, height = _fields(land, fine, clumps, patches)
    _borders(color, land, fine, clumps)
    _village(color, land, fine, clumps)
    kind = np.full(land.road.shape, FIELD, dtype=np.uint8)
    _river(color, kind, height, land, fine, clumps, patches)
    _roads(color, kind, height, land, fine, patches)
    white = grain(key_of(seed, 44), y, x)
    color *= 1 + fine * 0.34 + white * 0.07
    return Surface(color, height, kind)


def _blend(color: np.ndarray, where: np.ndarray, paint: np.ndarray, weight: np.ndarray) -> None:
    """Mix `paint` into the places where `where` is true; `weight` is over all places."""
    part = color[:, where]
    color[:, where] = part + (paint[:, None] - part) * np.clip(weight[where], 0, 1)


def _fields(
    land: Land, fine: np.ndarray, clumps: np.ndarray, patches: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    crop = crop_of(land.parcel)
    rows = np.array([c[2] for c in CROPS], dtype=np.float32)[crop]
    rough = np.array([c[3] for c in CROPS], dtype=np.float32)[crop]
    bright = (0.78 + 0.44 * uniform(land.parcel, 2)) * (1 + rough * patches + 0.3 * rough * clumps)
    red = (uniform(land.parcel, 3) - 0.5) * 0.28 + patches * 0.15

    # Rows follow the field; at its short ends, where tractors turn, they run across.
    turned = land.end < 13 + 4 * fine
    across = np.where(turned, land.v, land.u) + clumps * 0.8
    period = 3.1 + 3.2 * uniform(land.parcel, 4)
    wave = np.abs(across / period - np.floor(across / period) - 0.5) * 4 - 1
    # Wheel tracks: two lines, every sprayer width.
    spray = 34 + 20 * uniform(land.parcel, 5)
    track = np.abs((across / spray - np.floor(across / spray) - 0.5) * spray)
    wheels = np.clip(1.3 - np.abs(track - 2.2), 0, 1) * (rows > 0.04) * (land.end > 3)
    bright *= 1 + rows * wave * (0.7 + 1.2 * (clumps + 0.5)) - 0.16 * wheels

    table = reflectance(*(c[1] for c in CROPS))
    color = np.stack([table[crop, channel] for channel in range(3)])
    color *= bright
    color[0] *= 1 + red
    color[2] *= 1 + red * 0.3 - patches * 0.1
    # Thin spots, where the soil shows.
    bald = np.clip((-patches - 0.13) * 5 + fine * 1.2, 0, 0.7) * (rows > 0)
    color += (SOIL[:, None, None] * (1 + clumps) - color) * bald
    height = wave * rows * 1.2 + clumps * 1.4
    return color, height


def _borders(color: np.ndarray, land: Land, fine: np.ndarray, clumps: np.ndarray) -> None:
    country = ~land.village
    reach = np.array([0.0, 2.2, 5.0, 3.4], dtype=np.float32)[land.stands] + 5 * fine
    grass = country & ((land.border < reach) | (land.end < 1.6 + 4 * fine))
    _blend(color, grass, GRASS, 0.75 + 1.2 * clumps)
    ditch = country & (land.stands == plan.DITCH) & (land.border < 1.3 + fine)
    color[:, ditch] *= 0.55
    verge = (land.road < 4.5 + 9 * fine) & (land.kind != plan.STREET)
    _blend(color, verge, GRASS, 0.8 + 1.5 * clumps)
    yard_u, yard_v = plan.farm(land.block)
    du, dv = np.abs(land.u - yard_u), np.abs(land.v - yard_v)
    yard = np.maximum(du - 30, dv - 52) + 26 * clumps + 8 * fine
    _blend(color, yard < 0, GRAVEL, 0.35 - yard * 0.06 + fine + clumps)


def _village(color: np.ndarray, land: Land, fine: np.ndarray, clumps: np.ndarray) -> None:
    here = land.village & (land.road > 0)
    lot = land.parcel
    # Gardens: mostly lawn, some dry, some beds, some paved.
    bright = (0.75 + 0.5 * uniform(lot, 2)) * (1 + 0.6 * clumps)
    choice = uniform(lot, 3)
    lawn = here & (choice < 0.8)
    color[:, lawn] = (LAWN[:, None] * bright[lawn]).astype(np.float32)
    color[0, lawn] *= 0.85 + 0.5 * uniform(lot, 4)[lawn]
    paved = here & (choice >= 0.8)
    _blend(color, paved, GRAVEL, 0.7 + fine)
    beds = here & (uniform(lot, 5) < 0.35) & (land.border > 6) & (land.border < 18)
    beds &= (land.road > 30) & (land.end > 5) & (land.end < 15)
    _blend(color, beds, SOIL, np.abs(land.v * 0.3 - np.floor(land.v * 0.3) - 0.5) * 2)
    fence = here & ((land.end < 0.8) | (land.border < 0.8))
    color[:, fence] *= 0.62
    # The way from the street to the house, at one side of the lot.
    way = here & (land.kind == plan.STREET) & (land.road < 22) & (np.abs(land.end - 7) < 3.2)
    way &= ((land.v * 0 + uniform(lot, 6)) < 0.9) & (_upper_half(land) == (uniform(lot, 7) < 0.5))
    _blend(color, way, PAVEMENT, 0.75 + 0.8 * fine)
    walk = here & (land.kind == plan.STREET) & (land.road < 3.4)
    _blend(color, walk, PAVEMENT, 0.85 + 0.5 * fine)


def _upper_half(land: Land) -> np.ndarray:
    """Whether a place lies in the second half of its lot, along the street."""
    scaled = land.v / np.float32(plan.LOT) + uniform(land.block, 8)
    return np.asarray(scaled - np.floor(scaled) > 0.5)


def _roads(
    color: np.ndarray,
    kind: np.ndarray,
    height: np.ndarray,
    land: Land,
    fine: np.ndarray,
    patches: np.ndarray,
) -> None:
    ragged = np.where(land.kind == plan.TRACK, 3 * fine, 0.6 * fine)
    on = (land.road + ragged < 0) & (land.kind != plan.NONE)
    kind[land.road < 0] = np.where(land.kind[land.road < 0] == plan.NONE, kind[land.road < 0], ROAD)
    tone = 1 + 0.5 * patches
    # Tyres polish two lanes a side, oil darkens between them.
    lane = np.abs(land.offset - 3.4)
    tone = tone * (1 + 0.10 * np.clip(1.6 - np.abs(lane - 1.3), 0, 1))
    surface = SURFACES[land.kind[on]].T * tone[on]
    color[:, on] = surface
    height[land.road < 1] *= 0.15

    main = on & (land.kind == plan.MAIN)
    edge = np.clip(1.1 - np.abs(land.offset - 6.1), 0, 1)
    dashes = np.clip(1.0 - land.offset, 0, 1) * (land.along % np.float32(22) < 9)
    _blend(color, main, PAINT, 0.62 * np.maximum(edge, dashes) * (1 + fine))
    track = on & (land.kind == plan.TRACK)
    _blend(color, track, GRASS, np.clip(1.4 - land.offset, 0, 1) * (0.9 + fine))


def _river(
    color: np.ndarray,
    kind: np.ndarray,
    height: np.ndarray,
    land: Land,
    fine: np.ndarray,
    clumps: np.ndarray,
    patches: np.ndarray,
) -> None:
    bank = (land.water < 9 + 8 * clumps) & (land.water >= 0)
    _blend(color, bank, GRASS * np.float32(0.7), 1.1 - land.water * 0.1 + clumps)
    wet = land.water < 0
    depth = np.clip(-land.water[wet] / 9, 0, 1)
    tone = 1 + 0.5 * patches[wet] + 0.12 * fine[wet]
    water = SHALLOW[:, None] + (DEEP - SHALLOW)[:, None] * depth
    color[:, wet] = water * tone
    kind[wet] = WATER
    height[wet] = -3 * np.clip(-land.water[wet], 0, 1) + 0.25 * fine[wet]
