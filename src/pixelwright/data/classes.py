"""The classes of a data set, as its user declares them or as its masks show them."""

import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import ImageColor

from pixelwright import images
from pixelwright.data.counts import THREADS, value_counts
from pixelwright.errors import DataError, RecipeError, first_few
from pixelwright.types import IGNORE, Classes, Color

FILES = ("classes.txt", "classes.csv", "class_dict.csv", "label_colors.txt", "labels.txt")
"""Files that declare classes, one a line: `name`, `red green blue name` or `name,r,g,b`."""


def classes_from_masks(
    paths: Sequence[Path],
    names: Sequence[str] = (),
    colors: Sequence[str] = (),
    values: Sequence[int] = (),
    ignore: Sequence[int] = (),
) -> Classes:
    """The declared classes; where none are declared, those that all the masks together show.

    Args:
        paths: All masks of all splits. Only the first is read where classes are declared.
        names: One per class.
        colors: One per class: `#ff8000`, `orange` or `255 128 0`. Where masks are colour pictures,
            these are the colours in them.
        values: Raw value of each class in the masks; 0, 1, 2 and on unless given.
        ignore: Raw values that count nowhere.

    Raises:
        RecipeError: Declarations that contradict each other.
        DataError: Colour masks without colours declared, or values that fit no rule.
    """
    count = _declared(names, colors, values, ignore)
    shown = tuple(parse_color(color) for color in colors)
    if count is None:
        return _shown_classes(paths, ignore)
    if images.raw_mask(paths[0]).ndim == 3:
        if not colors:
            raise DataError(_needs_colors(paths[0]))
        if values or ignore:
            raise RecipeError(
                f"{paths[0]} is a colour picture, so values and ignore have no meaning. Leave them "
                "out; pixels of a colour that is not declared are an error."
            )
        return Classes(tuple(names) or _numbered(count), shown, by_color=True)
    table = {value: i for i, value in enumerate(values or range(count))}
    table.update(dict.fromkeys(ignore, IGNORE))
    # Black and white masks often have smooth edges; a picture of two classes says the same.
    smooth = tuple(values) == (0, 255)
    return Classes(
        tuple(names) or _numbered(count), shown or _palette(count), table, threshold=smooth
    )


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
    two = ("background", "foreground")
    names = two if seen.classes == 2 else _numbered(seen.classes)
    return Classes(names, _palette(seen.classes), table, threshold=seen.threshold)


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"class {i}" for i in range(count))


def _palette(count: int) -> tuple[Color, ...]:
    from pixelwright.render import palette

    return palette(count)


def _needs_colors(path: Path) -> str:
    raw = images.raw_mask(path).astype(np.int64)
    packed = (raw[..., 0] << 16) + (raw[..., 1] << 8) + raw[..., 2]
    found = sorted(value_counts(packed).items(), key=lambda item: -item[1])
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


def parse_color(text: str) -> Color:
    """Red, green and blue of `#ff8000`, `orange` or `255 128 0`.

    Raises:
        RecipeError: It is no colour.
    """
    parts = re.split(r"[\s/;]+", text.strip())
    try:
        if len(parts) == 3:
            red, green, blue = (int(part) for part in parts)
            if all(0 <= part <= 255 for part in (red, green, blue)):
                return red, green, blue
        else:
            red, green, blue = ImageColor.getrgb(text.strip())[:3]
            return red, green, blue
    except ValueError:
        pass
    raise RecipeError(f"'{text}' is no colour. Write #ff8000, orange or 255 128 0.")


def read_class_file(root: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and colours that a file of the folder declares; both empty where there is none.

    Raises:
        DataError: There is such a file, but it is not one class a line.
    """
    path = next((root / name for name in FILES if (root / name).is_file()), None)
    if path is None:
        return (), ()
    names: list[str] = []
    colors: list[str] = []
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text or re.fullmatch(r"name[,;\s]+r[,;\s]+g[,;\s]+b", text, re.IGNORECASE):
            continue
        name, color = _read_class(text)
        if not name or (bool(color) != bool(colors) and names):
            raise DataError(
                f"{path}, line {number}: '{text}' does not name a class as the lines before it do. "
                "Write one class a line, `name` or `red green blue name`, or give names=..."
            )
        names.append(name)
        colors.extend(color)
    return tuple(names), tuple(colors)


def _read_class(line: str) -> tuple[str, tuple[str, ...]]:
    """Name and colour, if any, of `sky`, `128 128 128 sky` or `sky,128,128,128`."""
    number = r"\d{1,3}"
    gap = r"[,;\s]+"
    rgb = rf"(?P<rgb>{number}{gap}{number}{gap}{number})"
    for shape in (rf"{rgb}{gap}(?P<name>\D.*)", rf"(?P<name>\D.*?){gap}{rgb}"):
        match = re.fullmatch(shape, line)
        if match:
            return match["name"].strip(), (re.sub(gap, " ", match["rgb"]),)
    return ("", ()) if re.search(r"[,;]", line) else (line, ())
