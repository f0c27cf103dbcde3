"""How each ATen operator changes what a tensor sees; an operator without a rule sees everything."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from pixelwright.nn._reach import Axis, Reach, join, whole

Arguments = dict[str, Any]
Rule = Callable[[Reach, Arguments, Tensor], Reach]
"""What the first image tensor among the arguments sees, the arguments by name, and an output."""

STATISTICS = (
    *("mean", "sum", "amax", "amin", "max", "min", "argmax", "var", "std"),
    *("norm", "linalg_vector_norm"),
)
"""Operators that reduce dimensions to one value."""

MATRIX_FIRST = {"mm": 0, "bmm": 0, "linear": 0, "addmm": 1, "_addmm_activation": 1}
"""Matrix products, and which of their tensors stands on the left."""

POINTWISE = frozenset(
    ["hardswish", "hardtanh", "_prelu_kernel", "leaky_relu", "elu", "gelu", "mish"]
)
"""Operators that work position by position and lack the tag that says so."""

PLAIN_WORDS = {
    "mean": "global average pooling",
    "_adaptive_avg_pool2d": "adaptive average pooling",
    "adaptive_avg_pool2d": "adaptive average pooling",
    "adaptive_max_pool2d": "adaptive max pooling",
    "amax": "global max pooling",
    "max": "global max pooling",
    "native_group_norm": "group norm",
    "native_batch_norm": "instance norm",
    "_native_batch_norm_legit": "instance norm",
    "bmm": "a matrix product over the image, as in attention",
    "_softmax": "softmax over the image",
    "_log_softmax": "softmax over the image",
    "_safe_softmax": "softmax over the image",
    "native_layer_norm": "layer norm over the image",
    "roll": "rolling the image around its edges",
}


def refused(operator: str) -> Reach:
    """An operator that sees the whole image, or of which nothing better is known."""
    attention = "attention over the image" if "attention" in operator else operator.strip("_")
    return whole(PLAIN_WORDS.get(operator, attention))


def _two(value: Any) -> tuple[Any, Any]:
    """ATen lets a list of one stand for both axes."""
    return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])


def _convolution(reach: Reach, given: Arguments, out: Tensor) -> Reach:
    if not reach.is_maps() or out.ndim != 4:
        return refused("convolution")
    kernel = given["weight"].shape[2:]
    each = zip(
        (reach.h, reach.w),
        kernel,
        _two(given["stride"]),
        _two(given["padding"]),
        _two(given["dilation"]),
        strict=True,
    )
    if given["transposed"]:
        h, w = (axis.spread(*window) for axis, *window in each)
    else:
        h, w = (axis.window(*window) for axis, *window in each)
    return reach.of_maps(tuple(out.shape), h, w)


def _pool(reach: Reach, given: Arguments, out: Tensor) -> Reach:
    if not reach.is_maps():
        return refused("pooling")
    kernel = given["kernel_size"]
    each = zip(
        (reach.h, reach.w),
        _two(kernel),
        _two(given["stride"] or kernel),
        _two(given["padding"]),
        _two(given.get("dilation") or [1]),
        strict=True,
    )
    h, w = (axis.window(*window) for axis, *window in each)
    return reach.of_maps(tuple(out.shape), h, w)


def _nearest(axis: Axis, ratio: Fraction) -> Axis:
    return axis.finer(ratio.denominator).window(1, ratio.numerator)


def _nearest_exact(axis: Axis, ratio: Fraction) -> Axis:
    # Downwards it takes the middle of each group, upwards it is plain nearest.
    return axis.finer(ratio.denominator).window(1, ratio.numerator, -(ratio.numerator // 2))


def _resize(resized: Callable[[Axis, Fraction], Axis]) -> Rule:
    """Interpolation by a whole number, up or down."""

    def rule(reach: Reach, given: Arguments, out: Tensor) -> Reach:
        if given.get("align_corners"):
            return whole("upsampling with align_corners=True, whose step depends on the size")
        ratios = [
            Fraction(before, after)
            for before, after in zip(given["self"].shape[-2:], out.shape[-2:], strict=True)
        ]
        scales = [given.get("scales_h"), given.get("scales_w")]
        exact = all(
            scale is None or scale * r == 1 for scale, r in zip(scales, ratios, strict=True)
        )
        if not reach.is_maps() or not exact or any(1 not in r.as_integer_ratio() for r in ratios):
            return whole("resizing by a factor that is not a whole number")

        return reach.of_maps(
            tuple(out.shape), resized(reach.h, ratios[0]), resized(reach.w, ratios[1])
        )

    return rule


def _pad(reach: Reach, given: Arguments, out: Tensor) -> Reach:
    """Padding moves positions; what it fills in lies outside the image."""
    pad = given["pad"] if "pad" in given else given["padding"]
    if not reach.is_maps() or any(pad[4:]):
        return refused("padding of channels")
    left, top = pad[0], pad[2] if len(pad) > 2 else 0
    return reach.of_maps(
        tuple(out.shape), reach.h.window(1, padding=top), reach.w.window(1, padding=left)
    )


def _slice(reach: Reach, given: Arguments, out: Tensor) -> Reach:
    dim, size = given["dim"], given["self"].shape[given["dim"]]
    if not reach.sees(dim):
        return reach.resize(tuple(out.shape))
    if not reach.is_maps():
        return refused("cutting a part out of the image")
    start = given["start"] or 0
    start = start + size if start < 0 else start
    h, w = reach.h, reach.w
    if dim % out.ndim == out.ndim - 2:
        h = h.window(1, given["step"], -start)
    else:
        w = w.window(1, given["step"], -start)
    return reach.of_maps(tuple(out.shape), h, w)


def _pixel_shuffle(reach: Reach, given: Arguments, out: Tensor) -> Reach:
    factor = given["upscale_factor"]
    if not reach.is_maps():
        return refused("pixel shuffle")
    return reach.of_maps(tuple(out.shape), reach.h.finer(factor), reach.w.finer(factor))


def _pixel_unshuffle(reach: Reach, given: Arguments, out: Tensor) -> Reach:
    factor = given["downscale_factor"]
    if not reach.is_maps():
        return refused("pixel unshuffle")
    return reach.of_maps(
        tuple(out.shape), reach.h.window(factor, factor), reach.w.window(factor, factor)
    )


def _batch_norm(reach: Reach, given: Arguments, out: Tensor) -> Reach:
    if given.get("training") or reach.sees(1):
        return refused("native_batch_norm")
    return reach


def _layer_norm(reach: Reach, given: Arguments, out: Tensor) -> Reach:
    last = range(-len(given["normalized_shape"]), 0)
    return refused("native_layer_norm") if any(reach.sees(dim) for dim in last) else reach


def _reduce(operator: str) -> Rule:
    """A statistic over dimensions off the image, such as the mean over channels."""

    def rule(reach: Reach, given: Arguments, out: Tensor) -> Reach:
        rank = len(reach.dims)
        dims = given.get("dim")
        over = [dims] if isinstance(dims, int) else dims
        gone = {dim % rank for dim in over} if over else set(range(rank))
        if any(reach.sees(dim) for dim in gone):
            return refused(operator)
        kept = [
            () if dim in gone else atoms
            for dim, atoms in enumerate(reach.dims)
            if given.get("keepdim") or dim not in gone
        ]
        return Reach(reach.h, reach.w, tuple(kept))

    return rule


def _softmax(reach: Reach, given: Arguments, out: Tensor) -> Reach:
    return refused("_softmax") if reach.sees(given["dim"]) else reach


def _matrix(reach: Reach | None, out: Tensor) -> Reach:
    """Rows times a weight matrix: a 1x1 convolution where rows are pixels."""
    if reach is None or reach.sees(-1):
        return refused("bmm")
    return Reach(reach.h, reach.w, (*reach.dims[:-1], (("", out.shape[-1]),)))


def _permute(reach: Reach, given: Arguments, out: Tensor) -> Reach:
    return Reach(reach.h, reach.w, tuple(reach.dims[dim] for dim in given["dims"]))


def _transpose(reach: Reach, given: Arguments, out: Tensor) -> Reach:
    dims = list(reach.dims)
    one, other = given.get("dim0", 0), given.get("dim1", 1)
    dims[one], dims[other] = dims[other], dims[one]
    return Reach(reach.h, reach.w, tuple(dims))


def _reshape(reach: Reach, given: Arguments, out: Tensor) -> Reach:
    return reach.regroup(tuple(out.shape))


def _expand(reach: Reach, given: Arguments, out: Tensor) -> Reach:
    dims = ((),) * (out.ndim - len(reach.dims)) + reach.dims
    return Reach(reach.h, reach.w, dims).resize(tuple(out.shape))


def _split(reach: Reach, given: Arguments, out: Tensor) -> Reach:
    if reach.sees(given["dim"]):
        return refused("cutting the image into parts")
    return reach.resize(tuple(out.shape))


def _select(reach: Reach, given: Arguments, out: Tensor) -> Reach:
    if reach.sees(given["dim"]):
        return refused("picking a row or column of the image")
    dim = given["dim"] % len(reach.dims)
    return Reach(reach.h, reach.w, reach.dims[:dim] + reach.dims[dim + 1 :])


RULES: dict[str, Rule] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _pool,
    "avg_pool2d": _pool,
    "upsample_nearest2d": _resize(_nearest),
    "_upsample_nearest_exact2d": _resize(_nearest_exact),
    "upsample_bilinear2d": _resize(lambda axis, ratio: axis.resized(ratio, (0, 1))),
    "upsample_bicubic2d": _resize(lambda axis, ratio: axis.resized(ratio, (-1, 2))),
    "constant_pad_nd": _pad,
    "reflection_pad2d": _pad,
    "replication_pad2d": _pad,
    "slice": _slice,
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    "native_batch_norm": _batch_norm,
    "_native_batch_norm_legit": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "native_layer_norm": _layer_norm,
    **{name: _reduce(name) for name in STATISTICS},
    **dict.fromkeys(["_softmax", "_log_softmax", "_safe_softmax"], _softmax),
    "permute": _permute,
    "transpose": _transpose,
    "t": _transpose,
    **dict.fromkeys(["view", "_unsafe_view", "reshape", "unsqueeze", "squeeze"], _reshape),
    "expand": _expand,
    **dict.fromkeys(["split", "split_with_sizes", "chunk"], _split),
    **dict.fromkeys(["select", "unbind"], _select),
}


def arguments(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """The arguments of a call by their names, defaults filled in."""
    return {
        argument.name: args[i]
        if i < len(args)
        else kwargs.get(argument.name, argument.default_value)
        for i, argument in enumerate(func._schema.arguments)
    }


def follow(
    func: Any, given: Arguments, out: Tensor, tensors: list[tuple[Tensor, Reach | None]]
) -> Reach:
    """What an output of `func` sees.

    Args:
        func: The ATen operator.
        given: Its arguments by name.
        out: One of its outputs.
        tensors: Its input tensors, each with what it sees; None for weights and constants.
    """
    operator = func.overloadpacket.__name__
    operator = operator if operator.startswith("__") else operator.removesuffix("_")
    reaches = [reach for _, reach in tensors if reach is not None]
    for reach in reaches:
        if reach.unbounded is not None:
            return reach
    if operator in ("cat", "stack"):
        return _stacked(operator, given, out, tensors)
    if operator == "clone" or operator in POINTWISE or torch.Tag.pointwise in func.tags:
        return _pointwise(tensors)
    if operator in ("_to_copy", "detach", "alias", "contiguous", "lift_fresh"):
        return reaches[0]
    if operator in MATRIX_FIRST and len(reaches) == 1:
        return _matrix(tensors[MATRIX_FIRST[operator]][1], out)
    if len(reaches) > 1 or operator not in RULES:
        return refused(operator)
    return RULES[operator](reaches[0], given, out)


def _pointwise(tensors: list[tuple[Tensor, Reach | None]]) -> Reach:
    joined = join([reach for _, reach in tensors if reach is not None])
    for tensor, reach in tensors:
        if reach is None and any(_runs_along(joined, tensor)):
            return whole("values that depend on the position in the image")
    return joined


def _runs_along(reach: Reach, constant: Tensor) -> Iterator[bool]:
    """For each dimension of a constant, whether it differs from pixel to pixel."""
    for dim, size in enumerate(reversed(constant.shape), start=1):
        yield size > 1 and dim <= len(reach.dims) and reach.sees(-dim)


def _stacked(
    operator: str, given: Arguments, out: Tensor, tensors: list[tuple[Tensor, Reach | None]]
) -> Reach:
    # timm joins its features with empty tensors where a level has none.
    joined = _pointwise([(tensor, reach) for tensor, reach in tensors if tensor.numel()])
    if joined.unbounded is not None:
        return joined
    dim = given["dim"] % out.ndim
    if operator == "stack":
        dims = (*joined.dims[:dim], (), *joined.dims[dim:])
        joined = Reach(joined.h, joined.w, dims)
    if joined.sees(dim):
        return refused("joining images side by side")
    return joined.resize(tuple(out.shape))
