"""Whether a backend computes what the network does."""

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pixelwright.errors import ExportError
from pixelwright.exporting.source import Source
from pixelwright.inference.backends import Backend
from pixelwright.inference.backends.torch import TorchBackend

TOLERANCE = 1e-4
"""Most that logits may differ, in parts of the largest logit.

Float32 keeps 6e-8, and other programs add in another order and fold normalisations into
convolutions: measured, our models differ by 4e-7 to 1e-5, or by 4e-5 with instance norm. What is
wrong shows by far more: a mean that is off by one grey value, or bfloat16, by 1e-2.
"""

_SIDE = 48
"""Pixels that the pictures of a check have at least to a side."""


@dataclass(frozen=True)
class Agreement:
    """How near two networks' logits lie.

    Args:
        difference: The largest, in parts of the largest logit.
        changed: Pixels, or pictures, of another class although the two best logits differ by more
            than the tolerance.
        compared: Pixels, or pictures, in all.
        tolerance: Most that the difference may be.
    """

    difference: float
    changed: int
    compared: int
    tolerance: float = TOLERANCE

    @property
    def good(self) -> bool:
        return self.difference <= self.tolerance and not self.changed

    def __add__(self, other: "Agreement") -> "Agreement":
        worse = max(self.difference, other.difference, key=_not_a_number_last)
        changed, compared = self.changed + other.changed, self.compared + other.compared
        return Agreement(worse, changed, compared, self.tolerance)

    def __str__(self) -> str:
        return (
            f"logits differ by {self.difference:.1e} of the largest at most ({self.tolerance:.0e} "
            f"is allowed), and {self.changed or 'none'} of {self.compared:,} decided classes"
        )


def verify(
    backend: Backend, source: Source, tolerance: float = TOLERANCE, *, quick: bool = False
) -> Agreement:
    """Compare a backend with the network, on pictures of several sizes.

    Noise is shown, alone and over a ramp, a checkerboard and blobs, and values between integers;
    all logits are compared.

    Args:
        backend: Runs a file made from the source.
        source: Its network is run by torch on the CPU, whatever the backend's device: GPUs round
            float32 to TF32 if they are let.
        tolerance: In parts of the largest logit.
        quick: One size only, as when a file is loaded.

    Raises:
        ExportError: They differ by more.
    """
    reference = TorchBackend(copy.deepcopy(source.network).cpu())
    found = None
    for height, width in _sizes(source)[: 1 if quick else None]:
        pictures = check_pictures(source.channels, height, width)
        one = compare(backend(pictures).cpu(), reference(pictures), tolerance)
        found = one if found is None else found + one
    assert found is not None
    if not found.good:
        raise ExportError(
            f"The backend '{backend.name}' does not compute what the network does: {found}. "
            f"Use --backend torch, and tell us which model it is."
        )
    return found


def compare(
    logits: Float[Tensor, "n k *hw"], truth: Float[Tensor, "n k *hw"], tolerance: float = TOLERANCE
) -> Agreement:
    """How near logits lie to those that they should be."""
    truth = truth.float()
    largest = truth.abs().max().item()
    difference = (logits - truth).abs().max().item() / (largest or 1.0)
    if truth.shape[1] > 1:
        best = truth.topk(2, dim=1).values
        decided = best[:, 0] - best[:, 1] > tolerance * largest
    else:
        decided = torch.zeros_like(truth[:, 0], dtype=torch.bool)
    changed = (logits.argmax(1) != truth.argmax(1)) & decided
    return Agreement(difference, int(changed.sum()), decided.numel(), tolerance)


def check_pictures(channels: int, height: int, width: int) -> Float[Tensor, "n c h w"]:
    """Pictures of every kind that kernels tell apart, the same in every call."""
    noise = torch.rand((2, channels, height, width), generator=torch.Generator().manual_seed(0))
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    ramp = (rows + columns) / max(height + width - 2, 1)
    board = (rows // 8 + columns // 8) % 2
    blobs = F.interpolate(noise[:1, :, :5, :7], (height, width), mode="bicubic").clamp(0, 1)[0]
    # Structure lies under noise, as in photographs: instance and group norm divide a map that is
    # flat by its deviation, which is nothing but rounding.
    structured = [0.9 * picture + 0.1 * noise[0] for picture in (ramp, board, blobs)]
    whole = (255 * torch.stack([noise[0], *structured])).round()
    # The last has values between integers, as pictures of 16 bits do.
    return torch.cat([whole, 255 * noise[1:]])


def _sizes(source: Source) -> list[tuple[int, int]]:
    """Heights and widths that the network takes; of a classifier the ones it is shown."""
    if source.side is not None:
        high, wide = source.side
        return [(high, wide)] if source.network.size is None else [(high, wide), (wide + 7, high)]
    unit = source.field.multiple * math.ceil(_SIDE / 2 / source.field.multiple)
    return [(2 * unit, 3 * unit), (5 * unit, 2 * unit), (3 * unit, 7 * unit)]


def _not_a_number_last(value: float) -> float:
    return math.inf if math.isnan(value) else value
