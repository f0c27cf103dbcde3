"""Predict images with a run's model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelwright.cli._options import Device, Flip, Snapshots, Tile

if TYPE_CHECKING:
    from pixelwright.console import Console
    from pixelwright.jobs import LabelPrediction

_SHOWN = 10
"""Pictures whose labels the console tells; the table holds all."""

Images = Annotated[
    list[Path], typer.Argument(metavar="IMAGE", help="Images, or folders of images.")
]
Runs = Annotated[
    list[Path],
    typer.Option("--run", help="The run's folder. Repeated, classifiers answer together."),
]
Out = Annotated[Path, typer.Option(help="The folder to write to; made if need be.")]
Probabilities = Annotated[
    bool, typer.Option("--probabilities", help="Also write the probability of each class.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace predictions that lie in --out.")
]


def predict(
    images: Images,
    run: Runs,
    out: Out,
    tile: Tile = None,
    probabilities: Probabilities = False,
    overwrite: Overwrite = False,
    flip: Flip = False,
    snapshots: Snapshots = False,
    device: Device = None,
) -> None:
    """Predict images of any size.

    Each gives a PNG of class indices and a JPEG that shows them over the image. A classifier gives
    one table for all, predictions.csv, with the five most probable classes of each image.
    """
    from pixelwright.cli._source import run_of
    from pixelwright.console import Console

    paths = [run_of(str(one)) for one in run]
    console = Console()

    from pixelwright import jobs

    with console.watch() as on_event:
        done = jobs.predict(
            paths,
            images,
            out=out,
            tile=tile,
            probabilities=probabilities,
            overwrite=overwrite,
            flip=flip,
            snapshots=snapshots,
            device=device or "auto",
            on_event=on_event,
        )
    predictions = done if isinstance(done, list) else [done]
    labels = [one for one in predictions if isinstance(one, jobs.LabelPrediction)]
    if labels:
        _show_labels(console, labels)
        console.written([out / jobs.TABLE])
        return
    console.written(file for one in predictions for file in getattr(one, "files", ()))


def _show_labels(console: "Console", labels: "Sequence[LabelPrediction]") -> None:
    """The first pictures and what they are taken for."""
    rows = [
        (one.source, *(f"{name} {share:.1%}" for name, share in one.top[:3]))
        for one in labels[:_SHOWN]
    ]
    width = max(len(row) for row in rows)
    console.table(("file", "class", "second", "third")[:width], rows)
    if len(labels) > _SHOWN:
        console.say(f"and {len(labels) - _SHOWN:,} more in the table")
