"""Score a trained model, and count the looks at test splits."""

import warnings
from dataclasses import replace
from pathlib import Path

from pixelwright import build
from pixelwright.data import index
from pixelwright.errors import DataError, PixelwrightWarning
from pixelwright.jobs.show import write_scores
from pixelwright.jobs.watch import watched
from pixelwright.losses._combine import Term
from pixelwright.metrics.scores import Scores
from pixelwright.recipe import Recipe
from pixelwright.registry import Spec
from pixelwright.report import page
from pixelwright.run import Run
from pixelwright.types import Classes, Index, OnEvent


def evaluate(
    run: Run | str | Path,
    *,
    data: str | Spec | None = None,
    split: str = "val",
    tile: int | None = None,
    device: str = "auto",
    on_event: OnEvent | None = None,
) -> Scores:
    """Score the model of a run, in float32.

    A split that is neither for training nor for choosing is a test split. Every look at one is
    counted in the run, and from the second on there is a warning: whoever looks, changes something
    and looks again is choosing on the test images.

    Args:
        run: The run, or its folder.
        data: Where to, such as "camvid:root=data/camvid"; by default the run's own.
        split: Of the data; "all" takes every picture whole.
        tile: Most pixels to a side that the network sees at once.
        device: "auto", "cpu", "cuda" or "mps".
        on_event: Told the progress; None draws it, in a terminal and a notebook alike.

    Raises:
        CheckpointError: The run has no good model.
        DataError: The data cannot be read, or has other classes.
    """
    run = Run.open(run)
    model = build.load_model(run, device)
    recipe = Recipe.read(run.recipe_file)
    own = recipe.data
    spec = own if data is None else Spec.parse(data) if isinstance(data, str) else data
    where = str(index.layouts.resolve(spec))
    with watched(on_event) as tell:
        found = _with_classes(index.load(spec), model.classes)
        terms = _terms(recipe, found if data is None else None, model.classes)
        scorer = model.scorer(found, tile, terms)
        is_test = bool(scorer.entries(split)) and _is_test(found, split)
        if is_test:
            _warn_of_looks(run, split, where)
        scores = scorer(model.network, split, depth="all", on_event=tell)
        if is_test:
            # Before anyone sees the scores.
            run.count_look(split, where)
    scores = replace(scores, data=str(spec))
    if data is None:
        write_scores(run, scores, str(spec))
    if is_test and run.report_file.is_file():
        page.write(run)
    return scores


def _terms(recipe: Recipe, own: Index | None, classes: Classes) -> list[Term]:
    """The losses that the model was trained with; class weights come from its training images."""

    def training_data() -> Index:
        found = own or _with_classes(index.load(recipe.data), classes)
        if not found.splits.get("train"):
            raise DataError(f"{recipe.data} has no split 'train'.")
        return found

    try:
        return build.loss_terms(recipe, len(classes), training_data)
    except DataError as error:
        warnings.warn(
            f"The loss '{recipe.loss}' is not told: its class weights come from the training "
            f"images, which cannot be read. {error}",
            PixelwrightWarning,
            stacklevel=3,
        )
        return []


def _is_test(found: Index, split: str) -> bool:
    if split == "all":
        return not found.splits.keys() <= {"train", "val"}
    return split not in {"train", "val"}


def _warn_of_looks(run: Run, split: str, data: str) -> None:
    before = [look for look in run.looks() if (look.split, look.data) == (split, data)]
    if before:
        warnings.warn(
            f"This is look {len(before) + 1} at '{split}' by {run.path}; the first was on "
            f"{before[0].date[:10]}. What was chosen in between may fit these images by chance: "
            f"choose on 'val', and report the first look.",
            PixelwrightWarning,
            stacklevel=3,
        )


def _with_classes(found: Index, ours: Classes) -> Index:
    """An index under the class names that the model was trained with."""
    if len(found.classes) != len(ours):
        # Masks that lack a class look like fewer classes where none are declared.
        return replace(found, classes=ours) if len(found.classes) < len(ours) else found
    return replace(found, classes=replace(found.classes, names=ours.names, colors=ours.colors))
