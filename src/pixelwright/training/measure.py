"""Turn a time budget into steps, by timing a few before the first; training then starts afresh."""

import copy
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import nn

from pixelwright.training.loop import Trainee, train_step
from pixelwright.training.state import Progress, capture, restore
from pixelwright.types import Batch

VALIDATION_SHARE = 0.12
"""Most of the time that validations may take."""
MARGIN = 0.94
"""Share of the budget that is planned for; the rest is for what runs slower than it was timed."""


@dataclass(frozen=True)
class Pace:
    """Seconds of one optimiser step and of one validation."""

    step: float
    validation: float


def pace(
    trainee: Trainee,
    batches: Callable[[int], Iterator[Batch]],
    validate_some: Callable[[nn.Module], float],
    *,
    accumulate: int,
    clip: float | None,
    seconds: float,
) -> Pace:
    """Time some steps and a part of a validation, and put everything back as it was.

    Args:
        trainee: Left as it was found, random state included.
        batches: The batches from a step on.
        validate_some: Validates on a part and returns the seconds that the whole would take.
        accumulate: Parts of a batch.
        clip: Largest norm of the gradient, or None.
        seconds: About how long to time steps; at least three are done.
    """
    tensors, meta = capture(
        trainee.model, trainee.optimizer, trainee.ema, trainee.callbacks, Progress()
    )
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    meta = copy.deepcopy(meta)
    source = batches(0)
    times: list[float] = []
    # With all open that ever opens: the slowest steps.
    trainee.learn(1.0)
    # The first two steps pay for memory and for the choice of kernels.
    for batch in islice(source, 2):
        train_step(trainee, batch, accumulate=accumulate, clip=clip)
    start = time.monotonic()
    while len(times) < 3 or time.monotonic() - start < seconds:
        at = time.monotonic()
        train_step(trainee, next(source), accumulate=accumulate, clip=clip)
        if trainee.ema:
            trainee.ema.update(trainee.model, 1)
        times.append(time.monotonic() - at)
    source.close()  # type: ignore[attr-defined]
    validation = validate_some(trainee.kept)
    trainee.optimizer.state.clear()
    trainee.optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
        restore(tensors, meta, trainee.model, trainee.optimizer, trainee.ema, trainee.callbacks)
    # The median: a hiccup of the machine while timing must not shorten the whole training.
    return Pace(statistics.median(times), validation)


def steps_within(seconds: float, pace: Pace) -> tuple[int, int]:
    """How many steps fit into a budget, and after how many to validate.

    Args:
        seconds: For training and its validations.
        pace: As measured.

    Returns:
        At least one step, and validations between 3 and 40 times where the budget allows.
    """
    seconds *= MARGIN
    most = int(VALIDATION_SHARE * seconds / max(pace.validation, 1e-6))
    validations = min(max(most, 3), 40)
    steps = max(int((seconds - validations * pace.validation) / pace.step), 1)
    return steps, max(-(-steps // validations), 1)
