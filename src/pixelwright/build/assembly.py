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
from pixelwright.build import labels, pretrained
from pixelwright.build.crops import training_crops
from pixelwright.build.features import PLACE, rest_of
from pixelwright.build.labels import check_task
from pixelwright.build.learner import check_batch, optimizer_of, thaw_of
from pixelwright.build.material import Batches, Material, Scoring
from pixelwright.build.model import MEAN, STD, centred, header
from pixelwright.build.pretrained import Start
from pixelwright.build.scoring import Scorer
from pixelwright.data import counts, index
from pixelwright.errors import PixelwrightWarning, RecipeError
from pixelwright.losses._combine import Term, build_terms, combine
from pixelwright.losses._loss import Loss
from pixelwright.metrics.labels import LabelScores
from pixelwright.metrics.scores import Scores
from pixelwright.models import models
from pixelwright.nn.compiled import Compiled
from pixelwright.nn.receptive import Field, field_of
from pixelwright.recipe import Recipe
from pixelwright.training.callbacks import Callback, EarlyStopping, Goal, Plateau
from pixelwright.training.ema import Ema
from pixelwright.training.engine import Engine
from pixelwright.training.loop import Trainee
from pixelwright.training.optim import optimizers
from pixelwright.training.schedule import schedules
from pixelwright.types import Index, OnEvent, Window, silent

OVERFIT_GOAL = 0.95
"""Mean IoU, or top-1 accuracy, at which images count as learnt by heart; label noise at edges keeps
1 out of reach."""


@dataclass(frozen=True)
class Training:
    """A recipe, built.

    Args:
        recipe: As given, with the mean and std that pretrained weights expect.
        note: What it starts from besides random weights; empty if nothing.
        index: What the layout found.
        trainee: Model, loss, optimiser and what goes with them.
        material: What it works on.
        accumulate: Parts in which a batch is computed, so that the tile is kept.
        header: What a file of its weights says for prediction.
        score: Scores the network that is kept, on a split.
        parameters: Of that network.
    """

    recipe: Recipe
    note: str
    index: Index
    trainee: Trainee
    material: Material
    accumulate: int
    header: dict[str, Any]
    score: Scoring
    parameters: int

    @property
    def loader(self) -> Batches:
        return self.material.loader

    def validate(self, model: nn.Module, on_event: OnEvent = silent) -> Scores | LabelScores:
        """Scores of what learns on the validation split, computed as training computes."""
        return self.material.score(model, "val", depth="loss", fast=True, on_event=on_event)

    def validation_seconds(self, model: nn.Module) -> float:
        """How long `validate` would take, from the time of a few images."""
        entries = self.index.splits["val"]
        # Pictures with one label are predicted in large batches.
        many = 1024 if self.index.one_label else 4
        some = entries[:: max(len(entries) // many, 1)][:many]
        # The first pass pays for memory and for the choice of kernels.
        first = some if self.index.one_label else some[:1]
        self.material.score(model, "val", depth="loss", fast=True, entries=first)
        start = time.monotonic()
        self.material.score(model, "val", depth="loss", fast=True, entries=some)
        return (time.monotonic() - start) * len(entries) / len(some)


def training(recipe: Recipe, *, fresh: bool = True, on_event: OnEvent = silent) -> Training:
    """Build all that a recipe names.

    Args:
        recipe: What to train.
        fresh: Load the pretrained weights that the model names; a training that goes on has its
            own, but for a trunk that only its features are kept of.
        on_event: Told what takes long.

    Raises:
        RecipeError: A crop, a guard, a batch or a device that cannot be, or settings that do not
            go with the data.
        DataError: Data that cannot be learnt from.
        CheckpointError: Pretrained weights that cannot be had or do not fit.
    """
    engine = Engine.of(recipe.device, recipe.precision)
    found = index.load_for_training(recipe.data)
    check_task(recipe, found)
    if recipe.train.overfit:
        found = _to_overfit(found, recipe)
    classes = found.classes
    torch.manual_seed(recipe.seed)
    built = models.build(recipe.model, classes=len(classes), channels=recipe.channels)
    names, channels = classes.names, recipe.channels
    start = None
    if fresh or recipe.train.views:
        start = pretrained.load(built, recipe.model, names, channels)
    recipe = _as_expected(recipe, start)
    scaled = centred(built, channels, recipe.mean or MEAN, recipe.std or STD, recipe.size)
    model = engine.place(scaled)
    thaw = thaw_of(recipe, built)
    terms = loss_terms(recipe, len(classes), lambda: found)
    if found.one_label:
        whole = labels.material(recipe, found, engine, terms)
        labels.check_size(recipe, built, whole.side)
    else:
        whole = _crops(recipe, found, built, engine, terms)
    material, learns, rest = whole, model, {}
    if recipe.train.views:
        material, learns = labels.on_features(recipe, found, model, whole, engine, on_event)
        rest = rest_of(model, learns)
        optimizer = optimizers.build(recipe.train.optimizer, model=learns, lr=recipe.train.lr)
    else:
        optimizer = optimizer_of(recipe, model, built)
    trainee = _trainee(recipe, learns, combine(terms), optimizer, engine)
    trainee = replace(trainee, place=PLACE, rest=rest) if rest else replace(trainee, thaw=thaw)
    accumulate = _accumulate(recipe)
    if not rest:
        check_batch(trainee, recipe, accumulate, material.side)
    if recipe.train.compile:
        trainee = replace(trainee, runs=Compiled(learns, "train.compile"))
    return Training(
        recipe=recipe,
        note=start.note if start else "",
        index=found,
        trainee=trainee,
        material=material,
        accumulate=accumulate,
        header=header(recipe, classes, material.side if found.one_label else None),
        score=whole.score,
        parameters=sum(p.numel() for p in model.parameters()),
    )


def _trainee(
    recipe: Recipe,
    model: nn.Module,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    engine: Engine,
) -> Trainee:
    train = recipe.train
    schedule = schedules.build(train.schedule)
    callbacks: list[Callback] = [schedule] if isinstance(schedule, Plateau) else []
    if train.patience:
        callbacks.append(EarlyStopping(train.patience))
    if train.overfit:
        callbacks.append(Goal(OVERFIT_GOAL))
    return Trainee(
        model=model,
        loss=loss,
        optimizer=optimizer,
        schedule=schedule,
        lr=train.lr,
        ema=Ema(model, train.ema) if train.ema else None,
        callbacks=callbacks,
        engine=engine,
    )


def _crops(
    recipe: Recipe, found: Index, built: nn.Module, engine: Engine, terms: list[Term]
) -> Material:
    """What a network that gives every pixel a class is trained on and scored by."""
    field = field_of(built, recipe.channels)
    _check_crop(recipe, field)
    _check_guard(recipe, found, field)
    crop = recipe.train.crop
    scorer = Scorer(found, recipe.channels, field, engine, recipe.tile, terms)
    return Material(training_crops(recipe, found), scorer, field, (crop, crop))


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
    crop, wanted = recipe.train.crop, recipe.train.overfit
    entries = found.splits["train"]
    if found.one_label:
        # Files lie class by class: taken from everywhere, they are of several classes.
        entries = entries[:: max(len(entries) // wanted, 1)]
    fixed = []
    for entry in entries[:wanted]:
        if found.one_label:
            fixed.append(entry)
            continue
        window = entry.window or Window(0, 0, *images.size(entry.image))
        height, width = min(crop, window.height), min(crop, window.width)
        top = window.top + (window.height - height) // 2
        left = window.left + (window.width - width) // 2
        fixed.append(replace(entry, window=Window(top, left, height, width)))
    if len(fixed) < wanted:
        warnings.warn(
            f"There are only {len(fixed)} training images to over-fit, not {wanted}.",
            PixelwrightWarning,
            stacklevel=2,
        )
    return replace(found, splits={"train": tuple(fixed), "val": tuple(fixed)}, guard=None)
