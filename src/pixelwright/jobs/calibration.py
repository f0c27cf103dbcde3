"""Pictures from which the ranges of 8-bit numbers are taken, and what the 8 bits cost."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num, UInt8

from pixelwright import build
from pixelwright.data.dataset import Dataset
from pixelwright.data.resident import Resident
from pixelwright.inference.backends import Backend, Running
from pixelwright.metrics import LabelScores, Scores
from pixelwright.metrics.confusion import Margins
from pixelwright.metrics.paired import Estimate, Trained, estimate
from pixelwright.types import CHOSEN_BY, Index, OnEvent

PICTURES = 200
"""Parts of pictures, or small ones whole. NNCF's own default is 300; ranges settle before."""

PART = 256
"""Pixels to a side of a part, or the next size that the model takes."""

_Parts = list[UInt8[np.ndarray, "1 c _h _w"]]


def parts(model: build.Model, found: Index, split: str = "train") -> _Parts:
    """Parts of the pictures of a split, drawn with equal chances, the same in every call."""
    entries = found.splits[split]
    draws = np.random.default_rng(0)
    chosen = draws.permutation(len(entries))[:PICTURES]
    if model.side is not None:
        subset = tuple(entries[i] for i in chosen)
        held = Resident.of(subset, found.classes, model.channels, side=model.side)
        return [_first(picture) for picture in held.images]
    taken = Dataset([entries[i] for i in chosen], found.classes, model.channels)
    each = -(-PICTURES // len(chosen))
    multiple = model.field.multiple
    side = -(-PART // multiple) * multiple
    return [
        _first(_part(taken.sample(number).image, side, multiple, draws))
        for number in range(len(taken))
        for _ in range(each)
    ][:PICTURES]


def _first(picture: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "1 c h w"]:
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None])


def _part(
    picture: UInt8[np.ndarray, "_h _w c"], side: int, multiple: int, draws: np.random.Generator
) -> UInt8[np.ndarray, "_tall _wide c"]:
    """A part of a picture anywhere in it, padded to the size rule as in prediction."""
    top, left = (int(draws.integers(max(n - side, 0) + 1)) for n in picture.shape[:2])
    cut = picture[top : top + side, left : left + side]
    below, beside = (-n % multiple for n in cut.shape[:2])
    return np.pad(cut, ((0, below), (0, beside), (0, 0)), mode="edge")


@dataclass(frozen=True, eq=False)
class Loss:
    """What 8 bits cost on a split.

    Args:
        before: Scores in float32.
        after: Scores in 8 bits, on the same images.
        change: After less before, of the score by which models are chosen.
    """

    before: Scores | LabelScores
    after: Scores | LabelScores
    change: Estimate

    @property
    def score(self) -> str:
        """What the score is called."""
        return CHOSEN_BY["top1" if isinstance(self.after, LabelScores) else "mean_iou"]

    def __str__(self) -> str:
        low, high = self.change.low.item(), self.change.high.item()
        sure = "" if np.isnan(low) else f", 95 % interval {low:+.4f} to {high:+.4f}"
        count = len(self.after.keys)
        return (
            f"{self.score} {self.after.value:.4f} in 8 bits, {self.before.value:.4f} in float32 "
            f"({self.change.value.item():+.4f}{sure}) on {count} image{'s'[: count > 1]} of "
            f"'{self.after.split}'"
        )


def loss_of(
    model: build.Model,
    found: Index,
    before: Backend,
    after: Backend,
    split: str,
    on_event: OnEvent,
) -> Loss:
    """Score both on a split, and estimate the difference over its images."""
    scorer = model.label_scorer(found) if model.one_label else model.scorer(found)
    first, second = (scorer(Running(b), split, on_event=on_event) for b in (before, after))
    change = estimate(_trained(second), _trained(first))
    return Loss(first, second, change)


def _trained(scores: Scores | LabelScores) -> Trained:
    if isinstance(scores, Scores):
        return Trained.of([scores.tables], lambda tables: Margins.of(tables).mean_iou())
    right = np.asarray(scores.right, np.float64)
    return Trained.of([np.stack([right, np.ones_like(right)], axis=1)], _share)


def _share(sums: Num[np.ndarray, "*stack 2"]) -> Float[np.ndarray, "*stack"]:
    return np.asarray(sums[..., 0] / sums[..., 1])
