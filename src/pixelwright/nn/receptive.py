"""What an output pixel of a model can see, and the sizes the model takes.

    field = field_of(model, channels=3)
    field.radius       # 94: pixels of context that a tile needs on each side
    field.stride       # 16: a tile must start on a multiple of this
    field.multiple     # 16: height and width must be multiples of this
    field.unbounded    # None, or what makes it see the whole image: "instance norm"

Followed operator by operator on a copy without data, so it serves any model that runs eagerly.
Paper: Araujo et al., 2019, https://doi.org/10.23915/distill.00021
Differs: also transposed convolutions, interpolation and any graph; the bounds are those of every
output pixel, not of one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pixelwright.errors import PredictError
from pixelwright.nn._reach import Reach, whole
from pixelwright.nn._rules import arguments, follow
from pixelwright.nn.ghost import ghost_of, light

# Sizes to look at a model with: powers of two for nearly all, then also thirds, fifths, sevenths.
_PROBES = (256, 960, 6720)
_MULTIPLES = (1, 2, 3, 4, 6, 7, 8, 12, 14, 16, 28, 32, 48, 56, 64, 96, 112, 128, 224, 256)
_TRIALS = ((1, 1), (2, 1), (2, 3), (5, 3))
_REFUSALS = (RuntimeError, ValueError, AssertionError)
"""What models raise at a size they do not take."""


@dataclass(frozen=True, slots=True)
class Field:
    """What an output pixel can see, over the worse of both axes, and which sizes fit.

    Args:
        before: Pixels to the left of it, and above.
        after: Pixels to the right of it, and below.
        stride: Moving the image by this many pixels moves the logits with it. Tiles must start on
            a multiple of it.
        multiple: Height and width must be multiples of this, or the logits lose the image's size.
        unbounded: None, or the step that lets a pixel see the whole image, in plain words; before
            and after are then 0 and mean nothing.
    """

    before: int
    after: int
    stride: int
    multiple: int
    unbounded: str | None = None

    @property
    def radius(self) -> int:
        """Pixels of context on each side that fix an output pixel."""
        return max(self.before, self.after)


def field_of(model: nn.Module, channels: int = 3) -> Field:
    """Follow what each output pixel of a model sees.

    Args:
        model: Takes "n c h w". It is neither run nor changed.
        channels: Of its input.

    Raises:
        PredictError: No size was found whose logits are as large as the image.
    """
    ghost = ghost_of(model)
    reach = _settled(ghost, channels)
    if reach.unbounded is not None:
        multiple = _size_rule(ghost, channels, _MULTIPLES)
        return Field(0, 0, multiple, multiple, reach.unbounded)
    stride = math.lcm(reach.h.stride, reach.w.stride)
    multiple = _size_rule(ghost, channels, [stride * factor for factor in _MULTIPLES[:7]])
    return Field(
        before=max(0, *(math.floor(-axis.first) for axis in (reach.h, reach.w))),
        after=max(0, *(math.floor(axis.last) for axis in (reach.h, reach.w))),
        stride=stride,
        multiple=multiple,
    )


def _settled(ghost: nn.Module, channels: int) -> Reach:
    """What the model sees at a size that suits it, if it sees the same at twice the size."""
    first = None
    for size in _PROBES:
        reach = _reach_at(ghost, channels, size)
        if reach.unbounded is None:
            twice = _reach_at(ghost, channels, 2 * size)
            if (reach.h, reach.w) == (twice.h, twice.w):
                return reach
            reach = whole(twice.unbounded or "a step that depends on the image's size")
        first = first or reach
    assert first is not None
    return first


def _reach_at(ghost: nn.Module, channels: int, size: int) -> Reach:
    image = torch.empty(1, channels, size, size, device="meta", dtype=_dtype(ghost))
    tracer = _Tracer(image)
    try:
        with torch.no_grad(), tracer:
            logits = ghost(image)
    except _REFUSALS as error:
        return whole(f"a step that cannot be followed ({str(error).partition(chr(10))[0]})")
    reach = tracer.seen_by(logits)
    if reach is None:
        return whole("logits that do not depend on the image")
    if reach.unbounded is None and (not reach.is_maps() or logits.shape[-2:] != image.shape[-2:]):
        return whole("logits that are not as large as the image")
    return reach


def _size_rule(ghost: nn.Module, channels: int, candidates: Any) -> int:
    """The first of the candidates whose multiples all fit."""
    for multiple in candidates:
        if all(_fits(ghost, channels, multiple * h, multiple * w) for h, w in _TRIALS):
            return int(multiple)
    raise PredictError(
        "The model keeps the size of no image that was tried, up to multiples of "
        f"{max(candidates)} pixels. Its logits must be as large as its input."
    )


def _fits(ghost: nn.Module, channels: int, height: int, width: int) -> bool:
    image = torch.empty(1, channels, height, width, device="meta", dtype=_dtype(ghost))
    try:
        with torch.no_grad():
            logits = ghost(image)
    except _REFUSALS:
        return False
    # Logits without height and width are a classifier's.
    return logits.ndim == 2 or tuple(logits.shape[-2:]) == (height, width)


def _dtype(ghost: nn.Module) -> torch.dtype:
    floats = (p.dtype for p in ghost.parameters() if p.dtype.is_floating_point)
    return next(floats, torch.float32)


@light
class _Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes, for every tensor made while it is active, what it sees of the image."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # Tensors are kept, so that an id is never used twice.
        self._seen: dict[int, tuple[Tensor, Reach]] = {}
        self._written: dict[int, Reach] = {}
        self._note(image, Reach().of_maps(tuple(image.shape), Reach().h, Reach().w))

    def seen_by(self, tensor: Tensor) -> Reach | None:
        """What a tensor sees of the image; None for one that does not depend on it."""
        if id(tensor) in self._seen:
            return self._seen[id(tensor)][1]
        return self._written.get(_storage(tensor))

    def _note(self, tensor: Tensor, reach: Reach) -> None:
        self._seen[id(tensor)] = (tensor, reach)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        inputs = [(t, self.seen_by(t)) for t in _tensors((args, kwargs))]
        result = func(*args, **kwargs)
        if any(reach is not None for _, reach in inputs):
            given = arguments(func, args, kwargs)
            for out in _tensors(result):
                reach = follow(func, given, out, inputs)
                if func._schema.is_mutable:
                    self._overwrite(out, reach)
                self._note(out, reach)
        return result

    def _overwrite(self, out: Tensor, reach: Reach) -> None:
        """An in-place step also changes the tensors that share its memory."""
        storage = _storage(out)
        partial = whole("writing into a part of a map")
        whole_tensor = out.untyped_storage().nbytes() == out.numel() * out.element_size()
        self._written[storage] = partial
        for tensor, _ in list(self._seen.values()):
            if _storage(tensor) == storage and tensor is not out:
                same = whole_tensor and tensor.shape == out.shape
                self._note(tensor, reach if same else partial)


def _tensors(tree: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
