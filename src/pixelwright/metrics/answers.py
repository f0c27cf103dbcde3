"""What a classifier answers: the likeliest classes, their probabilities, the loss of the truth."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int16, Int64, Integer

BEST = 5
"""Classes that are kept of each image, the likeliest first."""
_AT_ONCE = 4_000_000
"""Logits that are made probabilities at a time: 32 MB."""


class Confused(NamedTuple):
    """Images of one class that were taken for another; the surest errors first."""

    truth: str
    taken: str
    images: int
    keys: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Answers:
    """What a classifier said of the images of one split, and what it mistook for what.

    Args:
        names: Of the classes.
        groups: The superclass of each class; empty where there are none.
        keys: Of the images.
        truth: Their classes.
        top: The five likeliest classes, or all where there are fewer; the likeliest first.
        likely: Their probabilities; NaN where the network gave no number.
        losses: Negative logarithm of the probability of the true class, of each image.
        split: The split's name.
        data: The data's spec, as a user writes it.
        loss: Mean of the training's loss, or None where it was not measured.
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    keys: tuple[str, ...]
    truth: Int16[np.ndarray, " n"]
    top: Int16[np.ndarray, "n best"]
    likely: Float32[np.ndarray, "n best"]
    losses: Float32[np.ndarray, " n"]
    split: str = "val"
    data: str = ""
    loss: float | None = None

    @cached_property
    def right(self) -> Bool[np.ndarray, " n"]:
        """Whether the likeliest class is the true one."""
        return np.asarray(self.top[:, 0] == self.truth)

    @cached_property
    def in_top5(self) -> Bool[np.ndarray, " n"]:
        """Whether the true class is among the five likeliest."""
        return np.asarray((self.top == self.truth[:, None]).any(1))

    @cached_property
    def group_right(self) -> Bool[np.ndarray, " n"]:
        """Whether the likeliest class is of the true superclass."""
        if not self.groups:
            return self.right
        return np.asarray(self.group_of[self.top[:, 0]] == self.group_of[self.truth])

    @cached_property
    def group_names(self) -> tuple[str, ...]:
        """The superclasses, in the order of their first classes."""
        return tuple(dict.fromkeys(self.groups))

    @cached_property
    def group_of(self) -> Int64[np.ndarray, " k"]:
        """Which superclass each class is of."""
        places = {name: place for place, name in enumerate(self.group_names)}
        return np.array([places[name] for name in self.groups], np.int64)

    @cached_property
    def confusion(self) -> Int64[np.ndarray, "k k"]:
        """How many images of a class (row) were taken for which (column)."""
        size = len(self.names)
        cells = self.truth.astype(np.int64) * size + self.top[:, 0]
        return np.bincount(cells, minlength=size**2).reshape(size, size)

    @cached_property
    def group_confusion(self) -> Int64[np.ndarray, "g g"]:
        """The same of superclasses; no rows where there are none."""
        size = len(self.group_names)
        if not size:
            return np.zeros((0, 0), np.int64)
        cells = self.group_of[self.truth] * size + self.group_of[self.top[:, 0]]
        return np.bincount(cells, minlength=size**2).reshape(size, size)

    def confused(self, most: int = 10) -> list[Confused]:
        """The pairs of true and predicted class with the most errors, the most frequent first."""
        size = len(self.names)
        wrong = self.confusion * (1 - np.eye(size, dtype=np.int64))
        found = []
        for cell in np.argsort(-wrong, axis=None, kind="stable")[:most].tolist():
            row, column = divmod(cell, size)
            if not wrong[row, column]:
                break
            places = np.flatnonzero((self.truth == row) & (self.top[:, 0] == column))
            keys = tuple(self.keys[i] for i in self._surest(places))
            found.append(Confused(self.names[row], self.names[column], len(keys), keys))
        return found

    def found(self, name: str, most: int) -> list[str]:
        """Keys of images of a class that were found, the surest first."""
        places = np.flatnonzero(self.right & (self.truth == self.names.index(name)))
        return [self.keys[i] for i in self._surest(places)[:most]]

    def _surest(self, places: Int64[np.ndarray, " some"]) -> list[int]:
        order = np.argsort(-self.likely[places, 0], kind="stable")
        return [int(i) for i in places[order]]

    def hardest(self, count: int) -> list[tuple[str, float]]:
        """Keys of the images whose true class is least likely, and its probability there."""
        order = np.argsort(-self.losses, kind="stable")
        ranked = [int(i) for i in order if not math.isnan(self.losses[i])]
        return [(self.keys[i], math.exp(-self.losses[i])) for i in ranked[:count]]


def answers(
    logits: Float[np.ndarray, "n k"], truth: Integer[np.ndarray, " n"]
) -> tuple[Int16[np.ndarray, "n best"], Float32[np.ndarray, "n best"], Float32[np.ndarray, " n"]]:
    """Of each image the likeliest classes, their probabilities, and the log loss of the truth.

    Of equally likely classes the first comes first, as `argmax` has it. Where the network gave no
    number, or none that is finite, probability and loss are NaN.

    Args:
        logits: Or logarithms of probabilities.
        truth: The true classes.
    """
    count, size = logits.shape
    best = min(BEST, size)
    top, likely = np.zeros((count, best), np.int16), np.zeros((count, best), np.float32)
    losses = np.zeros(count, np.float32)
    step = max(1, _AT_ONCE // size)
    for start in range(0, count, step):
        part = slice(start, start + step)
        wide = logits[part].astype(np.float64)
        highest = wide.max(axis=1, keepdims=True)
        rows = np.arange(len(wide))
        # What is not finite shows in the result: nothing is warned of.
        with np.errstate(invalid="ignore", over="ignore"):
            shifted = wide - highest
            total = np.log(np.exp(shifted).sum(axis=1))
            losses[part] = _finite(total - shifted[rows, truth[part]])
        rank = np.nan_to_num(wide, nan=-_LARGE, posinf=_LARGE, neginf=-_LARGE)
        for place in range(best):
            chosen = rank.argmax(axis=1)
            top[part, place] = chosen
            likely[part, place] = _finite(np.exp(shifted[rows, chosen] - total))
            rank[rows, chosen] = -math.inf
    return top, likely, losses


_LARGE = float(np.finfo(np.float64).max)


def _finite(values: Float[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
    small = values.astype(np.float32)
    return np.where(np.isfinite(small), small, np.float32(math.nan))


def short(values: Float32[np.ndarray, " n"]) -> list[float | None]:
    """Numbers for JSON in the digits that float32 has; read back they are the same."""
    return [None if math.isnan(value) else float(f"{value:.9g}") for value in values.tolist()]
