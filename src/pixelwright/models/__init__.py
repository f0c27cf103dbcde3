"""Networks that turn images into logits, one family a file."""

from pixelwright.registry import Registry

models = Registry("model", "pixelwright.models")
