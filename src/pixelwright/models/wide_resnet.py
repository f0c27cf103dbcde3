"""Wide residual network: a few wide residual blocks in place of many thin ones.

Paper: Zagoruyko and Komodakis, 2016, https://arxiv.org/abs/1605.07146;
normalisation and ReLU before each convolution, He et al., 2016, https://arxiv.org/abs/1603.05027;
stochastic depth, Huang et al., 2016, https://arxiv.org/abs/1603.09382
Differs: initial weights keep the variance of what goes forward, not of what comes back; what
stochastic depth leaves of a block while training is scaled up, so that nothing is scaled down when
predicting, and blocks are left out image by image, not for the whole batch.
"""

from collections import OrderedDict
from itertools import pairwise
from typing import Annotated

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import AfterValidator, Field
from timm.layers.drop import DropPath
from torch import Tensor, nn

from pixelwright.nn.blocks import he_weights
from pixelwright.nn.classifier import Classifier
from pixelwright.nn.heads import average_head

STEM = 16
"""Channels of the first convolution, and of the first group at width 1."""


def _in_blocks(depth: int) -> int:
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(
            "must be 6n + 4, three groups of n blocks with two convolutions: 10, 16, 22, 28, 40"
        )
    return depth


Depth = Annotated[int, AfterValidator(_in_blocks)]


def wide_resnet(
    classes: int,
    channels: int,
    *,
    depth: Depth = 16,
    width: Annotated[int, Field(ge=1)] = 2,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> Classifier:
    """Build a WRN-depth-width for pictures of about 32 x 32 pixels.

    Args:
        classes: Number of logits.
        channels: Number of input channels.
        depth: Layers with weights, 6n + 4: n blocks in each of three groups.
        width: Factor on the channels 16, 32 and 64 of the three groups.
        dropout: Share of the values between the two convolutions of a block silenced while
            training.
        drop_path: Share of the images that do not pass the last block while training; it grows
            from block to block in equal steps.
    """
    count = (depth - 4) // 6
    widths = [STEM, STEM * width, 2 * STEM * width, 4 * STEM * width]
    layers: list[tuple[str, nn.Module]] = [
        ("stem", nn.Conv2d(channels, STEM, 3, padding=1, bias=False))
    ]
    for number, (before, after) in enumerate(pairwise(widths)):
        blocks: list[tuple[str, nn.Module]] = []
        for position in range(count):
            share = drop_path * (number * count + position + 1) / (3 * count)
            stride = 2 if number and not position else 1
            inner = after if position else before
            blocks.append((f"block{position + 1}", Block(inner, after, stride, dropout, share)))
        if number == 2:
            # Belongs to the last group, so that it learns where only that does.
            blocks += [("norm", nn.BatchNorm2d(after)), ("relu", nn.ReLU(inplace=True))]
        layers.append((f"group{number + 1}", nn.Sequential(OrderedDict(blocks))))
    encoder = he_weights(nn.Sequential(OrderedDict(layers)))
    return Classifier(encoder, average_head(widths[-1], classes))


class Block(nn.Module):
    """Two 3x3 convolutions, each after batch norm and ReLU, added to their input.

    Where the channels change, the path around is a 1x1 convolution of what was normalised first.
    """

    def __init__(
        self, channels_in: int, channels_out: int, stride: int, dropout: float, drop_path: float
    ) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.drop = nn.Dropout(dropout) if dropout else nn.Identity()
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.shortcut = None
        if channels_in != channels_out or stride != 1:
            self.shortcut = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        first = F.relu(self.norm1(x), inplace=True)
        around = x if self.shortcut is None else self.shortcut(first)
        second = F.relu(self.norm2(self.conv1(first)), inplace=True)
        added: Tensor = self.drop_path(self.conv2(self.drop(second)))
        return around + added
