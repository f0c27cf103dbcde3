"""Calibration: is the model right as often as it says?

A pixel's confidence is the highest probability that the model gives there. In each bin of equal
width, confidence is compared with the share of pixels that are right.

Paper: Guo et al., 2017, https://arxiv.org/abs/1706.04599, equation 3 (expected calibration error)
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Integer

BINS = 15


class Calibration(NamedTuple):
    """Sums over the pixels of each bin; they add over images, and may be a stack."""

    pixels: Float64[np.ndarray, "*stack bins"]
    confidence: Float64[np.ndarray, "*stack bins"]
    right: Float64[np.ndarray, "*stack bins"]

    @classmethod
    def of(
        cls, confidence: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"], bins: int = BINS
    ) -> "Calibration":
        """Count pixels, each with its confidence in [0, 1] and whether it is right."""
        sure, number = _binned(confidence, bins)
        pixels = np.bincount(2 * number + right, minlength=2 * bins).reshape(bins, 2)
        total = np.bincount(number, sure, bins)
        return cls(pixels.sum(1).astype(np.float64), total, pixels[:, 1].astype(np.float64))

    @classmethod
    def each(
        cls, confidence: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"], bins: int = BINS
    ) -> "Calibration":
        """The same counts of each by itself: a stack of `n`, whose sum is that of `of`."""
        sure, number = _binned(confidence, bins)
        one = np.eye(bins)[number]
        return cls(one, one * sure[:, None], one * right[:, None])

    def error(self) -> Float64[np.ndarray, "*stack"]:
        """Mean distance of confidence and accuracy over the pixels, in [0, 1]; NaN of none."""
        total = np.asarray(self.pixels.sum(-1))
        gap = np.asarray(np.abs(self.confidence - self.right).sum(-1))
        nothing = np.full(total.shape, np.nan)
        return np.asarray(np.divide(gap, total, out=nothing, where=total > 0))

    def bias(self) -> float:
        """Mean confidence minus the share that is right: above 0 the model is too sure."""
        total = self.pixels.sum()
        return float((self.confidence - self.right).sum() / total) if total else float("nan")

    def rows(self) -> list[tuple[float, float, int, float, float]]:
        """Of each bin that has pixels: its ends, pixels, mean confidence, share that is right."""
        bins = len(self.pixels)
        return [
            (
                number / bins,
                (number + 1) / bins,
                int(pixels),
                float(confidence / pixels),
                float(right / pixels),
            )
            for number, (pixels, confidence, right) in enumerate(zip(*self, strict=True))
            if pixels
        ]


def _binned(
    confidence: Float[np.ndarray, " n"], bins: int
) -> tuple[Float[np.ndarray, " n"], Integer[np.ndarray, " n"]]:
    # A network that diverged is sure of nothing.
    sure = np.nan_to_num(confidence, nan=0.0)
    return sure, np.minimum((sure * bins).astype(np.intp), bins - 1)
