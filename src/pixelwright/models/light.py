"""A light network for CPUs: residual stages at 1/4, 1/8 and 1/16, and a thin path back up.

Source: ours. From ENet (Paszke et al., 2016, https://arxiv.org/abs/1606.02147) the early halving
and the decoder that is thinner than the encoder; from ResNet (He et al., 2016,
https://arxiv.org/abs/1512.03385) the blocks, with the pooled shortcut of ResNet-D (He et al.,
2019, https://arxiv.org/abs/1812.01187); from DeepLab (Chen et al., 2017, https://arxiv.org/abs/1606.00915)
the growing dilation of the last stage; from FPN (Lin et al., 2017, https://arxiv.org/abs/1612.03144)
the sums, instead of concatenations, on the way up.

Full resolution is never computed, only its logits: on a CPU time goes with the bytes that pass
through memory, and those are most where pixels are most. For the same reason the convolutions are
full ones: separable ones save operations, which are cheap, and not passes, which are not.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, cast

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from pixelwright.nn.blocks import Norm, conv_norm, he_weights, norm_layers
from pixelwright.nn.upsample import Upsample, upsample_by_two


def light(
    classes: int,
    channels: int,
    *,
    width: Annotated[int, Field(ge=1)] = 16,
    depth: Annotated[int, Field(ge=1)] = 4,
    upsample: Upsample = "bilinear",
    norm: Norm = "batch",
) -> nn.Module:
    """Build a network of 0.9 million parameters that reduces the image by 16.

    Args:
        classes: Number of output channels.
        channels: Number of input channels.
        width: Channels at half resolution; the stages have 2, 4 and 6 times as many.
        depth: Residual blocks at 1/16, their dilation doubling from 1; there are three at 1/8 and
            two at 1/4.
        upsample: How the path up doubles the resolution.
        norm: What follows each 3x3 convolution: batch norm works on parts of an image as on the
            whole; group and instance norm see all of it, so that their networks cannot predict by
            tiles.
    """
    widths = [width, 2 * width, 4 * width, 6 * width]
    dilations = [[1] * 2, [1] * 3, [2**block for block in range(depth)]]
    return he_weights(Light(classes, channels, widths, dilations, upsample=upsample, norm=norm))


class Light(nn.Module):
    def __init__(
        self,
        classes: int,
        channels: int,
        widths: Sequence[int],
        dilations: Sequence[Sequence[int]],
        *,
        upsample: Upsample,
        norm: Norm,
    ) -> None:
        super().__init__()
        levels = list(pairwise(widths))
        self.stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], 3, stride=2, padding=1, bias=norm == "none"),
            *norm_layers(norm, widths[0]),
            nn.ReLU(inplace=True),
        )
        self.stages = nn.ModuleList(
            nn.Sequential(
                Block(fine, coarse, stride=2, dilation=dilation[0], norm=norm),
                *(Block(coarse, coarse, dilation=d, norm=norm) for d in dilation[1:]),
            )
            for (fine, coarse), dilation in zip(levels, dilations, strict=True)
        )
        levels.reverse()
        self.up = nn.ModuleList(upsample_by_two(upsample, coarse, fine) for fine, coarse in levels)
        self.merge = nn.ModuleList(
            nn.Sequential(*conv_norm(fine, fine, norm=norm), nn.ReLU(inplace=True))
            for fine, _ in levels
        )
        self.head = upsample_by_two(upsample, widths[0], classes)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        x = self.stem(image)
        skips = []
        for stage in self.stages:
            skips.append(x)
            x = stage(x)
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(skips.pop() + up(x))
        # The logits are the largest tensor by far, and losses read them class by class.
        return cast(Tensor, self.head(x.contiguous()))


class Block(nn.Module):
    """Two 3x3 convolutions added to their input, which is pooled and convolved to fit."""

    def __init__(
        self, channels_in: int, channels_out: int, *, stride: int = 1, dilation: int, norm: Norm
    ) -> None:
        super().__init__()
        bias = norm == "none"
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=bias),
            *norm_layers(norm, channels_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(
                channels_out, channels_out, 3, padding=dilation, dilation=dilation, bias=bias
            ),
            *norm_layers(norm, channels_out),
        )
        pool = [nn.AvgPool2d(stride)] if stride > 1 else []
        same = channels_in == channels_out
        fit = [] if same else conv_norm(channels_in, channels_out, kernel=1, norm=norm)
        self.shortcut = nn.Sequential(*pool, *fit)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        return torch.relu_(self.body(x) + self.shortcut(x))
