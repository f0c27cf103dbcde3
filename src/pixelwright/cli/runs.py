"""List the runs below a folder."""

from pathlib import Path
from typing import Annotated

import typer

from pixelwright.errors import DataError

_ROOT = Path("runs")
Root = Annotated[Path, typer.Argument(metavar="ROOT", help="The folder that holds the runs.")]


def runs(
    root: Root = _ROOT,
) -> None:
    """List the runs below a folder, newest last."""
    from pixelwright.console import Console
    from pixelwright.run import Run

    if root != _ROOT and not root.is_dir():
        raise DataError(f"There is no folder {root}.")
    console = Console()
    found = Run.list(root)
    if not found:
        console.say(f"no runs in {root} yet")
        return
    console.table(
        ("run", "status", "model", "data", "epochs", "best score", "looks at test", "when"),
        [_row(run.path) for run in found],
        right=("epochs", "looks at test"),
    )


def _row(path: Path) -> tuple[object, ...]:
    from datetime import datetime

    from pixelwright.console import number
    from pixelwright.run import Run
    from pixelwright.types import chosen_score

    run = Run(path)
    recipe = _recipe(run.recipe_file)
    epochs = [row for row in run.log() if row.get("kind") == "epoch"]
    told = [chosen_score(row) for row in epochs]
    scores = [score for _, score in told if score is not None]
    when = datetime.fromtimestamp(run.info_file.stat().st_mtime)
    return (
        run.path,
        run.status,
        _spec(recipe.get("model", "unet")),
        _spec(recipe.get("data", "")),
        f"{epochs[-1].get('epoch', 0):.4g}" if epochs else "0",
        f"{told[-1][0]} {number(max(scores))}" if scores else "n/a",
        len(run.looks()),
        f"{when:%Y-%m-%d %H:%M}",
    )


def _recipe(file: Path) -> dict[str, object]:
    """The table of a recipe as it stands; empty where it cannot be read."""
    import tomllib

    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}


def _spec(value: object) -> str:
    """A spec as one string, also where the recipe has it as a table."""
    if isinstance(value, dict):
        options = ",".join(f"{key}={inner}" for key, inner in value.items() if key != "name")
        return f"{value.get('name', '')}:{options}"
    return str(value)
