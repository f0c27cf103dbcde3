"""What a run shows of itself: scores, pictures, figures, the report."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from pixelwright import build, images, render
from pixelwright.data.dataset import Dataset
from pixelwright.errors import CheckpointError
from pixelwright.files import plain_name, write_text
from pixelwright.metrics import LabelScores, Scores, read_scores
from pixelwright.metrics.hardest import described
from pixelwright.render.labelled import Labelled, labelled_sheet
from pixelwright.reporting import figures, page
from pixelwright.reporting.labels import pair_sheet
from pixelwright.run import Run
from pixelwright.types import Entry

PICTURES = 3
"""Hardest and typical images that a run shows, each."""
PAIRS_SHOWN = 6
"""Confused pairs that the run of a classifier shows."""
WRONG_SHOWN, RIGHT_SHOWN, HARDEST_SHOWN = 8, 4, 24
"""Its pictures of a pair, of each of the pair's classes where it was found, and the hardest."""


def write_scores(run: Run, scores: Scores | LabelScores, data: str) -> None:
    told = replace(scores, data=data)
    table = described(told, train_scores(run)) if isinstance(told, Scores) else told.to_json()
    write_text(run.scores_file(scores.split), json.dumps(table) + "\n")


def train_scores(run: Run) -> Scores | None:
    """Those of the masks to train on, which say how rare a class was; None where there are none."""
    try:
        table = run.scores("train")
        scores = read_scores(table) if table else None
    except CheckpointError:
        return None
    return scores if isinstance(scores, Scores) else None


def write_pictures(run: Run, scores: Scores, entries: Sequence[Entry], model: build.Model) -> None:
    """The hardest and some typical images of a split, each beside its truth and prediction."""
    run.pictures.mkdir(exist_ok=True)
    for old in run.pictures.glob("*.jpg"):
        old.unlink()
    dataset = Dataset(entries, model.classes, model.channels)
    predictor = model.predictor()
    places = {key: number for number, key in enumerate(scores.keys)}
    for kind, keys in (
        ("hardest", scores.hardest(PICTURES)),
        ("typical", scores.typical(PICTURES)),
    ):
        for rank, (key, score) in enumerate(keys, 1):
            sample = dataset.sample(places[key])
            panel = render.comparison(
                sample.image,
                np.asarray(sample.target),
                predictor.labels(sample.image).astype(np.int16),
                model.classes,
                caption=f"{key}: mean IoU {score:.3f}",
            )
            images.write_jpeg(run.pictures / f"{kind}-{rank}-{plain_name(key)}.jpg", panel)


def write_label_pictures(
    run: Run, scores: LabelScores, entries: Sequence[Entry], model: build.Model
) -> None:
    """A sheet for each of the pairs that are confused most, and one of the hardest images.

    Args:
        run: Whose folder gets them, in place of those that were there.
        scores: What to show.
        entries: Of the same images.
        model: That was scored.
    """
    run.pictures.mkdir(exist_ok=True)
    for old in run.pictures.glob("*.jpg"):
        old.unlink()
    by_key = {entry.key: entry for entry in entries}

    def picture(key: str) -> UInt8[np.ndarray, "h w c"]:
        return picture_of(by_key[key], model.channels)

    places = {key: place for place, key in enumerate(scores.keys)}
    for rank, pair in enumerate(scores.confused(PAIRS_SHOWN), 1):
        wrong = [
            Labelled(picture(key), hard_lines(scores, places[key])[1:])
            for key in pair.keys[:WRONG_SHOWN]
        ]
        groups = [(f"{pair.truth}, taken for {pair.taken}", wrong)]
        for name in (pair.truth, pair.taken):
            found = scores.found(name, RIGHT_SHOWN)
            groups.append((f"{name}, found", [Labelled(picture(key), (key,)) for key in found]))
        name = f"{pair_sheet(rank, pair.truth, pair.taken)}.jpg"
        images.write_jpeg(run.pictures / name, labelled_sheet(groups))
    hardest = [
        Labelled(picture(key), hard_lines(scores, places[key]))
        for key, chance in scores.hardest(HARDEST_SHOWN)
        if chance < 0.5
    ]
    if hardest:
        sheet = labelled_sheet([("", hardest)], columns=8, side=160, text=18)
        images.write_jpeg(run.pictures / "hardest.jpg", sheet)


def hard_lines(scores: LabelScores, place: int) -> tuple[str, str, str]:
    """The class of an image, how surely it was taken for which, and its key."""
    truth, taken = (scores.names[k] for k in (scores.truth[place], scores.top[place, 0]))
    sure = float(scores.likely[place, 0])
    said = taken if math.isnan(sure) else f"{100 * sure:.0f} % {taken}"
    return truth, said, scores.keys[place]


def picture_of(entry: Entry, channels: int) -> UInt8[np.ndarray, "h w c"]:
    """The pixels of an entry.

    Raises:
        DataError: They cannot be read.
    """
    if entry.row is not None:
        return images.read_row(entry.image, entry.row, channels)
    return images.read_image(entry.image, channels)


def report(run: Run | str | Path) -> Path:
    """Write the report of a run again, from what lies in its folder."""
    run = Run.open(run)
    if rows := run.log():
        figures.loss_vs_epochs(rows, run.loss_figure)
    return page.write(run)
