"""Show where a run's model sees what speaks for a class."""

from pathlib import Path
from typing import Annotated

import typer

from pixelwright.cli._options import Device
from pixelwright.errors import RecipeError

Images = Annotated[
    list[Path], typer.Argument(metavar="IMAGE", help="Images, or folders of images.")
]
Run = Annotated[Path, typer.Option(help="The run's folder.")]
Out = Annotated[Path, typer.Option(help="The folder to write to; made if need be.")]
Class = Annotated[
    list[str] | None,
    typer.Option(
        "--class", metavar="NAME", help="Explain this class, not what is predicted. Repeatable."
    ),
]
Method = Annotated[
    str, typer.Option(help="gradcam, or hirescam: only what the prediction depends on.")
]
Layer = Annotated[
    str | None, typer.Option(metavar="NAME", help="The layer that is asked [default: the deepest].")
]
Region = Annotated[
    str | None,
    typer.Option(
        metavar="TOP,LEFT,HEIGHT,WIDTH", help="Of a segmentation, explain these pixels only."
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace explanations that lie in --out.")
]


def explain(
    images: Images,
    run: Run,
    out: Out,
    classes: Class = None,
    method: Method = "gradcam",
    layer: Layer = None,
    region: Region = None,
    overwrite: Overwrite = False,
    device: Device = None,
) -> None:
    """Show where a network sees what speaks for a class: class activation maps.

    Each image gives a JPEG with the image and a heat map for each class: the predicted one of a
    classifier, the four most frequent of a segmentation, or those that --class names.
    """
    from pixelwright.cli._source import run_of
    from pixelwright.console import Console

    window = None if region is None else _window(region)
    path = run_of(str(run))
    console = Console()

    from pixelwright import jobs

    with console.watch() as on_event:
        done = jobs.explain(
            path,
            images,
            out=out,
            classes=classes,
            method=method,
            layer=layer,
            region=window,
            device=device or "auto",
            overwrite=overwrite,
            on_event=on_event,
        )
    console.written(one.file for one in done)


def _window(text: str) -> tuple[int, int, int, int]:
    """Four numbers.

    Raises:
        RecipeError: They are not.
    """
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
        raise RecipeError(
            f"--region {text} cannot be read. Write top,left,height,width in pixels, such as "
            f"--region 0,0,64,64."
        )
    top, left, height, width = (int(part) for part in parts)
    return top, left, height, width
