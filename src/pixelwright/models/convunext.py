"""ConvUNeXt: ConvNeXt's blocks in the shape of a U-Net, whose skip connections have gates.

Paper: Han et al., 2022, https://doi.org/10.1016/j.knosys.2022.109512;
its blocks, ConvNeXt, Liu et al., 2022, https://arxiv.org/abs/2201.03545;
layer scale, Touvron et al., 2021, https://arxiv.org/abs/2103.17239
Differs: from the authors' published network. Blocks are as in ConvNeXt: layer norm over the
channels of each pixel (batch norm there; `norm=batch`), no second norm and GELU around the sum, and
a scale that starts at 0.1 on what a block adds. Padding is with zeros, not by reflection; bilinear
upsampling has half-pixel centres, not aligned corners; initial weights of He et al., 2015.
"""

from itertools import pairwise
from typing import Annotated, cast

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from pixelwright.nn.blocks import Kernel, Norm, he_weights, norm_layers
from pixelwright.nn.depthwise import Depthwise
from pixelwright.nn.upsample import Upsample, double

GROWTH = 4
"""Channels inside of a block, as times of those outside."""
FIRST_SCALE = 0.1
"""Of what a block adds: as Touvron et al. have it for networks that are not deep."""


def convunext(
    classes: int,
    channels: int,
    *,
    width: Annotated[int, Field(ge=1)] = 32,
    depth: Annotated[int, Field(ge=1, le=8)] = 4,
    kernel: Kernel = 7,
    upsample: Upsample = "bilinear",
    norm: Norm = "layer",
) -> nn.Module:
    """Build a ConvUNeXt that halves the image `depth` times.

    Args:
        classes: Number of output channels.
        channels: Number of input channels.
        width: Channels at full resolution; they double at every halving but the last.
        depth: Number of halvings. Height and width must divide by `2 ** depth`.
        kernel: Side of the depthwise convolutions' windows in pixels, odd.
        upsample: How the path up doubles the resolution.
        norm: In each block and before each change of the resolution: layer norm, over the channels
            of a pixel, and batch norm work on parts of an image as on the whole; group and instance
            norm see all of it, so that their networks cannot predict by tiles.
    """
    widths = [width * 2**level for level in range(depth)]
    return he_weights(ConvUNeXt(classes, channels, [*widths, widths[-1]], kernel, upsample, norm))


class ConvUNeXt(nn.Module):
    def __init__(
        self,
        classes: int,
        channels: int,
        widths: list[int],
        kernel: int,
        upsample: Upsample,
        norm: Norm,
    ) -> None:
        super().__init__()
        levels = list(pairwise(widths))
        self.stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], kernel, padding=kernel // 2),
            *norm_layers(norm, widths[0]),
            nn.GELU(),
            Block(widths[0], kernel, norm),
        )
        # As in ConvNeXt, the last level but one is the deepest.
        blocks = [3 if level == len(levels) - 2 else 1 for level in range(len(levels))]
        self.down = nn.ModuleList(
            nn.Sequential(
                *norm_layers(norm, fine),
                nn.Conv2d(fine, coarse, 2, stride=2),
                *(Block(coarse, kernel, norm) for _ in range(count)),
            )
            for (fine, coarse), count in zip(levels, blocks, strict=True)
        )
        # A level's result has the channels of the next finer one.
        results = [widths[0], *widths[:-2]]
        self.up = nn.ModuleList(
            nn.Sequential(*norm_layers(norm, wide), double(upsample, wide))
            for wide in reversed(widths[:-1])
        )
        self.gate = nn.ModuleList(Gate(wide) for wide in reversed(widths[:-1]))
        self.merge = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2 * wide, result, 1), Block(result, kernel, norm))
            for wide, result in zip(reversed(widths[:-1]), reversed(results), strict=True)
        )
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        x = self.stem(image)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for up, gate, merge in zip(self.up, self.gate, self.merge, strict=True):
            x = up(x)
            x = merge(torch.cat([gate(skips.pop(), x), x], dim=1))
        return cast(Tensor, self.head(x))


class Block(nn.Module):
    """A depthwise convolution and two pointwise ones, scaled and added to their input."""

    def __init__(self, channels: int, kernel: int, norm: Norm) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Depthwise(channels, kernel),
            *norm_layers(norm, channels),
            nn.Conv2d(channels, GROWTH * channels, 1),
            nn.GELU(),
            nn.Conv2d(GROWTH * channels, channels, 1),
        )
        # One dimension, so that it is not decayed; see `training/optim.py`.
        self.scale = nn.Parameter(torch.full((channels,), FIRST_SCALE))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        added: Tensor = self.body(x)
        # The scale stays in float32, and must not widen what mixed precision computes.
        return x + added * self.scale.to(added.dtype).reshape(-1, 1, 1)


class Gate(nn.Module):
    """What comes from below decides, pixel by pixel, what passes of a skip connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.below = nn.Conv2d(channels, 3 * channels, 1)
        self.open = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(
        self, skip: Float[Tensor, "n c h w"], below: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n c h w"]:
        context, share, value = self.below(below).chunk(3, dim=1)
        passed = self.open(context + skip).sigmoid() * skip
        return cast(Tensor, self.out(passed + share.sigmoid() * value.tanh()))
