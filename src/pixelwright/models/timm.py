"""Any classifier of timm: ResNet, ConvNeXt, EfficientNet, ViT and hundreds more.

Source: timm, Wightman, 2019, https://github.com/huggingface/pytorch-image-models; its pages name
the paper of each network.
Differs: nothing; the library builds the network and draws its weights, and what is left out is the
library's default. Networks on tokens, such as ViT, give these in place of maps.
"""

from typing import Annotated

from pydantic import Field

from pixelwright.models._split import OPTIONS, split
from pixelwright.models._timm import EncoderName
from pixelwright.nn.classifier import Classifier


def timm(
    classes: int,
    channels: int,
    *,
    network: EncoderName = "resnet50",
    size: Annotated[int, Field(ge=1)] | None = None,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> Classifier:
    """Build a classifier of timm.

    Args:
        classes: Number of logits.
        channels: Number of input channels.
        network: Of timm, such as resnet50, convnext_tiny, efficientnet_b0 or vit_tiny_patch16_224.
        size: Side of the pictures in pixels, for networks that are made for one size, such as ViT;
            their own unless told. The recipe's size brings pictures to it.
        dropout: Share of the features before the last layer silenced while training.
        drop_path: Share of the images that do not pass the last block while training; it grows
            from block to block.

    Raises:
        RecipeError: The network has no such option, or cannot be taken apart.
    """
    told = {"size": size, "dropout": dropout, "drop_path": drop_path}
    given = {key: told[option] for key, option in OPTIONS.items() if told[option]}
    return split(network, classes, channels, given)
