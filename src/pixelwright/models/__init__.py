"""Networks that turn images into logits, one family a file."""

from typing import get_type_hints

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


def gives_one_label(name: str) -> bool:
    """Whether the model of this name labels whole images, not every pixel.

    Raises:
        RecipeError: No model has this name.
    """
    from pixelwright.nn.classifier import Classifier

    return get_type_hints(models.builder(name)).get("return") is Classifier
