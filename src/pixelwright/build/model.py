"""A network by name, and the trained model of a run with all that prediction needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import nn

from pixelwright.build.scoring import Scorer
from pixelwright.errors import CheckpointError, DataError
from pixelwright.inference.predictor import Predictor
from pixelwright.losses._combine import Term
from pixelwright.models import models
from pixelwright.nn.normalise import Normalised
from pixelwright.nn.receptive import Field, field_of
from pixelwright.recipe import Recipe
from pixelwright.registry import Spec
from pixelwright.run import Run
from pixelwright.training import checkpoint
from pixelwright.training.engine import Engine
from pixelwright.training.state import load_weights
from pixelwright.types import Classes, Index

MEAN, STD = (0.5,), (0.25,)
"""What pictures are centred and scaled by where neither the recipe nor weights say it."""


def network(
    spec: Spec, classes: int, channels: int, mean: Sequence[float], std: Sequence[float]
) -> Normalised:
    """A network that takes pixel values, its weights drawn from torch's generator.

    Args:
        spec: Of the model.
        classes: Number of output channels.
        channels: Of the images.
        mean: Subtracted, in parts of the full range; one number, or one per channel.
        std: Divided by, likewise.
    """
    return centred(models.build(spec, classes=classes, channels=channels), channels, mean, std)


def centred(
    built: nn.Module, channels: int, mean: Sequence[float], std: Sequence[float]
) -> Normalised:
    """The same network, taking pixel values; arguments as in `network`."""

    def per_channel(values: Sequence[float]) -> list[float]:
        return [255 * value for value in (values if len(values) > 1 else [*values] * channels)]

    return Normalised(built, per_channel(mean), per_channel(std))


def header(recipe: Recipe, classes: Classes) -> dict[str, Any]:
    """What a file of the weights of a recipe says."""
    return {
        "model": str(recipe.model.without("weights")),
        "channels": recipe.channels,
        "mean": list(recipe.mean or MEAN),
        "std": list(recipe.std or STD),
        "tile": recipe.tile,
        "classes": {
            "names": list(classes.names),
            "colors": [list(color) for color in classes.colors],
            "values": [[raw, index] for raw, index in classes.values.items()],
            "by_color": classes.by_color,
            "threshold": classes.threshold,
            "ignored_colors": [list(color) for color in classes.ignored_colors],
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

    def scorer(self, found: Index, tile: int | None = None, terms: Sequence[Term] = ()) -> Scorer:
        """Scores this model on other data.

        Args:
            found: The data.
            tile: Most pixels to a side.
            terms: The loss that the model was trained with.

        Raises:
            DataError: The data has other classes.
        """
        if len(found.classes) != len(self.classes):
            raise DataError(
                f"The data has {len(found.classes)} classes ({', '.join(found.classes.names)}), "
                f"the model {len(self.classes)} ({', '.join(self.classes.names)})."
            )
        return Scorer(found, self.channels, self.field, self.engine, tile or self.tile, terms)


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
        ignored_colors=tuple((r, g, b) for r, g, b in named.get("ignored_colors", ())),
    )
    engine = Engine.of(device, "float32")
    built = network(spec, len(classes), header["channels"], header["mean"], header["std"])
    model = engine.place(built).eval()
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
        "options": models.options(spec.name),
    }
