"""Files that declare classes: names, colours and the values in the masks, read and written.

In any of these shapes, one class a line, comments after #, or as TOML:
    sky                                 128 128 128 sky                 sky,128,128,128
    name,r,g,b                          id,name,r,g,b                   label:r,g,b:parts:actions
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import ImageColor

from pixelwright.errors import DataError, RecipeError, shown
from pixelwright.files import write_text
from pixelwright.images import exists, ignored_value, read_bytes
from pixelwright.types import Classes, Color

FILES = (
    *("classes.toml", "classes.txt", "classes.csv", "class_dict.csv", "label_colors.txt"),
    *("labels.txt", "labelmap.txt"),
)
"""Names under which such a file is found by itself."""

_NAME = ("name", "class", "class_name", "label")
_VALUE = ("id", "value", "index", "tag")
_RGB = (("r", "red"), ("g", "green"), ("b", "blue"))
_GAP = r"[,;\s]+"
_SHAPES = "`name`, `red green blue name`, `name,r,g,b`, or columns under a header with name,r,g,b"


@dataclass(frozen=True, slots=True)
class Declared:
    """What a file, or a user, says of the classes; each is empty where nothing is said.

    Args:
        names: One per class.
        colors: One per class, as text.
        values: Raw value of each class in the masks.
        ignore: Raw values that count nowhere.
        ignore_colors: Colours that count nowhere, where masks are colour pictures.
    """

    names: tuple[str, ...] = ()
    colors: tuple[str, ...] = ()
    values: tuple[int, ...] = ()
    ignore: tuple[int, ...] = ()
    ignore_colors: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.names or self.colors or self.values)

    def ignoring(self, ignore: Sequence[int], colors: Sequence[str]) -> "Declared":
        """The same, where these values and colours count nowhere, be they of a class or not."""
        values = self.values or tuple(range(len(self.names)))
        void = {parse_color(color) for color in colors}
        kept = [
            i
            for i in range(len(self.names))
            if values[i] not in ignore
            and not (void and self.colors and parse_color(self.colors[i]) in void)
        ]
        # By what they are in the masks, where their numbers are no longer 0, 1, 2 and on.
        renumbered = len(kept) < len(self.names) and not void
        by_value = values if renumbered else self.values
        return replace(
            self,
            names=tuple(self.names[i] for i in kept),
            colors=tuple(self.colors[i] for i in kept if self.colors),
            values=tuple(by_value[i] for i in kept if by_value),
            ignore=tuple(dict.fromkeys((*self.ignore, *ignore))),
            ignore_colors=tuple(dict.fromkeys((*self.ignore_colors, *colors))),
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
    raise RecipeError(
        f"'{shown(text)}' is no colour. Write #ff8000, orange or 255 128 0; a file that declares "
        "classes is given as classes=FILE."
    )


def find(root: Path) -> Path | None:
    """The file in a folder that declares its classes, if there is one."""
    return next((root / name for name in FILES if exists(root / name)), None)


def read(path: Path) -> Declared:
    """What a file declares.

    Raises:
        DataError: It cannot be read, or a line of it is not as the others are.
    """
    text = read_bytes(path).decode("utf-8-sig", errors="replace")
    declared = _from_toml(text, path) if path.suffix.lower() == ".toml" else _from_text(text, path)
    if not declared:
        raise DataError(f"{shown(path)} declares no class. Write one class a line: {_SHAPES}.")
    return declared


def _from_text(text: str, path: Path) -> Declared:
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), start=1)]
    columns = next((_columns(line) for _, line in lines if line), None)
    if columns:
        first = next(n for n, line in lines if line)
        return _from_columns([(n, line) for n, line in lines if n > first], columns, path)
    return _from_lines(lines, path)


def _from_lines(lines: Sequence[tuple[int, str]], path: Path) -> Declared:
    names: list[str] = []
    colors: list[str] = []
    for number, line in lines:
        text = line.partition("#")[0].strip()
        if not text:
            continue
        name, color = _class_of(text)
        if not name or (bool(color) != bool(colors) and names):
            raise _refused(path, number, text)
        names.append(name)
        colors += [color] if color else []
    return Declared(tuple(names), tuple(colors))


def _class_of(line: str) -> tuple[str, str]:
    """Name and colour, if any, of `sky`, `128 128 128 sky`, `sky,128,128,128` or `sky:1,2,3::`."""
    rgb = rf"(?P<rgb>\d{{1,3}}{_GAP}\d{{1,3}}{_GAP}\d{{1,3}})"
    for shape in (
        rf"{rgb}{_GAP}(?P<name>\D.*)",
        rf"(?P<name>\D[^:]*?){_GAP}{rgb}",
        rf"(?P<name>[^:]+):{rgb}:.*:.*",
    ):
        match = re.fullmatch(shape, line)
        if match:
            return match["name"].strip(), re.sub(_GAP, " ", match["rgb"])
    return ("", "") if re.search(r"[,;]", line) else (line, "")


def _columns(line: str) -> dict[str, int]:
    """Which column holds what, where a line is a header; else empty."""
    cells = [cell.strip().lower() for cell in re.split(r"[,;\t]", line.lstrip("#"))]
    found = {
        what: next((cells.index(word) for word in words if word in cells), -1)
        for what, words in (("name", _NAME), ("value", _VALUE), *zip("rgb", _RGB, strict=True))
    }
    held = {what: column for what, column in found.items() if column >= 0}
    colored = {"r", "g", "b"} <= held.keys()
    return held if "name" in held and (colored or "value" in held) else {}


def _from_columns(
    lines: Sequence[tuple[int, str]], columns: Mapping[str, int], path: Path
) -> Declared:
    names, colors, values = [], [], []
    for number, line in lines:
        if not line or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in re.split(r"[,;\t]", line)]
        numbers = [columns[what] for what in ("value", "r", "g", "b") if what in columns]
        good = len(cells) > max(columns.values()) and cells[columns["name"]]
        if not good or not all(cells[column].isdecimal() for column in numbers):
            raise _refused(path, number, line)
        names.append(cells[columns["name"]])
        if "r" in columns:
            colors.append(" ".join(cells[columns[what]] for what in "rgb"))
        if "value" in columns:
            values.append(int(cells[columns["value"]]))
    return Declared(tuple(names), tuple(colors), tuple(values))


def _refused(path: Path, number: int, text: str) -> DataError:
    return DataError(
        f"{shown(path)}, line {number}: '{shown(text)}' does not declare a class as the lines "
        f"before it do. Write one class a line: {_SHAPES}."
    )


def _from_toml(text: str, path: Path) -> Declared:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{shown(path)} is no TOML: {error}.") from error
    rows = table.pop("class", [])
    ignore, ignore_colors = table.pop("ignore", []), table.pop("ignore_colors", [])
    kinds: dict[str, type] = {"name": str, "color": str, "value": int}
    good = not table and isinstance(rows, list) and _all(ignore, int) and _all(ignore_colors, str)
    good = good and all(
        isinstance(row, dict)
        and row.keys() == rows[0].keys()
        and "name" in row
        and all(key in kinds and type(value) is kinds[key] for key, value in row.items())
        for row in rows
    )
    if not good:
        raise DataError(
            f"{shown(path)} does not declare classes. Write [[class]] tables, all with name and "
            "all or none with color and value, and above them ignore = [255], ignore_colors = []."
        )
    return Declared(
        tuple(row["name"] for row in rows),
        tuple(row["color"] for row in rows if "color" in row),
        tuple(row["value"] for row in rows if "value" in row),
        tuple(ignore),
        tuple(ignore_colors),
    )


def _all(items: Any, kind: type) -> bool:
    return isinstance(items, list) and all(type(item) is kind for item in items)


def write(path: Path, classes: Classes) -> None:
    """Declare the classes of masks that `images.write_mask` writes: class indices.

    Raises:
        MachineError: The file cannot be written.
    """
    lines = [f"ignore = [{ignored_value(len(classes))}]"]
    for index, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True)):
        red, green, blue = color
        lines += ["", "[[class]]", f"name = {_quoted(name)}"]
        lines += [f'color = "#{red:02x}{green:02x}{blue:02x}"', f"value = {index}"]
    write_text(path, "\n".join(lines) + "\n")


def _quoted(text: str) -> str:
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in plain) + '"'
