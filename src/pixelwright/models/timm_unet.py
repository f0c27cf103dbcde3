"""U-Net over any encoder of timm: ResNet, VGG, ConvNeXt, EfficientNet, MobileNet and hundreds more.

Paper: U-Net, Ronneberger et al., 2015, https://arxiv.org/abs/1505.04597
Source: timm, Wightman, 2019, https://github.com/huggingface/pytorch-image-models, for the encoders
Differs: the path down is the encoder; where it has no map, as at full resolution or at the half of
a ConvNeXt, the path up goes on without a skip connection; its channels are 16 at full resolution
and double with each level, whatever the encoder has.
"""

from typing import Annotated, cast

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from pixelwright.errors import RecipeError
from pixelwright.models._timm import EncoderName, Maps
from pixelwright.nn.blocks import Block, Norm, double_conv, he_weights
from pixelwright.nn.upsample import Upsample, upsample_by_two


def timm_unet(
    classes: int,
    channels: int,
    *,
    encoder: EncoderName = "resnet34",
    depth: Annotated[int, Field(ge=1, le=6)] | None = None,
    widths: tuple[Annotated[int, Field(ge=1)], ...] | None = None,
    block: Block = "plain",
    upsample: Upsample = "nearest",
    norm: Norm = "batch",
) -> nn.Module:
    """Build a U-Net whose path down is a network of timm.

    Args:
        classes: Number of output channels.
        channels: Number of input channels.
        encoder: A name of timm, such as resnet34, vgg16_bn, convnext_tiny or mobilenetv2_100.
        depth: Number of halvings; all that the encoder has unless told. Height and width must
            divide by `2 ** depth`.
        widths: Channels of the path up, from the deepest level on, one for each halving.
        block: Of the path up: two convolutions, or two with a path around them.
        upsample: How the path up doubles the resolution.
        norm: What follows each 3x3 convolution of the path up.

    Raises:
        RecipeError: The encoder has no maps of several resolutions, or none after so many halvings.
    """
    maps = Maps(encoder, channels, depth)
    halvings = maps.reductions[-1].bit_length() - 1
    widths = widths or tuple(16 * 2**level for level in reversed(range(halvings)))
    if len(widths) != halvings:
        raise RecipeError(
            f"timm-unet:encoder={encoder} takes {halvings} widths, one for each halving from the "
            f"deepest on, not {len(widths)}."
        )
    return TimmUNet(classes, maps, widths, block=block, upsample=upsample, norm=norm)


class TimmUNet(nn.Module):
    def __init__(
        self,
        classes: int,
        encoder: Maps,
        widths: tuple[int, ...],
        *,
        block: Block,
        upsample: Upsample,
        norm: Norm,
    ) -> None:
        super().__init__()
        skips = dict(zip(encoder.reductions, encoder.widths, strict=True))
        # At the level that each step of the path up arrives at.
        self._reductions = [2**level for level in reversed(range(len(widths)))]
        before = (encoder.widths[-1], *widths)
        up = [
            upsample_by_two(upsample, wide, fine)
            for wide, fine in zip(before, widths, strict=False)
        ]
        merge = [
            double_conv(fine + skips.get(reduction, 0), fine, block=block, norm=norm)
            for fine, reduction in zip(widths, self._reductions, strict=True)
        ]
        self.encoder = encoder
        self.up = nn.ModuleList(up)
        self.merge = nn.ModuleList(merge)
        self.head = nn.Conv2d(widths[-1], classes, 1)
        for part in (self.up, self.merge, self.head):
            he_weights(part)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        maps = dict(zip(self.encoder.reductions, self.encoder(image), strict=True))
        x = maps.pop(self.encoder.reductions[-1])
        for reduction, up, merge in zip(self._reductions, self.up, self.merge, strict=True):
            x = up(x)
            if reduction in maps:
                x = torch.cat([maps[reduction], x], dim=1)
            x = merge(x)
        return cast(Tensor, self.head(x))
