"""All that a recipe names, built: data, model, loss, optimiser, validation."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import nn

from pixelwright import images
from pixelwright.build import pretrained
from pixelwright.build.crops import training_crops
from pixelwright.build.learner import check_batch, optimizer_of, thaw_of
from pixelwright.build.model import MEAN, STD, centred, header
from pixelwright.build.pretrained import Start
from pixelwright.build.scoring import Scorer
from pixelwright.data import counts, index
from pixelwright.data.loader import Loader
from pixelwright.errors import PixelwrightWarning, RecipeError
from pixelwright.losses._combine import Term, build_terms, combine
from pixelwright.metrics.scores import Scores
from pixelwright.models import models
from pixelwright.nn.receptive import Field, field_of
from pixelwright.recipe import Recipe
from pixelwright.training.callbacks import Callback, EarlyStopping, Goal, Plateau
from pixelwright.training.ema import Ema
from pixelwright.training.engine import Engine
from pixelwright.training.loop import Trainee
from pixelwright.training.schedule import schedules
from pixelwright.types import Index, OnEvent, Window, silent

OVERFIT_GOAL = 0.95
"""Mean IoU at which crops count as learnt by heart; label noise at edges keeps 1 out of reach."""


@dataclass(frozen=True)
class Training:
    """A recipe, built.

    Args:
        recipe: As given, with the mean and std that pretrained weights expect.
        note: What it starts from besides random weights; empty if nothing.
        index: What the layout found.
        trainee: Model, loss, optimiser and what goes with them.
        loader: The training batches.
        accumulate: Parts in which a batch is computed, so that the tile is kept.
        field: What the network sees.
        header: What a file of its weights says for prediction.
        score: Scores a model on a split.
    """

    recipe: Recipe
    note: str
    index: Index
    trainee: Trainee
    loader: Loader
    accumulate: int
    field: Field
    header: dict[str, Any]
    score: Scorer

    def validate(self, model: nn.Module, on_event: OnEvent = silent) -> Scores:
        """Scores on the validation split, computed as training computes."""
        return self.score(model, "val", depth="loss", fast=True, on_event=on_event)

    def validation_seconds(self, model: nn.Module) -> float:
        """How long `validate` would take, from the time of a few images."""
        entries = self.index.splits["val"]
        some = entries[:: max(len(entries) // 4, 1)][:4]
        # The first pass pays for memory and for the choice of kernels.
        self.score(model, "val", depth="loss", fast=True, entries=some[:1])
        start = time.monotonic()
        self.score(model, "val", depth="loss", fast=True, entries=some)
        return (time.monotonic() - start) * len(entries) / len(some)


def training(recipe: Recipe, *, fresh: bool = True) -> Training:
    """Build all that a recipe names.

    Args:
        recipe: What to train.
        fresh: Load the pretrained weights that the model names; a training that goes on has its
            own.

    Raises:
        RecipeError: A crop, a guard, a batch or a device that cannot be.
        DataError: Data that cannot be learnt from.
        CheckpointError: Pretrained weights that cannot be had or do not fit.
    """
    engine = Engine.of(recipe.device, recipe.precision)
    found = index.load_for_training(recipe.data)
    if recipe.train.overfit:
        found = _to_overfit(found, recipe)
    classes = found.classes
    torch.manual_seed(recipe.seed)
    built = models.build(recipe.model, classes=len(classes), channels=recipe.channels)
    names, channels = classes.names, recipe.channels
    start = pretrained.load(built, recipe.model, names, channels) if fresh else None
    recipe = _as_expected(recipe, start)
    scaled = centred(built, channels, recipe.mean or MEAN, recipe.std or STD)
    model = engine.place(scaled)
    thaw = thaw_of(recipe, built)
    field = field_of(built, channels)
    _check_crop(recipe, field)
    _check_guard(recipe, found, field)
    train = recipe.train
    loader = training_crops(recipe, found)
    terms = loss_terms(recipe, len(classes), lambda: found)
    schedule = schedules.build(train.schedule)
    callbacks: list[Callback] = [schedule] if isinstance(schedule, Plateau) else []
    if train.patience:
        callbacks.append(EarlyStopping(train.patience))
    if train.overfit:
        callbacks.append(Goal(OVERFIT_GOAL))
    trainee = Trainee(
        model=model,
        loss=combine(terms),
        optimizer=optimizer_of(recipe, model, built),
        schedule=schedule,
        lr=train.lr,
        ema=Ema(model, train.ema) if train.ema else None,
        callbacks=callbacks,
        engine=engine,
        thaw=thaw,
    )
    accumulate = _accumulate(recipe)
    check_batch(trainee, recipe, accumulate)
    return Training(
        recipe=recipe,
        note=start.note if start else "",
        index=found,
        trainee=trainee,
        loader=loader,
        accumulate=accumulate,
        field=field,
        header=header(recipe, classes),
        score=Scorer(found, recipe.channels, field, engine, recipe.tile, terms),
    )


def _as_expected(recipe: Recipe, start: Start | None) -> Recipe:
    """The recipe with what pretrained weights expect of pictures, where it says nothing itself."""
    if start is None:
        return recipe
    expected = {"mean": recipe.mean or start.mean or (), "std": recipe.std or start.std or ()}
    return recipe.model_copy(update=expected)


def loss_terms(recipe: Recipe, classes: int, data: Callable[[], Index]) -> list[Term]:
    """The losses that a recipe names.

    Args:
        recipe: Its `loss`.
        classes: Number of classes.
        data: Asked for the training images, only where the loss takes its weights from them.
    """

    def weights(scheme: str) -> Float64[np.ndarray, " k"]:
        return _class_weights(data())(scheme)

    return build_terms(recipe.loss, classes, weights)


def _class_weights(found: Index) -> Callable[[str], Float64[np.ndarray, " k"]]:
    schemes = {
        "median-frequency": counts.median_frequency,
        "inverse-frequency": counts.inverse_frequency,
        "effective-number": counts.effective_number,
    }

    def weights(scheme: str) -> Float64[np.ndarray, " k"]:
        return schemes[scheme](counts.class_counts(found.splits["train"], found.classes))

    return weights


def _accumulate(recipe: Recipe) -> int:
    """Parts in which a batch is computed: as told, or more where a tile bounds the pixels."""
    parts = recipe.train.accumulate
    if recipe.tile is not None:
        at_once = recipe.tile**2 // recipe.train.crop**2
        parts = max(parts, -(-recipe.train.batch_size // at_once))
    return parts


def _check_crop(recipe: Recipe, field: Field) -> None:
    crop, rule = recipe.train.crop, field.multiple
    if crop % rule:
        below, above = crop // rule * rule, -(-crop // rule) * rule
        raise RecipeError(
            f"train.crop = {crop} does not fit {recipe.model}, which halves it down to 1/{rule}: "
            f"crops must be multiples of {rule}. Take {f'{below} or ' if below else ''}{above}."
        )


def _check_guard(recipe: Recipe, found: Index, field: Field) -> None:
    if found.guard is None or recipe.small_guard or field.unbounded:
        return
    if found.guard < field.radius:
        raise RecipeError(
            f"The guard of {found.guard} px between training and validation blocks is smaller than "
            f"the receptive radius of {recipe.model}, {field.radius} px: it could see across. Set "
            f"data.guard={field.radius}, take a smaller model, or allow it with small_guard=true."
        )


def _to_overfit(found: Index, recipe: Recipe) -> Index:
    """A few fixed crops as both the training and the validation split."""
    crop = recipe.train.crop
    fixed = []
    for entry in found.splits["train"][: recipe.train.overfit]:
        window = entry.window or Window(0, 0, *images.size(entry.image))
        height, width = min(crop, window.height), min(crop, window.width)
        top = window.top + (window.height - height) // 2
        left = window.left + (window.width - width) // 2
        fixed.append(replace(entry, window=Window(top, left, height, width)))
    if len(fixed) < recipe.train.overfit:
        warnings.warn(
            f"There are only {len(fixed)} training images to over-fit, not {recipe.train.overfit}.",
            PixelwrightWarning,
            stacklevel=2,
        )
    return replace(found, splits={"train": tuple(fixed), "val": tuple(fixed)}, guard=None)
