"""Published weights of encoders: their names, where they come from, what pictures they expect.

there = published(network.encoder, spec)      # None: nobody published weights for this network
there.names()                                 # ["a1_in1k", "fb_swsl_ig1b_ft_in1k", ...]
there.fetch("imagenet")                       # from the hub, or from what it left on this disk
"""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import timm
from torch import Tensor, nn

from pixelwright.errors import CheckpointError, unknown
from pixelwright.models import models
from pixelwright.registry import Spec

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and deviation of ImageNet's pixels, which most encoders were centred and scaled by."""

_REFUSALS = (RuntimeError, ValueError, KeyError, TypeError, AttributeError, AssertionError)
"""What the libraries raise where tensors do not fit."""


@dataclass(frozen=True)
class Weights:
    """Tensors under the names that their maker gave them.

    Args:
        tensors: On the CPU.
        origin: Where they come from, for the user.
        mean: Of the pictures that they expect, in parts of the full range; None if nobody said.
        std: Likewise.
        classes: Their names, of a network that this program trained; None for all others.
        notes: What else the user should know.
    """

    tensors: Mapping[str, Tensor]
    origin: str
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


@runtime_checkable
class Published(Protocol):
    """The published weights of one encoder."""

    @property
    def title(self) -> str:
        """The encoder, as a user writes it."""

    @property
    def centring(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation of the pictures that most of its weights expect."""

    def names(self) -> list[str]:
        """Of its sets of weights, besides "imagenet", which is the usual one."""

    def fetch(self, name: str) -> Weights:
        """Weights by name.

        Raises:
            CheckpointError: There are none of that name, or they cannot be had.
        """

    def own_names(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Tensors of an older spelling under the names of today; as they are where none fits."""


def published(encoder: nn.Module | None, spec: Spec) -> Published | None:
    """Who published weights for the encoder of a model."""
    config = getattr(getattr(encoder, "model", None), "pretrained_cfg", None)
    if config:
        return Timm(dict(config))
    if spec.name == "smp" and encoder is not None:
        default = models.options("smp")["encoder"].default
        return Smp(models.resolve(spec).options.get("encoder", default))
    return None


@dataclass(frozen=True)
class Timm:
    """Weights of timm, by the tag behind the dot: `a1_in1k` of `resnet18.a1_in1k`."""

    config: Mapping[str, Any]

    @property
    def title(self) -> str:
        return str(self.config["architecture"])

    @property
    def centring(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return tuple(self.config["mean"]), tuple(self.config["std"])

    def names(self) -> list[str]:
        full = timm.list_pretrained(f"{self.title}.*")
        return [tag for tag in (name.partition(".")[2] for name in full) if tag]

    def fetch(self, name: str) -> Weights:
        tag = self.config.get("tag") or "" if name == "imagenet" else name
        full = f"{self.title}.{tag}" if tag else self.title
        if name != "imagenet" and name not in self.names():
            raise _no_such(self, name)
        config = timm.get_pretrained_cfg(full)
        if config is None or not config.has_weights:
            raise CheckpointError(
                f"Nobody published weights of {self.title}: set model.weights=none, or give a file."
            )
        try:
            with _quiet():
                network = timm.create_model(full, pretrained=True)
        except (OSError, *_REFUSALS) as error:
            where = f"huggingface.co/{config.hf_hub_id}" if config.hf_hub_id else str(config.url)
            file = config.hf_hub_filename or "model.safetensors" if config.hf_hub_id else ""
            raise _not_here(full, f"{file} of {where}" if file else where, error) from None
        return Weights(network.state_dict(), full, tuple(config.mean), tuple(config.std))

    def own_names(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        published = timm.get_pretrained_cfg(self.title)
        head = published.classifier if published else None
        heads = [head] if isinstance(head, str) else list(head or ())
        rows = [len(tensors[f"{name}.weight"]) for name in heads if f"{name}.weight" in tensors]
        classes = rows[0] if rows else 0
        overlay = {"state_dict": dict(tensors), "num_classes": classes, "custom_load": False}
        try:
            network = timm.create_model(
                self.title, pretrained=True, num_classes=classes, pretrained_cfg_overlay=overlay
            )
        except _REFUSALS:
            return tensors
        names: Mapping[str, Tensor] = network.state_dict()
        return names


@dataclass(frozen=True)
class Smp:
    """Weights of segmentation-models-pytorch's own encoders."""

    title: str

    @property
    def centring(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return IMAGENET

    def names(self) -> list[str]:
        from segmentation_models_pytorch.encoders import encoders

        return sorted(encoders[self.title]["pretrained_settings"])

    def fetch(self, name: str) -> Weights:
        from segmentation_models_pytorch import encoders as library

        if name not in self.names():
            raise _no_such(self, name)
        source = library.encoders[self.title]["pretrained_settings"][name]
        try:
            with _quiet():
                network = library.get_encoder(self.title, weights=name)
                pictures = library.get_preprocessing_params(self.title, pretrained=name)
        except (OSError, *_REFUSALS) as error:
            where = f"huggingface.co/{source['repo_id']} at revision {source['revision'][:10]}"
            raise _not_here(
                f"{self.title} ({name})", f"model.safetensors of {where}", error
            ) from None
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

        with _quiet():
            network = library.get_encoder(self.title, weights=None)
        taken = dict(tensors)
        try:
            network.load_state_dict(taken)
        except _REFUSALS:
            return tensors
        # The library takes the classifier's tensors out of what it is given, and renames others.
        kept = {id(tensor) for tensor in taken.values()}
        head = {name: tensor for name, tensor in tensors.items() if id(tensor) not in kept}
        return {**network.state_dict(), **head}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the hub's lines about every attempt, and smp's about names that begin with timm-."""
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        hub.setLevel(level)


def _no_such(there: Published, name: str) -> CheckpointError:
    known = unknown(f"set of weights of {there.title}", name, ["imagenet", *there.names()])
    return CheckpointError(f"{known} There is no file or run of that name either.")


def _not_here(what: str, where: str, error: Exception) -> CheckpointError:
    from huggingface_hub.constants import HF_HUB_CACHE

    reason = (str(error).splitlines() or [type(error).__name__])[0].partition(". ")[0].rstrip(".")
    return CheckpointError(
        f"The weights of {what} are not on this machine and could not be fetched ({reason}). "
        f"Either go online once, or copy what another machine fetched into {HF_HUB_CACHE}, or "
        f"download {where} and set model.weights=FILE; model.weights=none starts at random."
    )
