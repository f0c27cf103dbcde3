"""Show a run in TensorBoard or W&B."""

import shlex
from typing import Annotated

import typer

from pixelwright.cli._options import RunFolder

Tools = Annotated[
    list[str],
    typer.Argument(metavar="TOOL...", help="tensorboard, or wandb such as wandb:project=roads."),
]


def track(run: RunFolder, tools: Tools) -> None:
    """Show a run in TensorBoard or W&B, from its log and its pictures.

    What they showed of it before is replaced. While it trains, train --track TOOL does the same.
    """
    from pixelwright.cli._source import run_of
    from pixelwright.console import Console

    path = run_of(str(run))
    console = Console()

    from pixelwright import jobs

    with console.warnings_as_lines():
        jobs.track(path, tools)
    where = shlex.quote(str(path))
    offline = [shlex.quote(str(p)) for p in sorted(path.glob("wandb/offline-run-*"))]
    named = {tool.partition(":")[0] for tool in tools}
    if "tensorboard" in named:
        console.say(f"look at it: tensorboard --logdir {where}/tensorboard")
    if "wandb" in named and offline:
        console.say(f"send it: wandb sync {' '.join(offline)}")
