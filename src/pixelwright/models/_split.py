"""A classifier of timm in two: what sees, and what decides.

timm keeps both in one module with two methods, `forward_features` and `forward_head`. Each half is
that module without the parts of the other, and runs its own method, so that the logits are the
library's to the last bit.
"""

import copy
from typing import Any, cast

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from pixelwright.errors import RecipeError
from pixelwright.models._timm import REFUSALS, first_line
from pixelwright.nn.classifier import Classifier

OPTIONS = {"img_size": "size", "drop_rate": "dropout", "drop_path_rate": "drop_path"}
"""What the user calls the arguments of the library."""


class Trunk(nn.Module):
    """What a network of timm does up to its last maps.

    Gives maps "n d h w", or tokens "n t d" where the network works on those: its class token could
    not be kept in maps.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self._channels_last = str(getattr(model, "output_fmt", "")).endswith("NHWC")

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n *rest"]:
        seen: Tensor = self.model.forward_features(images)
        return seen.permute(0, 3, 1, 2) if self._channels_last and seen.ndim == 4 else seen


class Decision(nn.Module):
    """What a network of timm does with them: pooling, and what comes after."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self._channels_last = str(getattr(model, "output_fmt", "")).endswith("NHWC")

    def forward(self, seen: Float[Tensor, "n *rest"]) -> Float[Tensor, "n k"]:
        if self._channels_last and seen.ndim == 4:
            seen = seen.permute(0, 2, 3, 1)
        return cast(Tensor, self.model.forward_head(seen))


def split(name: str, classes: int, channels: int, given: dict[str, Any]) -> Classifier:
    """A network of timm, its weights drawn as the library draws them.

    Args:
        name: Of timm.
        classes: Number of logits.
        channels: Of the images.
        given: More of what the library takes, by its names.

    Raises:
        RecipeError: The library or the network refuses what is given, or it is none in two halves.
    """
    try:
        model = timm.create_model(
            name, pretrained=False, num_classes=classes, in_chans=channels, **given
        )
    except REFUSALS as error:
        lacking = [OPTIONS[key] for key in given if f"'{key}'" in str(error)]
        raise RecipeError(
            f"timm's {name} has no option {lacking[0]}: leave it out."
            if lacking
            else f"timm's {name} cannot be built as told: {first_line(error)}."
        ) from None
    ghost = copy.deepcopy(model).to("meta").eval()
    image = torch.empty(2, channels, *_size(model), device="meta")
    try:
        with torch.no_grad():
            sees, seen = _used(ghost, ghost.forward_features, image)
            decides, logits = _used(ghost, ghost.forward_head, seen)
    except REFUSALS as error:
        raise _whole(name, first_line(error)) from None
    if both := sorted(sees & decides):
        raise _whole(name, f"{both[0]} is part of both")
    if not isinstance(seen, Tensor) or not isinstance(logits, Tensor) or logits.ndim != 2:
        raise _whole(name, "its trunk gives more than one tensor")
    return Classifier(Trunk(_without(model, decides)), Decision(_only(model, decides)))


def _used(model: Any, method: Any, given: Any) -> tuple[set[str], Any]:
    """The children of a module that a method of it calls, and what it returns."""
    called: set[str] = set()
    hooks = [
        # A list of modules is not called itself, so that those inside speak for it.
        module.register_forward_pre_hook(lambda *_, child=child: called.add(child))
        for child, top in model.named_children()
        for module in top.modules()
    ]
    try:
        return called, method(given)
    finally:
        for hook in hooks:
            hook.remove()


def _without(model: Any, children: set[str]) -> Any:
    rest = copy.copy(model)
    kept = {n: nn.Identity() if n in children else m for n, m in model._modules.items()}
    rest.__dict__["_modules"] = kept
    return rest


def _only(model: Any, children: set[str]) -> Any:
    part = copy.copy(model)
    part.__dict__["_modules"] = {n: m for n, m in model._modules.items() if n in children}
    part.__dict__["_parameters"], part.__dict__["_buffers"] = {}, {}
    return part


def _size(model: Any) -> tuple[int, int]:
    """Height and width of pictures that suit a network."""
    own = getattr(getattr(model, "patch_embed", None), "img_size", None)
    if isinstance(own, tuple):
        return own[0], own[1]
    _, height, width = model.pretrained_cfg["input_size"]
    return height, width


def _whole(name: str, reason: str) -> RecipeError:
    return RecipeError(
        f"timm's {name} cannot be taken apart into a trunk and a head: {reason}. Take one such as "
        f"resnet50, convnext_tiny, efficientnet_b0 or vit_tiny_patch16_224."
    )
