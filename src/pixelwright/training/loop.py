"""The training loop: steps, validation, checkpoints, and a bit-identical way back after a stop.

It is handed objects (`Trainee`) and numbers decided before the first step (`Plan`), and reports
through `on_event`. A step is one call of the optimiser; a batch may be computed in parts.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from pixelwright.errors import PixelwrightError
from pixelwright.training.callbacks import Callback
from pixelwright.training.checkpoint import Checkpoints, save
from pixelwright.training.ema import Ema
from pixelwright.training.engine import Engine, global_norm
from pixelwright.training.log import Log
from pixelwright.training.signals import StopRequest
from pixelwright.training.state import Progress, capture
from pixelwright.training.thaw import Thaw
from pixelwright.types import IGNORE, Batch, Event, OnEvent

MOST_SKIPPED = 10
"""Steps in a row whose loss is not finite before training gives up."""


@runtime_checkable
class Validated(Protocol):
    """What a validation found."""

    @property
    def value(self) -> float:
        """By which models are chosen: higher is better; NaN where it is undefined."""

    def row(self) -> Mapping[str, object]:
        """What the log is told of it."""


@dataclass
class Trainee:
    """What is trained, and with what.

    Args:
        model: Takes images in [0, 255], returns logits.
        loss: Of logits and targets.
        optimizer: Over the model's parameters, at the base rate.
        schedule: Factor on the base rate at a progress in [0, 1).
        lr: The base rate.
        ema: The average of the weights that is validated and kept instead of them, if any.
        callbacks: Told every validation score.
        engine: Where it happens.
        thaw: What shuts the encoder or parts of it, if any.
        place: Where the model lies in the network that is kept, as the beginning of its weights'
            names, if it is only a part of one: the head of a classifier whose trunk is done.
        rest: The weights of the rest of that network, by name.
        runs: What steps call: the model itself, or the model compiled. None is the model.
    """

    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    optimizer: torch.optim.Optimizer
    schedule: Callable[[float], float]
    lr: float
    ema: Ema | None
    callbacks: Sequence[Callback]
    engine: Engine
    thaw: Thaw | None = None
    place: str = ""
    rest: Mapping[str, Tensor] = field(default_factory=dict)
    runs: nn.Module | None = None

    @property
    def running(self) -> nn.Module:
        """The model as steps call it."""
        return self.runs or self.model

    def learn(self, progress: float) -> None:
        """Training mode, but for what does not learn at this progress."""
        if not self.model.training:
            self.model.train()
        if self.thaw:
            self.thaw.apply(progress)

    @property
    def kept(self) -> nn.Module:
        """The model that is validated and saved."""
        return self.ema.average if self.ema else self.model

    def weights(self) -> dict[str, Tensor]:
        """All that a file of the kept network holds."""
        own = {f"{self.place}{name}": t for name, t in self.kept.state_dict().items()}
        return {f"model/{name}": value for name, value in {**self.rest, **own}.items()}


@dataclass(frozen=True)
class Plan:
    """How long, and what happens when.

    Args:
        steps: Optimiser steps in all.
        steps_per_epoch: Steps in which every training pixel is seen about once.
        validate_every: Steps between validations; there is always one after the last step.
        accumulate: Parts in which a batch is computed.
        clip: Largest norm of the gradient, or None.
        save_seconds: Time between checkpoints.
        stop_after: Seconds of this sitting after which training stops early, or None.
        header: What `best` must say besides its weights, for prediction.
        snapshots: Models that are kept along the way whatever they score, evenly, the last at the
            end.
    """

    steps: int
    steps_per_epoch: int
    validate_every: int
    accumulate: int
    clip: float | None
    save_seconds: float
    stop_after: float | None
    header: dict[str, object]
    snapshots: int = 0

    def is_snapshot(self, step: int) -> bool:
        """Whether the model is kept after this many steps."""
        done, before = (at * self.snapshots // self.steps for at in (step, step - 1))
        return done > before


def train_step(
    trainee: Trainee, batch: Batch, *, accumulate: int = 1, clip: float | None = None
) -> float:
    """One optimiser step on a batch.

    Returns:
        The loss, averaged over the counted pixels of the batch. Where it is not finite, the step
        is not applied.
    """
    engine = trainee.engine
    trainee.optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for images, targets, others, share in _parts(engine, batch, accumulate):
        with engine.autocast():
            logits = trainee.running(images)
        loss = trainee.loss(logits, targets)
        if batch.mix is not None and others is not None:
            own = batch.mix.share
            loss = own * loss + (1 - own) * trainee.loss(logits, others)
        # Parts weigh as many counted pixels as they hold, so that their gradients add up to that
        # of the whole batch.
        (loss * share).backward()  # type: ignore[no-untyped-call]
        total += loss.item() * share
    if not math.isfinite(total):
        return total
    if clip is not None:
        norm = global_norm(list(trainee.model.parameters()))
        factor = (clip / (norm + 1e-6)).clamp(max=1.0)
        grads = [p.grad for p in trainee.model.parameters() if p.grad is not None]
        torch._foreach_mul_(grads, factor)
    trainee.optimizer.step()
    return total


_Part = tuple[Tensor, Int[Tensor, "n *hw"], Int[Tensor, " n"] | None, float]
"""Images, targets, the targets of what is mixed in, and the share of the batch that counts."""


def _parts(engine: Engine, batch: Batch, count: int) -> Iterator[_Part]:
    counted = np.count_nonzero(batch.targets != IGNORE)
    size = -(-len(batch.images) // count)
    for start in range(0, len(batch.images), size):
        part = slice(start, start + size)
        targets = batch.targets[part]
        share = np.count_nonzero(targets != IGNORE) / counted if counted else 0.0
        others = engine.targets(batch.mix.targets[part]) if batch.mix else None
        yield engine.images(batch.images[part]), engine.targets(targets), others, float(share)


class Watch:
    """Keeps the largest input that a model and its average have seen, in `progress.largest`."""

    def __init__(self, trainee: Trainee, progress: Progress) -> None:
        self._progress = progress
        models = {id(m): m for m in (trainee.running, trainee.kept)}.values()
        self._hooks = [m.register_forward_pre_hook(self._look) for m in models]

    def _look(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].ndim != 4:  # features of pictures, not pictures
            return
        n, _, h, w = inputs[0].shape
        if n * h * w > math.prod(self._progress.largest):
            self._progress.largest = [n, h, w]

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()


@dataclass
class Sitting:
    """One stretch of training, from a start or a resume to its end or a stop.

    Args:
        trainee: Trained in place.
        batches: The endless batches from a step on.
        validate: Scores of a model on the validation split.
        plan: How long, and what happens when.
        progress: Where it stands; brought up to date in place.
        checkpoints: Where states are kept.
        log: Gets a row at every validation.
        on_event: Told every step.
    """

    trainee: Trainee
    batches: Callable[[int], Iterator[Batch]]
    validate: Callable[[nn.Module], Validated]
    plan: Plan
    progress: Progress
    checkpoints: Checkpoints
    log: Log
    on_event: OnEvent


def fit(sitting: Sitting) -> str:
    """Train from `progress.step` on.

    Returns:
        Why it stopped; empty when all steps were done.
    """
    trainee, plan, progress = sitting.trainee, sitting.plan, sitting.progress
    start, before = time.monotonic(), progress.seconds
    saved = start
    watch = Watch(trainee, progress)
    source = sitting.batches(progress.step)
    why, skipped = progress.stopped, 0
    trainee.model.train()
    try:
        with StopRequest() as request, trainee.engine.repeatable():
            while progress.step < plan.steps and not why:
                skipped = step(sitting, source, skipped)
                progress.seconds = before + time.monotonic() - start
                if progress.step % plan.validate_every == 0 or progress.step == plan.steps:
                    why = progress.stopped = _validate(sitting)
                if plan.is_snapshot(progress.step):
                    _snapshot(sitting)
                now = time.monotonic()
                progress.seconds = before + now - start
                if plan.stop_after is not None and now - start > plan.stop_after:
                    why = why or "the time is up"
                if request.signal:
                    why = why or f"signal {request.signal}"
                if now - saved > plan.save_seconds and not why:
                    _keep(sitting)
                    saved = time.monotonic()
            if why and progress.step % plan.validate_every and not request.signal:
                _validate(sitting)
            _keep(sitting)
    finally:
        watch.close()
        source.close()  # type: ignore[attr-defined]
    request.raise_again()
    return why


def step(sitting: Sitting, source: Iterator[Batch], skipped: int = 0) -> int:
    """One step at its rate; the number of steps in a row whose loss was not finite."""
    trainee, plan, progress = sitting.trainee, sitting.plan, sitting.progress
    start = time.monotonic()
    batch = next(source)
    trainee.learn(progress.step / plan.steps)
    rate = trainee.lr * trainee.schedule(progress.step / plan.steps)
    set_rate(trainee, rate)
    loss = train_step(trainee, batch, accumulate=plan.accumulate, clip=plan.clip)
    progress.step += 1
    skipped = _count_loss(loss, progress, skipped, batch)
    if trainee.ema and not skipped:
        trainee.ema.update(trainee.model, progress.step)
    data = {"step": progress.step, "loss": loss, "lr": rate, "images": len(batch.keys)}
    sitting.on_event(Event("step", data | {"seconds": time.monotonic() - start}))
    return skipped


def set_rate(trainee: Trainee, rate: float) -> None:
    """Let the next step move the weights at this learning rate, a group at its factor of it."""
    for group in trainee.optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)


def _keep(sitting: Sitting) -> None:
    """Save the state; what the log holds so far belongs to it."""
    trainee, progress = sitting.trainee, sitting.progress
    progress.log_length = sitting.log.length
    parts = trainee.model, trainee.optimizer, trainee.ema, trainee.callbacks, progress
    sitting.checkpoints.save_last(*capture(*parts))
    sitting.on_event(Event("save", {"path": sitting.checkpoints.last}))


def _snapshot(sitting: Sitting) -> None:
    """Keep the model as it is now, beside the best."""
    step = sitting.progress.step
    path = sitting.checkpoints.snapshot(step)
    save(path, sitting.trainee.weights(), sitting.plan.header | {"step": step})
    sitting.on_event(Event("save", {"path": path}))


def _count_loss(loss: float, progress: Progress, skipped: int, batch: Batch) -> int:
    """Add a loss to the running mean; the number of steps in a row that were not finite."""
    if math.isfinite(loss):
        progress.loss_sum += loss
        progress.loss_count += 1
        return 0
    progress.skipped += 1
    if skipped + 1 >= MOST_SKIPPED:
        raise PixelwrightError(
            f"The loss was not finite for {MOST_SKIPPED} steps up to step {progress.step}; the "
            f"last batch held {', '.join(batch.keys[:3])}. Lower train.lr, or set train.clip=1; "
            f"the last checkpoint is unharmed."
        )
    return skipped + 1


def _validate(sitting: Sitting) -> str:
    """Score the kept model, log a row, keep the best; why training should stop, if it should."""
    trainee, plan, progress = sitting.trainee, sitting.plan, sitting.progress
    start = time.monotonic()
    scores = sitting.validate(trainee.kept)
    score = scores.value
    # A score that is undefined (no counted pixel) is no reason to keep or to stop.
    best = progress.best is None or (math.isfinite(score) and score > progress.best)
    if best:
        progress.best = score if math.isfinite(score) else None
        header = plan.header | {"step": progress.step}
        save(sitting.checkpoints.best, trainee.weights(), header)
    row = {
        "epoch": round(progress.step / plan.steps_per_epoch, 4),
        "step": progress.step,
        "train_loss": progress.loss_sum / progress.loss_count if progress.loss_count else math.nan,
        **scores.row(),
        "lr": trainee.optimizer.param_groups[0]["lr"],
        "seconds": round(progress.seconds + time.monotonic() - start, 2),
        "best": best,
    }
    progress.loss_sum, progress.loss_count = 0.0, 0
    sitting.log.write("epoch", **row)
    sitting.on_event(Event("epoch", row | {"score": score}))
    reasons = [callback.observe(score) for callback in trainee.callbacks]
    return "; ".join(reason for reason in reasons if reason)
