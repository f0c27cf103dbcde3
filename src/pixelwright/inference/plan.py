"""How to run a network on an image within a budget of memory: whole, by tiles, or streamed.

plan = plan_for(costs, height, width, available=memory.parse("2GB"))
print(plan)                      # stream, bands of 512 rows, about 1.1 GB
for part in plan.parts():
    ...

An image, padded at the right and bottom to the model's size rule, is cut into parts that overlap
by the model's receptive radius; each part is run at once, or band by band. All three ways give what
one pass over the padded image gives.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from pixelwright.errors import PredictError
from pixelwright.inference import blend
from pixelwright.inference.stream import Stream
from pixelwright.inference.tiles import Span, spans
from pixelwright.nn.receptive import Field

Kind = Literal["whole", "tiles", "stream", "windows"]

WHOLE_PIXELS = 2**22
"""Up to here one pass is no slower than streaming, which takes seconds to prepare."""

BAND_PIXELS = 2**19
"""Of a band at least, if memory allows: `benchmarks/bands.py` tells what more save and take."""

USUAL_TILE = 1024

_MARGIN = 1.15
"""What a process is expected to take for each byte of its tensors: the allocator keeps some."""

_ROOMY = 2**29
"""Bytes up to which a plan may come to take twice as much, where that is left."""

_RETURNING = 1.3
"""What a plan that is not roomy costs: `benchmarks/footprint.py` tells the seconds of both."""

_BEGINNING = 12_000
"""Pixels that take as long as to begin a band: between the networks of `benchmarks/bands.py`."""

_REPEATED = 0.04
"""Share of rows that may be computed twice so that a streamed image has parts to resume from."""

_PART_PIXELS = 2**25
"""Of a streamed part at least."""


@dataclass(frozen=True, slots=True)
class Part:
    """A rectangle of the image that is run on its own; what it reads, and keeps, of both axes."""

    rows: Span
    columns: Span


@dataclass(frozen=True, slots=True)
class Plan:
    """How an image is run.

    Args:
        kind: What the user is told; "windows" are blended, where a model needs the whole image.
        height: Of the image.
        width: Of the image.
        align: Parts begin and end at multiples of this.
        halo: Pixels around what a part keeps.
        rows: Most that a part reads, halo included.
        columns: Likewise.
        band: Rows of logits that a streamed part makes at a time; None runs parts at once.
        bytes: That it is expected to take, beside what the process holds already.
        work: Pixels that are computed for each pixel of the image.
        seconds: That it is expected to take; None if nothing was timed.
    """

    kind: Kind
    height: int
    width: int
    align: int
    halo: int
    rows: int
    columns: int
    band: int | None = None
    bytes: int = 0
    work: float = 1.0
    seconds: float | None = None

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width as the model takes them."""
        height, width = (-(-n // self.align) * self.align for n in (self.height, self.width))
        return height, width

    def parts(self) -> list[Part]:
        """The parts row by row, without those that lie in the padding altogether."""
        high, wide = self.padded
        if self.kind == "windows":
            # What one window adds to the next makes the image one part.
            return [Part(Span(0, high, 0, high), Span(0, wide, 0, wide))]
        rows = list(spans(high, self.rows, self.halo, self.align))
        columns = list(spans(wide, self.columns, self.halo, self.align))
        return [
            Part(row, column)
            for row in rows
            if row.keep_start < self.height
            for column in columns
            if column.keep_start < self.width
        ]

    def __str__(self) -> str:
        how = {
            "whole": "in one pass",
            "tiles": f"tiles of {self.rows} x {self.columns}",
            "stream": f"stream, bands of {self.band} rows",
            "windows": f"blended windows of {self.rows} x {self.columns}",
        }[self.kind]
        if self.kind == "stream" and self.columns < self.padded[1]:
            how += f" in strips of {self.columns} columns"
        told = [how, f"about {amount(self.bytes)}"] if self.bytes else [how]
        if self.seconds is not None:
            told.append(f"about {duration(self.seconds)}")
        return ", ".join(told)


def amount(bytes_: int) -> str:
    """A number of bytes with a unit: 1.1 GB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if bytes_ >= size:
            return f"{bytes_ / size:.{1 if bytes_ < 10 * size else 0}f} {unit}"
    return f"{max(bytes_ / 1e3, 1):.0f} kB"


def duration(seconds: float) -> str:
    """40 s, 3 min, 2 h 10 min."""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


@dataclass(frozen=True)
class Costs:
    """What running a network takes.

    Args:
        field: Of the network, or of several that run together.
        at_once: Bytes of one pass over so many rows and columns.
        stream: The network by bands; None where it cannot be run so. Called when an image is large
            enough to need it.
        answer: Bytes for each pixel of logits that are being turned into results.
        itemsize: Bytes of a value.
        members: Networks and views that run in turn, each with maps of its own while streaming.
        preparing: Bytes that to call `stream` takes, and keeps.
        classes: That are told apart.
        arena: Whether who runs the network keeps memory of its own from tile to tile, so that what
            PyTorch does with freed memory does not matter.
    """

    field: Field
    at_once: Callable[[int, int], int]
    stream: Callable[[], list[Stream] | None]
    answer: int = 0
    itemsize: int = 4
    members: int = 1
    preparing: Callable[[], int] = lambda: 0
    classes: int = 0
    arena: bool = False


class DoesNotFitError(PredictError):
    """The memory is too small.

    Args:
        what: That does not fit, in the way that takes least.
        least: Bytes that it takes.
        available: Bytes that there are.
    """

    def __init__(self, what: str, least: int, available: int) -> None:
        self.lacking = least - available
        left = f"{amount(available)} are" if available >= 1000 else "none is"
        super().__init__(f"{what} takes {amount(least)} of memory at least, and {left} left.")


def plan_for(
    costs: Costs, height: int, width: int, *, available: int, tile: int | None = None
) -> Plan:
    """The way that is expected to take the least time within the memory.

    Args:
        costs: Of the network.
        height: Of the image.
        width: Of the image.
        available: Bytes.
        tile: The network never sees more than `tile * tile` pixels; None leaves that open.

    Raises:
        DoesNotFitError: No way fits.
        PredictError: The image has no pixels, or the tile is smaller than the model takes.
    """
    if not height * width:
        raise PredictError(f"The image has no pixels: it is {height} x {width}.")
    field = costs.field
    align = math.lcm(field.stride, field.multiple)
    halo = -(-field.radius // align) * align
    empty = Plan("whole", height, width, align, 0 if field.unbounded else halo, align, align)
    high, wide = empty.padded
    whole = _costed(replace(empty, rows=high, columns=wide), costs)
    if tile is not None:
        tiled = _tiled(whole, costs, tile)
        if tiled.bytes > available:
            raise DoesNotFitError(f"A tile of {tile} px", tiled.bytes, available)
        return tiled
    if high * wide <= WHOLE_PIXELS and whole.bytes <= available:
        return whole
    if field.unbounded:
        return whole if whole.bytes <= available else _windows(whole, costs, available)
    found = [whole, *_tiles(whole, costs)]
    if available > (preparing := costs.preparing()):
        available -= preparing
        found += _streams(whole, costs, costs.stream() or [])
    fitting = [plan for plan in found if plan.bytes <= available]
    if fitting:
        return min(fitting, key=lambda plan: (_expected(plan, available, costs), plan.bytes))
    least = min(found, key=lambda plan: plan.bytes)
    how = replace(least, bytes=0)
    raise DoesNotFitError(f"An image of {height} x {width} ({how})", least.bytes, available)


def roomy(plan: Plan, available: int) -> bool:
    """Whether the process may keep memory that a plan frees, for the next band or tile.

    The system then clears no new pages for it; between what is kept lie gaps that nothing fits
    into, so that the process comes to hold up to twice as much as its tensors.
    """
    return 2 * plan.bytes <= min(available, _ROOMY)


def _expected(plan: Plan, available: int, costs: Costs) -> float:
    """Time in units of one pass over the image by bands of a good height."""
    work = plan.work * (1 if costs.arena or roomy(plan, available) else _RETURNING)
    if plan.band is None:
        # Maps that lie far apart in memory: measured on networks of 0.01 to 24 million parameters.
        # One pass over a large image gains nothing over tiles, and holds many times as much.
        return work * (1.25 if plan.kind == "whole" else 1.1)
    # Few rows are left at the lowest resolution: measured at 1, 2 and 4 of them.
    lowest = 0.37 * (plan.align / plan.band) ** 2
    return work * (1 + lowest + _BEGINNING / (plan.band * plan.columns))


def _costed(plan: Plan, costs: Costs) -> Plan:
    """With the memory and the work of parts that are run at once."""
    rows, columns = min(plan.rows, plan.padded[0]), min(plan.columns, plan.padded[1])
    held = costs.at_once(rows, columns) + costs.answer * rows * columns
    if plan.kind == "windows":
        grid = blend.grid_of(plan.height, plan.width, (rows, columns), plan.align)
        # Every member and view is blended by itself.
        held += costs.members * grid.held_bytes(costs.classes)
    return replace(plan, bytes=round(_MARGIN * held), work=_work(plan))


def _work(plan: Plan) -> float:
    high, wide = plan.padded
    rows = sum(span.stop - span.start for span in spans(high, plan.rows, plan.halo, plan.align))
    columns = sum(
        span.stop - span.start for span in spans(wide, plan.columns, plan.halo, plan.align)
    )
    return rows * columns / (plan.height * plan.width)


def _tiled(whole: Plan, costs: Costs, tile: int) -> Plan:
    """By tiles of a given size."""
    high, wide = whole.padded
    if max(high, wide) <= tile:
        return whole
    kind: Kind = "windows" if costs.field.unbounded else "tiles"
    side = tile // whole.align * whole.align
    if not side:
        raise PredictError(
            f"A tile of {tile} px is smaller than the {whole.align} px whose multiples the model "
            f"takes. Use a tile of {whole.align} px or more."
        )
    return _costed(replace(whole, kind=kind, rows=min(side, high), columns=min(side, wide)), costs)


def _tiles(whole: Plan, costs: Costs) -> Iterator[Plan]:
    """Square tiles, from large ones down."""
    high, wide = whole.padded
    side = max(USUAL_TILE, 8 * whole.halo)
    while side > 2 * whole.halo and side >= whole.align:
        fitted = side // whole.align * whole.align
        if fitted < max(high, wide):  # else it is one pass
            rows, columns = min(fitted, high), min(fitted, wide)
            yield _costed(replace(whole, kind="tiles", rows=rows, columns=columns), costs)
        side = side // 2 if side // 2 > 2 * whole.halo else side - whole.align * 4


def _windows(whole: Plan, costs: Costs, available: int) -> Plan:
    """The largest windows that fit, for a model that needs the whole image."""
    side = max(whole.padded)
    while side >= whole.align:
        side = int(side * 0.8) // whole.align * whole.align
        if not side:
            break
        high, wide = (min(side, n) for n in whole.padded)
        plan = _costed(replace(whole, kind="windows", rows=high, columns=wide), costs)
        if plan.bytes <= available:
            return plan
    least = _costed(replace(whole, rows=whole.align, columns=whole.align), costs).bytes
    raise DoesNotFitError(f"A window of {whole.align} px", least, available)


def _streams(whole: Plan, costs: Costs, streams: list[Stream]) -> Iterator[Plan]:
    """Streams over strips of all sensible widths, with bands of all sensible heights."""
    high, wide = whole.padded
    strips = 1
    while streams:
        columns = wide
        if strips > 1:
            columns = (-(-wide // strips) + 2 * whole.halo) // whole.align * whole.align
            columns += whole.align
        if columns > wide or (strips > 1 and columns <= 2 * whole.halo + whole.align):
            return
        best = max(BAND_PIXELS // columns, 2 * whole.align, 16)
        band = min(-(-best // whole.align) * whole.align, high)
        while True:
            yield _streamed(whole, costs, streams, columns, band)
            if band <= whole.align:
                break
            band = max(band // 2 // whole.align * whole.align, whole.align)
        strips *= 2


def _streamed(whole: Plan, costs: Costs, streams: list[Stream], columns: int, band: int) -> Plan:
    high, _ = whole.padded
    # A part ends with a full band, so that all bands but the last of the image are alike.
    rows = max(round(2 * whole.halo / _REPEATED), _PART_PIXELS // columns, 8 * band)
    rows = -(-rows // band) * band + 2 * whole.halo
    rows = high if rows >= high else rows
    plan = replace(whole, kind="stream", rows=rows, columns=columns, band=band)
    held = sum(stream.bytes(rows, columns, band, costs.itemsize) for stream in streams)
    held = held * costs.members // len(streams) + costs.answer * band * columns
    return replace(plan, bytes=round(_MARGIN * held), work=_work(plan))
