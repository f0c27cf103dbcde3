"""The learning-rate range test: what is read from a sweep, and that it leaves nothing behind."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tiny
from pixelwright import jobs
from pixelwright.cli import main
from pixelwright.errors import DataError, RecipeError
from pixelwright.recipe import Recipe
from pixelwright.registry import Spec
from pixelwright.training.engine import Engine
from pixelwright.training.loop import Trainee
from pixelwright.training.lr_range import rates_between, smooth, suggest, sweep
from pixelwright.training.optim import optimizers
from pixelwright.training.schedule import constant
from pixelwright.types import Batch, silent


def test_rates_rise_by_a_constant_factor() -> None:
    assert rates_between(1e-3, 10.0, 5) == pytest.approx([1e-3, 1e-2, 1e-1, 1, 10])


def test_smoothing_of_a_hand_worked_case() -> None:
    # One to either side: (3+0)/2, (3+0+6)/3, (0+6+3)/3, (6+3)/2.
    assert smooth([3.0, 0.0, 6.0, 3.0], 1).tolist() == [1.5, 3, 3, 4.5]
    assert smooth([3.0, 0.0, 6.0], 0).tolist() == [3, 0, 6]


def test_smoothing_leaves_the_lowest_loss_where_it_is() -> None:
    valley = [abs(i - 20.0) for i in range(41)]
    assert int(smooth(valley, 3).argmin()) == 20


def test_the_suggestion_of_a_hand_worked_sweep() -> None:
    # The loss falls by 0.1, 0.9 and 0.2, is lowest at a rate of 0.1 and rises again.
    rates = [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0]
    found = suggest(rates, [2.0, 1.9, 1.0, 0.8, 2.5, 9.0], radius=0)
    assert found.rate == pytest.approx(0.01)
    assert found.steepest == 1e-3
    assert found.lowest == 0.1
    assert found.note == ""


def test_a_loss_that_never_falls_suggests_nothing() -> None:
    found = suggest([1e-3, 1e-2, 1e-1, 1.0], [1.0, 1.0, 1.1, 3.0], radius=0)
    assert found.rate is None
    assert "did not fall" in found.note


def test_a_loss_that_still_falls_at_the_end_says_so() -> None:
    found = suggest([1e-3, 1e-2, 1e-1, 1.0], [4.0, 3.0, 2.0, 1.0], radius=0)
    assert found.rate == pytest.approx(0.1)
    assert "--high" in found.note


def test_a_sweep_of_two_steps_suggests_nothing() -> None:
    assert suggest([1.0, 10.0], [1.0, 9.0]).rate is None


class Parabola(nn.Module):
    """Logits of one weight: gradient descent diverges beyond a rate of 1."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.weight.expand(len(image), 2, *image.shape[-2:])


def parabola() -> Trainee:
    model = Parabola()
    return Trainee(
        model=model,
        loss=lambda logits, target: logits.mean() ** 2,
        optimizer=optimizers.build(
            Spec.parse("sgd:momentum=0,weight_decay=0"), model=model, lr=1.0
        ),
        schedule=constant(),
        lr=1.0,
        ema=None,
        callbacks=[],
        engine=Engine.of("cpu", "float32"),
    )


def batches(start: int) -> Iterator[Batch]:
    while True:
        yield Batch(np.zeros((1, 2, 2, 3), np.uint8), np.zeros((1, 2, 2), np.int16), ("a",))


def test_a_sweep_steps_at_each_rate_in_turn() -> None:
    # w <- w - rate * 2w, and the loss is w^2 before the step.
    found = sweep(parabola(), batches, low=0.1, high=0.2, steps=2)
    assert found.losses == pytest.approx([1.0, 0.8**2])


def test_a_sweep_ends_where_the_loss_runs_away() -> None:
    found = sweep(parabola(), batches, low=1e-3, high=100.0, steps=60)
    # Beyond a rate of 1 each step makes the weight larger.
    assert 1.0 < found.rates[-1] < 100
    assert len(found.rates) == len(found.losses) < 60
    assert "ran away" in found.why
    told = suggest(found.rates, found.losses)
    assert told.rate is not None and 0.05 < told.rate < 0.15


def test_a_loss_that_is_not_finite_ends_the_sweep() -> None:
    subject = parabola()
    subject.loss = lambda logits, target: logits.mean() * math.inf
    found = sweep(subject, batches, low=1e-3, high=1.0, steps=10)
    assert found.losses == ()
    assert "not finite" in found.why
    assert suggest(found.rates, found.losses).rate is None


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return Recipe.from_dict(
        {
            "data": tiny.draw_folders(tmp_path_factory.mktemp("lr")),
            "model": "unet:width=4,depth=1",
            "precision": "float32",
            "train": {"batch_size": 2, "crop": 32},
        }
    )


def test_the_finder_learns_on_the_recipes_own_batches_and_keeps_no_weights(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = jobs.find_lr(recipe, low=1e-4, high=1.0, steps=20, out="lr.png", on_event=silent)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lr.json", "lr.png"]
    kept = json.loads(Path("lr.json").read_text(encoding="utf-8"))
    assert kept["rate"] == found.rate
    assert kept["losses"] == list(found.sweep.losses)
    again = jobs.find_lr(recipe, low=1e-4, high=1.0, steps=20, on_event=silent)
    assert again.sweep == found.sweep
    assert again.files == ()


def test_rates_that_make_no_sweep_are_refused(recipe: Recipe) -> None:
    with pytest.raises(RecipeError, match="higher high"):
        jobs.find_lr(recipe, low=1.0, high=0.1, on_event=silent)
    with pytest.raises(DataError, match=r"\.png"):
        jobs.find_lr(recipe, out="lr.gif", on_event=silent)


def test_the_command_says_how_to_set_the_rate(
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
    assert main(["find-lr", "recipe.toml", "--steps", "30", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "--set train.lr=" in out
    assert "(now 0.001)" in out
    assert "wrote find-lr.png" in out
