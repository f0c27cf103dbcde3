"""What is asked of a prediction that gives every pixel a class, and what it gives."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer, UInt8

from pixelwright import images, render
from pixelwright.inference.answers import Extra
from pixelwright.inference.plan import Plan
from pixelwright.inference.views import PLAIN, View
from pixelwright.jobs.canvas import IN_MEMORY, Canvas
from pixelwright.types import Classes, Window

_IN_MEMORY_SHARE = 1 / 16
"""Of a budget of memory: what planes, or a picture that is looked at, may take."""


@dataclass(frozen=True)
class Prediction:
    """The classes of an image.

    Args:
        labels: Class index of every pixel; where the image has no data, a value above all classes.
            Empty where the result lies in files alone.
        classes: What the indices mean.
        image: What was predicted, for people to look at; empty likewise.
        probabilities: Of every class, if asked for, in steps of 1/255.
        entropy: How unsure the networks are, from 0 to 1, if asked for.
        disagreement: Between several networks or views, likewise.
        files: What was written, if anything.
        plan: How the image was run; None of one that was predicted before, and passed over.
        seconds: That it took, reading and writing included.
        source: The file; None for an array.
        size: Height and width of the image.
    """

    labels: Integer[np.ndarray, "h w"]
    classes: Classes
    image: UInt8[np.ndarray, "h w c"]
    probabilities: Float[np.ndarray, "k h w"] | None = None
    entropy: Float[np.ndarray, "h w"] | None = None
    disagreement: Float[np.ndarray, "h w"] | None = None
    files: tuple[Path, ...] = ()
    plan: Plan | None = None
    seconds: float = 0.0
    source: Path | None = None
    size: tuple[int, int] = (0, 0)

    @property
    def overlay(self) -> UInt8[np.ndarray, "h w 3"]:
        """The image with the classes over it."""
        labels = self.labels.astype(np.int16)
        labels[labels >= len(self.classes)] = -1
        return render.overlay(self.image, labels, self.classes.colors)

    def _repr_png_(self) -> bytes:
        return images.encode_png(self.overlay)

    def told(self) -> dict[str, Any]:
        """What scripts want to know of it, as JSON types."""
        (height, width), plan = self.size, self.plan
        speed = height * width / 1e6 / max(self.seconds, 1e-9)
        return {
            "image": str(self.source) if self.source else None,
            "files": [str(path) for path in self.files],
            "height": height,
            "width": width,
            "plan": plan.kind if plan else None,
            "band": plan.band if plan else None,
            "tile": [plan.rows, plan.columns] if plan else None,
            "bytes": plan.bytes if plan else None,
            "seconds": round(self.seconds, 3) if plan else None,
            "megapixels_per_second": round(speed, 3) if plan else None,
        }


@dataclass(frozen=True)
class Wanted:
    """How pictures are to be predicted; `jobs.predict` explains each."""

    out: Path | None = None
    tile: int | None = None
    budget: int | None = None
    backend: str = "torch"
    precision: str = "float32"
    compile: bool = False
    extras: tuple[Extra, ...] = ()
    views: Sequence[View] = PLAIN
    overwrite: bool = False
    resume: bool = False
    bands: tuple[int, ...] | None = None
    nodata: images.NoData | None = None
    page: int | None = None
    light: bool = False
    """Whether predictions hold no pixels: those of thousands of pictures would fill memory."""

    @property
    def in_memory(self) -> int:
        """Bytes that the planes of a result may take in memory."""
        if self.budget is None:
            return IN_MEMORY
        return min(IN_MEMORY, int(self.budget * _IN_MEMORY_SHARE))


def result_of(
    canvas: Canvas,
    raster: images.Raster,
    classes: Classes,
    files: tuple[Path, ...],
    plan: Plan,
    seconds: float,
    light: bool,
) -> Prediction:
    """With its pixels, unless they lie on the disk or it is to be `light`."""
    nothing = np.zeros((0, 0, raster.channels), np.uint8)
    found = Prediction(
        nothing[..., 0], classes, nothing, files=files, plan=plan, seconds=seconds,
        source=raster.source, size=(raster.height, raster.width),
    )  # fmt: skip
    if light or not isinstance(canvas.labels, np.ndarray):
        return found
    window = Window(0, 0, raster.height, raster.width)
    shares: dict[str, Any] = {}
    for name, most in (("probabilities", 255), ("entropy", 254), ("disagreement", 254)):
        if name in canvas.extras:
            shares[name] = np.asarray(getattr(canvas, name), np.float32) / np.float32(most)
    return replace(found, labels=canvas.labels, image=raster.picture(window), **shares)
