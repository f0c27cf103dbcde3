"""Write a mended copy of a data set, and say what was done."""

from pathlib import Path

from pixelwright.console import Console, count
from pixelwright.data.repair.copy import RECORD, Repaired, repair
from pixelwright.errors import first_few
from pixelwright.registry import Spec

_SHOWN = 3


def mended(console: Console, spec: Spec, out: Path, *, quiet: bool) -> None:
    """Write the copy, and show by kind what is other than it was, with the first files."""
    with console.watch(quiet=quiet) as on_event:
        done = repair(spec, out, on_event)
    if quiet:
        return
    held = ", ".join(f"{split} {images:,}" for split, images in done.splits.items())
    if list(done.splits) == ["train"]:
        held = "in one folder: a part is held out when they are loaded"
    console.say(f"{out} holds {count(sum(done.splits.values()), 'image')} with masks, {held}")
    columns = ("what was done", "files", "pixels", "the first")
    if rows := _rows(done):
        console.table(columns, rows, right=("files", "pixels"))
    for why, files in done.left_out.items():
        console.remark("left out", f"{count(len(files), 'file')}, {why}")
        console.say(*(f"  {file}" for file in files[:_SHOWN]))
        if len(files) > _SHOWN:
            console.say(f"  and {len(files) - _SHOWN} more")
    as_it_was = count(done.copied, "file was", "files were")
    console.say(f"{as_it_was} copied as they are; {out / RECORD} lists all")


def _rows(done: Repaired) -> list[tuple[str, ...]]:
    return [
        (
            what,
            f"{len(change.files):,}",
            f"{change.pixels:,}" if change.pixels else "",
            first_few((Path(file).name for file in change.files), 2),
        )
        for what, change in done.changes.items()
    ]
