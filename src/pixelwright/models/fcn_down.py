"""FCN down and up: convolutions at falling, then at rising resolution, without skip connections.

Paper: Long et al., 2015, https://arxiv.org/abs/1411.4038
Differs: trained from scratch; one convolution a level; resolution doubles step by step, each with
a convolution, instead of at once; the scores of finer levels are not added.
"""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from pixelwright.nn.blocks import Kernel, Norm, conv_norm, he_weights
from pixelwright.nn.upsample import Upsample, upsample_by_two


def fcn_down(
    classes: int,
    channels: int,
    *,
    depth: Annotated[int, Field(ge=1, le=8)] = 3,
    width: Annotated[int, Field(ge=1)] = 32,
    kernel: Kernel = 3,
    down: Literal["pool", "stride"] = "pool",
    upsample: Upsample = "bilinear",
    norm: Norm = "batch",
) -> nn.Module:
    """Build a network that halves the image `depth` times and doubles it as often.

    Args:
        classes: Number of output channels.
        channels: Number of input channels.
        depth: Number of halvings. Height and width must divide by `2 ** depth`.
        width: Channels at full resolution; they double at every halving.
        kernel: Side of the convolutions' windows in pixels, odd.
        down: How a level halves the resolution: max pooling, or a stride of its convolution.
        upsample: How the path up doubles the resolution.
        norm: What follows each convolution: batch and layer norm work on parts of an image as on
            the whole; group and instance norm see all of it, so that their networks cannot predict
            by tiles.
    """
    levels = list(pairwise(width * 2**level for level in range(depth + 1)))
    layers = [*conv_norm(channels, width, kernel=kernel, norm=norm), nn.ReLU(inplace=True)]
    for fine, coarse in levels:
        stride = 2 if down == "stride" else 1
        layers += [nn.MaxPool2d(2)] if down == "pool" else []
        layers += conv_norm(fine, coarse, kernel=kernel, stride=stride, norm=norm)
        layers += [nn.ReLU(inplace=True)]
    for fine, coarse in reversed(levels):
        layers += [upsample_by_two(upsample, coarse, fine)]
        layers += [*conv_norm(fine, fine, kernel=kernel, norm=norm), nn.ReLU(inplace=True)]
    return he_weights(nn.Sequential(*layers, nn.Conv2d(width, classes, 1)))
