"""Look at a data set: check every file of it, show some, fetch or cut one."""

from pathlib import Path
from typing import Annotated

import typer

from pixelwright.cli import data_get, data_patches
from pixelwright.cli._options import Data, Json, Masks

Out = Annotated[Path, typer.Option(help="The picture to write: .jpg or .png.")]
Repair = Annotated[
    Path | None,
    typer.Option(metavar="OUT", help="Write a mended copy to the new folder OUT, and check that."),
]
Split = Annotated[str, typer.Option(help="The split to show.")]
Count = Annotated[int, typer.Option(min=1, help="How many images, or crops.")]
Crops = Annotated[
    bool, typer.Option("--crops", help="Show the crops that a training of the recipe DATA sees.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="With --crops, set any key of the recipe."),
]


def app() -> typer.Typer:
    built = typer.Typer(
        help="Check a data set, show some of it, fetch or cut one.", rich_markup_mode=None
    )
    built.command()(check)
    built.command()(show)
    built.command()(data_get.get)
    built.command()(data_patches.patches)
    return built


def check(
    data: Data,
    masks: Masks = None,
    repair: Repair = None,
    json: Json = None,
) -> None:
    """Look at every file: sizes, classes, label values, orphans, palettes, EXIF, duplicates."""
    from pixelwright.cli._source import as_json, data_spec, in_short, look
    from pixelwright.console import Console
    from pixelwright.errors import DataError
    from pixelwright.registry import Spec

    console = Console()
    quiet = json == "-"
    spec = data_spec(data, masks)
    if repair is not None:
        from pixelwright.cli.data_repair import mended

        mended(console, spec, repair, quiet=quiet)
        spec = Spec("folders", {"root": repair.absolute()})
    _, findings = look(console, spec, quiet=quiet)
    if json is not None:
        as_json(console, findings.to_json(), json)
    if findings.problems:
        raise DataError(in_short(findings))


def show(
    data: Data,
    masks: Masks = None,
    out: Out = Path("sheet.jpg"),
    split: Split = "train",
    count: Count = 12,
    crops: Crops = False,
    settings: Settings = None,
) -> None:
    """Write a contact sheet of images and their masks or labels, and count the classes.

    With --crops it shows the first crops of a training, varied and pasted into as the recipe says;
    pictures with one label it shows whole, as the training varies them.
    """
    from pixelwright.cli._sheet import chosen, crop_sheet, sheet, whole_sheet
    from pixelwright.cli._source import data_spec, recipe_to_show
    from pixelwright.console import Console
    from pixelwright.data.index import load
    from pixelwright.errors import DataError, RecipeError
    from pixelwright.images import write_jpeg, write_png

    suffix = out.suffix.lower()
    if suffix not in (".jpg", ".jpeg", ".png"):
        raise DataError(f"{out} is neither .jpg nor .png. Give --out one of these suffixes.")
    if not out.parent.is_dir():
        raise DataError(f"{out} cannot be written: there is no folder {out.parent}.")
    if settings and not crops:
        raise RecipeError("--set changes a recipe, and only --crops looks at one. Add --crops.")
    if crops and split != "train":
        raise RecipeError(f"--crops are cut from 'train', not from '{split}'. Leave --split out.")
    console = Console()
    with console.warnings_as_lines():
        if crops:
            from pixelwright.build.crops import training_crops
            from pixelwright.build.labels import augmentation

            recipe = recipe_to_show(data, masks, settings or [])
            index = load(recipe.data)
            chosen(index, split)
            if index.one_label:
                shown = whole_sheet(index, recipe, augmentation(recipe), count)
            else:
                caption = f"training crops of {recipe.train.crop} pixels"
                shown = crop_sheet(training_crops(recipe, index), count, caption=caption)
        else:
            index = load(data_spec(data, masks))
            shown = sheet(index, split, count)
        (write_png if suffix == ".png" else write_jpeg)(out, shown.picture)
    counted = {"images" if index.one_label else "pixels": shown.images.tolist()}
    if shown.crops is not None:
        counted["in crops"] = shown.crops.tolist()
        console.say(shown.line)
    console.classes(index.classes, counted)
    console.written([out])
