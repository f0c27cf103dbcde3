"""Convolutions in the pairs that encoders and decoders are built from.

Paper: plain blocks, Simonyan and Zisserman, 2015, https://arxiv.org/abs/1409.1556;
residual blocks, He et al., 2016, https://arxiv.org/abs/1512.03385;
layer norm, Ba et al., 2016, https://arxiv.org/abs/1607.06450, over the channels of each pixel;
initial weights, He et al., 2015, https://arxiv.org/abs/1502.01852
"""

import math
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from pixelwright.nn.upsample import PixelShuffle

Block = Literal["plain", "residual"]
Norm = Literal["none", "batch", "layer", "group", "instance"]
"""Batch and layer norm work on a part of an image as on all of it; the last two see all of it."""


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ValueError("must be odd, or the output would be shifted by half a pixel")
    return kernel


Kernel = Annotated[int, Field(ge=1), AfterValidator(_odd)]
"""Side of a window in pixels."""


def norm_layers(norm: Norm, channels: int) -> list[nn.Module]:
    """The normalisation after a convolution: one layer, or none."""
    match norm:
        case "batch":
            return [nn.BatchNorm2d(channels)]
        case "layer":
            return [PixelNorm(channels)]
        case "group":
            return [nn.GroupNorm(math.gcd(channels, 8), channels)]
        case "instance":
            return [nn.InstanceNorm2d(channels, affine=True)]
        case "none":
            return []


def conv_norm(
    channels_in: int, channels_out: int, *, kernel: int = 3, stride: int = 1, norm: Norm = "none"
) -> list[nn.Module]:
    """A convolution that keeps the size or divides it by a stride, and its normalisation if any.

    Args:
        channels_in: Channels of the input.
        channels_out: Channels of the output.
        kernel: Odd; side of the window in pixels.
        stride: What height and width are divided by.
        norm: A convolution before a normalisation has no bias, which would be subtracted again.
    """
    conv = nn.Conv2d(
        channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=norm == "none"
    )
    return [conv, *norm_layers(norm, channels_out)]


def double_conv(
    channels_in: int,
    channels_out: int,
    *,
    block: Block = "plain",
    kernel: int = 3,
    norm: Norm = "batch",
) -> nn.Module:
    """Two convolutions with ReLU, with or without a path around them."""
    if block == "residual":
        return Residual(channels_in, channels_out, norm, kernel)
    return nn.Sequential(
        *conv_norm(channels_in, channels_out, kernel=kernel, norm=norm),
        nn.ReLU(inplace=True),
        *conv_norm(channels_out, channels_out, kernel=kernel, norm=norm),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two convolutions added to their input; a 1x1 convolution matches the channels."""

    def __init__(self, channels_in: int, channels_out: int, norm: Norm, kernel: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_norm(channels_in, channels_out, kernel=kernel, norm=norm),
            nn.ReLU(inplace=True),
            *conv_norm(channels_out, channels_out, kernel=kernel, norm=norm),
        )
        same = channels_in == channels_out
        shortcut = [] if same else conv_norm(channels_in, channels_out, kernel=1, norm=norm)
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        return torch.relu_(self.body(x) + self.shortcut(x))


class PixelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel, free of a copy where channels lie last."""

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def he_weights(network: nn.Module) -> nn.Module:
    """Draw every convolution's weights so that ReLU layers keep the variance; biases are 0.

    Pixel shuffles start with equal kernels all the same.

    Paper: He et al., 2015, https://arxiv.org/abs/1502.01852, equation 10
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            inputs = module.in_channels // module.groups * math.prod(module.kernel_size)
            if isinstance(module, nn.ConvTranspose2d):
                # The windows of a transposed convolution share its outputs out among them.
                inputs //= math.prod(module.stride)
            nn.init.normal_(module.weight, std=math.sqrt(2 / inputs))
            if isinstance(module, PixelShuffle):
                module.equalise()
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network
