"""What one pass of a network takes, found without computing anything.

    cost = footprint(model, (1, 3, 1024, 1024))
    cost.peak_bytes          # 331_000_000: the most that is held at one time, weights apart
    cost.weights_bytes       # 98_000_000
    cost.multiply_adds       # 62_000_000_000

The network runs on tensors without data. Each is counted from the step that makes it until the last
reference to it goes, as in an eager pass without gradients. On top comes what ATen's and oneDNN's
kernels take on a CPU while they run, as `_scratch` has it; on a GPU count `tensor_bytes`, and what
cuDNN takes besides. Nine networks at 256 to 1024 px took what `peak_bytes` says to within 5 %, less
rather than more, where glibc gives freed memory back (`memory.return_freed`); else up to twice as
much (`benchmarks/footprint.py`).
"""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from pixelwright.errors import PredictError
from pixelwright.nn._rules import arguments
from pixelwright.nn._scratch import KERNEL_BYTES, as_on_a_device, scratch_bytes
from pixelwright.nn.ghost import ghost_of, light, tensors_of

_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_REFUSALS = (RuntimeError, ValueError, AssertionError)
"""What models raise at a size they do not take."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one pass takes.

    Args:
        peak_bytes: The most that tensors and kernels hold at one time on a CPU: input and
            logits included, the model's own weights not.
        tensor_bytes: The same without what kernels set aside, whatever the device.
        weights_bytes: Parameters and buffers of the model.
        output_bytes: Of the logits.
        multiply_adds: Of convolutions, matrix products and attention.
    """

    peak_bytes: int
    tensor_bytes: int
    weights_bytes: int
    output_bytes: int
    multiply_adds: int


def footprint(
    model: nn.Module,
    shape: Sequence[int],
    dtype: torch.dtype = torch.uint8,
    *,
    precision: torch.dtype | None = None,
) -> Footprint:
    """Follow one pass in evaluation mode, without gradients.

    Args:
        model: Takes "n c h w". It is neither run nor changed, nor are its weights copied.
        shape: Of a batch "n c h w"; it lies channels last in memory, as decoded pictures do.
        dtype: Of its pixel values.
        precision: The type of mixed precision; None computes in the model's own. The copies of
            the weights in that type count to the peak.

    Raises:
        PredictError: The model does not take images of this shape.
    """
    ghost = ghost_of(model)
    weights = sum(_bytes(tensor) for tensor in tensors_of(ghost))
    meter = _Meter()
    if precision is not None:
        ghost = ghost.to(precision)
        meter.begin_with(sum(_bytes(weight) for weight in ghost.parameters()))
    meter.leave_out(tensors_of(ghost))
    n, c, h, w = shape
    try:
        with torch.no_grad(), meter, _FusedAttention():
            batch = torch.empty((n, h, w, c), dtype=dtype, device="meta").permute(0, 3, 1, 2)
            logits = ghost(batch)
    except _REFUSALS as error:
        raise PredictError(
            f"The model does not take a batch of {n} x {c} x {h} x {w} (images, channels, height, "
            f"width): {str(error).partition(chr(10))[0]}"
        ) from error
    return Footprint(
        peak_bytes=meter.peak + KERNEL_BYTES * meter.convolutions,
        tensor_bytes=meter.tensors,
        weights_bytes=weights,
        output_bytes=sum(map(_bytes, _tensors(logits))),
        multiply_adds=meter.multiply_adds,
    )


@light
class _Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the memory behind all tensors that are alive, step by step."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self.tensors = self.multiply_adds = self.convolutions = 0
        self._live = 0
        # By the address of its storage, which only another one that is alive cannot have.
        self._storages: dict[int, weakref.ref[Any] | None] = {}

    def begin_with(self, bytes_: int) -> None:
        self._live += bytes_

    def leave_out(self, tensors: list[Tensor]) -> None:
        self._storages |= {_address(tensor): None for tensor in tensors}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = arguments(func, args, kwargs or {})
        result = as_on_a_device(func, given, func(*args, **(kwargs or {})))
        for tensor in _tensors(result):
            self._note(tensor)
        self.tensors = max(self.tensors, self._live)
        self.peak = max(self.peak, self._live + scratch_bytes(func, given, result))
        self.convolutions += func is torch.ops.aten.convolution.default
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            # Counted there as a multiplication and an addition each.
            self.multiply_adds += count(*args, **(kwargs or {}), out_val=result) // 2
        return result

    def _note(self, tensor: Tensor) -> None:
        """Count the memory behind a tensor, unless it is a view of what is counted already."""
        address = _address(tensor)
        if address in self._storages:
            return
        storage = tensor.untyped_storage()
        bytes_ = storage.nbytes()
        self._live += bytes_
        self._storages[address] = weakref.ref(storage, partial(self._freed, address, bytes_))

    def _freed(self, address: int, bytes_: int, _: Any) -> None:
        self._live -= bytes_
        del self._storages[address]


class _FusedAttention(TorchFunctionMode):
    """Attention as one step, which is what a CPU and a GPU make of it.

    Tensors without data would take the way of plain operators, and hold a table of all pairs of
    positions.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            fused = self._fused(*args, **kwargs)
            if fused is not None:
                return fused
        return func(*args, **kwargs)

    def _fused(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor | None:
        if query.ndim != 4 or dropout_p or enable_gqa:
            return None
        mask = {} if attn_mask is None else {"attn_mask": attn_mask}
        out: Tensor = _ATTENTION(query, key, value, 0.0, is_causal, **mask, scale=scale)[0]
        return out


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _address(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
