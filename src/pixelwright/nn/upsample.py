"""Ways to raise the resolution by a whole factor.

Paper: interpolate and convolve instead of transposed convolution, against checkerboards,
Odena et al., 2016, https://doi.org/10.23915/distill.00003;
transposed convolution, Long et al., 2015, https://arxiv.org/abs/1411.4038;
pixel shuffle, Shi et al., 2016, https://arxiv.org/abs/1609.05158, and its initial weights,
Aitken et al., 2017, https://arxiv.org/abs/1707.02937
Differs: a 1x1 convolution beside an interpolation comes first. It commutes with either
interpolation, whose weights sum to one, and costs a quarter there.
"""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Interpolation = Literal["nearest", "bilinear"]
Upsample = Literal[Interpolation, "transposed", "pixel-shuffle"]
INTERPOLATIONS: tuple[Upsample, ...] = get_args(Interpolation)
"""The ways that have no weights of their own."""


def upsample_by_two(
    how: Upsample, channels_in: int, channels_out: int, *, kernel: int = 1
) -> nn.Module:
    """A layer that doubles height and width and changes the channels; see `upsample_by`."""
    return upsample_by(2, how, channels_in, channels_out, kernel=kernel)


def double(how: Upsample, channels: int) -> nn.Module:
    """A layer that doubles height and width and keeps the channels, before a convolution.

    An interpolation has none of its own here.
    """
    if how in INTERPOLATIONS:
        return nn.Upsample(scale_factor=2, mode=how)
    return upsample_by_two(how, channels, channels)


def upsample_by(
    factor: int, how: Upsample, channels_in: int, channels_out: int, *, kernel: int = 1
) -> nn.Module:
    """A layer that multiplies height and width and changes the channels.

    Args:
        factor: At least 1.
        how: "nearest" and "bilinear" interpolate; "transposed" and "pixel-shuffle" learn a kernel
            for each of the `factor ** 2` pixels that a pixel becomes.
        channels_in: Channels of the input.
        channels_out: Channels of the output.
        kernel: Odd; side of the convolution's window. Beside an interpolation it runs at the new
            resolution, unless it is 1; a transposed convolution has `factor` at least, or pixels
            would stay empty.
    """
    if how == "transposed":
        side = max(kernel, factor)
        padding = (side - factor + 1) // 2
        return nn.ConvTranspose2d(
            channels_in,
            channels_out,
            side,
            stride=factor,
            padding=padding,
            output_padding=factor + 2 * padding - side,
        )
    if how == "pixel-shuffle":
        return PixelShuffle(channels_in, channels_out, factor, kernel)
    conv = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)
    grow = nn.Upsample(scale_factor=factor, mode=how)
    return nn.Sequential(conv, grow) if kernel == 1 else nn.Sequential(grow, conv)


class PixelShuffle(nn.Conv2d):
    """A convolution whose channels become the `factor` x `factor` pixels of its output.

    These pixels start with equal kernels, so that the layer starts as nearest upsampling and
    without a checkerboard.
    """

    def __init__(self, channels_in: int, channels_out: int, factor: int = 2, kernel: int = 1):
        self.factor = factor
        super().__init__(channels_in, channels_out * factor**2, kernel, padding=kernel // 2)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.equalise()

    def equalise(self) -> None:
        """Give the pixels that one pixel becomes the weights of the first of them."""
        with torch.no_grad():
            for values in (self.weight, self.bias):
                assert values is not None
                values.copy_(values[:: self.factor**2].repeat_interleave(self.factor**2, dim=0))

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d up_h up_w"]:
        return F.pixel_shuffle(super().forward(input), self.factor)
