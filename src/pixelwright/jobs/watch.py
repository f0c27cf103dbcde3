"""Who is told how a job goes."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pixelwright.console import Console
from pixelwright.errors import PixelwrightWarning
from pixelwright.types import OnEvent


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
