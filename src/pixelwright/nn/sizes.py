"""What sizes of pictures a classifier takes, found by running a copy without data.

sizes = sizes_of(network, channels=3)
sizes.least        # 32: a smaller picture is halved to nothing
sizes.only         # None, or the one side that it is made for: 224
refusal(network, 3, 16, 16)      # "... too small", or "" if it takes them
"""

import copy
from dataclasses import dataclass

import torch
from torch import nn

from pixelwright.errors import PredictError
from pixelwright.nn.classifier import Classifier

_POWERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

_OTHERS = (224, 384, 299, 518, 378, *range(24, 641, 8))
"""Sides in pixels that networks for one size only are made for."""

_STEPS = (1, 2, 4, 7, 8, 14, 16, 28, 32, 56, 64, 128)

_REFUSALS = (RuntimeError, ValueError, AssertionError, TypeError, IndexError, ZeroDivisionError)
"""What networks raise at a size they do not take."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a classifier takes, and what it sees of it.

    Args:
        least: Side in pixels of the smallest square picture.
        only: The one side that it takes; None if it takes larger ones.
        multiple: Larger pictures have this many pixels more, or a multiple of it.
        side: Of the picture that the following was found with.
        seen: Shape of what the trunk gives of it: maps "d h w", or tokens "t d".
    """

    least: int
    only: int | None
    multiple: int
    side: int
    seen: tuple[int, ...]


def sizes_of(network: Classifier, channels: int) -> Sizes:
    """Find what a classifier takes.

    Args:
        network: It is copied, and neither run nor changed.
        channels: Of its input.

    Raises:
        PredictError: It takes none of the usual sizes.
    """
    ghost = copy.deepcopy(network).to("meta").eval()
    sides = (side for side in (*_POWERS, *_OTHERS) if not _why_not(ghost, channels, side, side))
    fits = next(sides, None)
    if fits is None:
        raise PredictError(
            f"The network takes pictures of none of the usual sizes: "
            f"{_why_not(ghost, channels, 256, 256)}."
        )
    fixed = bool(_why_not(ghost, channels, 2 * fits, 2 * fits))
    least, below = fits, fits // 2 if fits in _POWERS else fits - 1
    while least - below > 1:
        middle = (least + below) // 2
        if _why_not(ghost, channels, middle, middle):
            below = middle
        else:
            least = middle
    steps = (s for s in _STEPS if not _why_not(ghost, channels, least + s, least + s))
    multiple = least if fixed else next(steps, least)
    side = least if fixed else least + -(-max(32 - least, 0) // multiple) * multiple
    with torch.no_grad():
        seen = ghost.encoder(_image(ghost, channels, side, side))
    return Sizes(least, least if fixed else None, multiple, side, tuple(seen.shape[1:]))


def refusal(network: nn.Module, channels: int, height: int, width: int) -> str:
    """Why a network does not take pictures of a size, in its own words; empty if it does.

    Args:
        network: It is copied, and neither run nor changed.
        channels: Of its input.
        height: In pixels, as is the width.
        width: Likewise.
    """
    return _why_not(copy.deepcopy(network).to("meta").eval(), channels, height, width)


def _why_not(ghost: nn.Module, channels: int, height: int, width: int) -> str:
    try:
        with torch.no_grad():
            ghost(_image(ghost, channels, height, width))
    except _REFUSALS as error:
        return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return ""


def _image(ghost: nn.Module, channels: int, height: int, width: int) -> torch.Tensor:
    floats = (p.dtype for p in ghost.parameters() if p.dtype.is_floating_point)
    dtype = next(floats, torch.float32)
    return torch.empty(1, channels, height, width, device="meta", dtype=dtype)
