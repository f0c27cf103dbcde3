"""What it takes to predict with trained models together: the members of a plan, and its costs."""

import gc
import math
from collections.abc import Callable, Collection, Sequence
from functools import cache

import torch
from torch import Tensor

from pixelwright import memory
from pixelwright.build.model import Model
from pixelwright.inference.answers import Extra, bytes_for_a_pixel
from pixelwright.inference.backends import Backend
from pixelwright.inference.backends.torch import TorchBackend
from pixelwright.inference.graph import graph_of
from pixelwright.inference.plan import Costs
from pixelwright.inference.run import Member
from pixelwright.inference.stream import Stream
from pixelwright.inference.views import View
from pixelwright.nn.footprint import footprint
from pixelwright.nn.receptive import Field
from pixelwright.types import Event, OnEvent

_PROBES = (256, 1024)
"""Sides at which passes are followed; between and beyond them memory grows with the pixels."""

_AGREES = 1e-4
"""Of the largest logit: what a stream may differ from a pass that it is compared with."""

_EXPORT_BYTES = 60_000_000
"""What a process takes to export a network and compare it, the weights apart: 31 to 44 MB."""

_BESIDE = 32_000_000
"""What a prediction takes beside tensors: compiled kernels (15 to 22 MB were measured), threads."""

_KEPT_FREE = 0.8
"""Share of the free memory that is taken where no budget is given."""


def joined(fields: Sequence[Field]) -> Field:
    """What several networks together see and take."""
    unbounded = next((one.unbounded for one in fields if one.unbounded), None)
    return Field(
        before=max(one.radius for one in fields),
        after=max(one.radius for one in fields),
        stride=math.lcm(*(one.stride for one in fields)),
        multiple=math.lcm(*(one.multiple for one in fields)),
        unbounded=unbounded,
    )


class Together:
    """Models of the same classes that answer together, each in all views.

    Args:
        models: One or more that give every pixel a class.
        backends: Of each, what runs it.
        views: In which each sees a picture.
        extras: What is wanted beside the classes.
        on_event: Told why a network cannot be streamed.
    """

    def __init__(
        self,
        models: Sequence[Model],
        backends: Sequence[Backend],
        views: Sequence[View],
        extras: Collection[Extra],
        on_event: OnEvent,
    ) -> None:
        self.models, self.backends, self.views = models, backends, views
        self.field = joined([model.field for model in models])
        self._on_event = on_event
        self._streams: list[Stream] | str | None = "not looked at"
        count = len(models) * len(views)
        self.costs = Costs(
            field=self.field,
            at_once=cache(self._at_once),
            stream=self.streams,
            answer=bytes_for_a_pixel(len(models[0].classes), extras, count > 1)
            + 4 * len(models[0].classes) * count,
            members=count,
            classes=len(models[0].classes),
            preparing=self._preparing,
            arena=all(backend.name != "torch" for backend in backends),
        )

    @property
    def by_rows(self) -> bool:
        """Whether every backend runs a network as it is, and every view keeps the order of rows."""
        as_it_is = (isinstance(b, TorchBackend) and not b.compiled for b in self.backends)
        return all(as_it_is) and all(view.by_rows for view in self.views)

    def members(self, *, streaming: bool) -> list[Member]:
        """For `inference.run`."""
        streams = self.streams() if streaming else None
        return [
            Member(
                run=backend,
                fill=model.network.mean.flatten().tolist(),
                stream=streams[number] if streams else None,
                views=self.views,
                device=model.engine.device,
            )
            for number, (model, backend) in enumerate(zip(self.models, self.backends, strict=True))
        ]

    def streams(self) -> list[Stream] | None:
        """Every model by bands, looked at once; None where one of them cannot."""
        if isinstance(self._streams, str):
            self._streams = self._look() if self.by_rows else None
        return self._streams

    def _preparing(self) -> int:
        """Bytes that looking at streams will take."""
        if not (isinstance(self._streams, str) and self.by_rows):
            return 0
        weights = (weight for model in self.models for weight in model.network.parameters())
        # Those of a stream are copies, and so are those of a network while it is exported.
        return 2 * sum(one.numel() * one.element_size() for one in weights) + _EXPORT_BYTES

    def _look(self) -> list[Stream] | None:
        found = []
        for model, backend in zip(self.models, self.backends, strict=True):
            graph = graph_of(model.network, model.channels, model.field.multiple)
            why = graph.refused
            if why is None and not _agree(Stream(graph), model):
                why = "its graph does not give what it gives itself"
            if why is not None:
                text = f"not streamed, since {model.spec.name} cannot run by bands: {why}"
                self._on_event(Event("note", {"text": text}))
                return None
            assert isinstance(backend, TorchBackend)
            found.append(Stream(graph, backend.autocast))
        gc.collect()  # exported programs hold themselves, and with them copies of the weights
        return found

    def _at_once(self, rows: int, columns: int) -> int:
        """Bytes of a pass, of the network that takes most; members and views take turns."""
        return max(_pass_bytes(model)(rows, columns) for model in self.models)

    def available(self, budget: int | None) -> int:
        """Bytes that a plan may take: of the budget, what the process does not hold already."""
        device = self.models[0].engine.device
        self.costs.at_once(self.field.multiple, self.field.multiple)  # loads 40 MB of torch
        if device.type != "cpu":
            own = int(_KEPT_FREE * memory.free_on(device))
            return own if budget is None else min(own, budget)
        if budget is None:
            return int(_KEPT_FREE * memory.free())
        return budget - memory.resident() - _BESIDE


def _agree(stream: Stream, model: Model) -> bool:
    """Whether a small picture by bands gives what one pass over it gives."""
    multiple = model.field.multiple
    height, width = multiple * max(3, 96 // multiple), multiple * max(2, 64 // multiple)
    drawn = torch.Generator().manual_seed(0)
    shape = (1, height, width, model.channels)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=drawn)
    image = pixels.to(model.engine.device).permute(0, 3, 1, 2)
    with torch.inference_mode():
        whole: Tensor = model.network(image)
        bands = stream.bands(lambda start, stop: image[:, :, start:stop], height, multiple)
        return all(
            bool(
                (part - whole[:, :, top : top + part.shape[2]]).abs().max()
                <= _AGREES * whole.abs().max()
            )
            for top, part in bands
        )


def _pass_bytes(model: Model) -> Callable[[int, int], int]:
    """Bytes of a pass over so many rows and columns."""
    align = math.lcm(model.field.stride, model.field.multiple)

    @cache
    def exact(height: int, width: int) -> int:
        cost = footprint(model.network, (1, model.channels, height, width))
        return cost.peak_bytes if model.engine.device.type == "cpu" else cost.tensor_bytes

    def between(rows: int, columns: int) -> int:
        if model.field.unbounded:
            # Attention grows with the square of the pixels; sizes are few, so each is followed.
            return exact(rows, columns)
        low, high = (-(-side // align) * align for side in _PROBES)
        few, many = exact(low, low), exact(high, high)
        for_each = (many - few) / (high * high - low * low)
        return max(round(few + for_each * (rows * columns - low * low)), 0)

    return between
