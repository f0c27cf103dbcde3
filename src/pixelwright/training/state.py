"""All that must survive a crash, as one value: what `capture` takes, `restore` puts back.

Batches need no state: the batch of a step depends only on the seed and the step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pixelwright.errors import CheckpointError
from pixelwright.training.callbacks import Callback
from pixelwright.training.ema import Ema


@dataclass
class Progress:
    """How far a training has come.

    Args:
        step: Optimiser steps done.
        loss_sum: Of the training losses since the last row of the log.
        loss_count: How many these are.
        best: The best validation score so far, None before the first.
        skipped: Steps whose loss was not finite, not applied.
        stopped: Why a callback ended the training; empty while it goes on.
        seconds: Trained so far, over all sittings.
        log_length: Bytes of the log that belong to the steps done.
        largest: The largest input the network has seen: images, height, width.
    """

    step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    best: float | None = None
    skipped: int = 0
    stopped: str = ""
    seconds: float = 0.0
    log_length: int = 0
    largest: list[int] = field(default_factory=lambda: [0, 0, 0])


def capture(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: Ema | None,
    callbacks: Sequence[Callback],
    progress: Progress,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the plain values of a training."""
    tensors = {f"model/{name}": value for name, value in model.state_dict().items()}
    if ema:
        tensors |= {f"ema/{name}": value for name, value in ema.average.state_dict().items()}
    optimizer_state = optimizer.state_dict()
    for number, slots in optimizer_state["state"].items():
        for slot, value in slots.items():
            # Slots that are None (SGD without momentum) come back as absent, which is the same.
            if value is not None:
                tensors[f"optimizer/{number}/{slot}"] = torch.as_tensor(value)
    tensors["rng/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors |= {f"rng/cuda/{i}": s for i, s in enumerate(torch.cuda.get_rng_state_all())}
    meta = {
        "progress": asdict(progress),
        "callbacks": {callback.name: callback.state() for callback in callbacks},
        "groups": optimizer_state["param_groups"],
    }
    return tensors, meta


def restore(
    tensors: Mapping[str, Tensor],
    meta: Mapping[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: Ema | None,
    callbacks: Sequence[Callback],
) -> Progress:
    """Put a captured state back into objects built from the same recipe.

    Raises:
        CheckpointError: The state is of another model.
    """
    load_weights(model, _below(tensors, "model/"))
    if ema:
        load_weights(ema.average, _below(tensors, "ema/"))
    _restore_optimizer(optimizer, _below(tensors, "optimizer/"), meta["groups"])
    for callback in callbacks:
        if callback.name in meta["callbacks"]:
            callback.restore(meta["callbacks"][callback.name])
    torch.set_rng_state(tensors["rng/cpu"].to(torch.uint8))
    cuda = [value for name, value in tensors.items() if name.startswith("rng/cuda/")]
    if cuda and torch.cuda.device_count() == len(cuda):
        torch.cuda.set_rng_state_all(cuda)
    return Progress(**meta["progress"])


def load_weights(
    model: nn.Module, weights: Mapping[str, Tensor], where: str = "checkpoint"
) -> None:
    """Copy weights into a model, which keeps its device and memory format.

    Raises:
        CheckpointError: Names or shapes differ; the first three are listed.
    """
    own = model.state_dict()
    wrong = [f"{name} is missing" for name in own if name not in weights]
    wrong += [f"{name} is not of this model" for name in weights if name not in own]
    wrong += [
        f"{name} is {tuple(weights[name].shape)}, not {tuple(value.shape)}"
        for name, value in own.items()
        if name in weights and weights[name].shape != value.shape
    ]
    if wrong:
        raise CheckpointError(
            f"The weights of the {where} do not fit the model, {len(wrong)} differ: "
            f"{'; '.join(wrong[:3])}."
        )
    bad = [n for n, v in weights.items() if v.is_floating_point() and not v.isfinite().all()]
    if bad:
        raise CheckpointError(f"The {where} holds numbers that are not finite, in {bad[0]}.")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(weights[name])


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], groups: list[dict[str, Any]]
) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, _, slot = name.partition("/")
        parameter = parameters[int(number)]
        if value.shape == parameter.shape and value.ndim:
            # The kernels of fused optimisers walk weight and slot together in memory, so a slot
            # must have the strides of its weight, which a file does not keep.
            value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)  # noqa: PLW2901
        state.setdefault(int(number), {})[slot] = value
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
