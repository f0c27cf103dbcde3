"""FCN at full resolution: a stack of convolutions that never leaves the pixel grid.

Paper: Long et al., 2015, https://arxiv.org/abs/1411.4038
Differs: stride 1 only, so no pooling, no upsampling and no size rule; trained from scratch.
"""

from itertools import pairwise
from typing import Annotated

from pydantic import Field
from torch import nn

from pixelwright.nn.blocks import Kernel, Norm, conv_norm, he_weights


def fcn(
    classes: int,
    channels: int,
    *,
    depth: Annotated[int, Field(ge=1)] = 4,
    width: Annotated[int, Field(ge=1)] = 32,
    kernel: Kernel = 3,
    norm: Norm = "batch",
) -> nn.Module:
    """Build a stack of convolutions that takes any size; its radius is `depth * (kernel // 2)`.

    Args:
        classes: Number of output channels.
        channels: Number of input channels.
        depth: Number of hidden convolutions.
        width: Channels of each.
        kernel: Side of their windows in pixels, odd.
        norm: What follows each: batch and layer norm work on parts of an image as on the whole;
            group and instance norm see all of it, so that their networks cannot predict by tiles.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise([channels] + [width] * depth):
        layers += [*conv_norm(before, after, kernel=kernel, norm=norm), nn.ReLU(inplace=True)]
    return he_weights(nn.Sequential(*layers, nn.Conv2d(width, classes, 1)))
