"""Train a model on a recipe, on images and masks, or on with a run."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelwright.cli._options import Device, Masks, Settings, Tile
from pixelwright.errors import RecipeError

if TYPE_CHECKING:
    from pixelwright.console import Console
    from pixelwright.run import Run

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A recipe (.toml), a folder of images or one image, a layout such as "
        "camvid:root=FOLDER, or with --resume a run.",
    ),
]
Minutes = Annotated[float | None, typer.Option(help="Wall-clock budget, turned into steps.")]
Epochs = Annotated[int | None, typer.Option(help="Passes over the training pixels.")]
Overfit = Annotated[
    int | None,
    typer.Option(metavar="N", help="Learn N fixed crops by heart, to prove that training works."),
]
Out = Annotated[Path | None, typer.Option(help="The run's folder, instead of runs/NAME-NUMBER.")]
Name = Annotated[str | None, typer.Option(help="The run's name.")]
Seed = Annotated[int | None, typer.Option(help="Equal seeds give equal runs.")]
Track = Annotated[
    list[str] | None,
    typer.Option(metavar="TOOL", help="Mirror the log: tensorboard, wandb. Repeatable."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run SOURCE.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the run that lies in --out.")]
Force = Annotated[bool, typer.Option("--force", help="Train although the data has problems.")]
NoCheck = Annotated[
    bool, typer.Option("--no-check", help="Do not look at every file of a recipe's data first.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check the data, show the recipe, stop.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings, errors and scores.")]


def train(
    source: Source,
    masks: Masks = None,
    settings: Settings = None,
    minutes: Minutes = None,
    epochs: Epochs = None,
    overfit: Overfit = None,
    out: Out = None,
    name: Name = None,
    tile: Tile = None,
    device: Device = None,
    seed: Seed = None,
    track: Track = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    force: Force = False,
    no_check: NoCheck = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
) -> None:
    """Train a model on a recipe, or on images and their masks.

    The data is checked first; where there is no recipe, one is proposed and shown. The best
    checkpoint is kept and evaluated. With --resume, SOURCE is a run.
    """
    shortcuts = {
        "train.minutes": minutes,
        "train.epochs": epochs,
        "train.overfit": overfit,
        "name": name,
        "tile": tile,
        "device": device,
        "seed": seed,
        "track": json.dumps(track) if track else None,
    }
    overrides = _overrides(shortcuts, settings or [])
    if overwrite and (out is None or resume):
        raise RecipeError("--overwrite replaces the run in --out: give --out, and no --resume.")
    if resume:
        others = {"MASKS": masks, "--out": out, "--dry-run": dry_run, "--force": force}
        others["--no-check"] = no_check
        _refuse_beside_resume([*(key for key, value in others.items() if value), *overrides])

    from pixelwright.cli._source import recipe_of, run_of
    from pixelwright.console import Console
    from pixelwright.recipe import Recipe

    console = Console()
    given: Recipe | Path = (
        run_of(source)
        if resume
        else recipe_of(
            console, source, masks, overrides, force=force, quiet=quiet, check=not no_check
        )
    )
    if isinstance(given, Recipe) and (dry_run or not quiet):
        console.recipe(given.to_toml())
    if dry_run:
        return

    from pixelwright import jobs

    with console.watch(quiet=quiet) as on_event:
        run = jobs.train(given, out=out, resume=resume, overwrite=overwrite, on_event=on_event)
    _show_result(console, run)


def _show_result(console: "Console", run: "Run") -> None:
    from pixelwright.metrics import read_scores

    if scores := run.scores("val"):
        console.scores(read_scores(scores))
    files = (run.model_file, run.log_file, run.loss_figure, run.pictures, run.report_file)
    console.written(path for path in files if path.exists())
    where = shlex.quote(str(run.path))
    console.say(
        "next:",
        f"  pixelwright predict IMAGE --run {where} --out out/",
        f"  pixelwright evaluate {where} --data LAYOUT --split val",
    )


def _overrides(shortcuts: Mapping[str, object], settings: Sequence[str]) -> list[str]:
    """All settings as `key=value`, those that have an option of their own among them.

    Raises:
        RecipeError: One is given twice, or two contradict each other.
    """
    given = [(key, value) for key, value in shortcuts.items() if value is not None]
    origins = [(key, f"--{key.rpartition('.')[2]}") for key, _ in given]
    set_keys = [setting.partition("=")[0].strip() for setting in settings]
    origins += [(key, f"--set {key}") for key in set_keys]
    lengths = {"train.epochs", "train.steps", "train.minutes"}
    for position, (key, origin) in enumerate(origins):
        for other_key, other in origins[:position]:
            if key == other_key:
                raise RecipeError(f"{other} and {origin} set the same key. Give one.")
            if {key, other_key} <= lengths:
                raise RecipeError(
                    f"{other} and {origin} contradict each other: both say how long to train. "
                    f"Give one."
                )
    return [*(f"{key}={value}" for key, value in given), *settings]


def _refuse_beside_resume(others: Sequence[str]) -> None:
    if others:
        raise RecipeError(
            f"--resume continues a run exactly as it began, so it cannot go with "
            f"{', '.join(others)}. Leave out one or the other."
        )
