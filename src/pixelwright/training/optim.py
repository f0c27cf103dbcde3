"""Optimisers by name: sgd, rmsprop, adam, adamw.

Biases and the scales of normalisation are not decayed: shrinking them limits nothing but the
function's offset and scale (Goyal et al., 2017, https://arxiv.org/abs/1706.02677, section 5.3).
"""

from collections.abc import Iterable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from pixelwright.errors import RecipeError
from pixelwright.registry import Registry

optimizers = Registry(
    "optimizer", "pixelwright.training.optim", names=("adam", "adamw", "rmsprop", "sgd")
)

Decay = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Groups = list[dict[str, Any]]


def groups(model: nn.Module, weight_decay: float) -> Groups:
    """The trainable parameters, those of one dimension or none without weight decay."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]


def set_apart(
    optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter], factor: float
) -> None:
    """Give some parameters groups of their own, with a factor on the learning rate.

    To be called before the first step; the other parameters stay in the first groups.

    Paper: discriminative fine-tuning, Howard and Ruder, 2018, https://arxiv.org/abs/1801.06146
    """
    chosen = {id(parameter) for parameter in parameters}
    for group in list(optimizer.param_groups):
        inside = [p for p in group["params"] if id(p) in chosen]
        group["params"] = [p for p in group["params"] if id(p) not in chosen]
        if inside:
            rest = {key: value for key, value in group.items() if key != "params"}
            optimizer.add_param_group({**rest, "params": inside, "factor": factor})


def sgd(
    model: nn.Module,
    lr: float,
    *,
    momentum: Fraction = 0.9,
    nesterov: bool = False,
    weight_decay: Decay = 1e-4,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum.

    Args:
        momentum: Share of the last update that is kept.
        nesterov: Look ahead along the momentum.
        weight_decay: L2 penalty, on matrices and kernels only.
    """
    if nesterov and not momentum:
        raise RecipeError("optimizer sgd: nesterov looks ahead along a momentum above 0. Set one.")
    return torch.optim.SGD(groups(model, weight_decay), lr=lr, momentum=momentum, nesterov=nesterov)


def rmsprop(
    model: nn.Module,
    lr: float,
    *,
    alpha: Fraction = 0.99,
    momentum: Fraction = 0.0,
    weight_decay: Decay = 0.0,
) -> torch.optim.Optimizer:
    """Gradient over the root of its mean square (Hinton, lecture 6e, 2012).

    Args:
        alpha: Memory of the mean square.
        momentum: Share of the last update that is kept.
        weight_decay: L2 penalty, on matrices and kernels only.
    """
    return torch.optim.RMSprop(groups(model, weight_decay), lr=lr, alpha=alpha, momentum=momentum)


def adam(
    model: nn.Module,
    lr: float,
    *,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    weight_decay: Decay = 0.0,
) -> torch.optim.Optimizer:
    """Adam (Kingma and Ba, 2015, https://arxiv.org/abs/1412.6980).

    Args:
        beta1: Memory of the mean gradient.
        beta2: Memory of its mean square.
        weight_decay: L2 penalty, on matrices and kernels only.
    """
    return torch.optim.Adam(groups(model, weight_decay), lr=lr, betas=(beta1, beta2), fused=True)


def adamw(
    model: nn.Module,
    lr: float,
    *,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    weight_decay: Decay = 1e-2,
) -> torch.optim.Optimizer:
    """Adam with decoupled decay (Loshchilov and Hutter, 2019, https://arxiv.org/abs/1711.05101).

    Args:
        beta1: Memory of the mean gradient.
        beta2: Memory of its mean square.
        weight_decay: Part of a weight that decays in a step, times the learning rate.
    """
    return torch.optim.AdamW(groups(model, weight_decay), lr=lr, betas=(beta1, beta2), fused=True)
