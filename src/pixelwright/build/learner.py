"""Which weights of a network learn, at what rate, and whether its batches let them."""

import copy
import warnings

import torch
from torch import nn

from pixelwright.errors import PixelwrightWarning, RecipeError
from pixelwright.recipe import Recipe
from pixelwright.training.loop import Trainee
from pixelwright.training.optim import optimizers, set_apart
from pixelwright.training.thaw import Thaw

WITH_ENCODER = ("convnet", "mobilenet-unet", "smp", "timm", "timm-unet", "vgg16", "wide-resnet")
"""The models whose encoder can be shut or given a rate of its own."""


def thaw_of(recipe: Recipe, network: nn.Module) -> Thaw | None:
    """What shuts the encoder of a network, or parts of it; None if all of it learns.

    Raises:
        RecipeError: The network has no encoder, or its encoder no blocks.
    """
    train = recipe.train
    if train.encoder == "full":
        return None
    thaw = Thaw(_encoder(recipe, network, "train.encoder"), train.encoder)
    if train.encoder == "upper" and thaw.share(0.0) == 1:
        raise RecipeError(
            f"The encoder of {recipe.model} is a single row of layers, without an upper block that "
            f"could learn alone. Set train.encoder to gradual, frozen or full."
        )
    if recipe.model.options.get("weights", "none") == "none":
        warnings.warn(
            f"train.encoder = {train.encoder} shuts an encoder that starts from random weights. "
            f"Set model.weights, or leave train.encoder out.",
            PixelwrightWarning,
            stacklevel=2,
        )
    return thaw


def optimizer_of(recipe: Recipe, model: nn.Module, network: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of all weights that will ever learn, the encoder's at its factor of the rate.

    Args:
        recipe: Names it.
        model: Whose weights.
        network: The same network without the layer that scales pictures.

    Raises:
        RecipeError: The network has no encoder to give another rate.
    """
    train = recipe.train
    frozen = train.encoder == "frozen"
    if frozen:
        _encoder(recipe, network, "train.encoder").requires_grad_(False)
    optimizer: torch.optim.Optimizer = optimizers.build(train.optimizer, model=model, lr=train.lr)
    if train.encoder_lr != 1:
        encoder = _encoder(recipe, network, "train.encoder_lr")
        set_apart(optimizer, encoder.parameters(), train.encoder_lr)
    return optimizer


def _encoder(recipe: Recipe, network: nn.Module, key: str) -> nn.Module:
    encoder = getattr(network, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise RecipeError(
            f"{key} needs a model with an encoder, and {recipe.model.name} has none. Take one of "
            f"{', '.join(WITH_ENCODER)}, or leave {key} out."
        )
    return encoder


def check_batch(trainee: Trainee, recipe: Recipe, parts: int, side: tuple[int, int]) -> None:
    """Refuse batches that leave a layer one value to normalise by, before the first step (F63).

    Raises:
        RecipeError: The smallest part of a batch is too small for the network.
    """
    batch = recipe.train.batch_size
    size = -(-batch // parts)
    smallest = batch % size or size
    trainee.learn(1.0)
    ghost = copy.deepcopy(trainee.model).to("meta")
    images = torch.empty(smallest, recipe.channels, *side, device="meta")
    try:
        with torch.no_grad():
            ghost(images)
    except ValueError as error:
        if "Expected more than 1" not in str(error):
            raise
        raise RecipeError(
            f"{recipe.model.name} cannot learn from {smallest} image{'s' if smallest > 1 else ''} "
            f"of {side[0]}x{side[1]} px at a time: one of its layers would have a single value to "
            f"normalise by. Raise train.batch_size or train.crop, or lower train.accumulate."
        ) from None
    except (RuntimeError, NotImplementedError):
        # A step that cannot be followed without data tells nothing about the batch.
        return
