"""Pixels in, logits out: a network that knows the scale, and the size, of its own input."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor, nn


class Normalised(nn.Module):
    """A network that takes pixel values in [0, 255] and centres and scales them itself.

    Mean and deviation are saved with the weights, so a model file cannot be fed wrongly scaled
    pictures.

    Args:
        network: Takes centred float images, gives logits.
        mean: Subtracted, one per channel, in units of pixel values.
        std: Divided by, one per channel, in units of pixel values.
        size: Side in pixels to which pictures are resized first, whatever their shape; None takes
            them as they come.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        size: int | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.size = size
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, -1, 1, 1))

    def forward(
        self, images: UInt8[Tensor, "n c h w"] | Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n k *hw"]:
        # `.double()` and `.to(...)` convert the buffers with the weights: they tell the type.
        pixels = images.to(self.mean.dtype)
        if self.size is not None:
            pixels = resized(pixels, self.size)
        return cast(Tensor, self.network((pixels - self.mean) / self.std))


def resized(pixels: Float[Tensor, "n c h w"], side: int) -> Float[Tensor, "n c side side"]:
    """Pictures at another size, by bilinear interpolation over half-pixel centres.

    Where they shrink, each pixel is a weighted mean of all that it covers, as Pillow has it;
    without that, fine patterns turn into others.

    Args:
        pixels: Values of any scale.
        side: Height and width of the result; the shape of the pictures is not kept.
    """
    height, width = pixels.shape[-2:]
    if (height, width) == (side, side):
        return pixels
    shrinks = height > side or width > side
    return F.interpolate(pixels, size=(side, side), mode="bilinear", antialias=shrinks)


def looks_scaled(picture: Shaped[np.ndarray, "h w c"]) -> bool:
    """Whether an array holds parts of the full range where pixel values in [0, 255] are expected.

    A picture of integers never does: its values are pixel values, however dark it is. One of
    floats does if it has nothing above 1 and is not black.
    """
    if not np.issubdtype(picture.dtype, np.floating) or not picture.size:
        return False
    # As negative as positive are values that were centred as well.
    return bool(0 < np.abs(picture).max() <= 1)
