"""Random numbers by the position of what is drawn, for many positions at once.

    u = uniform(seed=0, stream=5, positions=np.arange(128), count=17)      # "128 17" in [0, 1)

`augment.generator` does this for one position in 10 microseconds; this takes 30 for a whole batch.

Source: SplitMix64, Steele, Lea and Flood, 2014, https://doi.org/10.1145/2660193.2660195, with the
constants of Vigna's https://prng.di.unimi.it/splitmix64.c
Differs: read at any place of its sequence in place of one after the other; where a sequence begins
is itself drawn, from seed and stream.
"""

import numpy as np
from jaxtyping import Float64, Int64, UInt64

MOST = 32
"""Numbers that a position may take; each has as many places of the sequence."""

_STEP = 0x9E3779B97F4A7C15


def uniform(
    seed: int, stream: int, positions: Int64[np.ndarray, " n"], count: int
) -> Float64[np.ndarray, "n count"]:
    """Numbers that are even in [0, 1) and depend on seed, stream, position and column alone.

    Args:
        seed: Of a training.
        stream: What is drawn; each kind of draw has its own.
        positions: From 0.
        count: Numbers for each position, at most `MOST`; the first ones do not depend on it.
    """
    assert count <= MOST, f"{count} numbers of a position would overlap the next one's"
    # As arrays: NumPy warns where single numbers run over, which they are meant to.
    begin = mixed(np.array([seed], np.uint64) + _STEP)
    begin = mixed(begin + np.array([stream], np.uint64) * _STEP)
    first = positions.astype(np.uint64)[:, np.newaxis] * MOST
    place = first + np.arange(1, count + 1, dtype=np.uint64)
    # The upper 53 bits are as many as a float64 holds.
    return (mixed(begin + place * _STEP) >> 11) * 2.0**-53


def mixed(state: UInt64[np.ndarray, "*any"]) -> UInt64[np.ndarray, "*any"]:
    """What SplitMix64 gives at a state: all of its bits depend on all of the state's."""
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB
    return np.asarray(state ^ (state >> 31))
