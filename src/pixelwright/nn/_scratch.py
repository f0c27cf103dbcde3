"""What kernels take on a CPU beside their results, and the order in memory that those have.

Measured one operator at a time (torch 2.15, oneDNN 3.13, AVX2, one and two threads; every piece of
64 kB or more a mapping of its own, so that the resident memory is what is held): each formula
was within 3 % of the bytes seen. Operators that are not here took nothing: batch and group norm,
average pooling, interpolation, concatenation, activations, attention (0.5 MB a thread).
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._prims_common import suggest_memory_format

Arguments = dict[str, Any]

_BLOCK = 16
"""oneDNN stores channels in blocks of 8 or 16."""

KERNEL_BYTES = 100_000
"""What oneDNN keeps of a convolution that it compiled, at most: 1 to 6 MB for 50 to 60 of them."""


def as_on_a_device(func: Any, given: Arguments, result: Any) -> Any:
    """The result in the order of memory that a device would give it.

    Convolutions on tensors without data forget that channels lie last.
    """
    if func is torch.ops.aten.convolution.default and _channels_last(given):
        return torch.empty_like(result, memory_format=torch.channels_last)
    return result


def scratch_bytes(func: Any, given: Arguments, result: Any) -> int:
    """The most that a step takes beside what it was given and what it gives back."""
    rule = _RULES.get(func.overloadpacket.__name__)
    return rule(given, result) if rule else 0


def _convolution(given: Arguments, out: Tensor) -> int:
    image, weight = given["input"], given["weight"]
    if out.ndim != 4:
        return 0
    if not _in_onednn(image.dtype):
        return _by_columns(given, out)
    reordered = _bytes(weight) * (1 if _last(weight) else 2)
    if _channels_last(given):
        return reordered + (0 if _last(image) else _bytes(image))
    # In planes: the image in blocks, then the result in blocks and once more in planes.
    before, after = _blocked(image), _blocked(out)
    copies = 2 if given["transposed"] else 1
    return reordered + max(before + after - _bytes(out), copies * after)


def _by_columns(given: Arguments, out: Tensor) -> int:
    """Types that oneDNN lacks: a column for each window, multiplied as a matrix."""
    image, weight, groups = given["input"], given["weight"], given["groups"]
    kernel = math.prod(weight.shape[-2:])
    windows = image if given["transposed"] else out
    columns = len(image) * weight.shape[1] * kernel * math.prod(windows.shape[-2:])
    if kernel == 1 and set(given["stride"]) == {1} and not given["transposed"]:
        columns = 0  # the image is that matrix
    results = _bytes(out) if groups > 1 else 0  # of each group, before they are joined
    return int(columns * image.element_size() + results)


def _contiguous_copy(given: Arguments, result: Any) -> int:
    image = given["self"] if "self" in given else given["input"]
    return 0 if image.is_contiguous() else _bytes(image)


def _antialiased(given: Arguments, out: Tensor) -> int:
    """Rows are resized first."""
    image = given["self"] if "self" in given else given["input"]
    return int(math.prod(image.shape[:-1]) * out.shape[-1] * image.element_size())


_RULES: dict[str, Callable[[Arguments, Any], int]] = {
    "convolution": _convolution,
    **dict.fromkeys(
        ("_softmax", "_log_softmax", "_safe_softmax", "native_layer_norm"), _contiguous_copy
    ),
    **dict.fromkeys(("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"), _antialiased),
}


def _channels_last(given: Arguments) -> bool:
    return given["input"].ndim == 4 and (_last(given["input"]) or _last(given["weight"]))


def _last(tensor: Tensor) -> bool:
    return bool(suggest_memory_format(tensor) is torch.channels_last)


@cache
def _in_onednn(dtype: torch.dtype) -> bool:
    if dtype is torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if dtype is torch.float16:
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    return dtype is torch.float32 and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def _blocked(tensor: Tensor) -> int:
    n, c, h, w = tensor.shape
    return n * -(-c // _BLOCK) * _BLOCK * h * w * tensor.element_size()


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
