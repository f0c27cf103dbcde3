"""Weighted sums of losses: "cross-entropy + 0.5*dice:smooth=1"."""

import torch
from torch import Tensor

from pixelwright.errors import RecipeError
from pixelwright.losses import losses
from pixelwright.losses._loss import ClassWeights, Loss
from pixelwright.registry import parse_sum


def problems(text: str) -> list[str]:
    """Every reason why `text` names no loss, one sentence each; empty if it does."""
    try:
        terms = parse_sum(text)
    except RecipeError as error:
        return [str(error)]
    return [problem for _, spec in terms for problem in losses.problems(spec)]


def build_loss(text: str, classes: int, class_weights: ClassWeights) -> Loss:
    """Build a loss, or a weighted sum of several.

    Args:
        text: As in a recipe.
        classes: Number of classes.
        class_weights: Asked for the weights of a scheme, only where `text` names one.

    Raises:
        RecipeError: All problems of the text at once.
    """
    if found := problems(text):
        raise RecipeError(" ".join(found))
    terms = [
        (factor, losses.build(spec, classes=classes, class_weights=class_weights))
        for factor, spec in parse_sum(text)
    ]
    return combine(terms)


def combine(terms: list[tuple[float, Loss]]) -> Loss:
    """The weighted sum of losses as one loss."""
    if len(terms) == 1 and terms[0][0] == 1:
        return terms[0][1]

    def weighted_sum(logits: Tensor, target: Tensor) -> Tensor:
        return torch.stack([factor * loss(logits, target) for factor, loss in terms]).sum()

    return weighted_sum
