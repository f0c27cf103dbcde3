"""Who is told how a job goes."""

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pixelwright.console import Console
from pixelwright.errors import PixelwrightWarning
from pixelwright.types import Event, OnEvent, Window

_LARGE = 2**20
"""Pixels of a picture from which on its own progress is told."""


@contextmanager
def watched(on_event: OnEvent | None) -> Iterator[OnEvent]:
    """Who is told: the caller's, or the console. The same warning is given once, not per file."""
    with warnings.catch_warnings():
        warnings.filterwarnings("once", category=PixelwrightWarning)
        if on_event is not None:
            yield on_event
            return
        with Console().watch() as drawn:
            yield drawn


class Pace:
    """Tells how far a large picture is, how fast it goes, and what is left.

    Args:
        tell: Who is told.
        height: Of the picture.
        width: Of the picture.
    """

    def __init__(self, tell: OnEvent, height: int, width: int) -> None:
        self._tell, self._total = tell, height * width
        self._done = self._own = 0
        self._begin = self._told = time.perf_counter()
        self._large = self._total > _LARGE

    def skip(self, window: Window) -> None:
        """A part that was done before."""
        self._done += window.height * window.width

    def made(self, window: Window) -> None:
        self._done += window.height * window.width
        self._own += window.height * window.width
        now = time.perf_counter()
        if self._large and now - self._told > 0.2:
            self._told = now
            self._event(self._own / (now - self._begin))

    def end(self) -> None:
        if self._large:
            self._event(self._own / max(time.perf_counter() - self._begin, 1e-9))

    def _event(self, speed: float) -> None:
        left = (self._total - self._done) / speed if speed else None
        data = {"what": "megapixels", "done": self._done, "total": self._total, "unit": "pixels"}
        self._tell(Event("progress", data | {"left": left, "speed": speed}))
