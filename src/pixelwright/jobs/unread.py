"""Pictures among many that could not be read: listed beside the results, and raised at the end."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pixelwright.errors import MachineError, first_few, shown
from pixelwright.files import make_folder, write_text

FAILED = "failed.txt"
"""Lists the pictures of a folder that could not be read (F74)."""

Unread = tuple[Path, str]
"""A picture, and why it could not be read."""


class UnreadError(MachineError):
    """Some of many images could not be read; the others are done.

    Args:
        unread: Those, and why.
        done: The predictions of the others, in the order of the files.
    """

    def __init__(self, unread: Sequence[Unread], done: Sequence[Any]) -> None:
        self.unread, self.done = tuple(unread), list(done)
        others = ", the others are done" if done else ""
        super().__init__(
            f"{len(unread)} of {len(unread) + len(done)} images could not be read{others}: "
            f"{first_few(why for _, why in unread)}"
        )

    def told(self) -> list[dict[str, str]]:
        """What scripts want to know of the pictures that could not be read, as JSON types."""
        return [{"image": str(path), "error": why} for path, why in self.unread]


def write_failed(folder: Path, files: Sequence[Path], unread: Sequence[Unread]) -> None:
    """Bring the list of what could not be read up to date; it is removed when nothing is on it.

    Args:
        folder: Of the results.
        files: All that were asked for. What the list says of others stays.
        unread: Those of them that could not be read.

    Raises:
        MachineError: The folder cannot be written.
    """
    path = folder / FAILED
    before: list[str] = []
    with suppress(OSError):
        before = path.read_bytes().decode("utf-8", "surrogateescape").splitlines()
    if not before and not unread:
        return
    asked = {shown(file.absolute()) for file in files}
    kept = [
        line
        for line in before
        if shown(Path(line.partition("\t")[0]).absolute()) not in asked and "\t" in line
    ]
    lines = kept + [f"{shown(file)}\t{shown(why)}" for file, why in unread]
    if lines:
        make_folder(folder)
        write_text(path, "".join(f"{line}\n" for line in lines))
    else:
        path.unlink(missing_ok=True)
