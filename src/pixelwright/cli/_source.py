"""What a user means by SOURCE or DATA: a recipe, a run, a layout, a folder, or images and masks.

Loaded only once a command runs.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pixelwright.console import Console, count
from pixelwright.data.check import check
from pixelwright.data.findings import Findings
from pixelwright.data.index import layouts, load, load_for_training
from pixelwright.data.recognise import layout_of
from pixelwright.errors import DataError, RecipeError, first_few, unknown
from pixelwright.files import write_text
from pixelwright.images import exists, is_folder
from pixelwright.recipe import Recipe
from pixelwright.registry import Spec
from pixelwright.run import Run
from pixelwright.types import Index


def recipe_of(
    console: Console,
    source: str,
    masks: str | None,
    overrides: list[str],
    *,
    force: bool,
    quiet: bool,
    check: bool = True,
) -> Recipe:
    """The recipe that was given, or one proposed for the data; either with its data checked.

    Raises:
        PixelwrightError: Whatever is wrong with recipe, settings or data.
    """
    path = Path(source)
    if masks is None and (path / "recipe.toml").is_file():
        raise RecipeError(
            f"{source} is a run. Add --resume to continue it, or give "
            f"{path / 'recipe.toml'} to train its recipe again."
        )
    if masks is None and path.suffix == ".toml" and not path.is_dir():
        recipe = Recipe.read(path).override(overrides)
        if check:
            checked(console, recipe.data, force=force, quiet=quiet)
        return recipe
    if not check:
        raise RecipeError("--no-check is for recipes: one is proposed from a look at the data.")
    spec = data_spec(source, masks)
    # Settings that cannot be are refused before minutes are spent on reading the data.
    _override(Recipe.from_dict({"data": spec}), overrides)
    index, findings = checked(console, spec, force=force, quiet=quiet)

    from pixelwright.propose import propose

    with console.warnings_as_lines():
        return _override(propose(spec, index, findings), overrides)


def _override(recipe: Recipe, settings: list[str]) -> Recipe:
    """A proposed recipe with the user's settings; its crop shrinks with their tile."""
    given = {key.strip(): value for key, _, value in (s.partition("=") for s in settings)}
    tile = given.get("tile", "").strip()
    if "train.crop" not in given and tile.isdigit() and 0 < int(tile) < recipe.train.crop:
        settings = [*settings, f"train.crop={tile}"]
    return recipe.override(settings)


def recipe_to_show(source: str, masks: str | None, settings: list[str]) -> Recipe:
    """The recipe that was given, or that of a run, or the defaults for data; its data unchecked.

    Raises:
        PixelwrightError: Whatever is wrong with recipe, settings or paths.
    """
    path = Path(source)
    if masks is None and (path / "recipe.toml").is_file():
        path = path / "recipe.toml"
    if masks is None and path.suffix == ".toml" and not path.is_dir():
        return Recipe.read(path).override(settings)
    return Recipe.from_dict({"data": data_spec(source, masks)}).override(settings)


def run_of(source: str) -> Path:
    """The folder of the run that `source` names.

    Raises:
        CheckpointError: There is none.
    """
    return Run.open(source).path


def data_spec(source: str, masks: str | None) -> Spec:
    """The layout that `source`, or `source` and `masks`, stand for.

    Raises:
        DataError: A path is not there, or the two do not go together.
        RecipeError: No layout has this name.
    """
    if masks is not None:
        return _images_and_masks(Path(source), Path(masks))
    path = Path(source)
    if is_folder(path):
        return Spec(layout_of(path), {"root": path.absolute()})
    if path.suffix.lower() == ".csv" and exists(path):
        return Spec("csv", {"file": path.absolute()})
    if path.suffix == ".toml":
        return Recipe.read(path).data
    if exists(path):
        raise DataError(
            f"{source} is one file. Give its mask as the second argument, or a folder, "
            f"a recipe (.toml), a list of pictures and labels (.csv) or a layout such as "
            f"camvid:root=FOLDER."
        )
    return _layout(source)


def look(
    console: Console,
    spec: Spec,
    *,
    quiet: bool = False,
    load: Callable[[Spec], Index] = load,
) -> tuple[Index, Findings]:
    """Load a layout, look at every file of it, and show what was found."""
    with console.watch(quiet=quiet) as on_event:
        index = load(spec)
        findings = check(index, on_event)
    if not quiet:
        _show(console, findings)
    return index, findings


def _show(console: Console, found: Findings) -> None:
    sizes = first_few(f"{height}x{width}" for height, width in found.sizes)
    parts = [f"{count(found.files, 'image')} of {sizes}"]
    parts += [f"{found.grey} grey"] if found.grey else []
    parts += [f"{found.rotated} turned by EXIF"] if found.rotated else []
    console.say(", ".join(parts))
    if found.values:
        values = first_few((f"{value} ({n:,} px)" for value, n in found.values.items()), 8)
        palettes = f"; {found.palettes} with a palette" if found.palettes else ""
        console.say(f"mask values {values}{palettes}")
    head, *rows = found.rows()
    console.table(head, rows, right=head[1:])
    for line in found.warnings:
        console.remark("note", line)
    for line in found.problems:
        console.remark("problem", line, style="red")


def checked(console: Console, spec: Spec, *, force: bool, quiet: bool) -> tuple[Index, Findings]:
    """Like `look`, for training.

    Raises:
        DataError: There is nothing to train on, or there are problems and `force` is off.
    """
    index, findings = look(console, spec, quiet=quiet, load=load_for_training)
    if findings.problems and not force:
        raise DataError(f"{in_short(findings)} --force trains nevertheless.")
    return index, findings


def in_short(findings: Findings) -> str:
    """The first problem, and how many there are beside it."""
    first, *others = findings.problems
    return f"{first} (And {len(others)} more, above.)" if others else first


def as_json(console: Console, table: Mapping[str, Any] | Sequence[Any], file: str) -> None:
    """Write a table to a file, whole or not at all, or to standard output for `-`."""
    # Names may hold bytes that are not UTF-8; escaped, any reader of JSON takes them.
    text = json.dumps(table, indent=None if file == "-" else 1, allow_nan=False) + "\n"
    if file == "-":
        console.raw(text)
        return
    check_json(file)
    path = Path(file)
    write_text(path, text)
    console.written([path])


def check_json(file: str | None) -> None:
    """See, before work is done, that its JSON can be written where `--json` says.

    Raises:
        DataError: There is no such folder, or one in place of the file.
    """
    path = Path(file or "-")
    if file != "-" and path.is_dir():
        raise DataError(f"{file} cannot be written: it is a folder. Give --json a file's name.")
    if not path.parent.is_dir():
        raise DataError(
            f"{file} cannot be written: there is no folder {path.parent}. Make it, or give another."
        )


def _images_and_masks(images: Path, masks: Path) -> Spec:
    given = {"images": images, "masks": masks}
    missing = [f"{path} (given as the {what})" for what, path in given.items() if not exists(path)]
    if missing:
        raise DataError(f"There is nothing at {' nor at '.join(missing)}.")
    if is_folder(images) != is_folder(masks):
        kinds = {True: "a folder", False: "a file"}
        raise DataError(
            f"{images} is {kinds[is_folder(images)]} and {masks} is {kinds[is_folder(masks)]}. "
            f"Give two folders, or one image and its mask."
        )
    on_disk = images.exists() and masks.exists()
    if images.resolve() == masks.resolve() or (on_disk and images.samefile(masks)):
        raise DataError(f"{images} is given both as the images and as the masks.")
    if is_folder(images):
        return Spec("folders", {"images": images.absolute(), "masks": masks.absolute()})
    return Spec("pair", {"image": images.absolute(), "mask": masks.absolute()})


def _layout(text: str) -> Spec:
    name = text.partition(":")[0]
    if ":" not in text and name not in layouts:
        raise DataError(
            f"There is no file or folder at {text}. Give images and masks, a folder, a recipe "
            f"(.toml), or a layout such as camvid:root=FOLDER; layouts: {', '.join(layouts)}."
        )
    if name not in layouts:
        raise RecipeError(unknown("layout", name, layouts))
    return layouts.resolve(Spec.parse(text))
