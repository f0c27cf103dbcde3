"""U-Net: a path down and a path up, joined by skip connections.

Paper: Ronneberger et al., 2015, https://arxiv.org/abs/1505.04597
Differs: convolutions are padded, so the logits keep the input's size; each one is followed by batch
norm unless told otherwise; the default is half as wide; resolution doubles by interpolation unless
told otherwise, see `nn/upsample.py`; dropout is off by default.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Annotated, cast

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from pixelwright.nn.blocks import Block, Kernel, Norm, double_conv, he_weights
from pixelwright.nn.upsample import Upsample, upsample_by_two


def unet(
    classes: int,
    channels: int,
    *,
    width: Annotated[int, Field(ge=1)] = 32,
    depth: Annotated[int, Field(ge=1, le=8)] = 4,
    block: Block = "plain",
    kernel: Kernel = 3,
    upsample: Upsample = "nearest",
    norm: Norm = "batch",
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> nn.Module:
    """Build a U-Net that halves the image `depth` times.

    Args:
        classes: Number of output channels.
        channels: Number of input channels.
        width: Channels at full resolution; they double at every halving.
        depth: Number of halvings. Height and width must divide by `2 ** depth`.
        block: Two convolutions, or two with a path around them.
        kernel: Side of their windows in pixels, odd.
        upsample: How the path up doubles the resolution.
        norm: What follows each of these convolutions: batch and layer norm work on parts of an
            image as on the whole; group and instance norm see all of it, so that their networks
            cannot predict by tiles.
        dropout: Share of the channels silenced at the lowest resolution while training.
    """
    widths = [width * 2**level for level in range(depth + 1)]
    conv = partial(double_conv, block=block, kernel=kernel, norm=norm)
    return he_weights(UNet(classes, channels, widths, conv, upsample, dropout))


class UNet(nn.Module):
    def __init__(
        self,
        classes: int,
        channels: int,
        widths: list[int],
        conv: Callable[[int, int], nn.Module],
        upsample: Upsample,
        dropout: float,
    ) -> None:
        super().__init__()
        levels = list(pairwise(widths))
        self.stem = conv(channels, widths[0])
        self.pool = nn.MaxPool2d(2)
        self.down = nn.ModuleList(conv(fine, coarse) for fine, coarse in levels)
        self.dropout = nn.Dropout2d(dropout)
        levels.reverse()
        self.up = nn.ModuleList(upsample_by_two(upsample, coarse, fine) for fine, coarse in levels)
        self.merge = nn.ModuleList(conv(2 * fine, fine) for fine, _ in levels)
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        x = self.stem(image)
        skips = []
        for block in self.down:
            skips.append(x)
            x = block(self.pool(x))
        x = self.dropout(x)
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([skips.pop(), up(x)], dim=1))
        return cast(Tensor, self.head(x))
