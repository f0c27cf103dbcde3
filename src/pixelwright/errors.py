"""What can go wrong, as a user meets it.

    PixelwrightError          exit 2: the user's input, one to three plain sentences
    ├── RecipeError           a recipe, an option or the command line
    ├── DataError             an image, a mask, a folder or what they hold
    ├── CheckpointError       a checkpoint, a model file or a run folder
    ├── PredictError          a prediction that cannot be made as asked
    ├── ExportError           a file for other programs that cannot be made as asked
    └── MachineError          exit 3: disk, memory or a dead process
    PixelwrightWarning        worth knowing, not worth stopping for

Any other exception is a bug of ours and keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class PixelwrightError(Exception):
    exit_code = 2


class RecipeError(PixelwrightError):
    pass


class DataError(PixelwrightError):
    pass


class CheckpointError(PixelwrightError):
    pass


class PredictError(PixelwrightError):
    pass


class ExportError(PixelwrightError):
    pass


class MachineError(PixelwrightError):
    exit_code = 3


class PixelwrightWarning(UserWarning):
    pass


def unknown(noun: str, name: str, known: Iterable[str]) -> str:
    """A sentence that refuses `name` and points at the nearest of the `known` names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"No {noun} is called '{name}'.{hint} Known: {', '.join(names) or 'none'}."


def first_few(items: Iterable[object], count: int = 3) -> str:
    """The first `count` items and how many there are in all, for an error of one line."""
    listed = [str(item) for item in items]
    more = f" and {len(listed) - count} more" if len(listed) > count else ""
    return ", ".join(listed[:count]) + more


def shown(name: object) -> str:
    """`name` on one line of a terminal: what does not print is escaped (F18)."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(name))
