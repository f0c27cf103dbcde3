"""Weights that timm published, from its hub."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from pixelwright.build.published.weights import (
    REFUSALS,
    Centring,
    Weights,
    hub,
    no_such,
    not_here,
    quiet,
)
from pixelwright.errors import CheckpointError


@dataclass(frozen=True)
class Timm:
    """Weights of timm, by the tag behind the dot: `a1_in1k` of `resnet18.a1_in1k`.

    Args:
        config: What timm says of the network.
        given: What it was built with, by timm's names, where that changes the shapes of weights.
    """

    config: Mapping[str, Any]
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return str(self.config["architecture"])

    def centring(self, tensors: Mapping[str, Tensor]) -> Centring:
        return tuple(self.config["mean"]), tuple(self.config["std"])

    def names(self) -> list[str]:
        import timm

        full = timm.list_pretrained(f"{self.title}.*")
        return [tag for tag in (name.partition(".")[2] for name in full) if tag]

    def fetch(self, name: str) -> Weights:
        import timm

        tag = self.config.get("tag") or "" if name == "imagenet" else name
        full = f"{self.title}.{tag}" if tag else self.title
        if name != "imagenet" and name not in self.names():
            raise no_such(self, name)
        config = timm.get_pretrained_cfg(full)
        if config is None or not config.has_weights:
            raise CheckpointError(
                f"Nobody published weights of {self.title}: set model.weights=none, or give a file."
            )
        try:
            with quiet():
                network = timm.create_model(full, pretrained=True)
        except (OSError, *REFUSALS) as error:
            where = f"huggingface.co/{config.hf_hub_id}" if config.hf_hub_id else str(config.url)
            file = config.hf_hub_filename or "model.safetensors" if config.hf_hub_id else ""
            where = f"{file} of {where}" if file else where
            raise not_here(full, where, hub(), error) from None
        return Weights(network.state_dict(), full, tuple(config.mean), tuple(config.std))

    def own_names(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        import timm

        published = timm.get_pretrained_cfg(self.title)
        head = published.classifier if published else None
        heads = [head] if isinstance(head, str) else list(head or ())
        rows = [len(tensors[f"{name}.weight"]) for name in heads if f"{name}.weight" in tensors]
        classes = rows[0] if rows else 0
        overlay = {"state_dict": dict(tensors), "num_classes": classes, "custom_load": False}
        try:
            network = timm.create_model(
                self.title,
                pretrained=True,
                num_classes=classes,
                pretrained_cfg_overlay=overlay,
                **self.given,
            )
        except REFUSALS:
            return tensors
        names: Mapping[str, Tensor] = network.state_dict()
        return names

    def places(self, name: str) -> tuple[str, ...]:
        # timm flattens and wraps modules where it gives maps of several resolutions.
        flat = name.replace(".", "_", 1)
        inside = name, f"model.{name}", f"model.{flat}", f"model.body.{name}", f"model.model.{name}"
        return *inside, f"encoder.model.{name}", f"head.model.{name}"
