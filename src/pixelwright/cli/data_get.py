"""Fetch a published data set, or say how."""

from pathlib import Path
from typing import Annotated

import typer

Name = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="Such as camvid; none lists all.")
]
Out = Annotated[Path, typer.Option(help="The folder for data sets.")]
Mirror = Annotated[bool, typer.Option("--mirror", help="Begin with the mirror addresses.")]


def get(name: Name = None, out: Out = Path("data"), mirror: Mirror = False) -> None:
    """Fetch a published data set by name, check it and unpack it."""
    from pixelwright.console import Console, count
    from pixelwright.data.published.catalogue import CATALOGUE
    from pixelwright.data.published.get import NeedsAccountError
    from pixelwright.data.published.get import get as fetch

    console = Console()
    if name is None:
        rows = [(key, entry.title) for key, entry in CATALOGUE.items()]
        console.table(("name", "what"), rows)
        return
    with console.watch() as on_event:
        try:
            got = fetch(name, out, mirror=mirror, on_event=on_event)
        except NeedsAccountError as error:
            console.say(*error.steps)
            raise
    if got.files:
        console.say(f"unpacked {count(got.files, 'file')} into {got.folder}")
    else:
        console.say(f"{got.folder} is there already")
    console.say(f"See {CATALOGUE[name].home} for how it may be used.")
    if got.use:
        console.say(f"next: pixelwright data check {got.use}")
