"""Score a trained model, and count the looks at test splits."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pixelwright import build
from pixelwright.data import index
from pixelwright.errors import DataError, PixelwrightWarning, RecipeError
from pixelwright.inference.labels import mean_of
from pixelwright.jobs.show import write_scores
from pixelwright.jobs.watch import watched
from pixelwright.losses._combine import Term
from pixelwright.metrics.labels import LabelScores
from pixelwright.metrics.scores import Scores
from pixelwright.recipe import Recipe
from pixelwright.registry import Spec
from pixelwright.reporting import page
from pixelwright.run import Run
from pixelwright.types import Classes, Index, OnEvent


def evaluate(
    run: Run | str | Path | Sequence[Run | str | Path],
    *,
    data: str | Spec | None = None,
    split: str = "val",
    tile: int | None = None,
    flip: bool = False,
    snapshots: bool = False,
    device: str = "auto",
    on_event: OnEvent | None = None,
) -> Scores | LabelScores:
    """Score the model of a run, in float32, or what several classifiers say together.

    A split that is neither for training nor for choosing is a test split. Every look at one is
    counted in the run, and from the second on there is a warning: whoever looks, changes something
    and looks again is choosing on the test images.

    Args:
        run: The run, or its folder; of classifiers several, whose probabilities are averaged.
        data: Where to, such as "camvid:root=data/camvid"; by default that of the first run.
        split: Of the data; "all" takes every picture whole.
        tile: Most pixels to a side that the network sees at once.
        flip: Let classifiers see every picture mirrored as well, and average.
        snapshots: Take the models that a run kept along its way, in place of its best.
        device: "auto", "cpu", "cuda" or "mps".
        on_event: Told the progress; None draws it, in a terminal and a notebook alike.

    Returns:
        The scores; those of one model as it was trained, on its own data, are kept in its run.

    Raises:
        CheckpointError: A run has no good model.
        DataError: The data cannot be read, or has other classes.
        RecipeError: Options that are not for this kind of model.
    """
    given = [run] if isinstance(run, (Run, str, Path)) else list(run)
    runs = [Run.open(one) for one in given]
    members = build.load_members(runs, device, snapshots=snapshots)
    model = members[0]
    check_options(model, tile=tile, flip=flip, together=snapshots or len(members) > 1)
    recipe = Recipe.read(runs[0].recipe_file)
    own = recipe.data
    spec = own if data is None else Spec.parse(data) if isinstance(data, str) else data
    where = str(index.layouts.resolve(spec))
    with watched(on_event) as tell:
        found = _with_classes(index.load(spec), model.classes)
        terms = _terms(recipe, found if data is None else None, model.classes)
        scorer = (
            model.label_scorer(found, terms, flip)
            if model.one_label
            else model.scorer(found, tile, terms)
        )
        is_test = bool(scorer.entries(split)) and _is_test(found, split)
        for one in runs if is_test else ():
            _warn_of_looks(one, split, where)
        if len(members) > 1:
            scores: Scores | LabelScores = _together(members, found, terms, split, flip, tell)
        else:
            scores = scorer(model.network, split, depth="all", on_event=tell)
        for one in runs if is_test else ():
            # Before anyone sees the scores.
            one.count_look(split, where)
    scores = replace(scores, data=str(spec))
    if data is None and not (flip or snapshots or len(members) > 1):
        write_scores(runs[0], scores, str(spec))
    for one in runs if is_test else ():
        if one.report_file.is_file():
            page.write(one)
    return scores


def _together(
    members: Sequence[build.Model],
    found: Index,
    terms: list[Term],
    split: str,
    flip: bool,
    on_event: OnEvent,
) -> LabelScores:
    """The scores of the mean of what classifiers say, each of pictures as it knows them."""
    said = []
    for member in members:
        scorer = member.label_scorer(found, terms, flip)
        entries = scorer.entries(split)
        said.append(scorer.log_probabilities(member.network, entries, on_event=on_event))
    return scorer.scores(mean_of(said), split, entries)


def check_options(model: build.Model, *, tile: int | None, flip: bool, together: bool) -> None:
    """See that options are for this kind of model.

    Raises:
        RecipeError: They are not.
    """
    if model.one_label and tile is not None:
        raise RecipeError(
            "--tile is for networks that give every pixel a class; this one sees pictures whole. "
            "Leave it out."
        )
    if not model.one_label and (flip or together):
        raise RecipeError(
            f"{'--flip' if flip else 'Averaging several models'} is for classifiers; this one "
            f"gives a class to every pixel. Leave it out."
        )


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
    """An index of masks under the class names that the model was trained with."""
    if found.one_label:
        return found
    if len(found.classes) != len(ours):
        # Masks that lack a class look like fewer classes where none are declared.
        return replace(found, classes=ours) if len(found.classes) < len(ours) else found
    return replace(found, classes=replace(found.classes, names=ours.names, colors=ours.colors))
