"""Predict images with a run's model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelwright.cli._options import Device, Flip, Json, Snapshots, Tile

if TYPE_CHECKING:
    from pixelwright.console import Console
    from pixelwright.jobs import LabelPrediction, Prediction, UnreadError

_SHOWN = 10
"""Pictures whose labels the console tells; the table holds all."""

Images = Annotated[
    list[Path], typer.Argument(metavar="IMAGE", help="Images, or folders of images.")
]
Runs = Annotated[
    list[Path],
    typer.Option("--run", help="The run's folder. Repeated, the models answer together."),
]
Out = Annotated[Path, typer.Option(help="The folder to write to; made if need be.")]
Memory = Annotated[
    str | None,
    typer.Option(metavar="AMOUNT", help="Take no more memory than this, in all: 800MB, 2GB."),
]
BackendName = Annotated[
    str, typer.Option("--backend", help="torch, onnxruntime, openvino, or auto for the fastest.")
]
Precision = Annotated[
    str, typer.Option(help="float32; bfloat16 or float16 are faster on a GPU, and not exact.")
]
Compile = Annotated[
    bool, typer.Option("--compile", help="Let torch.compile fuse the networks; slow to start.")
]
Probabilities = Annotated[
    bool, typer.Option("--probabilities", help="Also write the probability of each class.")
]
Uncertainty = Annotated[
    bool, typer.Option("--uncertainty", help="Also write how unsure the models are of each pixel.")
]
D4 = Annotated[
    bool, typer.Option("--d4", help="Average over all eight ways to mirror and turn an image.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace predictions that lie in --out.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Predict only what a prediction that stopped left over.")
]
Bands = Annotated[
    str | None, typer.Option(metavar="N,N,..", help="Bands of the images to use, from 1: 4,3,2.")
]
NoData = Annotated[
    str | None,
    typer.Option(metavar="VALUE", help="What stands for no data: a number, nan, or alpha."),
]
Page = Annotated[int | None, typer.Option(min=1, help="Page of images that have several.")]


def predict(
    images: Images,
    run: Runs,
    out: Out,
    memory: Memory = None,
    tile: Tile = None,
    backend: BackendName = "torch",
    precision: Precision = "float32",
    compile: Compile = False,
    probabilities: Probabilities = False,
    uncertainty: Uncertainty = False,
    flip: Flip = False,
    d4: D4 = False,
    overwrite: Overwrite = False,
    resume: Resume = False,
    snapshots: Snapshots = False,
    bands: Bands = None,
    nodata: NoData = None,
    page: Page = None,
    json: Json = None,
    device: Device = None,
) -> None:
    """Predict images of any size, within the memory there is.

    Each gives a PNG of class indices and a JPEG that shows them over the image. A classifier gives
    one table for all, predictions.csv, with the five most probable classes of each image.
    """
    from pixelwright.cli._source import check_json, run_of
    from pixelwright.console import Console

    check_json(json)
    paths = [run_of(str(one)) for one in run]
    console = Console()

    from pixelwright import jobs
    from pixelwright.images import nodata_of

    unread = None
    with console.watch() as on_event:
        try:
            done = jobs.predict(
                paths,
                images,
                out=out,
                memory=memory,
                tile=tile,
                backend=backend,
                precision=precision,
                compile=compile,
                probabilities=probabilities,
                uncertainty=uncertainty,
                flip=flip,
                d4=d4,
                overwrite=overwrite,
                resume=resume,
                snapshots=snapshots,
                bands=None if bands is None else _numbers(bands),
                nodata=None if nodata is None else nodata_of(nodata),
                page=page,
                device=device or "auto",
                on_event=on_event,
            )
        except jobs.UnreadError as error:
            done, unread = error.done, error
    _tell(console, done if isinstance(done, list) else [done], unread, out, json)
    if unread:
        raise unread


def _tell(
    console: "Console",
    done: "Sequence[Prediction | LabelPrediction]",
    unread: "UnreadError | None",
    out: Path,
    json: str | None,
) -> None:
    """What was done and written, for people or for scripts."""
    from pixelwright import jobs
    from pixelwright.cli._source import as_json

    if json is not None:
        told = [one.told() for one in done]
        as_json(console, told + (unread.told() if unread else []), json)
        if json == "-":
            return
    if labels := [one for one in done if isinstance(one, jobs.LabelPrediction)]:
        _show_labels(console, labels)
        console.written([out / jobs.TABLE])
    masks = [one for one in done if isinstance(one, jobs.Prediction)]
    # What has no plan was there before.
    console.written(file for one in masks if one.plan for file in one.files)
    if unread:
        console.written([out / jobs.FAILED])


def _numbers(text: str) -> list[int]:
    """`4,3,2` as numbers."""
    from pixelwright.errors import RecipeError

    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise RecipeError(
            f"--bands takes numbers from 1 with commas between them, such as 4,3,2, not '{text}'."
        ) from None


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
