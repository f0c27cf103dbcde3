"""Networks that turn images into logits, one family a file."""

from pixelwright.registry import Option, Registry

WEIGHTS = Option(
    "weights",
    str,
    "none",
    required=False,
    meaning="What a training starts from: none, the name of published weights of the encoder such "
    "as imagenet, a file of weights, or a run.",
)

models = Registry("model", "pixelwright.models", shared=(WEIGHTS,))
