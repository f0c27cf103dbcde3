"""The classes of a data set, as its user declares them or as its masks show them."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pixelwright import images
from pixelwright.data.class_file import parse_color
from pixelwright.data.counts import THREADS, value_counts
from pixelwright.errors import DataError, RecipeError, first_few
from pixelwright.types import IGNORE, Classes, Color


def classes_from_masks(
    paths: Sequence[Path],
    names: Sequence[str] = (),
    colors: Sequence[str] = (),
    values: Sequence[int] = (),
    ignore: Sequence[int] = (),
    ignore_colors: Sequence[str] = (),
    *,
    either: bool = False,
) -> Classes:
    """The declared classes; where none are declared, those that all the masks together show.

    Args:
        paths: All masks of all splits. Only the first is read where classes are declared.
        names: One per class.
        colors: One per class: `#ff8000`, `orange` or `255 128 0`. Where masks are colour pictures,
            these are the colours in them.
        values: Raw value of each class in the masks; 0, 1, 2 and on unless given.
        ignore: Raw values that count nowhere.
        ignore_colors: Colours that count nowhere, where masks are colour pictures.
        either: Values and colours are both declared for whichever the masks hold, as files do.

    Raises:
        RecipeError: Declarations that contradict each other.
        DataError: Colour masks without colours declared, or values that fit no rule.
    """
    shown = tuple(parse_color(color) for color in colors)
    count = _declared(names, colors, values, ignore)
    void = tuple(parse_color(color) for color in ignore_colors)
    if count is None:
        if void:
            raise RecipeError("ignore_colors has no meaning without names=... and colors=...")
        return _shown_classes(paths, ignore)
    colored = _first_in_color(paths if colors else paths[:1])
    if colored:
        if not colors:
            raise DataError(_needs_colors(colored))
        if (values or ignore) and not either:
            raise RecipeError(
                f"{colored} is a colour picture, so values and ignore have no meaning. Leave them "
                "out; colours that count nowhere are ignore_colors=..."
            )
        twice = [color for color, times in Counter((*shown, *void)).items() if times > 1]
        if twice:
            raise RecipeError(
                f"Colour {twice[0]} is declared twice. Give it one class, or ignore it."
            )
        return Classes(tuple(names) or numbered(count), shown, by_color=True, ignored_colors=void)
    if void and not either:
        raise RecipeError(
            "ignore_colors has no meaning here, since the masks hold indices. Give their values: "
            "ignore=..."
        )
    table = {value: i for i, value in enumerate(values or range(count))}
    table.update(dict.fromkeys(ignore, IGNORE))
    # Black and white masks often have smooth edges; a picture of two classes says the same.
    smooth = tuple(values) == (0, 255)
    return Classes(
        tuple(names) or numbered(count), shown or _palette(count), table, threshold=smooth
    )


def _first_in_color(paths: Sequence[Path]) -> Path | None:
    """The first mask that is a colour picture; those stored as one may be grey nevertheless.

    Raises:
        DataError: The only mask cannot be read.
    """
    for path in paths:
        try:
            with images.opened(path) as file:
                header = images.read_header(file, path)
            if header.channels >= 3 and not header.palette and images.raw_mask(path).ndim == 3:
                return path
            if header.channels < 3 or header.palette:
                return None  # a data set's masks are stored alike
        except DataError:
            if len(paths) == 1:
                raise
    return None


def _declared(
    names: Sequence[str], colors: Sequence[str], values: Sequence[int], ignore: Sequence[int]
) -> int | None:
    """How many classes are declared, if any."""
    lengths = {"names": len(names), "colors": len(colors), "values": len(values)}
    given = {what: length for what, length in lengths.items() if length}
    if len(set(given.values())) > 1:
        listed = ", ".join(f"{length} {what}" for what, length in given.items())
        raise RecipeError(f"Classes are declared with {listed}. Give one of each per class.")
    for what, items in (("names", names), ("colors", colors), ("values", values)):
        twice = [item for item, times in Counter(items).items() if times > 1]
        if twice:
            raise RecipeError(f"Two classes share one of the {what}: {first_few(twice)}.")
    both = sorted(set(values) & set(ignore))
    if both:
        raise RecipeError(f"Value {both[0]} is both a class and ignored. Choose one.")
    count = next(iter(given.values()), None)
    if count == 1:
        raise RecipeError("Only one class is declared. Declare two or more, background included.")
    if count and not values:
        clash = sorted(set(ignore) & set(range(count)))
        if clash:
            raise RecipeError(
                f"ignore={clash[0]} is the value of class {clash[0]} of {count}. Declare the "
                "classes' values as well, with values=..."
            )
    return count


def _shown_classes(paths: Sequence[Path], ignore: Sequence[int]) -> Classes:
    """Classes by the rules of `images.infer_values`; unreadable masks are left for the check."""

    def count(path: Path) -> Counter[int] | DataError:
        try:
            raw = images.raw_mask(path)
        except DataError as error:
            return error
        return value_counts(raw) if raw.ndim == 2 else DataError(_needs_colors(path))

    total: Counter[int] = Counter()
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(count, paths))
    for counts in found:
        if not isinstance(counts, DataError):
            total.update(counts)
    failed = [error for error in found if isinstance(error, DataError)]
    if failed and not total:
        raise failed[0]
    for value in ignore:
        total.pop(value, None)
    seen = images.infer_values(total)
    table = {**seen.values, **dict.fromkeys(ignore, IGNORE)}
    colors = _palette(seen.classes)
    return Classes(names_for(seen.classes), colors, table, threshold=seen.threshold)


def names_for(count: int) -> tuple[str, ...]:
    """Names of classes that masks show, which nobody named: two are background and foreground."""
    return ("background", "foreground") if count == 2 else numbered(count)


def numbered(count: int) -> tuple[str, ...]:
    """Names of classes that are declared without names."""
    return tuple(f"class {i}" for i in range(count))


def _palette(count: int) -> tuple[Color, ...]:
    from pixelwright.render import palette

    return palette(count)


def _needs_colors(path: Path) -> str:
    colors = value_counts(images.packed(images.raw_mask(path)))
    found = sorted(colors.items(), key=lambda item: -item[1])
    listed = [f"#{color:06x}" for color, _ in found]
    if len(listed) > 64:
        return (
            f"{path} is a colour picture of {len(listed)} colours, so it is no mask. Masks hold "
            "class indices, or one colour per class, saved without loss."
        )
    return (
        f"{path} is a colour picture with the colours {first_few(listed, 8)}. Declare which class "
        "has which colour: names=...,colors=... (such as #ff0000), one of each per class."
    )
