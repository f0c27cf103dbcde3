"""What the page of a classifier tells: classes by superclass, confused pairs in pictures."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from markupsafe import Markup

from pixelwright.files import plain_name
from pixelwright.metrics.labels import TITLES, LabelScore, LabelScores
from pixelwright.metrics.per_class import PerClass
from pixelwright.reporting.cards import score_card
from pixelwright.reporting.pictures import MOST_BYTES, embedded
from pixelwright.reporting.reliability import reliability_svg
from pixelwright.run import Run

_MOST_IN_MATRIX = 24
_PAIRS = 10
"""Confused pairs that are told."""
_OPEN = 24
"""Of more classes without superclasses, so many that score lowest are shown at once."""
_ENDS = 5
"""Classes that are named as the best and the hardest, where they are folded away."""


def label_contents(run: Run, every: Sequence[LabelScores]) -> dict[str, Any]:
    """What `labels.html.j2` shows.

    Args:
        run: Whose folder holds the pictures.
        every: The scores of its splits, the most telling first.
    """
    main = every[0] if every else None
    if main is None:
        return {"cards": []}
    # Pictures are chosen from the validation images, whatever else was scored since.
    chosen_from = next((scores for scores in every if scores.split == "val"), main)
    pairs = _pairs(chosen_from)
    shown, left_out = _shown(run, pairs)
    known = [name for name in main.known if name != "mean_class_accuracy" or not _even(main)]
    rows = _rows(main.classes(), main.confusion)
    return {
        "cards": [_card(main, name) for name in known],
        "known": known,
        "titles": TITLES,
        "rows": rows,
        "fold": max(len(rows) - _OPEN, 0),
        "groups": _groups(main, rows) if main.by_group else [],
        "extremes": (rows[:_ENDS], [row for row in rows if row["images"]][: -_ENDS - 1 : -1]),
        "reliability": Markup(reliability_svg(main.calibration, "images")) if main.keys else None,
        "matrix": _matrix(main),
        "matrix_of": "superclasses" if main.by_group else "classes",
        "pairs": pairs,
        "pairs_of": chosen_from.split,
        "left_out": left_out,
        **shown,
    }


def _even(scores: LabelScores) -> bool:
    """Whether all classes have as many images: then their mean accuracy is the top-1."""
    return len(set(scores.confusion.sum(1).tolist())) == 1


def _card(main: LabelScores, name: LabelScore) -> dict[str, Any]:
    # A log loss is drawn as a part of that of guessing.
    whole = math.log(len(main.names)) if name == "log_loss" else 1.0
    return score_card(TITLES[name], getattr(main, name), main.interval(name), max(whole, 1e-9))


def _rows(told: PerClass, confusion: Int64[np.ndarray, "k k"]) -> list[dict[str, Any]]:
    """One for each class, the best first, with what it is most often taken for."""
    wrong = confusion * (1 - np.eye(len(confusion), dtype=np.int64))
    rows = []
    for k, name in enumerate(told.names):
        most = int(wrong[k].argmax())
        count = int(wrong[k, most])
        rows.append(
            {
                "name": name,
                "accuracy": told.accuracy[k],
                "ends": tuple(told.ends[k].tolist()),
                "precision": told.precision[k],
                "images": int(told.images[k]),
                "taken": told.names[most] if count else None,
                "taken_share": count / max(int(told.images[k]), 1),
            }
        )
    return sorted(rows, key=lambda row: math.inf if math.isnan(a := row["accuracy"]) else -a)


def _groups(main: LabelScores, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The superclasses, the best first, each with the rows of its classes."""
    group_of = dict(zip(main.names, main.groups, strict=True))
    return [
        {**group, "classes": [row for row in rows if group_of[row["name"]] == group["name"]]}
        for group in _rows(main.superclasses(), main.group_confusion)
    ]


def _matrix(main: LabelScores) -> list[tuple[str, list[float]]] | None:
    """Which share of each true class's images was taken for which, of few enough to be read."""
    names = main.group_names if main.by_group else main.names
    counts = main.group_confusion if main.by_group else main.confusion
    if len(names) > _MOST_IN_MATRIX:
        return None
    return list(zip(names, _shares(counts).tolist(), strict=True))


def _shares(counts: Int64[np.ndarray, "k k"]) -> Float64[np.ndarray, "k k"]:
    truth = counts.sum(1, keepdims=True)
    return np.asarray(np.divide(counts, truth, out=np.zeros(counts.shape), where=truth > 0))


def _pairs(scores: LabelScores) -> list[dict[str, Any]]:
    images = dict(zip(scores.names, scores.confusion.sum(1).tolist(), strict=True))
    errors = max(int((~scores.right).sum()), 1)
    return [
        {
            "truth": pair.truth,
            "taken": pair.taken,
            "count": pair.images,
            "images": images[pair.truth],
            "of_errors": pair.images / errors,
        }
        for pair in scores.confused(_PAIRS)
    ]


def _shown(run: Run, pairs: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """The run's pictures as far as they fit into a page, and the files that do not."""
    named = {pair_sheet(rank, p["truth"], p["taken"]): p for rank, p in enumerate(pairs, 1)}
    sheets: list[dict[str, Any]] = []
    other: list[dict[str, Any]] = []
    hardest, left_out, room = None, [], MOST_BYTES
    for path in sorted(run.pictures.glob("*.jpg"), key=lambda path: _rank(path.stem)):
        pair = named.get(path.stem)
        if pair is None and path.stem.startswith("confused-"):
            continue  # of scores that were replaced since
        source = embedded(path)
        if source is None or len(source) > room:
            left_out.append(path.name)
            continue
        room -= len(source)
        if pair is not None:
            sheets.append({**pair, "source": source})
        elif path.stem == "hardest":
            hardest = source
        else:
            other.append({"name": path.stem, "source": source})
    return {"sheets": sheets, "hardest": hardest, "other": other}, left_out


def pair_sheet(rank: int, truth: str, taken: str) -> str:
    """The name of the file that shows a confused pair, without its suffix."""
    # Short enough for 255 bytes of any letters.
    return f"confused-{rank}-{plain_name(truth)[-36:]}-{plain_name(taken)[-36:]}"


def _rank(stem: str) -> tuple[int, int, str]:
    kind, _, rest = stem.partition("-")
    number = rest.partition("-")[0]
    order = {"confused": 0, "hardest": 1}.get(kind, 2)
    return order, int(number) if number.isdecimal() else 0, stem
