"""Where tiles lie along one axis: integers only, two axes are two calls."""

from collections.abc import Iterator
from dataclasses import dataclass

from pixelwright.errors import PredictError


@dataclass(frozen=True, slots=True)
class Span:
    """One tile along one axis: read `[start, stop)`, keep `[keep_start, keep_stop)`."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int


def spans(length: int, tile: int, halo: int, align: int) -> Iterator[Span]:
    """Cover `[0, length)` with tiles whose kept parts meet edge to edge.

    Args:
        length: Pixels along the axis, a multiple of `align`.
        tile: Most pixels to read at once.
        halo: Pixels of context dropped at each inner edge; at least the model's receptive
            radius, or the stitched result differs from one whole pass.
        align: Every tile starts on a multiple of this, the model's total stride, and is a multiple
            of it long.

    Raises:
        PredictError: The tile leaves nothing to keep between its two halos.
    """
    halo = -(-halo // align) * align
    most = tile // align * align
    if length > most <= 2 * halo:
        raise PredictError(
            f"A tile of {tile} px leaves nothing to keep beside two halos of {halo} px, the "
            f"context that the model needs. Use a tile of {2 * halo + align} px or more."
        )
    keep = 0
    while keep < length:
        start = max(keep - halo, 0)
        stop = min(start + most, length)
        # The image's own edges need no halo: what lies outside is the same for the whole image.
        end = length if stop == length else stop - halo
        yield Span(start, stop, keep, end)
        keep = end
