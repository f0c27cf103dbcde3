"""A trained model as what is exported, and where the files that backends need are kept."""

import os
from pathlib import Path
from typing import Any

from pixelwright.build.model import Model
from pixelwright.data import cache
from pixelwright.exporting.source import Source
from pixelwright.run import Run


def source_of(model: Model) -> Source:
    """A model as `exporting` takes it."""
    classes = model.classes
    about: dict[str, Any] = {
        "model": str(model.spec),
        "colors": [list(color) for color in classes.colors],
    }
    return Source(model.network, model.field, model.channels, classes.names, model.side, about)


def keep_folder(run: Run) -> Path | None:
    """Where files that backends need are kept: in the run, else in the user's cache, if any."""
    if os.access(run.path, os.W_OK):
        return run.exports
    folder = cache.folder()
    return None if folder is None else folder / "exports"
