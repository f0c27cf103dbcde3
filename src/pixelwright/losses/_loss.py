"""What a loss is, and the class weights that several of them take."""

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import BeforeValidator, Field
from torch import Tensor

from pixelwright.errors import RecipeError

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits "n k *hw" and int64 targets "n *hw" to one number; `IGNORE` targets count nowhere."""

ClassWeights = Callable[[str], Float[np.ndarray, " k"]]
"""The weights that a scheme, by its name, gives the classes of the training data."""

Scheme = Literal["none", "median-frequency", "inverse-frequency", "effective-number"]


def _listed(value: object) -> object:
    return value.split(",") if isinstance(value, str) and "," in value else value


Weights = Annotated[
    Scheme | tuple[Annotated[float, Field(ge=0)], ...],
    BeforeValidator(_listed),
]
"""A scheme that looks at the training data, or one weight per class: `weights=1,2.5,0`."""


def weight_tensor(
    weights: Weights, classes: int, class_weights: ClassWeights
) -> Float[Tensor, " k"] | None:
    """One weight per class, or None where all are equal.

    Raises:
        RecipeError: A list that does not have one weight per class, or none above zero.
    """
    if weights == "none":
        return None
    if isinstance(weights, str):
        return torch.as_tensor(class_weights(weights), dtype=torch.float32)
    if len(weights) != classes:
        raise RecipeError(
            f"weights={','.join(map(str, weights))} has {len(weights)} weights for {classes} "
            "classes. Give one for each, in the order of the classes."
        )
    if not any(weights):
        raise RecipeError("All class weights are 0, so nothing would be learnt. Raise one.")
    return torch.tensor(weights, dtype=torch.float32)


def at_least_float32(logits: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Logits of mixed precision, widened: sums over a million pixels need the digits."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
