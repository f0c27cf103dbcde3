"""A layer of a network by its name, or by where it lies."""

import copy
import math
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from pixelwright.errors import PredictError, first_few
from pixelwright.nn.receptive import Field


def named(network: nn.Module, layer: str) -> nn.Module:
    """The module of this name.

    Raises:
        PredictError: There is none.
    """
    modules: dict[str, nn.Module] = dict(network.named_modules())
    if layer in modules and layer:
        return modules[layer]
    close = get_close_matches(layer, modules, n=1, cutoff=0.5)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    home = layer
    while home not in modules:
        home = home.rpartition(".")[0]
    inside = [f"{home}.{name}".strip(".") for name, _ in modules[home].named_children()]
    known = f"Inside '{home}' there are" if home else "The outermost are"
    raise PredictError(
        f"No layer of the network is called '{layer}'.{hint} {known} {first_few(inside, 12)}."
    )


def deepest(network: nn.Module, field: Field, channels: int = 3) -> str:
    """The name of the layer with the deepest maps.

    These are the smallest ones; of those the ones with most channels; of those the outermost layer,
    as blocks say more than their parts, and the last. Found on one pass without data over an image
    of sides 3:5: what has other sides is no map of the image, but a summary of it, as in pyramid
    pooling. Layers that run several times are left out.

    Raises:
        PredictError: There are none.
    """
    ghost = copy.deepcopy(network).to("meta").eval()
    unit = math.lcm(field.multiple, field.stride, 64)
    weights = (p.dtype for p in ghost.parameters() if p.dtype.is_floating_point)
    dtype = next(weights, torch.float32)
    image = torch.empty(1, channels, 3 * unit, 5 * unit, device="meta", dtype=dtype)
    given: dict[str, list[Any]] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            idle = isinstance(module, nn.Identity) or "drop" in type(module).__name__.lower()
            given.setdefault(name, []).append(None if idle else output)

        return hook

    for name, module in ghost.named_modules():
        if name:
            module.register_forward_hook(note(name))
    try:
        with torch.no_grad():
            logits = ghost(image)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise PredictError(
            f"The deepest maps of the network cannot be found, as it does not run without data "
            f"({reason}). Name a layer."
        ) from error
    found = {
        name: tuple(outputs[0].shape)
        for name, outputs in given.items()
        if len(outputs) == 1 and outputs[0] is not logits and _is_map(outputs[0], image)
    }
    if not found:
        raise PredictError("The network has no layer whose maps are in proportion to the image.")
    least = min(shape[2] for shape in found.values())
    small = {name: shape for name, shape in found.items() if shape[2] == least}
    names = [name for name in small if not any(name.startswith(f"{outer}.") for outer in small)]
    # Equal ones in the order in which they ran, so that the last wins.
    return max(reversed(names), key=lambda name: (small[name][1], -name.count(".")))


def _is_map(output: Any, image: Tensor) -> bool:
    if not isinstance(output, Tensor) or output.ndim != 4 or not output.numel():
        return False
    rows, cols = output.shape[2:]
    return rows * image.shape[3] == cols * image.shape[2] and rows <= image.shape[2]
