"""The composition root: recipe -> what a training needs; run -> what a prediction needs.

built = build.training(recipe)          # data, model, loss, optimiser, validation
model = build.load_model(run)           # the kept model, its classes and its predictor
predictor = model.predictor(tile=256)
"""

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn

from pixelwright import images
from pixelwright.data import counts, index
from pixelwright.data.augment import Augment
from pixelwright.data.dataset import Dataset
from pixelwright.data.loader import Loader
from pixelwright.errors import CheckpointError, DataError, PixelwrightWarning, RecipeError
from pixelwright.inference.predictor import Predictor
from pixelwright.losses._combine import build_loss
from pixelwright.metrics.confusion import Confusion
from pixelwright.metrics.scores import Scores
from pixelwright.models import models
from pixelwright.nn.normalise import Normalised
from pixelwright.nn.receptive import Field, field_of
from pixelwright.recipe import Recipe
from pixelwright.registry import Registry, Spec
from pixelwright.run import Run
from pixelwright.training import checkpoint
from pixelwright.training.callbacks import Callback, EarlyStopping, Goal, Plateau
from pixelwright.training.ema import Ema
from pixelwright.training.engine import Engine
from pixelwright.training.loop import Trainee
from pixelwright.training.optim import optimizers
from pixelwright.training.schedule import schedules
from pixelwright.training.state import load_weights
from pixelwright.types import Classes, Entry, Event, Index, OnEvent, Window, silent

OVERFIT_GOAL = 0.95
"""Mean IoU at which crops count as learnt by heart; label noise at edges keeps 1 out of reach."""

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Training:
    """A recipe, built.

    Args:
        index: What the layout found.
        trainee: Model, loss, optimiser and what goes with them.
        loader: The training batches.
        accumulate: Parts in which a batch is computed, so that the tile is kept.
        field: What the network sees.
        header: What a file of its weights says for prediction.
        score: Scores a model on a split.
    """

    index: Index
    trainee: Trainee
    loader: Loader
    accumulate: int
    field: Field
    header: dict[str, Any]
    score: "Scorer"

    def validate(self, model: nn.Module, on_event: OnEvent = silent) -> Scores:
        """Scores on the validation split, computed as training computes."""
        return self.score(model, "val", with_loss=True, fast=True, on_event=on_event)

    def validation_seconds(self, model: nn.Module) -> float:
        """How long `validate` would take, from the time of a few images."""
        entries = self.index.splits["val"]
        some = entries[:: max(len(entries) // 4, 1)][:4]
        # The first pass pays for memory and for the choice of kernels.
        self.score(model, "val", with_loss=True, fast=True, entries=some[:1])
        start = time.monotonic()
        self.score(model, "val", with_loss=True, fast=True, entries=some)
        return (time.monotonic() - start) * len(entries) / len(some)


def training(recipe: Recipe) -> Training:
    """Build all that a recipe names.

    Raises:
        RecipeError: A crop, a guard or a device that cannot be.
        DataError: Data that cannot be learnt from.
    """
    engine = Engine.of(recipe.device, recipe.precision)
    found = load_index(recipe.data)
    if recipe.train.overfit:
        found = _to_overfit(found, recipe)
    classes = found.classes
    torch.manual_seed(recipe.seed)
    model = engine.place(network(recipe.model, len(classes), recipe.channels, recipe))
    network_only = cast(Normalised, model).network
    field = field_of(network_only, recipe.channels)
    _check_crop(recipe, field)
    _check_guard(recipe, found, field)
    train = recipe.train
    dataset = Dataset(found.splits["train"], classes, recipe.channels)
    loader = Loader(
        dataset,
        _augment(recipe),
        crop=(train.crop, train.crop),
        batch_size=train.batch_size,
        seed=recipe.seed,
    )
    weights = _class_weights(found)
    loss = build_loss(recipe.loss, len(classes), weights)
    schedule = schedules.build(train.schedule)
    callbacks: list[Callback] = [schedule] if isinstance(schedule, Plateau) else []
    if train.patience:
        callbacks.append(EarlyStopping(train.patience))
    if train.overfit:
        callbacks.append(Goal(OVERFIT_GOAL))
    trainee = Trainee(
        model=model,
        loss=loss,
        optimizer=optimizers.build(train.optimizer, model=model, lr=train.lr),
        schedule=schedule,
        lr=train.lr,
        ema=Ema(model, train.ema) if train.ema else None,
        callbacks=callbacks,
        engine=engine,
    )
    return Training(
        index=found,
        trainee=trainee,
        loader=loader,
        accumulate=_accumulate(recipe),
        field=field,
        header=_header(recipe, classes),
        score=Scorer(found, recipe.channels, field, engine, recipe.tile, loss),
    )


def network(
    spec: Spec, classes: int, channels: int, preprocess: "Recipe | Mapping[str, Any]"
) -> Normalised:
    """A network that takes pixel values, its weights drawn from torch's generator."""
    if isinstance(preprocess, Recipe):
        mean, std = preprocess.mean, preprocess.std
    else:
        mean, std = preprocess["mean"], preprocess["std"]
    built = models.build(spec, classes=classes, channels=channels)

    def per_channel(values: tuple[float, ...]) -> list[float]:
        return [255 * value for value in (values * channels if len(values) == 1 else values)]

    return Normalised(built, per_channel(tuple(mean)), per_channel(tuple(std)))


def load_index(data: Spec) -> Index:
    """What a layout finds, if one can train on it.

    Raises:
        DataError: No training or validation images.
    """
    found = index.load(data)
    for split in ("train", "val"):
        if not found.splits.get(split):
            raise DataError(
                f"{data} has no split '{split}'; it has {', '.join(found.splits) or 'none'}. "
                f"Training needs train and val."
            )
    return found


class Scorer:
    """Scores models on the splits of one index, image by image.

    Args:
        found: The entries.
        channels: Of the images.
        field: What the network sees.
        engine: Where to predict.
        tile: Most pixels to a side, or None.
        loss: What `with_loss` computes.
    """

    def __init__(
        self,
        found: Index,
        channels: int,
        field: Field,
        engine: Engine,
        tile: int | None,
        loss: Loss | None = None,
    ) -> None:
        self.index = found
        self._channels = channels
        self._field = field
        self._engine = engine
        self._tile = tile
        self._loss = loss
        self._datasets: dict[tuple[Entry, ...], Dataset] = {}

    def __call__(
        self,
        model: nn.Module,
        split: str,
        *,
        with_loss: bool = False,
        fast: bool = False,
        entries: tuple[Entry, ...] | None = None,
        on_event: OnEvent = silent,
    ) -> Scores:
        """Predict every image of a split, count, and score.

        Args:
            model: Takes pixel values.
            split: Which entries, unless `entries` says.
            with_loss: Compute the loss too, pooled over the counted pixels.
            fast: In the engine's precision; else in float32.
            entries: Only these.
            on_event: Told the progress.
        """
        chosen = self.entries(split) if entries is None else entries
        classes = self.index.classes
        dataset = self._datasets.setdefault(chosen, Dataset(chosen, classes, self._channels))
        engine = self._engine if fast else replace(self._engine, dtype=torch.float32)
        predictor = Predictor(
            model,
            self._field,
            len(classes),
            tile=self._tile,
            device=engine.device,
            autocast=None if engine.dtype is torch.float32 else engine.dtype,
        )
        tables, loss_sum, counted = [], 0.0, 0
        for number in range(len(dataset)):
            sample = dataset.sample(number)
            target = np.asarray(sample.target)
            if with_loss and self._loss:
                logits = predictor.logits(sample.image)
                labels = logits.argmax(0).to(torch.int16).cpu().numpy()
                loss = self._loss(
                    logits[None], torch.as_tensor(target)[None].to(logits.device).long()
                )
                pixels = int((target >= 0).sum())
                loss_sum, counted = loss_sum + loss.item() * pixels, counted + pixels
            else:
                labels = predictor.labels(sample.image)
            tables.append(Confusion.of(labels, target, len(classes)).counts)
            on_event(Event("validate", {"done": number + 1, "total": len(dataset)}))
        return Scores(
            names=classes.names,
            keys=tuple(entry.key for entry in chosen),
            tables=np.stack(tables),
            loss=loss_sum / counted if counted else None,
            split=split,
        )

    def entries(self, split: str) -> tuple[Entry, ...]:
        """The entries of a split; "all" is every picture, whole.

        Raises:
            DataError: There is no such split.
        """
        splits = self.index.splits
        if split in splits:
            return splits[split]
        if split != "all":
            raise DataError(
                f"There is no split '{split}'. There are {', '.join(splits)}; 'all' takes every "
                f"picture whole."
            )
        whole = {
            e.image: replace(e, key=e.image.stem, window=None) for s in splits.values() for e in s
        }
        return tuple(whole.values())


def _class_weights(found: Index) -> Callable[[str], Float64[np.ndarray, " k"]]:
    schemes = {
        "median-frequency": counts.median_frequency,
        "inverse-frequency": counts.inverse_frequency,
        "effective-number": counts.effective_number,
    }

    def weights(scheme: str) -> Float64[np.ndarray, " k"]:
        return schemes[scheme](counts.class_counts(found.splits["train"], found.classes))

    return weights


def _augment(recipe: Recipe) -> Augment:
    if recipe.train.overfit:
        return Augment(flip=False)
    return Augment(**recipe.augment.model_dump())


def _accumulate(recipe: Recipe) -> int:
    """Parts in which a batch is computed: as told, or more where a tile bounds the pixels."""
    parts = recipe.train.accumulate
    if recipe.tile is not None:
        at_once = recipe.tile**2 // recipe.train.crop**2
        parts = max(parts, -(-recipe.train.batch_size // at_once))
    return min(parts, recipe.train.batch_size)


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


def _header(recipe: Recipe, classes: Classes) -> dict[str, Any]:
    return {
        "model": str(recipe.model),
        "channels": recipe.channels,
        "mean": list(recipe.mean),
        "std": list(recipe.std),
        "tile": recipe.tile,
        "classes": {
            "names": list(classes.names),
            "colors": [list(color) for color in classes.colors],
            "values": [[raw, index] for raw, index in classes.values.items()],
            "by_color": classes.by_color,
            "threshold": classes.threshold,
        },
    }


@dataclass(frozen=True)
class Model:
    """A trained model and all that prediction needs."""

    network: Normalised
    field: Field
    classes: Classes
    channels: int
    tile: int | None
    spec: Spec
    engine: Engine

    def predictor(self, tile: int | None = None) -> Predictor:
        return Predictor(
            self.network,
            self.field,
            len(self.classes),
            tile=tile or self.tile,
            device=self.engine.device,
        )

    def scorer(self, found: Index, tile: int | None = None) -> Scorer:
        """Scores this model on other data.

        Raises:
            DataError: The data has other classes.
        """
        if len(found.classes) != len(self.classes):
            raise DataError(
                f"The data has {len(found.classes)} classes ({', '.join(found.classes.names)}), "
                f"the model {len(self.classes)} ({', '.join(self.classes.names)})."
            )
        return Scorer(found, self.channels, self.field, self.engine, tile or self.tile)


def load_model(run: Run, device: str = "auto") -> Model:
    """The model that a run kept.

    Raises:
        CheckpointError: The run has none, or its file is damaged.
    """
    best = checkpoint.Checkpoints(run.checkpoints).best
    path = run.model_file if run.model_file.is_file() or not best.is_file() else best
    if not path.is_file():
        raise CheckpointError(
            f"{run.path} holds no model yet: it is {run.status}, and nothing was validated. "
            f"Train it on with 'pixelwright train {run.path} --resume'."
        )
    return load_model_file(path, device)


def load_model_file(path: Path, device: str = "auto") -> Model:
    """The model in a file written by `jobs.train`."""
    tensors, header = checkpoint.load(path)
    spec = Spec.parse(header["model"])
    named = header["classes"]
    classes = Classes(
        names=tuple(named["names"]),
        colors=tuple((r, g, b) for r, g, b in named["colors"]),
        values=dict(named["values"]),
        by_color=named["by_color"],
        threshold=named["threshold"],
    )
    engine = Engine.of(device, "float32")
    model = engine.place(network(spec, len(classes), header["channels"], header)).eval()
    weights = {name.removeprefix("model/"): value for name, value in tensors.items()}
    load_weights(model, weights, where=str(path))
    normalised = cast(Normalised, model)
    return Model(
        network=normalised,
        field=field_of(normalised.network, header["channels"]),
        classes=classes,
        channels=header["channels"],
        tile=header["tile"],
        spec=spec,
        engine=engine,
    )


def describe(spec: Spec, classes: int = 2, channels: int = 3) -> dict[str, Any]:
    """Parameters, receptive field and options of a model, for `pixelwright models NAME`."""
    built = models.build(spec, classes=classes, channels=channels)
    field = field_of(built, channels)
    return {
        "parameters": sum(p.numel() for p in built.parameters()),
        "field": field,
        "options": Registry.options(models, spec.name),
    }
