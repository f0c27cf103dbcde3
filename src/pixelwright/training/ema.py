"""An average of the weights over the steps, often a better model than the last weights.

Paper: Polyak and Juditsky, 1992, https://doi.org/10.1137/0330046; exponential, with the warm-up of
TensorFlow's ExponentialMovingAverage: the decay at step s is at most (1 + s) / (10 + s).
"""

import copy

import torch
from torch import nn


class Ema:
    """Holds `average`, a copy of the model whose weights follow it slowly.

    Args:
        model: What to follow.
        decay: Share of the average that is kept in a step, in [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the model after optimiser step number `step` (from 1)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        ours = [p for p in self.average.state_dict().values() if p.is_floating_point()]
        theirs = [p for p in model.state_dict().values() if p.is_floating_point()]
        torch._foreach_lerp_(ours, theirs, 1 - decay)
        for mine, other in zip(self.average.buffers(), model.buffers(), strict=True):
            if not mine.is_floating_point():
                mine.copy_(other)
