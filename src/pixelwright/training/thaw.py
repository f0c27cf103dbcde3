"""How much of an encoder learns, and when: all, its last block, nothing, or ever more from its end.

Paper: gradual unfreezing, Howard and Ruder, 2018, https://arxiv.org/abs/1801.06146
Differs: layer by layer over a stretch of the training, not a block an epoch; what is shut keeps its
running means and variances as well, which the paper's network does not have.
"""

from typing import Literal

from torch import nn

How = Literal["full", "upper", "frozen", "gradual"]

OPENING = (0.2, 0.7)
"""The stretch of training over which a gradual encoder opens, in progress."""

LISTS = ("blocks", "layers", "stages")
"""What libraries call a module that does nothing but hold the blocks of an encoder."""


class Thaw:
    """Opens and shuts the layers of an encoder, as a pure function of progress.

    A layer that is shut has no gradient and is in evaluation mode. Where all are shut, nothing of
    the encoder is kept for a way back.

    Args:
        encoder: Its layers are registered in the order in which they run.
        how: "frozen" never opens, "upper" is open from the last block on from the first step,
            "gradual" opens from the last layer to the first.
    """

    def __init__(self, encoder: nn.Module, how: How) -> None:
        self._how = how
        self._modules = list(encoder.modules())
        self._layers = [
            position
            for position, module in enumerate(self._modules)
            if any(True for _ in module.parameters(recurse=False))
        ]
        above = self._modules.index(last_block(encoder)) if how == "upper" else 0
        self._upper = sum(position >= above for position in self._layers)

    def share(self, progress: float) -> float:
        """The share of the layers that learns, in [0, 1]."""
        if self._how == "upper":
            return self._upper / len(self._layers)
        if self._how != "gradual":
            return float(self._how == "full")
        start, end = OPENING
        return min(max((progress - start) / (end - start), 0.0), 1.0)

    def apply(self, progress: float) -> None:
        """Open as many layers as this progress allows, shut the others."""
        shut = len(self._layers) - round(self.share(progress) * len(self._layers))
        # What has no weights, such as dropout, goes with the layer before it.
        first = self._layers[shut] if shut < len(self._layers) else len(self._modules)
        for position, module in enumerate(self._modules):
            learns = position >= first or not shut
            module.training = learns
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(learns)


def last_block(encoder: nn.Module) -> nn.Module:
    """The last of the parts that an encoder is made of, such as block 5 of a VGG16.

    Of its children that is the last one with several layers; what follows, such as a closing
    normalisation, learns with it. A module that only wraps another one, or a list of blocks, is
    looked into.
    """
    parts = [(name, child) for name, child in encoder.named_children() if _layers(child)]
    if len(parts) == 1:
        return last_block(parts[0][1])
    large = [(name, child) for name, child in parts if _layers(child) > 1]
    if not large:
        return encoder
    name, last = large[-1]
    return last_block(last) if name in LISTS else last


def _layers(module: nn.Module) -> int:
    """How many modules in it hold weights themselves."""
    return sum(any(True for _ in m.parameters(recurse=False)) for m in module.modules())
