"""Ways to double the resolution.

Paper: nearest and convolve instead of transposed convolution, against checkerboards,
Odena et al., 2016, https://doi.org/10.23915/distill.00003;
transposed convolution, Long et al., 2015, https://arxiv.org/abs/1411.4038
Differs: the convolution is 1x1 and comes first. It commutes with either interpolation, whose
weights sum to one, and costs a quarter there.
"""

from typing import Literal

from torch import nn

Upsample = Literal["nearest", "bilinear", "transposed"]


def upsample_by_two(how: Upsample, channels_in: int, channels_out: int) -> nn.Module:
    """A layer that doubles height and width and changes the channels.

    Args:
        how: "nearest" and "bilinear" interpolate; "transposed" learns its 2x2 kernel.
        channels_in: Channels of the input.
        channels_out: Channels of the output.
    """
    if how == "transposed":
        return nn.ConvTranspose2d(channels_in, channels_out, 2, stride=2)
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 1), nn.Upsample(scale_factor=2, mode=how)
    )
