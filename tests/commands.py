"""What tests of the command line share: how a command is said, and what it answers."""

from collections.abc import Callable
from pathlib import Path

Answer = tuple[int, str, str]
"""Exit code, standard output, standard error."""

Say = Callable[..., Answer]
Predict = Callable[..., Answer]

PICTURE = "set/images/00.jpg"
"""Of the data that `place` holds."""


def refusal(answer: Answer, code: int = 2) -> str:
    """The one line that is said where nothing is done."""
    found, out, err = answer
    (line,) = err.splitlines()
    assert (found, out) == (code, "")
    assert line.startswith("pixelwright: ")
    return line


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
