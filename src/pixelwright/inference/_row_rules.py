"""How each ATen operator becomes one that runs by rows; an operator without a rule is refused."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pixelwright.inference._resizes import Grow, Pad, Shrink, Shuffle, Unshuffle
from pixelwright.inference._rows import RowOp
from pixelwright.inference._rowwise import PerChannel, Reshaped, Rowwise, Slot
from pixelwright.inference._windows import AvgPool, Conv, MaxPool, Transposed
from pixelwright.nn._rules import PLAIN_WORDS, POINTWISE


class RefusedError(Exception):
    """An operator that cannot be run by rows, in plain words."""


@dataclass(frozen=True)
class Map:
    """A value that depends on the image.

    Args:
        number: Of the node that makes it; 0 is the image.
        shape: At the size at which the network was looked at.
        dims: Where its rows and its columns lie.
    """

    number: int
    shape: tuple[int, ...]
    dims: tuple[int, int] = (2, 3)

    @property
    def plain(self) -> bool:
        """Whether it lies as "n c h w"."""
        return len(self.shape) == 4 and self.dims == (2, 3)


@dataclass(frozen=True)
class Call:
    """An operator of the graph.

    Args:
        target: The ATen overload.
        args: A `Slot` stands for each map; weights and constants are tensors.
        kwargs: Likewise.
        maps: For the slots, in their order.
        shape: Of the result.
    """

    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    maps: tuple[Map, ...]
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        return str(self.target.overloadpacket.__name__)

    @property
    def given(self) -> dict[str, Any]:
        """Arguments by name, defaults filled in."""
        return {
            argument.name: self.args[number]
            if number < len(self.args)
            else self.kwargs.get(argument.name, argument.default_value)
            for number, argument in enumerate(self.target._schema.arguments)
        }

    def rowwise(self) -> Rowwise:
        return Rowwise(self.target, self.args, self.kwargs)

    def plain(self) -> Map:
        """The one map that it takes, as "n c h w"."""
        if len(self.maps) != 1 or not self.maps[0].plain:
            raise RefusedError(f"{self.name} of such maps")
        return self.maps[0]


Found = tuple[RowOp, tuple[int, int]]
"""An operator, and where rows and columns of its result lie."""

MAPS = (2, 3)


def follow(call: Call) -> Found | None:
    """The operator of a call; None for one that changes nothing.

    Raises:
        RefusedError: It cannot be run by rows.
    """
    if call.name in RULES:
        return RULES[call.name](call)
    if (
        call.name in _AS_THEY_ARE
        or call.name in POINTWISE
        or torch.Tag.pointwise in call.target.tags
    ):
        return _pointwise(call)
    raise RefusedError(PLAIN_WORDS.get(call.name, call.name.strip("_")))


_AS_THEY_ARE = ("clone", "_to_copy", "to", "contiguous")
"""Operators without the tag of pointwise ones that are such."""


def _pointwise(call: Call) -> Found:
    behind = {(m.dims[0] - len(m.shape), m.dims[1] - len(m.shape)) for m in call.maps}
    if len(behind) != 1:
        raise RefusedError("mixing rows and columns")
    (h, w) = behind.pop()
    if any((m.shape[h], m.shape[w]) != (call.shape[h], call.shape[w]) for m in call.maps):
        raise RefusedError("joining maps of different sizes")
    for value in (*call.args, *call.kwargs.values()):
        if isinstance(value, Tensor) and any(
            value.ndim >= -dim and value.shape[dim] > 1 for dim in (h, w)
        ):
            raise RefusedError("values that depend on the position in the image")
    dims = (h + len(call.shape), w + len(call.shape))
    kind = PerChannel if _per_channel(call) else Rowwise
    return kind(call.target, call.args, call.kwargs), dims


def _per_channel(call: Call) -> bool:
    """Whether whole maps meet constants that differ from channel to channel only."""
    constants = [one for one in call.args if isinstance(one, Tensor) and one.numel() > 1]
    return (
        torch.Tag.pointwise in call.target.tags
        and bool(constants)
        and all(found.plain and found.shape == call.shape for found in call.maps)
        and all(one.shape[-3:] == (call.shape[1], 1, 1) for one in constants)
        and not any(isinstance(one, (Tensor, Slot)) for one in call.kwargs.values())
    )


def two(value: Any) -> tuple[int, int]:
    """ATen lets one number stand for both axes."""
    if isinstance(value, int):
        return (value, value)
    return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])


def kernels(weight: Tensor) -> Tensor:
    """Weights in the memory format of the maps."""
    return weight.contiguous(memory_format=torch.channels_last)


def _conv(call: Call) -> Found:
    call.plain()
    given = call.given
    weight, bias = given["weight"], given["bias"]
    stride, dilation = two(given["stride"]), two(given["dilation"])
    padding = _padding(given["padding"], two(weight.shape[2:]), dilation)
    if given.get("transposed", "output_padding" in given):
        more = two(given["output_padding"])
        return Transposed(weight, bias, stride, padding, more, dilation, given["groups"]), MAPS
    kernel = two(weight.shape[2:])
    return Conv(kernel, stride, padding, dilation, kernels(weight), bias, given["groups"]), MAPS


def _padding(given: Any, kernel: tuple[int, int], dilation: tuple[int, int]) -> tuple[int, int]:
    """As numbers; "same" keeps the size."""
    if given == "valid":
        return 0, 0
    if given != "same":
        return two(given)
    spans = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    if any(span % 2 for span in spans):
        raise RefusedError("a convolution with more padding on one side than on the other")
    return spans[0] // 2, spans[1] // 2


def _max_pool(call: Call) -> Found:
    call.plain()
    given = call.given
    kernel = two(given["kernel_size"])
    stride = two(given["stride"] or kernel)
    return MaxPool(
        kernel, stride, two(given["padding"]), two(given["dilation"]), given["ceil_mode"]
    ), MAPS


def _avg_pool(call: Call) -> Found:
    call.plain()
    given = call.given
    kernel, padding = two(given["kernel_size"]), two(given["padding"])
    if given["ceil_mode"] or (any(padding) and not given["count_include_pad"]):
        raise RefusedError("average pooling that counts fewer pixels at the edge")
    stride = two(given["stride"] or kernel)
    return AvgPool(kernel, stride, padding, (1, 1), given["divisor_override"]), MAPS


def _resize(mode: str) -> "Rule":
    def rule(call: Call) -> Found | None:
        before, after = call.plain().shape[2:], call.shape[2:]
        if call.given.get("align_corners"):
            raise RefusedError("upsampling with align_corners=True")
        sides = list(zip(before, after, strict=True))
        if before == after:
            return None
        if all(new % old == 0 for old, new in sides):
            factor = (after[0] // before[0], after[1] // before[1])
            return Grow(mode.removesuffix("-exact"), factor), MAPS
        if all(old % new == 0 for old, new in sides):
            return Shrink(mode, (before[0] // after[0], before[1] // after[1])), MAPS
        raise RefusedError("resizing by a factor that is not a whole number")

    return rule


def _shuffle(call: Call) -> Found:
    call.plain()
    return Shuffle(call.given["upscale_factor"]), MAPS


def _unshuffle(call: Call) -> Found:
    call.plain()
    return Unshuffle(call.given["downscale_factor"]), MAPS


def _pad(mode: str | None) -> "Rule":
    def rule(call: Call) -> Found | None:
        call.plain()
        given = call.given
        kind = mode or given["mode"]
        sides = tuple(given["pad"] if "pad" in given else given["padding"])
        sides = (*sides, 0, 0) if len(sides) == 2 else sides
        if len(sides) != 4 or kind not in ("constant", "reflect", "replicate"):
            raise RefusedError(f"padding of such maps by {kind}")
        return (Pad(kind, sides, float(given.get("value") or 0)), MAPS) if any(sides) else None

    return rule


def _slice(call: Call) -> Found | None:
    [found], given = call.maps, call.given
    dim = given["dim"] % len(found.shape)
    length = found.shape[dim]
    if dim not in found.dims:
        return call.rowwise(), found.dims
    start, end = given["start"] or 0, given["end"]
    end = length if end is None else end
    start, end = (max(0, at + length) if at < 0 else min(at, length) for at in (start, end))
    if (start, end, given["step"]) == (0, length, 1):
        return None
    if given["step"] != 1 or not found.plain:
        raise RefusedError("cutting a part out of the image")
    cut = (-start, end - length)
    return Pad("constant", (0, 0, *cut) if dim == 2 else (*cut, 0, 0)), MAPS


def _permute(call: Call) -> Found:
    [found], given = call.maps, call.given
    order = list(range(len(found.shape)))
    if "dims" in given:
        order = [order[dim] for dim in given["dims"]]
    else:
        one, other = given["dim0"], given["dim1"]
        order[one], order[other] = order[other], order[one]
    h, w = (order.index(dim) for dim in found.dims)
    if not 0 < h < w:
        raise RefusedError("turning rows into columns")
    return call.rowwise(), (h, w)


def _view(call: Call) -> Found:
    """Dimensions beside the image's may be cut and merged."""
    [found], shape = call.maps, call.shape
    top, left = found.dims
    parts = [math.prod(found.shape[:top]), math.prod(found.shape[top + 1 : left])]
    for h in range(1, len(shape)):
        for w in range(h + 1, len(shape)):
            same = (shape[h], shape[w]) == (found.shape[top], found.shape[left])
            if same and [math.prod(shape[:h]), math.prod(shape[h + 1 : w])] == parts:
                lengths = tuple({h: "h", w: "w"}.get(d, n) for d, n in enumerate(shape))
                return Reshaped(call.target, (), {}, lengths, left), (h, w)
    raise RefusedError("cutting the image into patches")


def _along(call: Call) -> Found:
    """An operator along dimensions that are not the image's; the result keeps them."""
    [found, *more], given = call.maps, call.given
    rank = len(found.shape)
    if "normalized_shape" in given:
        along = set(range(rank - len(given["normalized_shape"]), rank))
    elif call.name == "linear":
        along = {rank - 1}
    else:
        dim = given["dim"]
        along = {one % rank for one in ([dim] if isinstance(dim, int) else dim or range(rank))}
    if more or along & set(found.dims) or not given.get("keepdim", True):
        raise RefusedError(PLAIN_WORDS.get(call.name, f"{call.name.strip('_')} over the image"))
    return call.rowwise(), found.dims


def _cat(call: Call) -> Found:
    tensors, dim = call.given["tensors"], call.given["dim"] % len(call.shape)
    first = call.maps[0]
    sizes = {(m.dims, m.shape[m.dims[0]], m.shape[m.dims[1]]) for m in call.maps}
    if not all(isinstance(one, Slot) for one in tensors):
        raise RefusedError("joining maps and constants")
    if len(sizes) != 1 or dim in first.dims:
        raise RefusedError("joining images side by side")
    return call.rowwise(), first.dims


def _nothing(call: Call) -> None:
    return None


Rule = Callable[[Call], Found | None]

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(["conv2d", "convolution", "conv_transpose2d"], _conv),
    **dict.fromkeys(["max_pool2d", "max_pool2d_with_indices"], _max_pool),
    "avg_pool2d": _avg_pool,
    "upsample_nearest2d": _resize("nearest"),
    "_upsample_nearest_exact2d": _resize("nearest-exact"),
    "upsample_bilinear2d": _resize("bilinear"),
    "upsample_bicubic2d": _resize("bicubic"),
    "pixel_shuffle": _shuffle,
    "pixel_unshuffle": _unshuffle,
    "pad": _pad(None),
    "constant_pad_nd": _pad("constant"),
    "reflection_pad2d": _pad("reflect"),
    "replication_pad2d": _pad("replicate"),
    "slice": _slice,
    **dict.fromkeys(["permute", "transpose"], _permute),
    **dict.fromkeys(
        ["view", "_unsafe_view", "reshape", "flatten", "unflatten", "unsqueeze", "squeeze"], _view
    ),
    **dict.fromkeys(["layer_norm", "native_layer_norm", "linear"], _along),
    **dict.fromkeys(["softmax", "_softmax", "log_softmax", "_log_softmax"], _along),
    **dict.fromkeys(["mean", "sum", "amax", "amin", "linalg_vector_norm"], _along),
    "cat": _cat,
    **dict.fromkeys(["alias", "detach", "dropout", "feature_dropout", "lift_fresh_copy"], _nothing),
}
