"""Search for the best values of a recipe's keys."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from pixelwright.cli._options import Settings

File = Annotated[
    Path, typer.Argument(metavar="TUNE.toml", help="A recipe with [ranges] of what is tuned.")
]
Trials = Annotated[int | None, typer.Option(min=1, help="Trials in all [default: the file's, 20].")]
Minutes = Annotated[float | None, typer.Option(help="Wall-clock budget of this call.")]
Pruning = Annotated[
    str | None, typer.Option(help="median, hyperband or none [default: the file's, median].")
]
Out = Annotated[Path | None, typer.Option(help="The folder, instead of runs/NAME.")]
Test = Annotated[
    bool, typer.Option("--test", help="At the end, one look at the test split with the best.")
]
Force = Annotated[bool, typer.Option("--force", help="Train although the data has problems.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check all, show the ranges, stop.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings, errors and the result.")]


def tune(
    file: File,
    settings: Settings = None,
    trials: Trials = None,
    minutes: Minutes = None,
    pruning: Pruning = None,
    out: Out = None,
    test: Test = False,
    force: Force = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
) -> None:
    """Search for the best values of a recipe's keys, on the training and validation splits.

    Every trial is a run of its own; what falls behind is stopped. Called again, it goes on.
    """
    from pixelwright.cli._source import checked
    from pixelwright.console import Console
    from pixelwright.study.ranges import Tuning

    console = Console()
    own = {"trials": trials, "minutes": minutes, "pruning": pruning}
    with console.warnings_as_lines():
        tuning = Tuning.read(file, settings or [], out=out, **own)
    if dry_run or not quiet:
        console.table(("key", "range"), [(one.key, one) for one in tuning.ranges])
    checked(console, tuning.recipe.data, force=force, quiet=quiet)
    if dry_run:
        return

    from pixelwright.study.tuning import tune as search

    with console.watch(quiet=quiet) as on_event:
        found = search(tuning, test=test, on_event=on_event)
    head, *rows = found.table()
    console.table(head, rows, title=found.headline(), right=[head[0], *head[2:]])
    console.say(*found.notes())
    best = found.best
    if found.test is not None and best is not None:
        console.scores(found.test)
        console.say(*best.run.looks_told())
    console.written(found.files)
    console.say("next:", f"  pixelwright train {shlex.quote(str(tuning.out / 'best.toml'))}")
