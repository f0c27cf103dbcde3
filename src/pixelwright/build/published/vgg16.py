"""Weights of VGG16: torchvision's by name, and the names that torchvision and timm give to them."""

import contextlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixelwright.build.published.weights import (
    IMAGENET,
    Centring,
    Weights,
    no_such,
    not_here,
)
from pixelwright.errors import CheckpointError

CAFFE: Centring = (123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255,) * 3
"""Of the authors' own weights: only the mean of each colour is subtracted from pixel values."""

BLOCKS = (2, 2, 3, 3, 3)
"""Convolutions of each block."""

HEAD = {"classifier.0": "fc1", "classifier.3": "fc2", "classifier.6": "out"}
HEAD |= {"pre_logits.fc1": "fc1", "pre_logits.fc2": "fc2", "head.fc": "out"}
"""Our names of the dense layers by torchvision's, and by timm's."""

_PARTS = re.compile(r"(?P<layer>.+)\.(?P<part>weight|bias|running_mean|running_var|num_\w+)")


@dataclass(frozen=True)
class Vgg16:
    """Weights of VGG16.

    Args:
        batch_norm: Whether each convolution has one.
        width: Factor on the channels; published weights are of width 1.
    """

    batch_norm: bool
    width: float

    @property
    def title(self) -> str:
        return "vgg16 with batch norm" if self.batch_norm else "vgg16"

    def centring(self, tensors: Mapping[str, Tensor]) -> Centring:
        # torchvision ships the authors' trunk with a head of NaN.
        return CAFFE if _hollow(tensors) else IMAGENET

    def names(self) -> list[str]:
        return [weights.name for weights in self._library()]

    def fetch(self, name: str) -> Weights:
        if name != "imagenet" and name not in self.names():
            raise no_such(self, name)
        if self.width != 1:
            raise CheckpointError(
                f"Nobody published weights of vgg16:width={self.width:g}, only of width 1. Leave "
                f"width out, or set model.weights to none, a file or a run."
            )
        found = self._library().DEFAULT if name == "imagenet" else self._library()[name]
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        file = folder / str(found.url).rpartition("/")[2]
        try:
            # It tells of the download on standard output, which is not the place.
            with contextlib.redirect_stdout(sys.stderr):
                tensors = torch.hub.load_state_dict_from_url(
                    found.url, map_location="cpu", check_hash=True, weights_only=True
                )
        # A damaged file makes it raise whatever comes to hand.
        except Exception as error:
            if file.is_file():
                raise CheckpointError(
                    f"{file} is damaged. Delete it, so that it is fetched again."
                ) from None
            raise not_here(f"torchvision's {self.title}", found.url, str(folder), error) from None
        pictures = found.transforms()
        mean, std = tuple(pictures.mean), tuple(pictures.std)
        return Weights(tensors, f"torchvision's {self.title} ({found.name})", mean, std)

    def own_names(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        hollow, layers = _hollow(tensors), _layers("features.1.running_mean" in tensors)
        found = {}
        for name, tensor in tensors.items():
            split = _PARTS.fullmatch(name)
            layer, part = split.group("layer", "part") if split else (name, "")
            if layer in layers:
                found[f"encoder.{layers[layer]}.{part}"] = tensor
            elif layer in HEAD:
                if not hollow:
                    # timm has its dense layers as convolutions.
                    flat = tensor.flatten(1) if part == "weight" else tensor
                    found[f"head.{HEAD[layer]}.{part}"] = flat
            else:
                found[name] = tensor
        return found

    def places(self, name: str) -> tuple[str, ...]:
        return (name,)

    def _library(self) -> Any:
        from torchvision.models import VGG16_BN_Weights, VGG16_Weights

        return VGG16_BN_Weights if self.batch_norm else VGG16_Weights


def _layers(batch_norm: bool) -> dict[str, str]:
    """Our names of the trunk's layers by torchvision's and timm's, which count them through."""
    names, position = {}, 0
    for block, convolutions in enumerate(BLOCKS, 1):
        for number in range(1, convolutions + 1):
            names[f"features.{position}"] = f"block{block}.conv{number}"
            if batch_norm:
                names[f"features.{position + 1}"] = f"block{block}.norm{number}"
            position += 3 if batch_norm else 2
        position += 1
    return names


def _hollow(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the last layer holds nothing but NaN."""
    last = tensors.get("classifier.6.weight")
    return last is not None and bool(last.isnan().all())
