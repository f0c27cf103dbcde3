"""Labelled images on which the cases of a comparison disagree, or which all of them get wrong."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int64

from pixelwright import images
from pixelwright.build.scoring import entries_of
from pixelwright.data import index
from pixelwright.errors import DataError, first_few
from pixelwright.jobs.show import hard_lines, picture_of
from pixelwright.metrics.labels import LabelScores
from pixelwright.recipe import Recipe
from pixelwright.render.labelled import Labelled, labelled_sheet
from pixelwright.study.comparison import Comparison

SHOWN = 24
"""Images of each kind."""
_CASES = 6
"""Of more cases the best are told below an image."""


def write(result: Comparison, folder: Path) -> None:
    """Write a sheet of images on which cases disagree, and one that is hard for all.

    What they said is in their scores: no network is run.

    Args:
        result: Of labels.
        folder: Of the pictures.

    Raises:
        DataError: The images cannot be had any more.
    """
    shown = result.cases[:_CASES]
    told = [case.scores[case.typical(result.score)] for case in shown]
    scores = [one for one in told if isinstance(one, LabelScores)]
    right = np.stack([one.right for one in scores])
    sure = np.stack([one.likely[:, 0] for one in scores])
    kinds = {"apart": disputed(right, sure), "hardest": never_right(right, sure)}
    run = shown[0].runs[0]
    recipe = Recipe.read(run.recipe_file)
    entries = {e.key: e for e in entries_of(index.load(recipe.data), result.split)}
    keys = scores[0].keys
    missing = [keys[i] for places in kinds.values() for i in places if keys[i] not in entries]
    if missing:
        raise DataError(f"the data of {run.path} no longer holds {first_few(missing)}.")
    names = [f"{number} {case.name}" for number, case in enumerate(shown, 1)]
    for kind, places in kinds.items():
        pictures = [
            Labelled(picture_of(entries[keys[i]], recipe.channels), _lines(scores, int(i)))
            for i in places
        ]
        if pictures:
            folder.mkdir(parents=True, exist_ok=True)
            groups = [(" · ".join(names), pictures)]
            sheet = labelled_sheet(groups, columns=6, side=224, text=20)
            images.write_jpeg(folder / f"{kind}-1-labels.jpg", sheet)


def _lines(scores: Sequence[LabelScores], place: int) -> tuple[str, ...]:
    """The class of an image, what each case says of it, and its key."""
    truth, _, key = hard_lines(scores[0], place)
    said = [
        f"{number} {'✓' if one.right[place] else '✗'} {hard_lines(one, place)[1]}"
        for number, one in enumerate(scores, 1)
    ]
    return truth, *said, key


def disputed(
    right: Bool[np.ndarray, "cases images"], sure: Float[np.ndarray, "cases images"]
) -> Int64[np.ndarray, " some"]:
    """Images that some label right and others wrong, the surest of both sides first."""
    apart = np.flatnonzero(right.any(0) & ~right.all(0))
    chance = np.nan_to_num(sure[:, apart])
    # The surest that is right and the surest that is wrong.
    best = np.where(right[:, apart], chance, 0).max(0)
    worst = np.where(right[:, apart], 0, chance).max(0)
    return apart[np.argsort(-best * worst, kind="stable")][:SHOWN]


def never_right(
    right: Bool[np.ndarray, "cases images"], sure: Float[np.ndarray, "cases images"]
) -> Int64[np.ndarray, " some"]:
    """Images that none labels right, those first of which even the least sure is sure."""
    wrong = np.flatnonzero(~right.any(0))
    chance = np.nan_to_num(sure[:, wrong]).min(0)
    return wrong[np.argsort(-chance, kind="stable")][:SHOWN]
