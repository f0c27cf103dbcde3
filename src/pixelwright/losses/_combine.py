"""Weighted sums of losses: "cross-entropy + 0.5*dice:smooth=1"."""

from collections.abc import Sequence
from typing import NamedTuple

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


class Term(NamedTuple):
    """One loss of a sum: its factor, its name as in a recipe, and itself."""

    factor: float
    name: str
    loss: Loss


def build_terms(text: str, classes: int, class_weights: ClassWeights) -> list[Term]:
    """Build the losses of a sum.

    Args:
        text: As in a recipe.
        classes: Number of classes.
        class_weights: Asked for the weights of a scheme, only where `text` names one.

    Raises:
        RecipeError: All problems of the text at once.
    """
    if found := problems(text):
        raise RecipeError(" ".join(found))
    return [
        Term(factor, str(spec), losses.build(spec, classes=classes, class_weights=class_weights))
        for factor, spec in parse_sum(text)
    ]


def combine(terms: Sequence[Term]) -> Loss:
    """The weighted sum of losses as one loss."""
    if len(terms) == 1 and terms[0].factor == 1:
        return terms[0].loss

    def weighted_sum(logits: Tensor, target: Tensor) -> Tensor:
        return torch.stack([factor * loss(logits, target) for factor, _, loss in terms]).sum()

    return weighted_sum


def build_loss(text: str, classes: int, class_weights: ClassWeights) -> Loss:
    """Build a loss, or a weighted sum of several; see `build_terms`."""
    return combine(build_terms(text, classes, class_weights))
