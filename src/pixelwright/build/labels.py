"""What a classifier is trained on: pictures with one label each, whole and in memory."""

from dataclasses import fields
from typing import cast

from torch import nn

from pixelwright.build.features import FeatureLoader, Features, FeatureScorer, cut
from pixelwright.build.label_scoring import LabelScorer
from pixelwright.build.material import Material
from pixelwright.build.model import WHOLE
from pixelwright.data.augment import Augment
from pixelwright.data.batches import ResidentLoader
from pixelwright.data.resident import Resident
from pixelwright.errors import RecipeError
from pixelwright.losses._combine import Term
from pixelwright.models import gives_one_label, models
from pixelwright.nn.classifier import Classifier
from pixelwright.nn.normalise import Normalised
from pixelwright.nn.sizes import refusal, sizes_of
from pixelwright.recipe import Recipe
from pixelwright.training.engine import Engine
from pixelwright.types import Index, OnEvent


def check_task(recipe: Recipe, found: Index) -> None:
    """See that data, model and settings go together: labels of pixels, or of whole pictures.

    Raises:
        RecipeError: They do not.
    """
    name, labels = recipe.model.name, gives_one_label(recipe.model.name)
    if labels != found.one_label:
        fitting = [other for other in models if gives_one_label(other) == found.one_label]
        what = "has one label for each picture" if found.one_label else "has a class for each pixel"
        does = "one label to a whole picture" if labels else "a class to every pixel"
        raise RecipeError(
            f"The data {recipe.data.name} {what}, but the model {name} gives {does}. Take one of "
            f"{', '.join(fitting)}."
        )
    train, augment, plain = recipe.train, recipe.augment, Recipe.model_fields
    of_labels = {
        "size": recipe.size is not None,
        "train.views": train.views > 0,
        "augment.shift": augment.shift > 0,
        "augment.mixup": augment.mixup > 0,
        "augment.cutmix": augment.cutmix > 0,
    }
    of_pixels = {
        "tile": recipe.tile is not None,
        "small_guard": recipe.small_guard,
        "train.crop": train.crop != plain["train"].default.crop,
        "train.class_aware": train.class_aware > 0,
        "augment.copy_blob": augment.copy_blob > 0,
    }
    wrong = [key for key, given in (of_pixels if labels else of_labels).items() if given]
    if wrong:
        are = "is a setting" if len(wrong) == 1 else "are settings"
        kinds = "labelled pixel by pixel", "with one label each, which are seen whole"
        other, ours = kinds if labels else kinds[::-1]
        raise RecipeError(
            f"{', '.join(wrong)} {are} for pictures {other}; those of {recipe.data.name} are "
            f"{ours}. Leave {'it' if len(wrong) == 1 else 'them'} out."
        )


def material(recipe: Recipe, found: Index, engine: Engine, terms: list[Term]) -> Material:
    """The training batches and the scorer of a classifier.

    Raises:
        DataError: Pictures that cannot be read, are of several sizes, or do not fit into memory.
    """
    entries, classes = found.splits["train"], found.classes
    pictures = Resident.of(entries, classes, recipe.channels, size=recipe.size)
    loader = ResidentLoader(
        pictures,
        augmentation(recipe),
        batch_size=recipe.train.batch_size,
        seed=recipe.seed,
        device=None if engine.device.type == "cpu" else engine.device,
    )
    height, width = pictures.images.shape[1:3]
    side = height, width
    scorer = LabelScorer(found, recipe.channels, side, recipe.size, engine, terms)
    scorer.keep(entries, pictures)
    return Material(loader, scorer, WHOLE, side)


def check_size(recipe: Recipe, network: nn.Module, side: tuple[int, int]) -> None:
    """Refuse pictures of a size that a classifier does not take, before the first step.

    Args:
        recipe: Its `size` is what the network sees, if it says one.
        network: Without the layer that brings pictures to that size.
        side: Height and width of the pictures.

    Raises:
        RecipeError: The network takes others.
    """
    height, width = (recipe.size, recipe.size) if recipe.size else side
    if not (why := refusal(network, recipe.channels, height, width)):
        return
    sizes = sizes_of(cast(Classifier, network), recipe.channels)
    taken = f"{sizes.least} x {sizes.least} only"
    if sizes.only is None:
        more = f" or {sizes.multiple} pixels more each time" if sizes.multiple > 1 else " or more"
        taken = f"{sizes.least} x {sizes.least}{more}"
    raise RecipeError(
        f"{recipe.model} takes pictures of {taken}, not of {height} x {width} ({why}). Set size to "
        f"such a number, to which pictures are then resized."
    )


def augmentation(recipe: Recipe) -> Augment:
    """How the pictures of a recipe are varied; those to learn by heart are not."""
    if recipe.train.overfit:
        return Augment(flip=False)
    return Augment(**{field.name: getattr(recipe.augment, field.name) for field in fields(Augment)})


def on_features(
    recipe: Recipe,
    found: Index,
    model: nn.Module,
    whole: Material,
    engine: Engine,
    on_event: OnEvent,
) -> tuple[Material, nn.Module]:
    """Run the trunk over all views; batches of what it saw, and the head that learns from them.

    Raises:
        RecipeError: The features do not fit into memory.
    """
    scorer = cast(LabelScorer, whole.score)
    still, head = cut(cast(Normalised, model))
    features = Features.of(
        still,
        scorer.pictures(found.splits["train"]),
        augmentation(recipe),
        views=recipe.train.views,
        seed=recipe.seed,
        engine=engine,
        on_event=on_event,
    )
    loader = FeatureLoader(features, batch_size=recipe.train.batch_size, seed=recipe.seed)
    return Material(loader, FeatureScorer(scorer, still, engine), WHOLE, whole.side), head
