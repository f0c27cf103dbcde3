"""What the page of a segmenter tells: classes, why they are hard, pictures, confusions."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from pixelwright.metrics.hardest import hardest_classes
from pixelwright.metrics.scores import OF_DETAILS, TITLES, Scores
from pixelwright.render import palette
from pixelwright.reporting.cards import score_card
from pixelwright.reporting.pictures import pictures
from pixelwright.reporting.reliability import reliability_svg
from pixelwright.run import Run

_MOST_CLASSES_IN_MATRIX = 24
_HARDEST = 5
"""Classes of which the page says why they are hard."""


def mask_contents(run: Run, every: Sequence[Scores]) -> dict[str, Any]:
    """What `masks.html.j2` shows.

    Args:
        run: Whose folder holds the pictures.
        every: The scores of its splits, the most telling first.
    """
    main = every[0] if every else None
    # Pictures are chosen from the validation images, whatever else was scored since.
    chosen_from = next((scores for scores in every if scores.split == "val"), main)
    train = next((scores for scores in every if scores.split == "train"), None)
    chosen, left_out = pictures(run, chosen_from, train)
    return {
        "cards": _cards(main) if main else [],
        "classes": _class_rows(main, run.info) if main else [],
        "hardest": hardest_classes(main, train, _HARDEST) if main else [],
        "reliability": _reliability(main),
        "matrix": _matrix(main) if main else None,
        "confused": _most_confused(main) if main else [],
        "pictures": chosen,
        "left_out": left_out,
    }


def _cards(main: Scores) -> list[dict[str, Any]]:
    known = [n for n in TITLES if n not in OF_DETAILS or not math.isnan(getattr(main, n))]
    return [score_card(TITLES[name], getattr(main, name), main.interval(name)) for name in known]


def _class_rows(main: Scores, info: Mapping[str, Any]) -> list[dict[str, Any]]:
    total, ends = main.total, main.iou_intervals()
    iou, dice, accuracy = total.iou(), total.dice(), total.accuracy()
    boundary, boundary_ends = main.boundary_iou(), main.boundary_intervals()
    share = total.pixels / max(int(total.pixels.sum()), 1)
    colors = info.get("colors")
    if not isinstance(colors, list) or len(colors) != len(main.names):
        colors = list(palette(len(main.names)))
    rows = [
        {
            "name": name,
            "color": ",".join(str(int(part)) for part in colors[k]),
            "iou": iou[k],
            "ends": tuple(ends[k].tolist()),
            "boundary": boundary[k],
            "boundary_ends": tuple(boundary_ends[k].tolist()),
            "dice": dice[k],
            "accuracy": accuracy[k],
            "share": share[k],
        }
        for k, name in enumerate(main.names)
    ]
    return sorted(rows, key=lambda row: -1 if math.isnan(row["iou"]) else row["iou"], reverse=True)


def _reliability(main: Scores | None) -> Markup | None:
    if main is None or math.isnan(main.calibration_error) or main.details is None:
        return None
    return Markup(reliability_svg(main.details.calibration))


def _shares(main: Scores) -> np.ndarray:
    """Which share of each true class's pixels was predicted as which class."""
    counts = main.total.counts
    truth = counts.sum(1, keepdims=True)
    return np.asarray(np.divide(counts, truth, out=np.zeros(counts.shape), where=truth > 0))


def _matrix(main: Scores) -> list[tuple[str, list[float]]] | None:
    if len(main.names) > _MOST_CLASSES_IN_MATRIX:
        return None
    return list(zip(main.names, _shares(main).tolist(), strict=True))


def _most_confused(main: Scores, most: int = 5) -> list[dict[str, Any]]:
    """The wrong cells that hold the most pixels."""
    wrong = main.total.counts * (1 - np.eye(len(main.names), dtype=np.int64))
    shares = _shares(main)
    every = max(int(wrong.sum()), 1)
    found = []
    for cell in np.argsort(-wrong, axis=None, kind="stable")[:most]:
        row, column = divmod(int(cell), len(main.names))
        if wrong[row, column]:
            found.append(
                {
                    "truth": main.names[row],
                    "taken": main.names[column],
                    "share": shares[row, column],
                    "of_errors": wrong[row, column] / every,
                }
            )
    return found
