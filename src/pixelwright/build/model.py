"""A network by name, and the trained model of a run with all that prediction needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import nn

from pixelwright.build.label_scoring import LabelScorer
from pixelwright.build.scoring import Scorer
from pixelwright.errors import CheckpointError, DataError, RecipeError, first_few
from pixelwright.inference.predictor import Predictor
from pixelwright.losses._combine import Term
from pixelwright.models import models
from pixelwright.nn.classifier import Classifier
from pixelwright.nn.normalise import Normalised
from pixelwright.nn.receptive import Field, field_of
from pixelwright.nn.sizes import sizes_of
from pixelwright.recipe import Recipe
from pixelwright.registry import Spec
from pixelwright.run import Run
from pixelwright.training import checkpoint
from pixelwright.training.engine import Engine
from pixelwright.training.state import load_weights
from pixelwright.types import Classes, Index

WHOLE = Field(0, 0, 1, 1, "its head, which gives the whole image one label")
"""What a classifier sees."""

MEAN, STD = (0.5,), (0.25,)
"""What pictures are centred and scaled by where neither the recipe nor weights say it."""


def network(
    spec: Spec,
    classes: int,
    channels: int,
    mean: Sequence[float],
    std: Sequence[float],
    size: int | None = None,
) -> Normalised:
    """A network that takes pixel values, its weights drawn from torch's generator.

    Args:
        spec: Of the model.
        classes: Number of output channels.
        channels: Of the images.
        mean: Subtracted, in parts of the full range; one number, or one per channel.
        std: Divided by, likewise.
        size: Side in pixels at which a classifier sees pictures; None is as they come.
    """
    built = models.build(spec, classes=classes, channels=channels)
    return centred(built, channels, mean, std, size)


def centred(
    built: nn.Module,
    channels: int,
    mean: Sequence[float],
    std: Sequence[float],
    size: int | None = None,
) -> Normalised:
    """The same network, taking pixel values; arguments as in `network`."""

    def per_channel(values: Sequence[float]) -> list[float]:
        return [255 * value for value in (values if len(values) > 1 else [*values] * channels)]

    return Normalised(built, per_channel(mean), per_channel(std), size)


def header(recipe: Recipe, classes: Classes, side: tuple[int, int] | None = None) -> dict[str, Any]:
    """What a file of the weights of a recipe says.

    Args:
        recipe: What was trained.
        classes: Of the data.
        side: Height and width of the pictures that a classifier was trained on.
    """
    return {
        "model": str(recipe.model.without("weights")),
        "channels": recipe.channels,
        "mean": list(recipe.mean or MEAN),
        "std": list(recipe.std or STD),
        "tile": recipe.tile,
        "size": recipe.size,
        "side": None if side is None else list(side),
        "classes": {
            "names": list(classes.names),
            "colors": [list(color) for color in classes.colors],
            "values": [[raw, index] for raw, index in classes.values.items()],
            "by_color": classes.by_color,
            "threshold": classes.threshold,
            "ignored_colors": [list(color) for color in classes.ignored_colors],
            "groups": list(classes.groups),
        },
    }


@dataclass(frozen=True)
class Model:
    """A trained model and all that prediction needs.

    Args:
        network: Takes pixel values.
        field: What it sees.
        classes: What it tells apart.
        channels: Of the images it takes.
        tile: Most pixels to a side that it may see at once.
        spec: What was built.
        engine: Where it runs.
        size: Side in pixels at which a classifier sees pictures.
        side: Height and width of the pictures that a classifier was trained on; None for a network
            that gives every pixel a class.
    """

    network: Normalised
    field: Field
    classes: Classes
    channels: int
    tile: int | None
    spec: Spec
    engine: Engine
    size: int | None = None
    side: tuple[int, int] | None = None

    @property
    def one_label(self) -> bool:
        """Whether it gives whole images one label each."""
        return self.side is not None

    def predictor(self, tile: int | None = None) -> Predictor:
        return Predictor(
            self.network,
            self.field,
            len(self.classes),
            tile=tile or self.tile,
            device=self.engine.device,
        )

    def label_scorer(
        self, found: Index, terms: Sequence[Term] = (), flip: bool = False
    ) -> LabelScorer:
        """Scores this classifier on other data.

        Args:
            found: The data.
            terms: The loss that the model was trained with.
            flip: Whether every picture is also seen mirrored.

        Raises:
            DataError: The data has other classes, or a class for every pixel.
        """
        if not found.one_label:
            raise DataError(
                f"The model {self.spec.name} gives one label to a whole picture, but the data has "
                f"a class for each pixel."
            )
        if found.classes.names != self.classes.names:
            odd = sorted(set(found.classes.names) ^ set(self.classes.names))
            raise DataError(
                f"The data has {len(found.classes)} classes, the model {len(self.classes)}, and "
                f"they differ: {first_few(odd) if odd else 'their order does'}."
            )
        assert self.side is not None
        return LabelScorer(found, self.channels, self.side, self.size, self.engine, terms, flip)

    def scorer(self, found: Index, tile: int | None = None, terms: Sequence[Term] = ()) -> Scorer:
        """Scores this model on other data.

        Args:
            found: The data.
            tile: Most pixels to a side.
            terms: The loss that the model was trained with.

        Raises:
            DataError: The data has other classes.
        """
        if found.one_label:
            raise DataError(
                f"The model {self.spec.name} gives a class to every pixel, but the data has one "
                f"label for each picture."
            )
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


def load_members(
    runs: Sequence[Run], device: str = "auto", *, snapshots: bool = False
) -> list[Model]:
    """The models of runs that are to answer together.

    Args:
        runs: One or more.
        device: "auto", "cpu", "cuda" or "mps".
        snapshots: Take the models that each run kept along its way, in place of its best.

    Raises:
        CheckpointError: A run has no good model, or no snapshots.
        DataError: They tell other classes apart, or some label pictures and others every pixel.
        RecipeError: A run is given twice.
    """
    paths = [run.path.resolve() for run in runs]
    if twice := [run.path for run, path in zip(runs, paths, strict=True) if paths.count(path) > 1]:
        raise RecipeError(
            f"The run {twice[0]} is given {len(twice)} times, as if it were several models. "
            f"Give each run once."
        )
    files: list[Path | Run] = []
    for run in runs:
        kept: list[Path] = checkpoint.Checkpoints(run.checkpoints).snapshots if snapshots else []
        if snapshots and not kept:
            raise CheckpointError(
                f"{run.path} kept no snapshots. Train with train.snapshots = 4, or leave out "
                f"--snapshots."
            )
        files += kept or [run]
    members = [
        load_model(file, device) if isinstance(file, Run) else load_model_file(file, device)
        for file in files
    ]
    first, *others = members
    for file, other in zip(files[1:], others, strict=True):
        path = file.path if isinstance(file, Run) else file
        if first.one_label != other.one_label:
            raise DataError(
                f"One of these models labels whole pictures and the other every pixel: {path} "
                f"cannot answer together with the first run. Name runs of one kind."
            )
        if other.classes.names != first.classes.names:
            odd = sorted(set(other.classes.names) ^ set(first.classes.names))
            raise DataError(
                f"{path} tells other classes apart than the first run: "
                f"{first_few(odd) if odd else 'their order differs'}. An ensemble needs equal "
                f"classes."
            )
    return members


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
        groups=tuple(named.get("groups", ())),
    )
    size, side = header.get("size"), header.get("side")
    engine = Engine.of(device, "float32")
    built = network(spec, len(classes), header["channels"], header["mean"], header["std"], size)
    model = engine.place(built).eval()
    weights = {name.removeprefix("model/"): value for name, value in tensors.items()}
    load_weights(model, weights, where=str(path))
    normalised = cast(Normalised, model)
    return Model(
        network=normalised,
        field=WHOLE if side else field_of(normalised.network, header["channels"]),
        classes=classes,
        channels=header["channels"],
        tile=header["tile"],
        spec=spec,
        engine=engine,
        size=size,
        side=tuple(side) if side else None,
    )


def describe(spec: Spec, classes: int = 2, channels: int = 3) -> dict[str, Any]:
    """Parameters, options, and what a model sees and takes, for `pixelwright models NAME`."""
    built = models.build(spec, classes=classes, channels=channels)
    parameters = sum(p.numel() for p in built.parameters())
    found = {"parameters": parameters, "options": models.options(spec.name)}
    if isinstance(built, Classifier):
        trunk = sum(p.numel() for p in built.encoder.parameters())
        return found | {"trunk": trunk, "sizes": sizes_of(built, channels)}
    return found | {"field": field_of(built, channels)}
