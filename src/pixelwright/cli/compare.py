"""Compare the cases of a study, or finished runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pixelwright.cli._options import Json
from pixelwright.errors import MachineError, RecipeError

Sources = Annotated[
    list[Path],
    typer.Argument(
        metavar="STUDY.toml | RUN...",
        help="A study file, or finished runs (or folders of runs) that were scored on one split.",
    ),
]
Split = Annotated[str, typer.Option(help="Whose stored scores are compared.")]
Score = Annotated[
    str | None,
    typer.Option(help="mean_iou, top1, mean_dice, top5, ... [default: the study's]."),
]
Baseline = Annotated[
    str | None, typer.Option(metavar="CASE", help="Compare all with this case, not all with all.")
]
Out = Annotated[Path | None, typer.Option(help="The folder of the runs and the result.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set any key of the study's recipe."),
]
Jobs = Annotated[int, typer.Option(min=1, help="Trainings at a time; they share the machine.")]
Force = Annotated[bool, typer.Option("--force", help="Train although the data has problems.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check all, list what would be trained.")]
Pictures = Annotated[
    bool, typer.Option("--pictures/--no-pictures", help="Predict images side by side for the page.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings, errors and the result.")]


def compare(
    sources: Sources,
    split: Split = "val",
    score: Score = None,
    baseline: Baseline = None,
    out: Out = None,
    settings: Settings = None,
    jobs: Jobs = 1,
    json: Json = None,
    pictures: Pictures = True,
    force: Force = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
) -> None:
    """Compare the cases of a study, or finished runs, with paired tests over images and seeds.

    A study is a recipe with [study] seeds and a [grid] of settings. Its runs are trained one after
    the other; what is done is skipped, what was stopped goes on.
    """
    from pixelwright.console import Console
    from pixelwright.study.plan import Study, is_study

    console = Console()
    only_studies = {"--set": settings, "--jobs": jobs > 1, "--force": force, "--dry-run": dry_run}
    if len(sources) > 1 and (studies := [source for source in sources if is_study(source)]):
        raise RecipeError(f"{studies[0]} is a study file. Give it alone, or give runs only.")
    if len(sources) > 1 or not is_study(sources[0]):
        if given := [name for name, value in only_studies.items() if value]:
            raise RecipeError(f"{', '.join(given)} is for a study file; these runs are trained.")
    elif dry_run:
        _list(console, sources[0], settings or [], out, baseline, split)
        return
    else:
        # Read again below; here so that a mistake is told before torch is loaded.
        Study.read(sources[0], settings or [], out=out, baseline=baseline)

    from pixelwright.study.job import compare as compare_all

    with console.watch(quiet=quiet) as on_event:
        result = compare_all(
            sources,
            split=split,
            score=score,
            baseline=baseline,
            out=out,
            settings=settings or [],
            jobs=jobs,
            force=force,
            pictures=pictures,
            on_event=on_event,
        )
    if json != "-":
        head, *rows = result.table()
        console.table(head, rows, title=result.headline(), right=head[1:])
        console.say(*result.verdicts(), *result.notes())
        console.written(result.files)
    if json is not None:
        from pixelwright.cli._source import as_json

        as_json(console, result.to_json(), json)
    if result.failed:
        raise MachineError(" ".join(result.failed) + " The same command tries again.")


def _list(
    console: Any,
    path: Path,
    settings: list[str],
    out: Path | None,
    baseline: str | None,
    split: str,
) -> None:
    """What a study would train."""
    from pixelwright.study import queue
    from pixelwright.study.plan import Study

    study = Study.read(path, settings, out=out, baseline=baseline)
    study.check(split)
    rows = [(cell.case, cell.seed, what, cell.run.path) for cell, what in queue.plan(study)]
    console.table(("case", "seed", "what", "run"), rows, right=("seed",))
