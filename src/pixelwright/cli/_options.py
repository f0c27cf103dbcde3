"""Options that several commands share, so that they mean the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.")]
Tile = Annotated[
    int | None,
    typer.Option(min=1, help="Never show the network more than TILE x TILE pixels at once."),
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Json = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Write JSON to FILE; - prints it, and nothing else."),
]
Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A folder, images, a recipe (.toml) or a layout such as camvid:root=FOLDER.",
    ),
]
Masks = Annotated[
    str | None,
    typer.Argument(metavar="MASKS", help="The folder of masks, or the mask of the one image."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set any key: model.width=32. Repeatable."),
]
Flip = Annotated[bool, typer.Option("--flip", help="See every picture mirrored too, and average.")]
Snapshots = Annotated[
    bool,
    typer.Option(
        "--snapshots", help="The models that a run kept along its way, together (train.snapshots)."
    ),
]
