"""TensorBoard: event files in the run's folder, shown by `tensorboard --logdir runs`."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pixelwright.run import Run
from pixelwright.track._mirror import Opener, require


def tensorboard(run: Run, settings: Mapping[str, Any]) -> Opener:
    """Event files in `<run>/tensorboard`.

    Args:
        run: Whose folder gets them.
        settings: The recipe, shown as text.
    """
    require("tensorboard")
    return partial(_Events, run.path / "tensorboard", settings)


class _Events:
    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = SummaryWriter(str(folder))
        lines = json.dumps(settings, indent=2, default=str).splitlines()
        # Markdown shows indented lines as they are.
        self._text = "\n".join(f"    {line}" for line in lines)

    def scalars(self, step: int, values: Mapping[str, float], when: float) -> None:
        if self._text:
            self._writer.add_text("recipe", self._text, 0, when)
            self._text = ""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step, when)
        self._writer.flush()

    def picture(self, name: str, image: UInt8[np.ndarray, "h w 3"], step: int, when: float) -> None:
        self._writer.add_image(name, image, step, when, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()
