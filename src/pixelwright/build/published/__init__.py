"""Published weights of encoders: their names, where they come from, what pictures they expect.

there = published(network.encoder, spec)      # None: nobody published weights for this network
there.names()                                 # ["a1_in1k", "fb_swsl_ig1b_ft_in1k", ...]
there.fetch("imagenet")                       # from the hub, or from what it left on this disk
"""

from torch import nn

from pixelwright.build.published.smp import Smp
from pixelwright.build.published.timm import Timm
from pixelwright.build.published.vgg16 import Vgg16
from pixelwright.build.published.weights import Published, Weights
from pixelwright.models import models
from pixelwright.registry import Spec

__all__ = ["Published", "Smp", "Timm", "Vgg16", "Weights", "published"]


def published(encoder: nn.Module | None, spec: Spec) -> Published | None:
    """Who published weights for the encoder of a model."""
    if spec.name == "vgg16":
        options = models.resolve(spec).options
        return Vgg16(batch_norm=options.get("norm") == "batch", width=options.get("width", 1.0))
    config = getattr(getattr(encoder, "model", None), "pretrained_cfg", None)
    if config:
        size = models.resolve(spec).options.get("size") if spec.name == "timm" else None
        return Timm(dict(config), {"img_size": size} if size else {})
    if spec.name == "smp" and encoder is not None:
        default = models.options("smp")["encoder"].default
        return Smp(models.resolve(spec).options.get("encoder", default))
    return None
