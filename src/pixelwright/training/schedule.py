"""Learning-rate schedules: the factor on the base rate as a pure function of progress in [0, 1).

Nothing to save and nothing to resume, but for `plateau`, which looks at scores and has a state.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated

from pydantic import Field

from pixelwright.registry import Registry
from pixelwright.training.callbacks import Plateau

schedules = Registry(
    "schedule",
    "pixelwright.training.schedule",
    names=("constant", "cosine-cycles", "plateau", "step", "warmup-cosine"),
)

Schedule = Callable[[float], float]
Share = Annotated[float, Field(ge=0, le=1)]


def constant() -> Schedule:
    """The base rate all along."""
    return lambda progress: 1.0


def warmup_cosine(
    *, warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05, floor: Share = 0.0
) -> Schedule:
    """Rise linearly, then fall along half a cosine.

    Args:
        warmup: The share of training that rises.
        floor: The factor at the end.

    Paper: Loshchilov and Hutter, 2017, https://arxiv.org/abs/1608.03983, without restarts
    """
    return partial(_warmup_cosine, warmup=warmup, floor=floor)


def _warmup_cosine(progress: float, *, warmup: float, floor: float) -> float:
    if progress < warmup:
        # Not from zero: the first step would be wasted.
        return max(progress / warmup, 0.01)
    along = (progress - warmup) / (1 - warmup)
    return floor + (1 - floor) * (1 + math.cos(math.pi * along)) / 2


def cosine_cycles(*, cycles: Annotated[int, Field(ge=1)] = 4, floor: Share = 0.0) -> Schedule:
    """Fall along half a cosine again and again, from the base rate each time.

    With `train.snapshots` of the same number the model is kept at the end of each cycle: an
    ensemble for the price of one training.

    Args:
        cycles: How often.
        floor: The factor at the end of each.

    Paper: Huang et al., 2017, https://arxiv.org/abs/1704.00109, equation 2
    """
    return lambda progress: (
        floor + (1 - floor) * (1 + math.cos(math.pi * (progress * cycles % 1))) / 2
    )


def step(*, at: tuple[float, ...] = (0.5, 0.75), factor: Share = 0.1) -> Schedule:
    """Multiply the rate by `factor` at each of some points.

    Args:
        at: Points of progress, in (0, 1).
        factor: On the rate, at each point.
    """
    return lambda progress: factor ** sum(progress >= point for point in at)


def plateau(
    *,
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.3,
    patience: Annotated[int, Field(ge=1)] = 3,
) -> Schedule:
    """Multiply the rate by `factor` whenever the validation score has stopped rising.

    Args:
        factor: On the rate, each time.
        patience: Validations without a better score before that.
    """
    return Plateau(factor, patience)
