"""Run a plan on a picture: the logits of each pixel once, whatever the size of the picture.

for part in plan.parts():
    for window, logits in run_part(part, plan, raster, members):
        ...                              # logits "k h w" of each member and view
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from pixelwright.inference import blend
from pixelwright.inference.plan import Part, Plan
from pixelwright.inference.stream import Stream
from pixelwright.inference.views import PLAIN, View
from pixelwright.types import Window

T = TypeVar("T")

Ranges = tuple[int, int]


@runtime_checkable
class Picture(Protocol):
    """What is predicted; `images.Raster` is one."""

    height: int
    width: int

    def read(self, window: Window) -> Shaped[np.ndarray, "h w c"]:
        """Pixel values in [0, 255]."""
        ...

    def invalid(self, window: Window) -> Bool[np.ndarray, "h w"] | None:
        """Where there are none."""
        ...


@dataclass(frozen=True)
class Member:
    """A network that takes part in a prediction.

    Args:
        run: From pixel values "n c h w" to logits "n k h w".
        stream: The same by bands, for plans that stream.
        fill: Pixel values that it takes for nothing, one per channel: what it centres by.
        views: In which it sees the picture.
        device: Where it runs.
    """

    run: Callable[[Tensor], Tensor]
    fill: Sequence[float]
    stream: Stream | None = None
    views: Sequence[View] = PLAIN
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


def run_part(
    part: Part, plan: Plan, picture: Picture, members: Sequence[Member]
) -> Iterator[tuple[Window, list[Float[Tensor, "k h w"]]]]:
    """The logits of what a part keeps, from top to bottom.

    Args:
        part: Of the plan.
        plan: Of the picture; it streams only if all members can.
        picture: What is predicted. It is read in a thread of its own, ahead of the networks.
        members: The logits of each member's views follow each other.
    """
    run = _blended if plan.kind == "windows" else _streamed if plan.band else _at_once
    each = [run(part, plan, picture, member) for member in members]
    for found in zip(*each, strict=True):
        # All members have one plan, so their windows are the same.
        yield found[0][0], [logits for _, views in found for logits in views]


Found = tuple[Window, list[Tensor]]


def run_whole(
    plan: Plan, pictures: Sequence[Picture], members: Sequence[Member]
) -> list[list[Float[Tensor, "k h w"]]]:
    """The logits of pictures of one size, run together.

    Args:
        plan: In one pass.
        pictures: All of the plan's size.
        members: As in `run_part`.

    Returns:
        For each picture those of each member's views.
    """
    assert plan.band is None
    [part] = plan.parts()
    each = [_passes(part, plan, pictures, member) for member in members]
    return [
        [logits for member in each for logits in member[number]] for number in range(len(pictures))
    ]


@torch.inference_mode()
def _passes(
    part: Part, plan: Plan, pictures: Sequence[Picture], member: Member
) -> list[list[Tensor]]:
    rows, columns = (part.rows.start, part.rows.stop), (part.columns.start, part.columns.stop)
    pixels = [patch(picture, rows, columns, member.fill) for picture in pictures]
    one = pixels[0][np.newaxis] if len(pixels) == 1 else np.stack(pixels)
    images = _tensor(one, member.device)
    logits = [view.back(member.run(_last(view.of(images)))) for view in member.views]
    return [
        _kept(part, plan, part.rows.start, [one[number : number + 1] for one in logits])[1]
        for number in range(len(pictures))
    ]


def _at_once(part: Part, plan: Plan, picture: Picture, member: Member) -> Iterator[Found]:
    yield window_of(part, plan), _passes(part, plan, [picture], member)[0]


def window_of(part: Part, plan: Plan) -> Window:
    """What a part keeps, of the image."""
    top, left = part.rows.keep_start, part.columns.keep_start
    bottom = min(part.rows.keep_stop, plan.height)
    return Window(top, left, bottom - top, min(part.columns.keep_stop, plan.width) - left)


def _blended(part: Part, plan: Plan, picture: Picture, member: Member) -> Iterator[Found]:
    """By windows whose probabilities are blended; the whole image is one part."""
    grid = grid_of(plan)
    each = [blend.blended(_reads(picture, member), _seen(member, v), grid) for v in member.views]
    for views in zip(*each, strict=True):
        yield views[0][0], [logits for _, logits in views]


def grid_of(plan: Plan) -> blend.Grid:
    """The windows of a plan."""
    return blend.grid_of(plan.height, plan.width, (plan.rows, plan.columns), plan.align)


def seams(plan: Plan, picture: Picture, member: Member) -> blend.Seams:
    """How many pixels around seams depend on where the windows lie, on a sample."""
    view = member.views[0]
    return blend.seam_difference(_reads(picture, member), _seen(member, view), grid_of(plan))


def _reads(picture: Picture, member: Member) -> blend.Read:
    def read(window: Window) -> Shaped[np.ndarray, "h w c"]:
        rows = (window.top, window.top + window.height)
        return patch(picture, rows, (window.left, window.left + window.width), member.fill)

    return read


def _seen(member: Member, view: View) -> blend.Run:
    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return view.back(member.run(_last(view.of(images.to(member.device)))))

    return run


@torch.inference_mode()
def _streamed(part: Part, plan: Plan, picture: Picture, member: Member) -> Iterator[Found]:
    assert member.stream is not None and plan.band is not None
    begin, columns = part.rows.start, (part.columns.start, part.columns.stop)
    height = part.rows.stop - begin
    needed = (demand.rows[0] for demand in member.stream.demands(height, plan.band))
    ranges = [rows for rows in needed if rows[1] > rows[0]]
    ahead = _ahead(
        ranges,
        lambda rows: patch(picture, (begin + rows[0], begin + rows[1]), columns, member.fill)[None],
    )
    # Views take turns and ask for the same rows, which are read once and wait for the others.
    waiting: dict[Ranges, list[Tensor]] = {}

    def read(start: int, stop: int) -> Tensor:
        rows = (start, stop)
        if rows not in waiting:
            waiting[rows] = [_tensor(next(ahead), member.device)] * len(member.views)
        found = waiting[rows].pop()
        if not waiting[rows]:
            del waiting[rows]
        return found

    def seen(view: View) -> Callable[[int, int], Tensor]:
        return lambda start, stop: _last(view.of(read(start, stop)))

    views = [member.stream.bands(seen(v), height, plan.band) for v in member.views]
    for bands in zip(*views, strict=True):
        top = begin + bands[0][0]
        if top >= part.rows.keep_stop or top >= plan.height:
            return
        logits = [view.back(one) for view, (_, one) in zip(member.views, bands, strict=True)]
        if top + logits[0].shape[2] > part.rows.keep_start:
            yield _kept(part, plan, top, logits)


def _kept(part: Part, plan: Plan, top: int, logits: list[Tensor]) -> Found:
    """What a part keeps of rows that begin at `top`, without the padding of the image."""
    first = max(top, part.rows.keep_start)
    stop = min(top + logits[0].shape[2], part.rows.keep_stop, plan.height)
    left, right = part.columns.keep_start, min(part.columns.keep_stop, plan.width)
    from_left = part.columns.start
    kept = [
        one[0, :, first - top : stop - top, left - from_left : right - from_left] for one in logits
    ]
    return Window(first, left, stop - first, right - left), kept


def patch(
    picture: Picture, rows: Ranges, columns: Ranges, fill: Sequence[float]
) -> Shaped[np.ndarray, "h w c"]:
    """A part of the padded picture; beyond its edges the last row and column are repeated.

    Args:
        picture: Read only where it has pixels.
        rows: First, and behind the last.
        columns: Likewise.
        fill: Stands where there are no data, so that the network sees its mean there.
    """
    top, left = min(rows[0], picture.height - 1), min(columns[0], picture.width - 1)
    bottom, right = min(rows[1], picture.height), min(columns[1], picture.width)
    window = Window(top, left, max(bottom - top, 1), max(right - left, 1))
    pixels, invalid = picture.read(window), picture.invalid(window)
    if invalid is not None and invalid.any():
        value = np.asarray(fill)
        value = value if pixels.dtype.kind == "f" else np.rint(value)
        pixels = np.where(invalid[..., None], value.astype(pixels.dtype), pixels)
    below = rows[1] - rows[0] - window.height
    beside = columns[1] - columns[0] - window.width
    if below or beside:
        return np.pad(pixels, ((0, below), (0, beside), (0, 0)), mode="edge")
    return pixels if pixels.flags.writeable else pixels.copy()


def _tensor(pixels: Shaped[np.ndarray, "n h w c"], device: torch.device) -> Tensor:
    # Moved axes of an "n h w c" array are the channels_last format, which is the faster one.
    return torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2)


def _last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _ahead(items: Sequence[Ranges], work: Callable[[Ranges], T]) -> Iterator[T]:
    """The results of `work`, each made in a thread while the one before is being used."""
    with ThreadPoolExecutor(1, "read-ahead") as pool:
        coming = [pool.submit(work, item) for item in items[:1]]
        for item in [*items[1:], None]:
            result = coming.pop().result()
            if item is not None:
                coming.append(pool.submit(work, item))
            yield result
