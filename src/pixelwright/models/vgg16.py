"""VGG16: thirteen 3x3 convolutions in five blocks, each halved by max pooling, and a head.

Paper: Simonyan and Zisserman, 2015, https://arxiv.org/abs/1409.1556, configuration D;
batch norm, Ioffe and Szegedy, 2015, https://arxiv.org/abs/1502.03167
Differs: three heads to choose from, of which "paper" is the paper's; pictures of any size from
32 x 32 on, since heads average the maps to the size that they take; initial weights of He et al.,
2015; all channels of the trunk may be scaled, and batch norm may follow each convolution.
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from pixelwright.errors import RecipeError
from pixelwright.nn.blocks import he_weights
from pixelwright.nn.classifier import Classifier
from pixelwright.nn.heads import average_head, dense_head

CONVOLUTIONS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of every convolution of configuration D, by block."""

Head = Literal["average", "dense", "paper"]
Norm = Literal["none", "batch"]


def vgg16(
    classes: int,
    channels: int,
    *,
    width: Annotated[float, Field(gt=0, le=4)] = 1.0,
    norm: Norm = "none",
    head: Head = "average",
    pool: Annotated[int, Field(ge=1, le=14)] | None = None,
    hidden: Annotated[int, Field(ge=1)] | None = None,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
) -> Classifier:
    """Build a VGG16 for pictures of 32 x 32 pixels or more.

    Args:
        classes: Number of logits.
        channels: Number of input channels.
        width: Factor on the channels of all convolutions; the paper's is 1, and only that fits the
            weights that others published.
        norm: What follows each convolution: nothing, as in the paper, or batch norm.
        head: average, the mean of each map and one linear layer; dense, a dense layer on all that
            the maps hold and a linear one; paper, two dense layers of 4096 units on 7 x 7 maps.
        pool: Side to which the maps are averaged before dense layers; 2 unless told, which is all
            that the maps of pictures of 64 pixels hold, and 7 for the paper's head.
        hidden: Units of each dense layer; 256 unless told, 4096 in the paper's head.
        dropout: Share of the units before each later layer silenced while training.

    Raises:
        RecipeError: An option that the head does not have.
    """
    widths = [[max(round(width * c), 1) for c in block] for block in CONVOLUTIONS]
    encoder = _trunk(channels, widths, norm)
    decide = _head(head, widths[-1][-1], classes, pool, hidden, dropout)
    return Classifier(he_weights(encoder), decide)


def _trunk(channels: int, widths: Sequence[Sequence[int]], norm: Norm) -> nn.Sequential:
    before = [channels, *(block[-1] for block in widths)]
    blocks = (_block(first, block, norm) for first, block in zip(before, widths, strict=False))
    return nn.Sequential(OrderedDict((f"block{n}", block) for n, block in enumerate(blocks, 1)))


def _block(channels: int, widths: Sequence[int], norm: Norm) -> nn.Sequential:
    layers: list[tuple[str, nn.Module]] = []
    for number, (before, after) in enumerate(pairwise([channels, *widths]), 1):
        # The published weights have a bias before a batch norm too, though it serves nothing there.
        layers.append((f"conv{number}", nn.Conv2d(before, after, 3, padding=1)))
        if norm == "batch":
            layers.append((f"norm{number}", nn.BatchNorm2d(after)))
        layers.append((f"relu{number}", nn.ReLU(inplace=True)))
    layers.append(("pool", nn.MaxPool2d(2)))
    return nn.Sequential(OrderedDict(layers))


def _head(
    design: Head,
    features: int,
    classes: int,
    pool: int | None,
    hidden: int | None,
    dropout: float,
) -> nn.Sequential:
    if design == "average":
        given = {"pool": pool, "hidden": hidden}
        if wrong := [f"{key}={value}" for key, value in given.items() if value is not None]:
            raise RecipeError(
                f"vgg16:head=average has no dense layer, so {' and '.join(wrong)} would do "
                f"nothing. Take head=dense, or leave it out."
            )
        return average_head(features, classes, dropout=dropout)
    if design == "dense":
        return dense_head(
            features, classes, pool=pool or 2, hidden=(hidden or 256,), dropout=dropout
        )
    units = hidden or 4096
    return dense_head(features, classes, pool=pool or 7, hidden=(units, units), dropout=dropout)
