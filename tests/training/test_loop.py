from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from pixelwright.errors import RecipeError
from pixelwright.losses._combine import build_loss
from pixelwright.registry import Spec
from pixelwright.training.ema import Ema
from pixelwright.training.engine import Engine
from pixelwright.training.loop import Trainee, train_step
from pixelwright.training.measure import Pace, pace, steps_within
from pixelwright.training.optim import optimizers
from pixelwright.training.schedule import constant
from pixelwright.types import IGNORE, Batch


def trainee(loss: str = "cross-entropy", optimizer: str = "sgd:momentum=0.9") -> Trainee:
    torch.manual_seed(0)
    engine = Engine.of("cpu", "float32")
    model = engine.place(
        nn.Sequential(Floats(), nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    )
    return Trainee(
        model=model,
        loss=build_loss(loss, 2, lambda scheme: np.ones(2)),
        optimizer=optimizers.build(Spec.parse(optimizer), model=model, lr=0.05),
        schedule=constant(),
        lr=0.05,
        ema=None,
        callbacks=[],
        engine=engine,
    )


class Floats(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.float() / 255


def batch(seed: int = 0, n: int = 4) -> Batch:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 8, 8, 3), np.uint8)
    targets = (images[..., 0] > 128).astype(np.int16)
    # Parts with different numbers of counted pixels.
    targets[0, :5] = IGNORE
    return Batch(images, targets, tuple(map(str, range(n))))


def weights(subject: Trainee) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1) for p in subject.model.parameters()])


@pytest.mark.parametrize("accumulate", [2, 3, 4])
def test_a_batch_computed_in_parts_moves_the_weights_as_one(accumulate: int) -> None:
    whole, parts = trainee(), trainee()
    losses = [train_step(whole, batch(s)) for s in range(3)]
    in_parts = [train_step(parts, batch(s), accumulate=accumulate) for s in range(3)]
    assert in_parts == pytest.approx(losses, rel=1e-5)
    torch.testing.assert_close(weights(parts), weights(whole), rtol=1e-4, atol=1e-6)


def test_clipping_bounds_the_update_and_leaves_small_gradients_alone() -> None:
    free, clipped, loose = trainee(), trainee(), trainee()
    start = weights(free).clone()
    train_step(free, batch())
    train_step(clipped, batch(), clip=1e-3)
    train_step(loose, batch(), clip=1e6)
    # 5 % learning rate on a gradient of norm 1e-3; the decay of 1e-4 adds a trace.
    assert (weights(clipped) - start).norm() < 0.05 * 1.1e-3 + 1e-4
    assert torch.equal(weights(loose), weights(free))


def test_f29_a_batch_without_counted_pixels_has_no_loss_and_no_gradient() -> None:
    subject = trainee(optimizer="sgd:momentum=0,weight_decay=0")
    before = weights(subject).clone()
    empty = batch()
    empty.targets[:] = IGNORE
    assert train_step(subject, empty, accumulate=2) == 0
    assert torch.equal(weights(subject), before)


def test_f60_a_loss_that_is_not_finite_moves_nothing() -> None:
    subject = trainee()
    before = weights(subject).clone()
    subject.loss = lambda logits, target: logits.sum() * float("nan")
    assert np.isnan(train_step(subject, batch()))
    assert torch.equal(weights(subject), before)


def test_the_average_follows_the_weights() -> None:
    subject = trainee()
    ema = Ema(subject.model, decay=0.5)
    old = weights(subject).clone()
    train_step(subject, batch())
    ema.update(subject.model, step=1)
    # The warm-up bounds the decay of the first step by 2/11.
    expected = old + (weights(subject) - old) * (1 - 2 / 11)
    averaged = torch.cat([p.reshape(-1) for p in ema.average.parameters()])
    torch.testing.assert_close(averaged, expected)


@pytest.mark.parametrize("optimizer", list(optimizers))
def test_timing_the_pace_changes_nothing(optimizer: str) -> None:
    timed, untouched = trainee(optimizer=optimizer), trainee(optimizer=optimizer)

    def batches(start: int) -> Iterator[Batch]:
        step = start
        while True:
            yield batch(step)
            step += 1

    timed.model.train()
    found = pace(timed, batches, lambda model: 0.5, accumulate=1, clip=None, seconds=0.0)
    assert found.step > 0
    torch.manual_seed(1)
    for subject in (timed, untouched):
        for step in range(3):
            train_step(subject, batch(step))
    assert torch.equal(weights(timed), weights(untouched))


def test_a_budget_becomes_steps_and_validations() -> None:
    # 94 s are planned for; validations of 1 s may take 12 %: 11 of them; 83 s hold 166 steps.
    steps, every = steps_within(100.0, Pace(step=0.5, validation=1.0))
    assert (steps, every) == (166, 16)


def test_a_slow_validation_still_happens_three_times() -> None:
    steps, every = steps_within(100.0, Pace(step=1.0, validation=20.0))
    assert (steps, every) == (34, 12)


def test_f40_looking_ahead_without_a_momentum_is_refused() -> None:
    with pytest.raises(RecipeError, match="nesterov"):
        trainee(optimizer="sgd:nesterov=true,momentum=0")
