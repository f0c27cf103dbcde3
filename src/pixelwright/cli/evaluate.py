"""Score a run on a labelled split."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixelwright.cli._options import Device, Flip, Json, Snapshots, Tile

if TYPE_CHECKING:
    from pixelwright.console import Console
    from pixelwright.metrics.labels import LabelScores
    from pixelwright.metrics.scores import Scores
    from pixelwright.run import Run

Runs = Annotated[
    list[Path],
    typer.Argument(metavar="RUN", help="The run's folder; several classifiers answer together."),
]
Data = Annotated[
    str | None,
    typer.Option(help="A layout such as camvid:root=FOLDER, or a folder. Else the run's own data."),
]
Split = Annotated[str, typer.Option(help="The split to score.")]

_HARDEST = 3
"""Classes of which the console says why they are hard; the report and the JSON tell of more."""


def evaluate(
    run: Runs,
    data: Data = None,
    split: Split = "val",
    json: Json = None,
    tile: Tile = None,
    flip: Flip = False,
    snapshots: Snapshots = False,
    device: Device = None,
) -> None:
    """Score a run on labelled images, with 95 % intervals.

    Looks at a test split are counted in the run.
    """
    from pixelwright.cli._source import as_json, data_spec, run_of
    from pixelwright.console import Console
    from pixelwright.run import Run

    paths = [run_of(str(one)) for one in run]
    spec = None if data is None else data_spec(data, None)
    console = Console()

    from pixelwright import jobs
    from pixelwright.metrics.labels import LabelScores

    with console.watch() as on_event:
        scores = jobs.evaluate(
            paths,
            data=spec,
            split=split,
            tile=tile,
            flip=flip,
            snapshots=snapshots,
            device=device or "auto",
            on_event=on_event,
        )
    if json != "-":
        console.scores(scores)
        if not isinstance(scores, LabelScores):
            _show_hardest(console, scores, Run(paths[0]))
        for path in paths:
            console.say(*Run(path).looks_told())
    if json is not None:
        as_json(console, _table(scores, Run(paths[0])), json)


def _show_hardest(console: "Console", scores: "Scores", run: "Run") -> None:
    from pixelwright.jobs.show import train_scores
    from pixelwright.metrics.hardest import hardest_classes

    for hard in hardest_classes(scores, train_scores(run), count=_HARDEST):
        console.remark(f"hard: {hard.name}", hard)


def _table(scores: "Scores | LabelScores", run: "Run") -> dict[str, Any]:
    from pixelwright.jobs.show import train_scores
    from pixelwright.metrics.hardest import described
    from pixelwright.metrics.labels import LabelScores

    if isinstance(scores, LabelScores):
        return scores.to_json()
    return described(scores, train_scores(run))
