"""Predict images with a run's model."""

from pathlib import Path
from typing import Annotated

import typer

from pixelwright.cli._options import Device, Tile

Images = Annotated[
    list[Path], typer.Argument(metavar="IMAGE", help="Images, or folders of images.")
]
Run = Annotated[Path, typer.Option(help="The run's folder.")]
Out = Annotated[Path, typer.Option(help="The folder to write to; made if need be.")]
Probabilities = Annotated[
    bool, typer.Option("--probabilities", help="Also write the probability of each class.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace predictions that lie in --out.")
]


def predict(
    images: Images,
    run: Run,
    out: Out,
    tile: Tile = None,
    probabilities: Probabilities = False,
    overwrite: Overwrite = False,
    device: Device = None,
) -> None:
    """Predict images of any size.

    Each gives a PNG of class indices and a JPEG that shows them over the image.
    """
    from pixelwright.cli._source import run_of
    from pixelwright.console import Console

    path = run_of(str(run))
    console = Console()

    from pixelwright import jobs

    with console.watch() as on_event:
        done = jobs.predict(
            path,
            images,
            out=out,
            tile=tile,
            probabilities=probabilities,
            overwrite=overwrite,
            device=device or "auto",
            on_event=on_event,
        )
    predictions = done if isinstance(done, list) else [done]
    console.written(file for prediction in predictions for file in prediction.files)
