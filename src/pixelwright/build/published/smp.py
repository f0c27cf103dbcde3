"""Weights that segmentation-models-pytorch published, from its hub."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from pixelwright.build.published.weights import (
    IMAGENET,
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
class Smp:
    """Weights of segmentation-models-pytorch's own encoders."""

    title: str

    def centring(self, tensors: Mapping[str, Tensor]) -> Centring:
        return IMAGENET

    def names(self) -> list[str]:
        from segmentation_models_pytorch.encoders import encoders

        return sorted(encoders[self.title]["pretrained_settings"])

    def fetch(self, name: str) -> Weights:
        from segmentation_models_pytorch import encoders as library

        if name not in self.names():
            raise no_such(self, name)
        source = library.encoders[self.title]["pretrained_settings"][name]
        try:
            with quiet():
                network = library.get_encoder(self.title, weights=name)
                pictures = library.get_preprocessing_params(self.title, pretrained=name)
        except (OSError, *REFUSALS) as error:
            where = f"huggingface.co/{source['repo_id']} at revision {source['revision'][:10]}"
            what, where = f"{self.title} ({name})", f"model.safetensors of {where}"
            raise not_here(what, where, hub(), error) from None
        if pictures["input_space"] != "RGB":
            raise CheckpointError(
                f"The weights '{name}' of {self.title} expect {pictures['input_space']} pictures; "
                f"only RGB can be given. Take {', '.join(n for n in self.names() if n != name)}."
            )
        full = pictures["input_range"][1]
        mean, std = (tuple(v / full for v in pictures[key]) for key in ("mean", "std"))
        return Weights(network.state_dict(), f"{self.title} ({name})", mean, std)

    def own_names(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        from segmentation_models_pytorch import encoders as library

        with quiet():
            network = library.get_encoder(self.title, weights=None)
        taken = dict(tensors)
        try:
            network.load_state_dict(taken)
        except REFUSALS:
            return tensors
        # The library takes the classifier's tensors out of what it is given, and renames others.
        kept = {id(tensor) for tensor in taken.values()}
        head = {name: tensor for name, tensor in tensors.items() if id(tensor) not in kept}
        return {**network.state_dict(), **head}

    def places(self, name: str) -> tuple[str, ...]:
        # Encoders that it takes from timm are flattened and wrapped.
        flat = name.replace(".", "_", 1)
        return name, f"model.{name}", f"model.{flat}", f"model.body.{name}", f"model.model.{name}"
