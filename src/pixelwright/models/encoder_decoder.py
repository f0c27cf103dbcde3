"""Plain encoder and decoder: strided convolutions down, transposed convolutions up, nothing across.

Source: Chollet, Deep Learning with Python, 2nd edition, 2021, section 9.2, the network for pets
Differs: a transposed convolution without a stride is written as the convolution that it is; initial
weights of He et al., 2015, instead of Glorot and Bengio, 2010; logits, no softmax.
"""

from typing import Annotated

from pydantic import Field
from torch import nn

from pixelwright.nn.blocks import Norm, conv_norm, he_weights, norm_layers
from pixelwright.nn.upsample import Upsample, upsample_by_two


def encoder_decoder(
    classes: int,
    channels: int,
    *,
    width: Annotated[int, Field(ge=1)] = 64,
    depth: Annotated[int, Field(ge=1, le=8)] = 3,
    upsample: Upsample = "transposed",
    norm: Norm = "none",
) -> nn.Module:
    """Build the plain encoder and decoder of 3x3 convolutions; by default exactly the book's.

    It then has 2,880,643 parameters for three classes.

    Args:
        classes: Number of output channels.
        channels: Number of input channels.
        width: Channels at half resolution; they double at every further halving.
        depth: Number of halvings. Height and width must divide by `2 ** depth`.
        upsample: How the path up doubles the resolution, each way with a 3x3 window.
        norm: What follows each convolution but the last: batch and layer norm work on parts of an
            image as on the whole; group and instance norm see all of it, so that their networks
            cannot predict by tiles. The book has none; batch norm makes training much easier.
    """
    widths = [width * 2**level for level in range(depth)]
    layers: list[nn.Module] = []
    given = channels
    for wide in widths:
        layers += [*conv_norm(given, wide, stride=2, norm=norm), nn.ReLU(inplace=True)]
        layers += [*conv_norm(wide, wide, norm=norm), nn.ReLU(inplace=True)]
        given = wide
    for wide in reversed(widths):
        layers += [*conv_norm(given, wide, norm=norm), nn.ReLU(inplace=True)]
        layers += [upsample_by_two(upsample, wide, wide, kernel=3), *norm_layers(norm, wide)]
        layers += [nn.ReLU(inplace=True)]
        given = wide
    return he_weights(nn.Sequential(*layers, nn.Conv2d(width, classes, 3, padding=1)))
