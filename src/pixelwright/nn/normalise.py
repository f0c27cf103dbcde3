"""Pixels in, logits out: a network that knows the scale of its own input."""

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn


class Normalised(nn.Module):
    """A network that takes pixel values in [0, 255] and centres and scales them itself.

    Mean and deviation are saved with the weights, so a model file cannot be fed wrongly scaled
    pictures.

    Args:
        network: Takes centred float images, gives logits.
        mean: Subtracted, one per channel, in units of pixel values.
        std: Divided by, one per channel, in units of pixel values.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, -1, 1, 1))

    def forward(
        self, images: UInt8[Tensor, "n c h w"] | Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n k *hw"]:
        # `.double()` and `.to(...)` convert the buffers with the weights: they tell the type.
        centred = (images.to(self.mean.dtype) - self.mean) / self.std
        return cast(Tensor, self.network(centred))
