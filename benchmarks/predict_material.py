"""What `predict.py` predicts, and with what: a drawn picture, and two networks trained on its like.

    made = Material(Path("/tmp/models"), quick=False)
    made.picture(4096)                     # uint8 "h w 3" in a .npy file
    made.run("fcnn")                       # trained at the first call

The picture is an aerial scene whose five classes are joined to three, so that each covers more than
a tenth of it. Training sees another part of the same scene.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from pixelwright import images
from pixelwright.data.scene import Scene, draw
from pixelwright.run import Run
from pixelwright.types import Window, silent

CLASSES = ("open", "built", "grown")
_JOINED = np.array([0, 1, 1, 2, 2], np.uint8)  # field; road and roof; tree and water

SEED = 11
"""Of the scene: the first of 13 in which fields, buildings and plants all exceed a tenth."""

_LESSON = Window(0, 4096, 1536, 2048)
"""Of the scene, what is trained on; the picture lies left of it."""

MODELS = {
    "fcnn": ("fcnn", 1000, 0.004),
    "unet-resnet34": ("timm-unet:encoder=resnet34", 200, 0.001),
}
"""Model, optimiser steps, and learning rate: about a minute on two cores for either."""

QUICK = 0.02
"""Of those steps, with `--quick`."""


@dataclass(frozen=True)
class Material:
    """Pictures and runs in a folder, made when they are asked for and not there."""

    folder: Path
    quick: bool

    def picture(self, side: int) -> Path:
        """Of `side` x `side` pixels, the upper left corner of the scene."""
        return self._drawn(f"picture-{side}", Window(0, 0, side, side))[0]

    def truth(self, side: int) -> Path:
        """The classes of that picture."""
        return self._drawn(f"picture-{side}", Window(0, 0, side, side))[1]

    def covered(self, side: int) -> list[float]:
        """Share of that picture that each class covers."""
        counts = np.bincount(np.load(self.truth(side)).reshape(-1), minlength=len(CLASSES))
        return (counts / side**2).tolist()

    def run(self, name: str) -> Run:
        """A network of `MODELS`; trained if it is not there."""
        path = self.folder / (f"{name}-quick" if self.quick else name)
        if (path / "model.safetensors").is_file():
            return Run.open(path)
        # Processes that only predict shall hold no more than the command does.
        from pixelwright import jobs
        from pixelwright.recipe import Recipe

        image, mask = self._lesson()
        model, steps, rate = MODELS[name]
        recipe = Recipe.model_validate(
            {
                "name": name,
                "data": f"pair:image={image},mask={mask},names={','.join(CLASSES)}",
                "model": model,
                "loss": "cross-entropy + dice",
                "small_guard": True,  # what is measured is not how well it generalises
                "train": {
                    "steps": round(steps * (QUICK if self.quick else 1)),
                    "batch_size": 8,
                    "crop": 128,
                    "lr": rate,
                    "clip": 1.0,
                    "validate_every": 1e3 if self.quick else 1.0,
                },
            }
        )
        return jobs.train(recipe, out=path, overwrite=True, on_event=silent)

    def _lesson(self) -> tuple[Path, Path]:
        where = Window(0, 4096, 256, 768) if self.quick else _LESSON
        stem = f"lesson-{where.height}"
        files = self.folder / f"{stem}.png", self.folder / f"{stem}-mask.png"
        if not files[1].exists():
            for file, array in zip(files, self._drawn(stem, where), strict=True):
                images.write_png(file, np.load(array))
        return files

    def _drawn(self, stem: str, where: Window) -> tuple[Path, Path]:
        image, mask = self.folder / f"{stem}.npy", self.folder / f"{stem}-mask.npy"
        if not mask.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            pixels, kinds = draw(Scene(SEED, 4096, 8192), where)
            np.save(image, pixels)
            np.save(mask, _JOINED[kinds])
        return image, mask


class Endless:
    """Samples of a picture of any size that lies nowhere: what is read is made then.

    Squares of a small picture stand side by side, each shifted round in itself by other amounts,
    so that no part is found in a wrong place without being noticed.

    Args:
        square: The small picture.
        height: Of the large one.
        width: Likewise.
    """

    bands, kind, bits, alpha = 3, np.dtype(np.uint8), 8, False
    nodata: tuple[int | float | None, ...] = (None, None, None)
    held, block, geo = 0, (1, 1), None

    def __init__(self, square: UInt8[np.ndarray, "side side 3"], height: int, width: int) -> None:
        self.height, self.width = height, width
        self._square = square

    def samples(
        self, window: Window, bands: tuple[int, ...], step: int = 1
    ) -> UInt8[np.ndarray, "h w 3"]:
        """All bands; with a step, one pixel of each `step` x `step`, as a fast preview has it."""
        made = np.empty((-(-window.height // step), -(-window.width // step), 3), np.uint8)
        side = len(self._square)
        rows = np.arange(window.top, window.top + window.height, step)
        columns = np.arange(window.left, window.left + window.width, step)
        for down in range(rows[0] // side, rows[-1] // side + 1):
            of_rows = np.flatnonzero(rows // side == down)
            for right in range(columns[0] // side, columns[-1] // side + 1):
                of_columns = np.flatnonzero(columns // side == right)
                y = (rows[of_rows] + 131 * right) % side
                x = (columns[of_columns] + 197 * down) % side
                made[of_rows[0] : of_rows[-1] + 1, of_columns[0] : of_columns[-1] + 1] = (
                    self._square[np.ix_(y, x)]
                )
        return made

    def mask(self, window: Window) -> None:
        return None

    def close(self) -> None:
        pass
