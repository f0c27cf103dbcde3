"""A copy of a model without data, to find out what the model does without computing it."""

import copy
from itertools import chain
from typing import TypeVar

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

_Mode = TypeVar("_Mode", bound=TorchDispatchMode)


def ghost_of(model: nn.Module) -> nn.Module:
    """A copy on the `meta` device in evaluation mode: shapes and types, no numbers.

    Its weights are never copied, so it costs no memory, however large the model is.
    """
    ghosts: dict[int, object] = {}
    for parameter in model.parameters():
        ghosts[id(parameter)] = nn.Parameter(_hollow(parameter), parameter.requires_grad)
    for buffer in model.buffers():
        ghosts[id(buffer)] = _hollow(buffer)
    return copy.deepcopy(model, ghosts).to("meta").eval()


def _hollow(tensor: torch.Tensor) -> torch.Tensor:
    """Shape, type and order in memory of a tensor."""
    return torch.empty_like(tensor.detach(), device="meta")


def light(mode: type[_Mode]) -> type[_Mode]:
    """A dispatch mode whose first call does not load torch's compiler, a second and 150 MB.

    torch wraps the method so that the compiler leaves it alone, and loads the compiler to say so.
    """
    plain = getattr(mode.__torch_dispatch__, "__wrapped__", None)
    if plain is not None:
        mode.__torch_dispatch__ = plain  # type: ignore[method-assign]
    return mode


def tensors_of(model: nn.Module) -> list[torch.Tensor]:
    """All parameters and buffers."""
    return list(chain(model.parameters(), model.buffers()))
