"""Random numbers that belong to places: each is a pure function of (key, row, column).

Nothing here has a state, so any window of a scene can be drawn alone. Only integer arithmetic and
the operations that IEEE 754 rounds exactly (+ - * / sqrt floor) are used, because sine and
exponential differ between processors, and between the middle and the end of an array.
"""

import numpy as np
from jaxtyping import Float32, UInt32

_ROW, _COLUMN = np.uint32(0x9E3779B1), np.uint32(0x85EBCA77)


def key_of(*parts: int) -> int:
    """A 32-bit key from integers of any size and sign: a seed, and the number of a purpose."""
    key = 0x811C9DC5
    for part in parts:
        for byte in (part % 2**64).to_bytes(8, "little"):
            key = (key ^ byte) * 0x01000193 % 2**32
    return key


def hashed(
    key: int | UInt32[np.ndarray, "..."], y: np.ndarray, x: np.ndarray
) -> UInt32[np.ndarray, "..."]:
    """One well mixed 32-bit number for each integer place; shapes broadcast."""
    rows = np.asarray(y).astype(np.uint32) * _ROW
    columns = np.asarray(x).astype(np.uint32) * _COLUMN
    start = np.atleast_1d(np.asarray(key, dtype=np.uint32))
    return mixed(mixed(start + rows) ^ columns)


def mixed(h: UInt32[np.ndarray, "..."]) -> UInt32[np.ndarray, "..."]:
    """A bijection of 32-bit numbers in which every bit depends on every bit.

    Source: the "lowbias32" constants found by search in https://github.com/skeeto/hash-prospector
    """
    h = h ^ (h >> np.uint32(16))
    h = h * np.uint32(0x7FEB352D)
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x846CA68B)
    h ^= h >> np.uint32(16)
    return h


def uniform(h: UInt32[np.ndarray, "..."], draw: int = 0) -> Float32[np.ndarray, "..."]:
    """A number in [0, 1) from each hash; further draws from the same hash are independent."""
    h = mixed(h + np.uint32(key_of(draw))) if draw else h
    return (h >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)


def grain(key: int, y: np.ndarray, x: np.ndarray) -> Float32[np.ndarray, "..."]:
    """White noise at integer places, triangular in (-1, 1)."""
    h = hashed(key, y, x)
    low = (h & np.uint32(0xFFFF)).astype(np.float32)
    return (low - (h >> np.uint32(16)).astype(np.float32)) * np.float32(2**-16)


def smooth(
    key: int, y: np.ndarray, x: np.ndarray, period: float, octaves: int = 1
) -> Float32[np.ndarray, "..."]:
    """Noise in [0, 1) that varies over `period` pixels, with `octaves` of finer detail.

    Args:
        key: Of the field of noise.
        y: Rows, at any real position: of a column `(h, 1)`, or of the same shape as `x`.
        x: Columns: of a row `(1, w)`, or of the same shape as `y`.
        period: Distance of the random values between which the first octave interpolates.
        octaves: Each halves the period and the share of the one before it.
    """
    total, share = _octave(key, y, x, period), 1.0
    weight = 1.0
    for octave in range(1, octaves):
        weight *= 0.5
        # 2.17 instead of 2 keeps the lattices of the octaves from meeting in the same lines.
        period /= 2.17
        total = total + _octave(key_of(key, octave), y, x, period) * np.float32(weight)
        share += weight
    return total * np.float32(1 / share)


def _octave(key: int, y: np.ndarray, x: np.ndarray, period: float) -> Float32[np.ndarray, "..."]:
    row, fy, rows = _lattice(y, period)
    column, fx, columns = _lattice(x, period)
    values = uniform(hashed(key, rows[:, None], columns[None, :]))
    if y.shape != x.shape:
        # A grid: first along the lines of the lattice, which are few.
        i, j = row[:, 0], column[0]
        along = values[:, j] + (values[:, j + 1] - values[:, j]) * fx[0]
        above = along[i]
        return np.asarray(above + (along[i + 1] - above) * fy)
    flat = values.ravel()
    place = row * len(columns) + column
    above = flat[place] + (flat[place + 1] - flat[place]) * fx
    place += len(columns)
    below = flat[place] + (flat[place + 1] - flat[place]) * fx
    return np.asarray(above + (below - above) * fy)


def _lattice(position: np.ndarray, period: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each position its line of the lattice and the weight of the next; and the lines."""
    scaled = position / period
    line = np.floor(scaled)
    first, last = (int(line.min()), int(line.max())) if line.size else (0, 0)
    t = (scaled - line).astype(np.float32)
    weight = t * t * t * (t * (t * 6 - 15) + 10)  # smooth up to the second derivative
    return (line - first).astype(np.intp), weight, np.arange(first, last + 2)
