"""What is exported: a network, what must be known of it, and its graph for pictures of any size."""

import contextlib
import copy
import dataclasses
import hashlib
import warnings
from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from pixelwright.errors import ExportError
from pixelwright.nn.classifier import Classifier
from pixelwright.nn.normalise import Normalised
from pixelwright.nn.receptive import Field
from pixelwright.nn.sizes import sizes_of

INPUT, OUTPUT = "image", "logits"


@dataclasses.dataclass(frozen=True)
class Source:
    """A trained network, as a file of another program is made from it.

    Args:
        network: Takes pixel values.
        field: What it sees.
        channels: Of its pictures.
        classes: Their names.
        side: Height and width of the pictures that a classifier was trained on; None for a network
            that gives every pixel a class.
        about: What else the file shall say of it, as JSON types.
    """

    network: Normalised
    field: Field
    channels: int
    classes: tuple[str, ...]
    side: tuple[int, int] | None = None
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of all that the logits follow from: structure, weights, normalisation, size."""
        found = hashlib.sha256(f"{self.network} {self.network.size}".encode())
        for name, value in self.network.state_dict().items():
            flat = value.detach().cpu().contiguous().reshape(-1)
            found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            found.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
        return found.hexdigest()


def program_of(source: Source) -> ExportedProgram:
    """The network's graph: float32 pixel values "n c h w" in, logits out, normalisation inside.

    Height and width are free, in multiples of `field.multiple`. A classifier that takes one size
    only gets a graph for the pictures that it was trained on.

    Raises:
        ExportError: torch cannot follow the network.
    """
    graph = _Graph(copy.deepcopy(source.network).cpu()).eval()
    if not isinstance(source.network.network, Classifier):
        multiple = source.field.multiple
        return _traced(graph, source.channels, _free(multiple), (3 * multiple, 5 * multiple))
    assert source.side is not None
    if source.network.size is not None:
        return _traced(graph, source.channels, _free(1), (37, 53))
    sizes = sizes_of(source.network.network, source.channels)
    if sizes.only is None:
        # From the size on that it was trained at: below, maps of one pixel take steps of their own.
        least = -(-max(*source.side, sizes.least) // sizes.multiple)
        height, width = ((least + more) * sizes.multiple for more in (3, 5))
        with contextlib.suppress(ExportError):
            return _traced(graph, source.channels, _free(sizes.multiple, least), (height, width))
    return _traced(graph, source.channels, {}, source.side)


class _Graph(nn.Module):
    """What `Normalised` computes, without choices that depend on a picture's size."""

    def __init__(self, normalised: Normalised) -> None:
        super().__init__()
        self.normalised = normalised

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k *hw"]:
        own = self.normalised
        pixels = image
        if own.size is not None:
            # Where pictures grow, the mean over what a pixel covers is plain interpolation.
            side = (own.size, own.size)
            pixels = F.interpolate(pixels, size=side, mode="bilinear", antialias=True)
        return cast(Tensor, own.network((pixels - own.mean) / own.std))


def _free(multiple: int, least: int = 1) -> dict[int, Any]:
    """Height and width as multiples of a number, from `least` of them on."""
    rows, columns = Dim("rows", min=least), Dim("columns", min=least)
    if multiple == 1:
        return {2: rows, 3: columns}
    return {2: multiple * rows, 3: multiple * columns}


def _traced(
    graph: nn.Module, channels: int, free: dict[int, Any], size: tuple[int, int]
) -> ExportedProgram:
    example = torch.zeros(2, channels, *size)
    shapes = {INPUT: {0: Dim("n", min=1), **free}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, to whoever wrote the network
        try:
            with torch.no_grad():
                return torch.export.export(graph, (example,), dynamic_shapes=shapes, strict=False)
        # torch has no common class for what stops it.
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise ExportError(
                f"torch cannot follow the network as a graph for pictures of any size: {reason}."
            ) from error
