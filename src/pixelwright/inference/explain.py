"""Where a network sees what speaks for a class: Grad-CAM, its like for segmenters, HiResCAM.

    explainer = Explainer(model.network, model.field, device="cpu")
    explainer.layer                               # "encoder", "down.3": whose maps are explained
    look = explainer.look(image)                  # one pass; no hook is left
    look.logits                                   # "k" of a classifier, "k h w" of a segmenter
    look.heat(3).map                              # of class 3, in [0, 1], as large as the image
    look.heat(3, hirescam, region=pixels)         # why these pixels are class 3, or are not

Both methods ask by how much the class's score would change with the maps of one layer. Grad-CAM
averages that over each map, so that it shows where maps are strong that speak for the class.
HiResCAM takes it place by place: what it shows adds up to the score, where the rest of the network
is linear in the maps, and it shows nothing where the score does not depend on the maps. For a few
pixels of a segmentation that tells "what was looked at" from "where such things are".

Paper: Grad-CAM, Selvaraju et al., 2017, https://arxiv.org/abs/1610.02391, equations 1 and 2;
of segmenters, Vinogradova et al., 2020, https://arxiv.org/abs/2002.11434;
HiResCAM, Draelos and Carin, 2020, https://arxiv.org/abs/2011.08891;
of segmenters, Rheude et al., 2024, https://arxiv.org/abs/2409.20287
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from pixelwright.errors import PredictError, first_few
from pixelwright.inference.layers import deepest, named
from pixelwright.inference.predictor import evaluating
from pixelwright.nn.classifier import Classifier
from pixelwright.nn.normalise import Normalised
from pixelwright.nn.receptive import Field
from pixelwright.types import Window

GRADIENT_PIXELS = 2**21
"""Most pixels of a pass whose gradients are taken: all that is computed behind the layer is kept in
memory, some gigabytes of a U-Net."""

Weigh = Callable[[Float[Tensor, "d rows cols"], Float[Tensor, "d rows cols"]], Tensor]
"""From maps and the score's gradient with regard to them to what each place adds."""


def gradcam(
    maps: Float[Tensor, "d rows cols"], gradient: Float[Tensor, "d rows cols"]
) -> Float[Tensor, "rows cols"]:
    """The maps' sum, each weighed by the mean of its gradient.

    Paper: Selvaraju et al., 2017, equation 1, and 2 without its ReLU
    """
    return torch.einsum("d,drc->rc", gradient.mean(dim=(1, 2)), maps)


def hirescam(
    maps: Float[Tensor, "d rows cols"], gradient: Float[Tensor, "d rows cols"]
) -> Float[Tensor, "rows cols"]:
    """The sum of maps times gradient, place by place.

    Paper: Draelos and Carin, 2020, https://arxiv.org/abs/2011.08891
    """
    return (gradient * maps).sum(dim=0)


METHODS: Mapping[str, Weigh] = {"gradcam": gradcam, "hirescam": hirescam}


@dataclass(frozen=True)
class Heat:
    """What speaks for a class, and where.

    Args:
        map: At the image's size, in [0, 1]: 1 where most speaks for the class, 0 where nothing does
            or where something speaks against it. All 0 if nothing does anywhere.
        raw: What each place of the layer's maps adds to the score, negative where it speaks against
            the class. It covers the image as the network took it: that of a segmenter may be
            padded at the right and bottom.
        score: What is explained: the class's logit, summed over the pixels if there are several.
    """

    map: Float32[np.ndarray, "h w"]
    raw: Float32[np.ndarray, "rows cols"]
    score: float


class Look:
    """One pass over one image, of which any class can be explained.

    Args:
        logits: Of the image as the network took it, with the graph that leads to them.
        maps: Of the layer, where that graph begins.
        size: Height and width of the image before it was padded.
        layer: The layer's name.
    """

    def __init__(
        self,
        logits: Float[Tensor, "1 k *padded"],
        maps: Float[Tensor, "1 d rows cols"],
        size: tuple[int, int],
        layer: str,
    ) -> None:
        self._logits = logits[0]
        self._maps = maps
        self._size = size
        self._layer = layer

    @property
    def places(self) -> tuple[int, int]:
        """Height and width of the layer's maps."""
        rows, cols = self._maps.shape[2:]
        return rows, cols

    @property
    def logits(self) -> Float32[np.ndarray, "k *hw"]:
        """Scores before softmax: of the image, or of each of its pixels."""
        height, width = self._size
        logits = self._logits.detach().float().cpu().numpy()
        return logits if logits.ndim == 1 else logits[:, :height, :width]

    def heat(
        self, index: int, weigh: Weigh = gradcam, region: Bool[np.ndarray, "h w"] | None = None
    ) -> Heat:
        """What speaks for a class.

        Args:
            index: Of the class.
            weigh: `gradcam` or `hirescam`.
            region: The pixels whose logits are explained; None takes those that are predicted as
                the class. Only for segmenters.

        Raises:
            PredictError: There are no such pixels, or the logits do not depend on the layer.
        """
        score = self._score(index, region)
        gradient = None
        if score.requires_grad:
            (gradient,) = torch.autograd.grad(
                score, self._maps, retain_graph=True, allow_unused=True
            )
        if gradient is None:
            raise PredictError(
                f"The logits do not depend on what the layer '{self._layer}' gives. Name one that "
                f"leads to them."
            )
        raw = weigh(self._maps[0].detach(), gradient[0]).float().cpu()
        return Heat(self._scaled(raw), raw.numpy(), float(score.detach()))

    def _score(self, index: int, region: Bool[np.ndarray, "h w"] | None) -> Tensor:
        if self._logits.ndim == 1:
            if region is not None:
                raise PredictError(
                    "The network gives the whole image one label, so that no region of it has a "
                    "label of its own. Leave the region out."
                )
            return self._logits[index]
        height, width = self._size
        logits = self._logits[:, :height, :width]
        if region is None:
            pixels = logits.detach().max(dim=0).indices == index
        else:
            pixels = torch.from_numpy(region).to(logits.device)
        if not pixels.any():
            raise PredictError(
                f"No pixel is predicted as class {index}, so there is nothing to explain. Name the "
                f"pixels by a region."
                if region is None
                else "The region has no pixel. Take one that has."
            )
        return logits[index][pixels].sum()

    def _scaled(self, raw: Float32[Tensor, "rows cols"]) -> Float32[np.ndarray, "h w"]:
        height, width = self._size
        across: tuple[int, ...] = self._size if self._logits.ndim == 1 else self._logits.shape[1:]
        # Antialiasing changes nothing where maps are enlarged, as nearly all are.
        grown = F.interpolate(raw.relu()[None, None], across, mode="bilinear", antialias=True)
        shown = grown[0, 0, :height, :width].numpy()
        most = shown.max()
        scaled: np.ndarray = shown / most if most > 0 else np.zeros_like(shown)
        return scaled.clip(0, 1)


class Explainer:
    """Looks at images with one layer's maps kept.

    The network is neither changed nor left with hooks, gradients or another mode.

    Args:
        model: Takes "1 c h w" pixel values and gives logits "1 k" or "1 k h w". It is moved to the
            device.
        field: Of the model.
        layer: The layer whose maps are explained, by its name inside the network, such as
            "encoder.layer3" or "merge.0". None takes the encoder of a classifier and of every
            network that has one, else the deepest maps. Of a layer that gives several maps the
            smallest are taken.
        channels: Of the images.
        device: Where the model runs.

    Raises:
        PredictError: There is no such layer, or the deepest maps cannot be found.
    """

    def __init__(
        self,
        model: nn.Module,
        field: Field,
        *,
        layer: str | None = None,
        channels: int = 3,
        device: str | torch.device = "cpu",
    ) -> None:
        self._model = model.to(device)
        self._device = torch.device(device)
        network = model.network if isinstance(model, Normalised) else model
        # A segmenter's logits must be as large as the image; a classifier has no such rule.
        labels = isinstance(network, Classifier)
        self._align = 1 if labels else math.lcm(field.stride, field.multiple)
        if layer is None:
            has_encoder = isinstance(getattr(network, "encoder", None), nn.Module)
            layer = "encoder" if has_encoder else deepest(network, field, channels)
        self.layer = layer
        self._module = named(network, layer)

    @property
    def parts(self) -> tuple[str, ...]:
        """The layers inside the one that is explained, in their order."""
        name, module = self.layer, self._module
        inside = list(module.named_children())
        while len(inside) == 1 and any(True for _ in inside[0][1].children()):
            name, module = f"{name}.{inside[0][0]}", inside[0][1]
            inside = list(module.named_children())
        return tuple(f"{name}.{part}" for part, _ in inside)

    def look(self, image: UInt8[np.ndarray, "h w c"]) -> Look:
        """Run the network over an image.

        Raises:
            PredictError: The image has no pixels, or the layer gives no maps, or several times.
        """
        height, width = image.shape[:2]
        if not height * width:
            raise PredictError(f"The image has no pixels: it is {height} x {width}.")
        padding = (0, -height % self._align), (0, -width % self._align), (0, 0)
        padded = np.pad(image, padding, mode="edge")
        batch = torch.from_numpy(padded).to(self._device).unsqueeze(0).permute(0, 3, 1, 2)
        with (
            evaluating(self._model),
            torch.no_grad(),
            _caught(self._module, self.layer) as caught,
        ):
            logits = self._model(batch)
        if len(caught) != 1:
            raise PredictError(_miscounted(self.layer, self.parts, len(caught)))
        return Look(logits, caught[0], (height, width), self.layer)


def around(
    region: Window, size: tuple[int, int], field: Field, most: int = GRADIENT_PIXELS
) -> tuple[Window, bool]:
    """The part of an image that has to be seen to explain a region of it.

    Args:
        region: Inside the image.
        size: Height and width of the image.
        field: Of the network.
        most: Pixels of the part.

    Returns:
        The part, and whether it holds all that the region's logits depend on.

    Raises:
        PredictError: The region alone has too many pixels.
    """
    align = math.lcm(field.stride, field.multiple)
    needed = max(size) if field.unbounded else field.radius
    for margin in range(needed, -align, -align):
        part = _widened(region, max(margin, 0), size, align)
        if part.height * part.width <= most:
            complete = part == Window(0, 0, *size) or (not field.unbounded and margin == needed)
            return part, complete
    raise PredictError(
        f"A region of {region.height} x {region.width} has more than the {most:,} pixels that can "
        f"be explained in one pass. Take a smaller one."
    )


def _widened(region: Window, margin: int, size: tuple[int, int], align: int) -> Window:
    """A region with so many pixels around it, to the grid on which the network's maps lie."""
    edges = []
    for start, length, end in (
        (region.top, region.height, size[0]),
        (region.left, region.width, size[1]),
    ):
        first = max(start - margin, 0) // align * align
        edges.append((first, min(-(-(start + length + margin) // align) * align, end) - first))
    (top, height), (left, width) = edges
    return Window(top, left, height, width)


@contextmanager
def _caught(module: nn.Module, layer: str) -> Iterator[list[Tensor]]:
    """Within, what the module gives is kept, and the graph of gradients begins there."""
    caught: list[Tensor] = []

    def hook(module: nn.Module, given: tuple[Any, ...], output: Any) -> Any:
        leaves, structure = tree_flatten(output)
        place = _smallest(leaves)
        if place is None:
            raise PredictError(_no_maps(layer, output))
        # From here on: what comes before needs no graph. The surrounding `no_grad` ends this too.
        torch.set_grad_enabled(True)
        maps = leaves[place].detach().requires_grad_()
        caught.append(maps)
        # The next layer may write into what it is given, as many a ReLU does.
        leaves[place] = maps.clone()
        return tree_unflatten(leaves, structure)

    handle = module.register_forward_hook(hook)
    try:
        yield caught
    finally:
        handle.remove()


def _smallest(leaves: list[Any]) -> int | None:
    """Which of a layer's outputs are its smallest maps; the last of equals."""
    sizes = {
        place: leaf.shape[2] * leaf.shape[3]
        for place, leaf in enumerate(leaves)
        if isinstance(leaf, Tensor) and leaf.ndim == 4 and leaf.numel() and leaf.is_floating_point()
    }
    return min(reversed(sizes), key=lambda place: sizes[place]) if sizes else None


def _no_maps(layer: str, output: Any) -> str:
    shapes = [tuple(leaf.shape) for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
    sizes = first_few(" x ".join(map(str, shape)) for shape in shapes) or "no tensor"
    return (
        f"The layer '{layer}' gives {sizes}, and not maps: 1 x channels x height x width. Name "
        f"one that does."
    )


def _miscounted(layer: str, parts: tuple[str, ...], times: int) -> str:
    if times:
        return (
            f"The layer '{layer}' runs {times} times in one pass, so that it is not clear which "
            f"maps are meant. Name a layer that runs once."
        )
    other = f"one inside it: {first_few(parts, 8)}" if parts else "another"
    return f"The layer '{layer}' does not run in a pass. Name {other}."
