"""Networks made ready for a prediction once, and the plan for each picture."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from pixelwright import build, images, memory
from pixelwright.build.sources import keep_folder, source_of
from pixelwright.errors import PredictError
from pixelwright.exporting.opening import choose, opened
from pixelwright.inference import backends
from pixelwright.inference.plan import WHOLE_PIXELS, DoesNotFitError, Plan, amount, plan_for, roomy
from pixelwright.inference.run import Member, seams
from pixelwright.jobs.masks import Wanted
from pixelwright.run import Run
from pixelwright.types import Event, OnEvent, Window

_SAMPLE = 384
"""Side of the tile by which networks are timed."""

_SMALL_PIECES, _LARGE_PIECES = 2**20, 2**23
"""Bytes. Pieces that are given back when they are freed cost the clearing of their pages each time;
smaller ones are kept, in between what is needed."""


class Planner:
    """Backends are chosen at the first picture, and pictures of one size have one plan.

    Args:
        models: Whose probabilities are averaged.
        runs: That they are of; where exported files are kept.
        wanted: The options.
        on_event: Told the plan, where it is not simply one pass.
    """

    def __init__(
        self,
        models: Sequence[build.Model],
        runs: Sequence[Run],
        wanted: Wanted,
        on_event: OnEvent,
    ) -> None:
        self.models, self.runs, self.wanted, self.tell = models, runs, wanted, on_event
        self.pixels: int | None = None
        """Of all pictures together, if that is known."""
        self.left = 0
        """Bytes that the last plan could have taken."""
        self._together: build.Together | None = None
        self._plans: dict[tuple[int, int], Plan] = {}
        self._pace: float | None = None
        self._digest: str | None = None
        self._above: int | None = 0
        self._give_back(_SMALL_PIECES)

    @property
    def digest(self) -> str:
        """Of all that the networks compute."""
        if self._digest is None:
            self._digest = " ".join(source_of(model).digest for model in self.models)
        return self._digest

    def names(self, raster: images.Raster) -> list[str]:
        """Of the backends."""
        return [backend.name for backend in self._ready(raster).backends]

    def _ready(self, raster: images.Raster) -> "build.Together":
        """The networks with their backends, chosen at the first picture."""
        if self._together is None:
            found = [
                self._backend(model, run, raster)
                for model, run in zip(self.models, self.runs, strict=True)
            ]
            self._together = build.Together(
                self.models, found, self.wanted.views, self.wanted.extras, self.tell
            )
        return self._together

    def _backend(self, model: build.Model, run: Run, raster: images.Raster) -> backends.Backend:
        device, source = str(model.engine.device), source_of(model)
        keep = keep_folder(run)
        if self.wanted.backend != "auto":
            named: Any = self.wanted.backend
            wanted = self.wanted
            mixed = None if wanted.precision == "float32" else getattr(torch, wanted.precision)
            return opened(
                named, source, keep=keep, device=device, mixed=mixed, compiled=wanted.compile
            )
        return choose(
            source,
            backends.NAMES,
            _sample(raster, model),
            keep=keep,
            pixels=self.pixels,
            device=device,
            on_event=self.tell,
        )

    def members(self, plan: Plan) -> list[Member]:
        assert self._together is not None
        return self._together.members(streaming=plan.band is not None)

    def plan(self, raster: images.Raster) -> Plan:
        """How to run a picture; told where it is not simply one pass."""
        size = (raster.height, raster.width)
        together = self._ready(raster)
        if size not in self._plans:
            self.left = together.available(self.wanted.budget) - self._held(raster)
            tile = self.wanted.tile or self.models[0].tile
            try:
                plan = plan_for(together.costs, *size, available=self.left, tile=tile)
            except DoesNotFitError as error:
                raise PredictError(f"{error} {self._advice(error.lacking)}") from None
            if raster.height * raster.width > WHOLE_PIXELS:
                plan = replace(plan, seconds=self._seconds(plan, together))
            self._plans[size] = plan
            if plan.kind != "whole" or plan.seconds is not None:
                self.tell(Event("note", {"text": str(plan)}))
        self._give_back(_freed_above(self._plans[size], self.left))
        return self._plans[size]

    def _advice(self, lacking: int) -> str:
        """What to do where so many bytes are lacking."""
        smaller = " or a smaller --tile" if self.wanted.tile else ""
        if self.wanted.budget is None:
            return f"Free {amount(lacking)} more of it{smaller.replace(' or', ', or give')}."
        # A hundredth on top: what a process holds is not the same each time.
        enough = -(-(self.wanted.budget + lacking) * 101 // 10**8)
        return f"Give --memory {enough}MB{smaller}; Python and PyTorch are part of it."

    def _give_back(self, above: int | None) -> None:
        """Have freed pieces of memory of so many bytes given back at once; None keeps them all.

        What a training kept for its next step counts towards the memory of a prediction.
        """
        if above == self._above or self.models[0].engine.device.type != "cpu":
            return
        if above is None:
            memory.keep_freed()
        else:
            memory.return_freed(above)
        self._above = above

    def _held(self, raster: images.Raster) -> int:
        """Bytes that a picture comes to take beside what networks do: planes, and blocks read."""
        wanted, classes = self.wanted, len(self.models[0].classes)
        shares = sum(classes if extra == "probabilities" else 1 for extra in wanted.extras)
        pixels = raster.height * raster.width
        planes = pixels * (shares + (1 if images.ignored_value(classes) == 255 else 2))
        if wanted.out is None:
            planes += 4 * pixels * shares  # told as fractions
        elif planes > wanted.in_memory:
            planes = 0
        return planes + (0 if raster.decoded else raster.held)

    def tell_of_seams(self, plan: Plan, raster: images.Raster, member: Member) -> None:
        """That the result is not that of one pass, and by how much."""
        assert self._together is not None
        needs, share = self._together.field.unbounded, seams(plan, raster, member).share
        text = (
            f"the network needs the whole image ({needs}), which does not fit: windows are "
            f"blended, and around their seams {share:.2%} of the pixels have another class than "
            f"in one pass over the seam"
        )
        self.tell(Event("note", {"text": text}))

    def _seconds(self, plan: Plan, together: "build.Together") -> float:
        """What a plan is expected to take, from a tile that is timed."""
        if self._pace is None:
            side = min(-(-_SAMPLE // plan.align) * plan.align, *plan.padded)
            while side > plan.align and together.costs.at_once(side, side) > plan.bytes:
                side = -(-side // 2 // plan.align) * plan.align
            channels = self.models[0].channels
            tile = torch.zeros(1, side, side, channels, dtype=torch.uint8).permute(0, 3, 1, 2)
            self._pace = 0.0
            for backend in together.backends:
                backend(tile)
                begin = time.perf_counter()
                backend(tile)
                took = (time.perf_counter() - begin) * len(self.wanted.views)
                self._pace += took / (side * side)
        return self._pace * plan.work * plan.height * plan.width


def _freed_above(plan: Plan, available: int) -> int | None:
    """The bytes of pieces that a plan gives back as soon as they are free; None if it keeps all."""
    if roomy(plan, available):
        return None
    return min(max(plan.bytes // 64, _SMALL_PIECES), _LARGE_PIECES)


def _sample(raster: images.Raster, model: build.Model) -> torch.Tensor:
    """A tile of the picture, as large as the model takes it."""
    multiple = model.field.multiple
    high, wide = (
        max(min(_SAMPLE, length) // multiple, 1) * multiple
        for length in (raster.height, raster.width)
    )
    window = Window(0, 0, min(high, raster.height), min(wide, raster.width))
    pixels = raster.read(window)
    below, beside = high - window.height, wide - window.width
    pixels = np.pad(pixels, ((0, below), (0, beside), (0, 0)), mode="edge")
    return torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)
