"""A network that gives an image one label: a trunk that sees, a head that decides."""

from typing import cast

from jaxtyping import Float
from torch import Tensor, nn


class Classifier(nn.Module):
    """Images to maps to logits.

    Every network that labels whole images is one of these, so that its trunk can be frozen, run
    once for all and explained, and its head be exchanged. A builder of such a network says so in
    its return annotation, which is how a recipe is told from one of segmentation.

    Args:
        encoder: From images "n c h w" to maps "n d h w", or to tokens "n t d" in transformers that
            keep a class token; its children in the order in which they run, so that the upper ones
            can be opened alone.
        head: From these maps to logits "n k".
    """

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        return cast(Tensor, self.head(self.encoder(images)))
