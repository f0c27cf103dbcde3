"""FCNN: four convolutions, one of them at half resolution.

Paper: none; a least example of Long et al., 2015, https://arxiv.org/abs/1411.4038
Differs: trained from scratch, one scale, no skip connection.
"""

from typing import Annotated

from pydantic import Field
from torch import nn

from pixelwright.nn.blocks import Norm, conv_norm, he_weights
from pixelwright.nn.upsample import Upsample, double


def fcnn(
    classes: int,
    channels: int,
    *,
    norm: bool = False,
    upsample: Upsample = "nearest",
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> nn.Module:
    """Build the small fully convolutional network; height and width must be even.

    It has 9,712 + 401 * `classes` parameters for images of 3 channels: 10,514 for two classes;
    upsampling that is learnt adds 1,040 (transposed) or 1,088 (pixel shuffle).

    Args:
        classes: Number of output channels.
        channels: Number of input channels.
        norm: Follow each hidden convolution by batch norm.
        upsample: How the resolution doubles. An interpolation is followed by the last convolution
            and has none of its own.
        dropout: Share of the channels silenced before the last convolution while training.
    """
    kind: Norm = "batch" if norm else "none"
    layers = [
        *conv_norm(channels, 16, norm=kind),
        nn.ReLU(inplace=True),
        *conv_norm(16, 32, norm=kind),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        *conv_norm(32, 16, norm=kind),
        nn.ReLU(inplace=True),
        double(upsample, 16),
        *([nn.Dropout2d(dropout)] if dropout else []),
        nn.Conv2d(16, classes, 5, padding=2),
    ]
    return he_weights(nn.Sequential(*layers))
