"""Sun, sky, clouds and camera: from surfaces to the picture."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from pixelwright.data.scene.ground import WATER, Surface
from pixelwright.data.scene.noise import grain, key_of, smooth, uniform

REACH = 56
"""Pixels around a window that its shadows and its blur can depend on."""


@dataclass(frozen=True)
class Sun:
    """Where the light comes from, and how much the clouds take.

    Args:
        y, x: Horizontal unit vector towards the sun.
        rise: Tangent of its height above the horizon.
        clouds: Share of the sunlight that a cloud takes.
        warmth: Positive for a yellow sun, negative for a white one.
        haze: Added to everything, in [0, 1] of white.
    """

    y: float
    x: float
    rise: float
    clouds: float
    warmth: float
    haze: float


def sun_of(seed: int) -> Sun:
    draw = [float(u) for u in uniform(np.array([key_of(seed, 51, i) for i in range(6)], np.uint32))]
    t = draw[0] * 1.6 - 0.8
    return Sun(
        y=(1 - t * t) / (1 + t * t),
        x=2 * t / (1 + t * t),
        rise=0.70 + 0.45 * draw[1],
        clouds=0.22 + 0.22 * draw[2],
        warmth=(draw[3] - 0.4) * 0.11,
        haze=0.014 + 0.016 * draw[4],
    )


def photograph(
    seed: int, surface: Surface, y: np.ndarray, x: np.ndarray
) -> UInt8[np.ndarray, "h w 3"]:
    """The picture of a surface; true to its surroundings only `REACH` px inside its rim."""
    sun = sun_of(seed)
    lit = _slope(surface.height, sun) * (1 - _shadow(surface.height, sun))
    clouds = np.clip(smooth(key_of(seed, 52), y, x, 620.0, 4) * 7 - 4.1, 0, 1)
    slow = 0.84 + 0.32 * smooth(key_of(seed, 53), y, x, 900.0, 2)
    direct = lit * (1 - np.float32(sun.clouds) * clouds) * slow * np.float32(0.8)
    # Skylight is blue; what stands low between trees and walls sees less of it.
    sky = (0.8 + 0.2 * lit) * slow * np.float32(0.24)
    glint = np.where(surface.kind == WATER, np.float32(0.03), np.float32(0))
    warm = (1 + sun.warmth, 1.0, 1 - 1.4 * sun.warmth)
    blue = (0.90, 0.98, 1.22)
    picture = np.empty((*surface.kind.shape, 3), dtype=np.uint8)
    for channel in range(3):
        light = direct * np.float32(warm[channel]) + sky * np.float32(blue[channel])
        seen = _soft(surface.color[channel] * light + glint + np.float32(sun.haze))
        tone = np.sqrt(np.clip(seen, 0, 1)) * 255
        tone += grain(key_of(seed, 54, channel), y, x) * np.float32(4.5)
        picture[..., channel] = np.clip(np.floor(tone + 0.5), 0, 255)
    return picture


def _slope(height: np.ndarray, sun: Sun) -> np.ndarray:
    """Sunlight by the tilt of the surface: 1 on flat ground."""
    gy, gx = np.zeros_like(height), np.zeros_like(height)
    gy[1:-1] = (height[2:] - height[:-2]) * np.float32(0.5)
    gx[:, 1:-1] = (height[:, 2:] - height[:, :-2]) * np.float32(0.5)
    # A wall is not seen from above: only its foot and its edge would be, as one dark line.
    gy, gx = np.clip(gy, -1.1, 1.1), np.clip(gx, -1.1, 1.1)
    facing = np.float32(sun.rise) - gy * np.float32(sun.y) - gx * np.float32(sun.x)
    steep = np.sqrt(1 + gy * gy + gx * gx) * np.float32(sun.rise)
    return np.asarray(np.clip(facing / steep, 0, 1.5))


def _shadow(height: np.ndarray, sun: Sun) -> np.ndarray:
    """How far each place lies below the light that its surroundings let pass, in [0, 1]."""
    above = np.full_like(height, -1e3)
    rows, columns = height.shape
    for step in range(1, REACH - 2):
        dy, dx = round(sun.y * step), round(sun.x * step)
        here = (slice(max(-dy, 0), rows - max(dy, 0)), slice(max(-dx, 0), columns - max(dx, 0)))
        there = (slice(max(dy, 0), rows + min(dy, 0)), slice(max(dx, 0), columns + min(dx, 0)))
        np.maximum(above[here], height[there] - np.float32(step * sun.rise), out=above[here])
    return np.asarray(np.clip((above - height) * np.float32(0.6), 0, 1))


def _soft(plane: np.ndarray) -> np.ndarray:
    """The camera's blur: 3 by 3, a little sharper than binomial."""
    side, middle = np.float32(0.22), np.float32(0.56)
    wide = plane.copy()
    wide[:, 1:-1] = (plane[:, :-2] + plane[:, 2:]) * side + plane[:, 1:-1] * middle
    tall = wide.copy()
    tall[1:-1] = (wide[:-2] + wide[2:]) * side + wide[1:-1] * middle
    return tall
