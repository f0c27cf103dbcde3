"""A small convolutional network whose ingredients are one option apart, to learn what each does.

Stages of two 3x3 convolutions with ReLU; max pooling and twice the channels between them; then
each map's mean and one linear layer. Options add batch norm, split each convolution into a
depthwise and a pointwise one, or lay a path around each pair, and change nothing else.

Paper: the stages, Simonyan and Zisserman, 2015, https://arxiv.org/abs/1409.1556;
batch norm, Ioffe and Szegedy, 2015, https://arxiv.org/abs/1502.03167;
separable convolutions, Chollet, 2017, https://arxiv.org/abs/1610.02357, nothing between their two
halves; the path around, He et al., 2016, https://arxiv.org/abs/1512.03385
Differs: ours, after these; the convolution that sees the image is a full one everywhere, as a
depthwise one has nothing to tell three colours apart by.
"""

from collections import OrderedDict
from itertools import pairwise
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from pixelwright.errors import RecipeError
from pixelwright.nn.blocks import Block, he_weights
from pixelwright.nn.classifier import Classifier
from pixelwright.nn.depthwise import Depthwise
from pixelwright.nn.heads import average_head, dense_head

Norm = Literal["none", "batch"]
Conv = Literal["full", "separable"]
Layers = list[tuple[str, nn.Module]]


def convnet(
    classes: int,
    channels: int,
    *,
    width: Annotated[int, Field(ge=1)] = 64,
    depth: Annotated[int, Field(ge=1, le=6)] = 3,
    pairs: Annotated[int, Field(ge=1)] = 1,
    norm: Norm = "none",
    conv: Conv = "full",
    block: Block = "plain",
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    head: Literal["average", "dense"] = "average",
    hidden: Annotated[int, Field(ge=1)] | None = None,
) -> Classifier:
    """Build a network of 1.2 million parameters for pictures of about 32 x 32 pixels.

    Args:
        classes: Number of logits.
        channels: Number of input channels.
        width: Channels of the first stage; they double from stage to stage.
        depth: Number of stages; the maps of the last are 2 ** (depth - 1) times smaller than the
            picture.
        pairs: Pairs of convolutions in each stage.
        norm: What follows each convolution: nothing, or batch norm.
        conv: full, or separable: one window for each channel, then a 1x1 convolution over all of
            them; about an eighth of the parameters.
        block: plain, or residual: each pair is added to its own input, whose channels a 1x1
            convolution matches.
        dropout: Share of the values between stages, and of those before the last layer, silenced
            while training.
        head: average, the mean of each map; dense, a dense layer on the maps averaged to 4 x 4.
        hidden: Units of the dense layer; 256 unless told.

    Raises:
        RecipeError: An option that the head does not have.
    """
    if head == "average" and hidden is not None:
        raise RecipeError(
            f"convnet:head=average has no dense layer, so hidden={hidden} would do nothing. Take "
            f"head=dense, or leave it out."
        )
    widths = [channels, *(width * 2**level for level in range(depth))]
    layers: Layers = []
    for number, (before, after) in enumerate(pairwise(widths), 1):
        if number > 1:
            layers.append((f"pool{number - 1}", nn.MaxPool2d(2)))
        if number > 1 and dropout:
            layers.append((f"drop{number - 1}", nn.Dropout(dropout)))
        stage = (
            _pair(after if pair else before, after, norm, conv, block, first=number + pair == 1)
            for pair in range(pairs)
        )
        layers.append((f"stage{number}", nn.Sequential(*stage)))
    encoder = he_weights(nn.Sequential(OrderedDict(layers)))
    if head == "average":
        return Classifier(encoder, average_head(widths[-1], classes, dropout=dropout))
    units = (hidden or 256,)
    return Classifier(
        encoder, dense_head(widths[-1], classes, pool=4, hidden=units, dropout=dropout)
    )


def _pair(
    before: int, after: int, norm: Norm, conv: Conv, block: Block, *, first: bool
) -> nn.Module:
    body: Layers = [
        *_convolution(1, before, after, norm, "full" if first else conv),
        ("relu1", nn.ReLU(inplace=True)),
        *_convolution(2, after, after, norm, conv),
    ]
    if block == "residual":
        return Around(before, after, nn.Sequential(OrderedDict(body)), norm)
    return nn.Sequential(OrderedDict([*body, ("relu2", nn.ReLU(inplace=True))]))


def _convolution(number: int, before: int, after: int, norm: Norm, conv: Conv) -> Layers:
    """A 3x3 convolution, whole or in two halves, and what normalises it.

    Before a normalisation there is no bias, which would be subtracted again.
    """
    bias = norm == "none"
    if conv == "separable":
        layers: Layers = [
            (f"depth{number}", Depthwise(before, 3, bias=False)),
            (f"point{number}", nn.Conv2d(before, after, 1, bias=bias)),
        ]
    else:
        layers = [(f"conv{number}", nn.Conv2d(before, after, 3, padding=1, bias=bias))]
    if norm == "batch":
        layers.append((f"norm{number}", nn.BatchNorm2d(after)))
    return layers


class Around(nn.Module):
    """Two convolutions added to their input, whose channels a 1x1 convolution matches."""

    def __init__(self, before: int, after: int, body: nn.Module, norm: Norm) -> None:
        super().__init__()
        self.body = body
        shortcut: list[nn.Module] = []
        if before != after:
            shortcut.append(nn.Conv2d(before, after, 1, bias=norm == "none"))
            shortcut += [nn.BatchNorm2d(after)] if norm == "batch" else []
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        return torch.relu_(self.body(x) + self.shortcut(x))
