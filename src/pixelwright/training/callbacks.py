"""What looks at validation scores and acts: early stopping, reduction on a plateau, a goal.

Each is told every score, says whether training should stop, and keeps its state in plain numbers,
so that a checkpoint can hold it.
"""

import math
from typing import Protocol, runtime_checkable


@runtime_checkable
class Callback(Protocol):
    """Something that watches the validation score (higher is better)."""

    name: str

    def observe(self, score: float) -> str | None:
        """Look at a new score; a sentence if training should stop for it, else None."""

    def state(self) -> dict[str, float]:
        """All that a checkpoint must keep."""

    def restore(self, state: dict[str, float]) -> None:
        """Take back what `state` gave."""


class _Patience:
    """Counts the scores since the best."""

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.best = -math.inf
        self.waited = 0

    def exhausted(self, score: float) -> bool:
        if score > self.best:
            self.best, self.waited = score, 0
        else:
            self.waited += 1
        return self.waited >= self.patience


class EarlyStopping:
    """Stops when `patience` scores in a row were no better than the best."""

    name = "early-stopping"

    def __init__(self, patience: int) -> None:
        self._counter = _Patience(patience)

    def observe(self, score: float) -> str | None:
        if self._counter.exhausted(score):
            return f"no better score in {self._counter.patience} validations"
        return None

    def state(self) -> dict[str, float]:
        return {"best": self._counter.best, "waited": self._counter.waited}

    def restore(self, state: dict[str, float]) -> None:
        self._counter.best, self._counter.waited = state["best"], int(state["waited"])


class Plateau:
    """A schedule that falls by `factor` when `patience` scores in a row were no better."""

    name = "plateau"

    def __init__(self, factor: float, patience: int) -> None:
        self._counter = _Patience(patience)
        self._factor = factor
        self._level = 1.0

    def __call__(self, progress: float) -> float:
        return self._level

    def observe(self, score: float) -> str | None:
        if self._counter.exhausted(score):
            self._level *= self._factor
            self._counter.waited = 0
        return None

    def state(self) -> dict[str, float]:
        counter = self._counter
        return {"best": counter.best, "waited": counter.waited, "level": self._level}

    def restore(self, state: dict[str, float]) -> None:
        self._counter.best, self._counter.waited = state["best"], int(state["waited"])
        self._level = state["level"]


class Goal:
    """Stops as soon as the score reaches `goal`: what over-fitting on purpose waits for."""

    name = "goal"

    def __init__(self, goal: float) -> None:
        self.goal = goal

    def observe(self, score: float) -> str | None:
        return f"reached {score:.3f}" if score >= self.goal else None

    def state(self) -> dict[str, float]:
        return {}

    def restore(self, state: dict[str, float]) -> None:
        pass
