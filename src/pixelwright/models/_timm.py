"""Encoders of timm by name, as maps at falling resolutions."""

import copy
from difflib import get_close_matches
from typing import Annotated, Any

import timm
import torch
from jaxtyping import Float
from pydantic import AfterValidator
from torch import Tensor, nn

from pixelwright.errors import RecipeError, unknown

REFUSALS = (RuntimeError, AttributeError, AssertionError, TypeError, ValueError)
"""What timm raises for a network that lacks something."""

FITS = "such as resnet34, vgg16_bn, convnext_tiny, efficientnet_b0 or mobilenetv3_small_100"


def known_encoder(name: str) -> str:
    """A name of timm's, with or without the tag of its weights; the nearest ones in the error."""
    bare, _, tag = name.partition(".")
    names = timm.list_models()
    if bare not in names:
        close = ", ".join(get_close_matches(bare, names, n=4, cutoff=0.5)) or "none is near"
        raise ValueError(
            f"timm has no encoder '{bare}'. Nearest: {close}. There are {len(names)}, {FITS}"
        )
    full = timm.list_pretrained(f"{bare}.*")
    if tag and name not in full:
        raise ValueError(
            unknown(f"set of weights of {bare}", tag, [f.partition(".")[2] for f in full])
        )
    return name


EncoderName = Annotated[str, AfterValidator(known_encoder)]


class Maps(nn.Module):
    """A network of timm that gives its last map at each of its resolutions, finest first.

    Args:
        name: Of timm.
        channels: Of the images.
        depth: Most halvings, or None for all.

    Raises:
        RecipeError: It has no maps at several resolutions, or takes pictures of one size only.
    """

    def __init__(self, name: str, channels: int, depth: int | None) -> None:
        super().__init__()
        last = _last_maps(name, channels)
        deepest = max(last) if depth is None else 2**depth
        if deepest not in last:
            there = ", ".join(str(reduction.bit_length() - 1) for reduction in sorted(last))
            raise RecipeError(
                f"timm's {name} has maps after {there} halvings, none after {depth}: set depth to "
                f"one of these, or leave it out."
            )
        taken = [last[reduction] for reduction in sorted(last) if reduction <= deepest]
        self.model: Any = _features(name, channels, taken)
        info = self.model.feature_info
        self.reductions: list[int] = info.reduction()
        self.widths: list[int] = info.channels()
        self._channels_last = str(getattr(self.model, "output_fmt", "")).endswith("NHWC")
        _drop_idle_stages(self.model)
        self._check_sizes(name, channels)

    def forward(self, image: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        maps = self.model(image)
        return [m.permute(0, 3, 1, 2) for m in maps] if self._channels_last else list(maps)

    def _check_sizes(self, name: str, channels: int) -> None:
        """Refuse networks made for one size, and those whose maps are cut at the edges."""
        ghost = copy.deepcopy(self).to("meta").eval()
        height, width = 2 * self.reductions[-1], 3 * self.reductions[-1]
        try:
            sizes = [
                tuple(m.shape[-2:])
                for m in ghost(torch.empty(1, channels, height, width, device="meta"))
            ]
        except REFUSALS as error:
            reason = first_line(error)
        else:
            if sizes == [(height // r, width // r) for r in self.reductions]:
                return
            reason = f"its maps of a picture of {height} x {width} are {_pairs(sizes)}"
        raise RecipeError(
            f"timm's {name} cannot be an encoder here, where pictures have any size: {reason}. "
            f"Take one {FITS}."
        )


def _last_maps(name: str, channels: int) -> dict[int, int]:
    """By how much each resolution is reduced, and the index of its last map."""
    reductions = _features(name, channels, None).feature_info.reduction()
    last = {reduction: index for index, reduction in enumerate(reductions)}
    if len(last) < 2 or any(reduction & (reduction - 1) for reduction in last):
        raise RecipeError(
            f"timm's {name} cannot be an encoder here: it gives maps at 1/"
            f"{', 1/'.join(map(str, sorted(last)))} of the picture, and a U-Net needs them at "
            f"several halvings. Take one {FITS}."
        )
    return last


def _features(name: str, channels: int, indices: list[int] | None) -> Any:
    chosen: Any = {} if indices is None else {"out_indices": tuple(indices)}
    # Nothing of the network is needed to read what it offers.
    with torch.device("meta" if indices is None else torch.get_default_device()):
        try:
            return timm.create_model(
                name, pretrained=False, features_only=True, in_chans=channels, **chosen
            )
        except REFUSALS as error:
            raise RecipeError(
                f"timm's {name} cannot be an encoder here: {first_line(error)}. Take one {FITS}."
            ) from None


def _drop_idle_stages(network: Any) -> None:
    """Cut MobileNets behind the last map that is asked for, as timm does other networks."""
    blocks = getattr(network, "blocks", None)
    stages = [info.get("stage") for info in network.feature_info.get_dicts()]
    if isinstance(blocks, nn.Sequential) and None not in stages:
        network.blocks = blocks[: max(stages)]


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _pairs(sizes: list[tuple[int, ...]]) -> str:
    return ", ".join(f"{height} x {width}" for height, width in sizes)
