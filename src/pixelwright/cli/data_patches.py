"""Cut a data set into patches."""

from pathlib import Path
from typing import Annotated

import typer
from typer.models import OptionInfo

from pixelwright.cli._options import Data, Masks

# Train and val lie in the official training split. Test is the official val split, so that nothing
# trained elsewhere on the official training split has seen it.
CITIES = {
    "train": "aachen,bochum,bremen",
    "small": "bochum",
    "val": "weimar",
    "test": "frankfurt,lindau,munster",
}

Out = Annotated[Path, typer.Option(help="The folder to write; one cut before by the same plan.")]
Size = Annotated[int, typer.Option(min=1, help="Pixels of a side.")]
Stride = Annotated[
    int | None,
    typer.Option(min=1, help="Pixels between training patches; by default their size."),
]
Labelled = Annotated[
    float,
    typer.Option(min=0, max=1, help="Drop training patches with a smaller labelled part."),
]


def _cities(split: str) -> OptionInfo:
    text = f"Cityscapes: cities to cut into it, by default {CITIES[split]}."
    option: OptionInfo = typer.Option(metavar="CITY,...", help=text)
    return option


def patches(
    data: Data,
    masks: Masks = None,
    out: Out = Path("patches"),
    size: Size = 256,
    stride: Stride = None,
    labelled: Labelled = 0.05,
    train_cities: Annotated[str | None, _cities("train")] = None,
    small_cities: Annotated[str | None, _cities("small")] = None,
    val_cities: Annotated[str | None, _cities("val")] = None,
    test_cities: Annotated[str | None, _cities("test")] = None,
) -> None:
    """Cut images and masks into patches, with a manifest; again does what is left to do."""
    from pixelwright.cli._cities import with_cities
    from pixelwright.cli._source import data_spec
    from pixelwright.console import Console
    from pixelwright.data.index import load
    from pixelwright.data.patches import Plan, cut

    given = {
        "train": train_cities,
        "small": small_cities,
        "val": val_cities,
        "test": test_cities,
    }
    spec, small = with_cities(data_spec(data, masks), given, CITIES)
    console = Console()
    plan = Plan(size, stride, labelled, small)
    with console.warnings_as_lines(), console.watch() as on_event:
        index = load(spec)
        tallies = cut(index, out, plan, on_event)
    head = ("split", "pictures", "patches", "dropped", "too small")
    rows = [
        (split, *(f"{n:,}" for n in (t.pictures, t.patches, t.dropped, t.too_small)))
        for split, t in tallies.items()
    ]
    console.table(head, rows, right=head[1:])
    for split, entries in index.splits.items():
        if cities := dict.fromkeys(entry.group for entry in entries if entry.group):
            console.say(f"{split}: {', '.join(cities)}")
    console.written([out / "manifest.csv"])
    console.say(f"Train on them: pixelwright train folders:root={out}")
    if small:
        console.say(
            f"or, to begin with: pixelwright train folders:root={out},train_split=train_small"
        )
