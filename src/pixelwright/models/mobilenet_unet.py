"""MobileNetV2 with the path up of pix2pix: the network of TensorFlow's segmentation tutorial.

Paper: MobileNetV2, Sandler et al., 2018, https://arxiv.org/abs/1801.04381;
pix2pix, Isola et al., 2017, https://arxiv.org/abs/1611.07004
Source: TensorFlow tutorial, https://www.tensorflow.org/tutorials/images/segmentation: skips where
blocks 1, 3, 6 and 13 are widest, and the projection of block 16; the path up doubles by transposed
3x3 convolutions of 512, 256, 128 and 64 channels with batch norm and ReLU; a last one gives logits.
Differs: any size that divides by 32, not 128 x 128; symmetric paddings, as timm's weights expect;
the transposed convolutions may be swapped for other ways of doubling; the encoder learns, unless
`train.encoder = "frozen"` says what the tutorial does.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, cast

import timm
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from pixelwright.nn.upsample import Upsample, upsample_by_two

TRANSPOSED_STD = 0.02
"""Deviation of the first weights of pix2pix."""

Encoder = Literal[
    "mobilenetv2_035",
    "mobilenetv2_050",
    "mobilenetv2_075",
    "mobilenetv2_100",
    "mobilenetv2_110d",
    "mobilenetv2_120d",
    "mobilenetv2_140",
]
Width = Annotated[int, Field(ge=1)]


def mobilenet_unet(
    classes: int,
    channels: int,
    *,
    encoder: Encoder = "mobilenetv2_100",
    widths: tuple[Width, Width, Width, Width] = (512, 256, 128, 64),
    upsample: Upsample = "transposed",
) -> nn.Module:
    """Build the network of the tutorial; height and width must divide by 32.

    Args:
        classes: Number of output channels.
        channels: Number of input channels.
        encoder: A MobileNetV2 of timm; the last number is its width in percent.
        widths: Channels of the path up, from the deepest level on.
        upsample: How the path up doubles the resolution; all with a 3x3 window.
    """
    return MobileNetUNet(classes, Expanded(encoder, channels), widths, upsample)


class Expanded(nn.Module):
    """A MobileNetV2 that gives its maps where they are widest, and the last one, finest first."""

    def __init__(self, name: Encoder, channels: int) -> None:
        super().__init__()
        model: Any = timm.create_model(
            name, pretrained=False, in_chans=channels, num_classes=0, global_pool=""
        )
        # What follows the last projection serves classification only.
        model.blocks[-1][-1].bn3 = nn.Identity()
        model.conv_head = nn.Identity()
        model.bn2 = nn.Identity()
        self.model = model
        halving = [block for block in self._blocks() if _halves(block)]
        self.widths: list[int] = [block.conv_pw.out_channels for block in halving]
        self.widths.append(model.blocks[-1][-1].conv_pwl.out_channels)

    def forward(self, image: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        model: Any = self.model
        x = model.bn1(model.conv_stem(image))
        maps = []
        for block in self._blocks():
            if _halves(block):
                # As the block's own forward; blocks that halve add nothing to their input.
                x = block.bn1(block.conv_pw(x))
                maps.append(x)
                x = block.bn3(block.conv_pwl(block.bn2(block.conv_dw(x))))
            else:
                x = block(x)
        return [*maps, x]

    def _blocks(self) -> Iterator[Any]:
        model: Any = self.model
        return (block for stage in model.blocks for block in stage)


def _halves(block: Any) -> bool:
    return tuple(block.conv_dw.stride) == (2, 2)


class MobileNetUNet(nn.Module):
    def __init__(
        self, classes: int, encoder: Expanded, widths: tuple[int, ...], upsample: Upsample
    ) -> None:
        super().__init__()
        self.encoder = encoder
        skips = encoder.widths[-2::-1]
        before = [encoder.widths[-1], *(w + s for w, s in zip(widths, skips, strict=True))]
        self.up = nn.ModuleList(
            nn.Sequential(
                _without_bias(_double(upsample, wide, fine)),
                nn.BatchNorm2d(fine),
                nn.ReLU(inplace=True),
            )
            for wide, fine in zip(before, widths, strict=False)
        )
        self.head = _double(upsample, before[-1], classes)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        *skips, x = self.encoder(image)
        for up in self.up:
            x = torch.cat([up(x), skips.pop()], dim=1)
        return cast(Tensor, self.head(x))


def _double(upsample: Upsample, channels_in: int, channels_out: int) -> nn.Module:
    layer = upsample_by_two(upsample, channels_in, channels_out, kernel=3)
    if isinstance(layer, nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, std=TRANSPOSED_STD)
    return layer


def _without_bias(layer: nn.Module) -> nn.Module:
    for module in layer.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.bias = None
    return layer
