"""What a run shows of itself: scores, pictures, figures, the report."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pixelwright import build, images, render
from pixelwright.data.dataset import Dataset
from pixelwright.errors import CheckpointError
from pixelwright.files import plain_name, write_text
from pixelwright.metrics.hardest import described
from pixelwright.metrics.scores import Scores
from pixelwright.report import figures, page
from pixelwright.run import Run
from pixelwright.types import Entry

PICTURES = 3
"""Hardest and typical images that a run shows, each."""


def write_scores(run: Run, scores: Scores, data: str) -> None:
    table = described(replace(scores, data=data), train_scores(run))
    write_text(run.scores_file(scores.split), json.dumps(table) + "\n")


def train_scores(run: Run) -> Scores | None:
    """Those of training images, which say how rare a class was; None where there are none."""
    try:
        table = run.scores("train")
        return Scores.from_json(table) if table else None
    except CheckpointError:
        return None


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


def report(run: Run | str | Path) -> Path:
    """Write the report of a run again, from what lies in its folder."""
    run = Run.open(run)
    if rows := run.log():
        figures.loss_vs_epochs(rows, run.loss_figure)
    return page.write(run)
