"""CSV files that users write: columns known by their usual names, and the number of every line.

for line in lines(Path("labels.csv"), {"path": ("path", "file"), "label": ("label", "class")}):
    line.number, line["path"], line["label"]
"""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pixelwright.errors import DataError, first_few, shown
from pixelwright.images import read_bytes


@dataclass(frozen=True, slots=True)
class Line:
    """One line below the header.

    Args:
        number: In the file, from 1; the last where text of the line goes over several.
        cells: By column, without space around; only columns that the file has.
    """

    number: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def get(self, column: str) -> str:
        """What stands there; empty where there is no such column."""
        return self.cells.get(column, "")


def lines(
    path: Path, columns: Mapping[str, tuple[str, ...]], needed: tuple[str, ...]
) -> Iterator[Line]:
    """The lines of a file whose first line names its columns; others than `columns` are left out.

    Args:
        path: Commas, semicolons or tabs stand between the columns.
        columns: How each may be called, in lower case.
        needed: Must be there, and hold something in each line.

    Raises:
        DataError: It is no such file, a column is missing, or a cell is empty.
    """
    text = read_bytes(path).decode("utf-8-sig", errors="surrogateescape")
    head = text.partition("\n")[0]
    gap = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=gap)
    try:
        names = [name.strip().lower() for name in next(reader)]
        place = {
            column: next(names.index(word) for word in words if word in names)
            for column, words in columns.items()
            if any(word in names for word in words)
        }
        if missing := [column for column in needed if column not in place]:
            raise DataError(
                f"{shown(path)} has no column {' and no column '.join(missing)}, only "
                f"{shown(first_few(names, 6))}. Its first line must name the columns: "
                f"{','.join(needed)}."
            )
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            found = {
                column: cells[at].strip() if at < len(cells) else "" for column, at in place.items()
            }
            if empty := [column for column in needed if not found[column]]:
                raise DataError(
                    f"{shown(path)}, line {reader.line_num}: there is no {' and no '.join(empty)}. "
                    "Fill it in, or remove the line."
                )
            yield Line(reader.line_num, found)
    except csv.Error as error:
        raise DataError(f"{shown(path)}, line {reader.line_num}: {error}.") from error
