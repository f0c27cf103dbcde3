"""Score a run on a labelled split."""

from typing import Annotated

import typer

from pixelwright.cli._options import Device, Json, RunFolder, Tile

Data = Annotated[
    str | None,
    typer.Option(help="A layout such as camvid:root=FOLDER, or a folder. Else the run's own data."),
]
Split = Annotated[str, typer.Option(help="The split to score.")]

_HARDEST = 3
"""Classes of which the console says why they are hard; the report and the JSON tell of more."""


def evaluate(
    run: RunFolder,
    data: Data = None,
    split: Split = "val",
    json: Json = None,
    tile: Tile = None,
    device: Device = None,
) -> None:
    """Score a run on labelled images, with 95 % intervals.

    Looks at a test split are counted in the run.
    """
    from pixelwright.cli._source import as_json, data_spec, run_of
    from pixelwright.console import Console
    from pixelwright.run import Run

    path = run_of(str(run))
    spec = None if data is None else data_spec(data, None)
    console = Console()

    from pixelwright import jobs
    from pixelwright.jobs.show import train_scores
    from pixelwright.metrics.hardest import described, hardest_classes

    with console.watch() as on_event:
        scores = jobs.evaluate(
            path, data=spec, split=split, tile=tile, device=device or "auto", on_event=on_event
        )
    run_scored = Run(path)
    train = train_scores(run_scored)
    if json != "-":
        console.scores(scores)
        for hard in hardest_classes(scores, train, count=_HARDEST):
            console.remark(f"hard: {hard.name}", hard)
        console.say(*run_scored.looks_told())
    if json is not None:
        as_json(console, described(scores, train), json)
