"""Feeds what a run's log says to trackers, as it grows."""

import importlib.util
import math
import re
import time
import warnings
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
from jaxtyping import UInt8

from pixelwright import images
from pixelwright.errors import PixelwrightError, PixelwrightWarning, RecipeError
from pixelwright.run import Run


class Tracker(Protocol):
    """A tool that shows the course of trainings."""

    def scalars(self, step: int, values: Mapping[str, float], when: float) -> None:
        """Show numbers after so many steps, at a time in seconds since 1970."""

    def picture(self, name: str, image: UInt8[np.ndarray, "h w 3"], step: int, when: float) -> None:
        """Show a picture under a name such as `hardest/1-key`."""

    def close(self) -> None:
        """Write what is left."""


Opener = Callable[[], Tracker]


def require(package: str) -> None:
    """Refuse a tracker whose package is not installed.

    Raises:
        RecipeError: It is not.
    """
    if importlib.util.find_spec(package) is None:
        raise RecipeError(
            f"The tracker '{package}' needs a package of that name. Install it with "
            f"'pip install pixelwright[track]', or leave the tracker out."
        )


class Mirror:
    """Shows a run in trackers.

    They are written anew from the first row of the log in every sitting, so that nothing is there
    twice after a resume. One that fails is left out with a warning: training goes on.

    Args:
        run: Whose log and pictures are shown.
        openers: What opens each tracker, by its name.
    """

    def __init__(self, run: Run, openers: Mapping[str, Opener]) -> None:
        self._run = run
        self._trackers: dict[str, Tracker] = {}
        self._shown = 0
        self._end = 0, time.time()
        for name, opener in openers.items():
            self._try(name, partial(self._open, name, opener))

    def _open(self, name: str, opener: Opener) -> None:
        self._trackers[name] = opener()

    def catch_up(self) -> None:
        """Show the rows of the log that are new."""
        rows = [row for row in self._run.log() if row.get("kind") == "epoch"]
        new, self._shown = rows[self._shown :], len(rows)
        began = _began(self._run)
        for row in new:
            self._end = int(row["step"]), began + float(row.get("seconds") or 0.0)
            step, when = self._end
            self._each("scalars", step, scalars(row), when)

    def close(self) -> None:
        """Show what is left, the pictures among it, and let go of the trackers."""
        self.catch_up()
        for path in sorted(self._run.pictures.glob("*.jpg")):
            try:
                image = images.read_image(path)
            except PixelwrightError:
                continue
            name = re.sub(r"^(hardest|typical|confused)-", r"\1/", path.stem)
            self._each("picture", name, image, *self._end)
        self._each("close")

    def _each(self, method: Literal["scalars", "picture", "close"], *values: Any) -> None:
        for name, tracker in list(self._trackers.items()):
            self._try(name, partial(getattr(tracker, method), *values))

    def _try(self, name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # whatever a foreign package may raise
            self._trackers.pop(name, None)
            said = " ".join(str(error).split()) or type(error).__name__
            warnings.warn(
                f"The tracker '{name}' failed and is left out: {said}. Nothing is lost: "
                f"'pixelwright track {self._run.path} {name}' shows the run in it later.",
                PixelwrightWarning,
                stacklevel=4,
            )


def scalars(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row of the log by their names: `train/loss`, `val_iou/road`, `lr`."""
    found: dict[str, float] = {}
    for key, value in row.items():
        if key in {"epoch", "step", "seconds"}:
            continue
        split, _, rest = key.partition("_")
        if isinstance(value, Mapping):
            found |= {f"{key}/{name}": inner for name, inner in value.items() if _is_number(inner)}
        elif _is_number(value):
            found[f"{split}/{rest}" if split in {"train", "val"} else key] = value
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _began(run: Run) -> float:
    """When training began, in seconds since 1970; now, where the run does not say."""
    try:
        return datetime.fromisoformat(str(run.info.get("created"))).timestamp()
    except ValueError:
        return time.time()
