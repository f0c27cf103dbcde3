"""Find a learning rate."""

from pathlib import Path
from typing import Annotated

import typer

from pixelwright.cli._options import Device, Masks, Settings

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A recipe (.toml), a folder of images or one image, or a layout such as "
        "camvid:root=FOLDER.",
    ),
]
Low = Annotated[float, typer.Option(help="The first rate.")]
High = Annotated[float, typer.Option(help="The last rate.")]
Steps = Annotated[int, typer.Option(help="How many rates, one a step.")]
Out = Annotated[Path, typer.Option(help="The picture to write (.png), and its numbers (.json).")]


def find_lr(
    source: Source,
    masks: Masks = None,
    settings: Settings = None,
    low: Low = 1e-6,
    high: High = 10.0,
    steps: Steps = 100,
    out: Out = Path("find-lr.png"),
    device: Device = None,
) -> None:
    """Find a learning rate: try rising rates, one a step, and draw the loss.

    Suggested is a tenth of the rate with the lowest loss. No weights are kept.
    """
    from pixelwright.cli._source import recipe_of
    from pixelwright.console import Console

    console = Console()
    overrides = [*([f"device={device}"] if device else []), *(settings or [])]
    # A recipe's data is checked when it is trained; reading all of it takes longer than this.
    check = masks is not None or Path(source).suffix != ".toml"
    recipe = recipe_of(console, source, masks, overrides, force=True, quiet=True, check=check)

    from pixelwright import jobs

    with console.watch() as on_event:
        found = jobs.find_lr(recipe, low=low, high=high, steps=steps, out=out, on_event=on_event)
    told = found.suggestion
    if found.sweep.why:
        console.say(f"ended after {len(found.sweep.losses)} steps: {found.sweep.why}")
    if told.rate is not None:
        console.say(
            f"loss falls fastest at {told.steepest:.2g} and is lowest at {told.lowest:.2g}; "
            f"suggested is a tenth of that: --set train.lr={told.rate:g} (now {recipe.train.lr:g})"
        )
    if told.note:
        console.remark("note", told.note)
    console.written(found.files)
