"""The same images side by side: image, truth, and what each case predicts."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Integer, UInt8

from pixelwright import build, images, render
from pixelwright.data import index
from pixelwright.data.dataset import Dataset
from pixelwright.errors import DataError, PixelwrightError, PixelwrightWarning, first_few
from pixelwright.files import plain_name
from pixelwright.metrics.scores import Scores
from pixelwright.recipe import Recipe
from pixelwright.run import Run
from pixelwright.study import disagreements
from pixelwright.study.case import LABELS
from pixelwright.study.comparison import Comparison
from pixelwright.types import Classes, Entry, Event, OnEvent

EACH = 2
"""Images of each kind: where the cases differ most, typical, hardest."""


@dataclass(frozen=True)
class _Shown:
    """An image that is shown, and what each case made of it."""

    kind: str
    key: str
    image: UInt8[np.ndarray, "h w c"]
    target: Integer[np.ndarray, "h w"]
    labels: list[Integer[np.ndarray, "h w"]]
    scores: Float[np.ndarray, " cases"]


def write(result: Comparison, folder: Path, on_event: OnEvent) -> None:
    """Write the pictures into `folder`, in place of those that were there.

    Of each case the run is taken whose score is nearest to the mean over seeds. Where a model or
    its data cannot be had any more, there is a warning and no picture.
    """
    for old in folder.glob("*.jpg"):
        old.unlink()
    try:
        if result.kind is LABELS:
            disagreements.write(result, folder)
            return
        shown, classes = _predicted(result, on_event)
    except PixelwrightError as error:
        warnings.warn(f"No pictures side by side: {error}", PixelwrightWarning, stacklevel=2)
        return
    folder.mkdir(parents=True, exist_ok=True)
    names = [case.name for case in result.cases]
    ranks: dict[str, int] = {}
    for one in shown:
        ranks[one.kind] = rank = ranks.get(one.kind, 0) + 1
        titles = [f"{name}: {score:.3f}" for name, score in zip(names, one.scores, strict=True)]
        predictions = list(zip(titles, one.labels, strict=True))
        panel = render.side_by_side(
            one.image, one.target, predictions, classes, f"{one.key}, mean IoU of this image"
        )
        name = f"{rank}-{plain_name(one.key)}.jpg"
        images.write_jpeg(folder / f"{one.kind}-{name}", panel)
        if one.kind == "apart" and len(names) > 1:
            rows, columns = _where_they_differ(one.labels, one.target)
            near = [(n, labels[rows, columns]) for n, labels in zip(names, one.labels, strict=True)]
            caption = (
                f"{one.key}, rows {rows.start} to {rows.stop}, columns {columns.start} to "
                f"{columns.stop}"
            )
            panel = render.side_by_side(
                one.image[rows, columns], one.target[rows, columns], near, classes, caption
            )
            images.write_jpeg(folder / f"close-{name}", panel)


def _predicted(result: Comparison, on_event: OnEvent) -> tuple[list[_Shown], Classes]:
    chosen = [case.typical(result.score) for case in result.cases]
    pairs = list(zip(result.cases, chosen, strict=True))
    scored = [case.scores[place] for case, place in pairs]
    by_image = np.stack([s.image_mean_iou() for s in scored if isinstance(s, Scores)])
    places = [(kind, place) for kind, those in _choose(by_image) for place in those]
    keys = result.cases[0].scores[0].keys
    runs = [case.runs[place] for case, place in pairs]
    wanted = _entries(runs[0], result.split, [keys[place] for _, place in places])
    labels: list[list[Integer[np.ndarray, "h w"]]] = [[] for _ in places]
    samples = []
    for number, run in enumerate(runs, 1):
        recipe = Recipe.read(run.recipe_file)
        model = build.load_model(run, recipe.device)
        dataset, predictor = Dataset(wanted, model.classes, model.channels), model.predictor()
        samples = [dataset.sample(i) for i in range(len(wanted))]
        for sample, found in zip(samples, labels, strict=True):
            found.append(np.asarray(predictor.labels(sample.image)).astype(np.int16))
        on_event(Event("progress", {"what": "pictures", "done": number, "total": len(runs)}))
    shown = [
        _Shown(kind, keys[place], s.image, np.asarray(s.target), found, by_image[:, place])
        for (kind, place), s, found in zip(places, samples, labels, strict=True)
    ]
    return shown, model.classes


def _entries(run: Run, split: str, keys: Sequence[str]) -> list[Entry]:
    """The entries of these keys in a split of the data of a run."""
    model = build.load_model(run, "cpu")
    found = index.load(Recipe.read(run.recipe_file).data)
    entries = model.scorer(replace(found, classes=model.classes)).entries(split)
    by_key = {entry.key: entry for entry in entries}
    if missing := [key for key in keys if key not in by_key]:
        raise DataError(f"the data of {run.path} no longer holds {first_few(missing)}.")
    return [by_key[key] for key in keys]


def _choose(by_image: Float[np.ndarray, "cases images"]) -> list[tuple[str, list[int]]]:
    """Places of images that tell something, of each kind; none of them twice.

    Nor two that lie close together: neighbours are often frames of one film.
    """
    counted = np.flatnonzero(~np.isnan(by_image).any(0))
    mean = by_image[:, counted].mean(0)
    orders = {
        "apart": -np.ptp(by_image[:, counted], axis=0) if len(by_image) > 1 else None,
        "typical": np.abs(mean - np.median(mean)) if len(mean) else None,
        "hardest": mean,
    }
    apart = by_image.shape[1] // 20
    taken: list[int] = []
    chosen = []
    for kind, order in orders.items():
        ranked = [] if order is None else counted[np.argsort(order, kind="stable")].tolist()
        those: list[int] = []
        for place in ranked:
            if len(those) < EACH and all(abs(place - other) > apart for other in taken):
                those.append(place)
                taken.append(place)
        chosen.append((kind, those))
    return chosen


def _where_they_differ(
    labels: Sequence[Integer[np.ndarray, "h w"]], target: Integer[np.ndarray, "h w"]
) -> tuple[slice, slice]:
    """The square window, a quarter of the shorter side, in which most edges are disputed."""
    disputed = np.any([one != labels[0] for one in labels[1:]], axis=0)
    shape = np.ones((3, 3), np.uint8)
    solid = target.astype(np.int16)
    edges = cv2.dilate(solid, shape) != cv2.erode(solid, shape)
    near = cv2.dilate(edges.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    if (disputed & near).any():
        disputed = disputed & near
    height, width = disputed.shape
    side = min(max(min(height, width) // 4, 48), height, width)
    sums = np.pad(disputed.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    top, left = (int(i) for i in np.unravel_index(inside.argmax(), inside.shape))
    return slice(top, top + side), slice(left, left + side)
