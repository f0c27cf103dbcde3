"""Heads of classifiers: from the maps of a trunk to one logit for each class.

Paper: average, Lin et al., 2014, https://arxiv.org/abs/1312.4400, section 3.2;
dense layers of 4096 behind 7 x 7 maps, Simonyan and Zisserman, 2015,
https://arxiv.org/abs/1409.1556; dropout, Srivastava et al., 2014,
https://jmlr.org/papers/v15/srivastava14a.html
"""

import math
from collections import OrderedDict

from torch import nn


def average_head(features: int, classes: int, *, dropout: float = 0.0) -> nn.Sequential:
    """Each map's mean over the image, and one linear layer: pictures of any size.

    Args:
        features: Maps that the trunk gives.
        classes: Number of logits.
        dropout: Share of the means silenced while training.
    """
    layers: list[tuple[str, nn.Module]] = [
        ("pool", nn.AdaptiveAvgPool2d(1)),
        ("flat", nn.Flatten()),
    ]
    if dropout:
        layers.append(("drop", nn.Dropout(dropout)))
    layers.append(("out", _out(features, classes)))
    return nn.Sequential(OrderedDict(layers))


def dense_head(
    features: int, classes: int, *, pool: int, hidden: tuple[int, ...], dropout: float = 0.0
) -> nn.Sequential:
    """Maps brought to one size and laid flat, dense layers with ReLU, and a linear one.

    Args:
        features: Maps that the trunk gives.
        classes: Number of logits.
        pool: Side to which the maps are averaged, or repeated where they are smaller.
        hidden: Units of each dense layer.
        dropout: Share of each dense layer's units silenced while training.
    """
    layers: list[tuple[str, nn.Module]] = [
        ("pool", nn.AdaptiveAvgPool2d(pool)),
        ("flat", nn.Flatten()),
    ]
    before = features * pool**2
    for number, units in enumerate(hidden, 1):
        dense = nn.Linear(before, units)
        nn.init.normal_(dense.weight, std=math.sqrt(2 / before))
        nn.init.zeros_(dense.bias)
        layers += [(f"fc{number}", dense), (f"relu{number}", nn.ReLU(inplace=True))]
        if dropout:
            layers.append((f"drop{number}", nn.Dropout(dropout)))
        before = units
    layers.append(("out", _out(before, classes)))
    return nn.Sequential(OrderedDict(layers))


def _out(features: int, classes: int) -> nn.Linear:
    """The last layer; its first logits have the scale of its features."""
    out = nn.Linear(features, classes)
    nn.init.normal_(out.weight, std=math.sqrt(1 / features))
    nn.init.zeros_(out.bias)
    return out
