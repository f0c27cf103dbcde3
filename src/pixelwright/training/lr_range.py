"""The learning-rate range test: what the loss does while the rate rises, and which rate to take.

    found = sweep(trainee, batches, low=1e-6, high=10.0, steps=100)
    suggest(found.rates, found.losses).rate          # 0.0021

Paper: Smith, 2017, https://arxiv.org/abs/1506.01186
Differs: the rate rises by a constant factor instead of a constant amount, so that every decade gets
as many steps, and one curve of losses is read, not the accuracy of several trainings.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from pixelwright.training.loop import Trainee, set_rate, train_step
from pixelwright.types import Batch, Event, OnEvent, silent

DIVERGED = 4.0
"""The sweep ends where the running loss is so many times its lowest: nothing better follows."""
_RUNNING = 0.8
_WINDOW = 0.04


@dataclass(frozen=True)
class Sweep:
    """The learning rate and the loss of every step, and why the sweep ended before its last."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    why: str = ""


@dataclass(frozen=True)
class Suggestion:
    """Which rate to take.

    Args:
        rate: A tenth of the rate at which the loss was lowest, in two digits; None where the loss
            never fell.
        steepest: The rate at which the loss fell fastest: the lower end of what is worth trying.
        lowest: The rate at which the loss was lowest: beyond it training breaks down.
        note: What a reader has to know, if anything.
    """

    rate: float | None
    steepest: float | None
    lowest: float | None
    note: str = ""


def rates_between(low: float, high: float, steps: int) -> list[float]:
    """Rates from `low` to `high`, each the same factor above the one before."""
    return [low * (high / low) ** (i / (steps - 1)) for i in range(steps)]


def sweep(
    trainee: Trainee,
    batches: Callable[[int], Iterator[Batch]],
    *,
    low: float,
    high: float,
    steps: int,
    accumulate: int = 1,
    clip: float | None = None,
    on_event: OnEvent = silent,
) -> Sweep:
    """Train while the rate rises, until the loss runs away.

    Args:
        trainee: Trained in place, and of no use afterwards.
        batches: The batches from a step on.
        low: The first rate.
        high: The last rate.
        steps: At most; as many as there are rates.
        accumulate: Parts of a batch.
        clip: Largest norm of the gradient, or None.
        on_event: Told every step.
    """
    rates, losses, why = rates_between(low, high, steps), [], ""
    running = best = math.inf
    source = batches(0)
    trainee.learn(1.0)
    try:
        with trainee.engine.repeatable():
            for rate in rates:
                set_rate(trainee, rate)
                loss = train_step(trainee, next(source), accumulate=accumulate, clip=clip)
                if not math.isfinite(loss):
                    why = f"the loss was not finite at a rate of {rate:.2g}"
                    break
                losses.append(loss)
                running = loss if len(losses) == 1 else _RUNNING * running + (1 - _RUNNING) * loss
                best = min(best, running)
                shown = {"what": "learning rates", "done": len(losses), "total": steps}
                on_event(Event("progress", shown))
                if best > 0 and running > DIVERGED * best:
                    why = f"the loss ran away at a rate of {rate:.2g}"
                    break
    finally:
        source.close()  # type: ignore[attr-defined]
    return Sweep(tuple(rates[: len(losses)]), tuple(losses), why)


def window(steps: int) -> int:
    """Steps to either side that a loss is averaged with."""
    return max(round(_WINDOW * steps), 1)


def smooth(losses: Sequence[float], radius: int) -> Float64[np.ndarray, " steps"]:
    """The mean of each loss and of `radius` losses to either side, fewer at the ends.

    It looks both ways, so that the lowest loss stays at its rate: a running mean would move it to
    a higher one.
    """
    padded = np.concatenate([[0.0], np.cumsum(np.asarray(losses, np.float64))])
    places = np.arange(len(losses))
    first, last = np.maximum(places - radius, 0), np.minimum(places + radius + 1, len(losses))
    return np.asarray((padded[last] - padded[first]) / (last - first))


def suggest(
    rates: Sequence[float], losses: Sequence[float], radius: int | None = None
) -> Suggestion:
    """Read a rate from a sweep: a tenth of that with the lowest loss.

    A tenth stays clear of the edge beyond which training breaks down, and suits schedules that warm
    up and come down again, as ours do. Where the loss falls fastest is told beside it.

    Args:
        rates: Rising by a constant factor.
        losses: One for each rate.
        radius: Steps to either side that a loss is averaged with; by default 4 % of them.
    """
    if len(losses) < 3:
        return Suggestion(None, None, None, "The sweep ended at once: begin at a lower rate.")
    radius = window(len(losses)) if radius is None else radius
    curve = smooth(losses, radius)
    lowest = int(curve.argmin())
    if not lowest or curve[lowest] >= 0.98 * curve[0]:
        note = "The loss did not fall at any of these rates: is there anything to learn?"
        return Suggestion(None, None, None, note)
    # Over a stretch: from one step to the next, noise falls faster than any loss.
    stretch = min(max(4 * radius, 1), lowest)
    falls = curve[stretch : lowest + 1] - curve[: lowest + 1 - stretch]
    steepest = rates[int(falls.argmin()) + stretch // 2]
    note = ""
    if lowest >= len(losses) - 2:
        note = "The loss was still falling at the last rate: a higher --high may show more."
    return Suggestion(float(f"{rates[lowest] / 10:.1e}"), steepest, rates[lowest], note)
