"""Operators that mix no rows: how they are called, and where their results are written."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

from pixelwright.inference._resizes import Pad
from pixelwright.inference._rows import RowOp, Rows, flat
from pixelwright.nn._rules import POINTWISE


@dataclass(frozen=True)
class Slot:
    """The place of an input among the arguments of an operator."""

    number: int


def filled(tree: Any, slabs: Sequence[Tensor]) -> Any:
    """Arguments with maps in their places."""
    if isinstance(tree, Slot):
        return slabs[tree.number]
    if isinstance(tree, dict):
        return {key: filled(value, slabs) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(filled(value, slabs) for value in tree)
    return tree


@dataclass(frozen=True)
class Rowwise:
    """An operator that mixes no rows: pointwise, over channels, or along a row.

    Args:
        target: The ATen overload.
        args: Its arguments, with `Slot`s where maps stand.
        kwargs: Likewise.
    """

    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def height(self, heights: Sequence[int]) -> int:
        return heights[0]

    def needs(self, number: int, rows: Rows, height: int) -> Rows:
        return rows

    def run(
        self, slabs: Sequence[Tensor], starts: Sequence[int], rows: Rows, heights: Sequence[int]
    ) -> Tensor:
        return self._call(self.target, slabs)

    def overwrites(self, same: bool) -> bool:
        return same and self.args[:1] == (Slot(0),) and _in_place(self.target) is not None

    def run_over(
        self, slabs: Sequence[Tensor], starts: Sequence[int], rows: Rows, heights: Sequence[int]
    ) -> Tensor:
        return self._call(_in_place(self.target), slabs)

    def writes(self, slabs: Sequence[Tensor], rows: Rows, spare: bool) -> bool:
        return _into(self.target) is not None

    def run_into(self, slabs: Sequence[Tensor], rows: Rows, out: Tensor) -> None:
        self._call(_into(self.target), slabs, out=out)

    def _call(self, target: Any, slabs: Sequence[Tensor], **out: Tensor) -> Tensor:
        found: Tensor = target(*filled(self.args, slabs), **filled(self.kwargs, slabs), **out)
        return found


@dataclass(frozen=True)
class PerChannel(Rowwise):
    """A pointwise operator of maps "1 c h w" and of constants, one for each channel or for all."""

    _rows: dict[int, tuple[Any, ...]] = field(default_factory=dict, compare=False, repr=False)

    def _call(self, target: Any, slabs: Sequence[Tensor], **out: Tensor) -> Tensor:
        lines = [flat(slab) for slab in slabs]
        into = {name: flat(tensor) for name, tensor in out.items()}
        if None in (*lines, *into.values()):
            return super()._call(target, slabs, **out)
        channels, width = slabs[0].shape[1], slabs[0].shape[3]
        args = filled(self._repeated(width), lines)  # type: ignore[arg-type]
        found: Tensor = target(*args, **self.kwargs, **into)
        return found.view(-1, width, channels).permute(2, 0, 1)[None]

    def _repeated(self, width: int) -> tuple[Any, ...]:
        """The arguments for rows of this width: all bands have the same."""
        if width not in self._rows:
            self._rows.clear()
            self._rows[width] = tuple(
                one.flatten().repeat(width) if isinstance(one, Tensor) and one.numel() > 1 else one
                for one in self.args
            )
        return self._rows[width]


@dataclass(frozen=True)
class Reshaped(Rowwise):
    """A view that leaves rows and columns dimensions of their own.

    Args:
        shape: Of the result, with "h" and "w" where rows and columns lie.
        width_dim: Where the columns of the input lie.
    """

    shape: tuple[int | str, ...]
    width_dim: int

    def run(
        self, slabs: Sequence[Tensor], starts: Sequence[int], rows: Rows, heights: Sequence[int]
    ) -> Tensor:
        lengths = {"h": rows[1] - rows[0], "w": slabs[0].shape[self.width_dim]}
        return slabs[0].reshape([lengths[n] if isinstance(n, str) else n for n in self.shape])


def may_be_view(op: RowOp) -> bool:
    """Whether the result may share the memory of an input."""
    if isinstance(op, (Reshaped, Pad)):
        return True
    return isinstance(op, Rowwise) and any(r.alias_info for r in op.target._schema.returns)


@cache
def _in_place(target: Any) -> Any:
    """The overload that writes over its first argument, such as `relu_`; None if there is none."""
    packet = getattr(torch.ops.aten, f"{target.overloadpacket.__name__}_", None)
    pointwise = torch.Tag.pointwise in target.tags or target.overloadpacket.__name__ in POINTWISE
    return getattr(packet, target._overloadname, None) if packet and pointwise else None


@cache
def _into(target: Any) -> Any:
    """The overload that computes into a given tensor; None if there is none."""
    packet = target.overloadpacket
    if target is torch.ops.aten.relu.default:
        return _relu_into
    pointwise = torch.Tag.pointwise in target.tags or packet.__name__ == "cat"
    if not pointwise or target._overloadname not in ("default", "Tensor"):
        return None
    # Many such overloads compute a tensor of their own first and copy it; those have no kernel.
    kernel = torch._C._dispatch_has_kernel_for_dispatch_key(f"aten::{packet.__name__}.out", "CPU")
    return getattr(packet, "out", None) if kernel else None


def _relu_into(tensor: Tensor, *, out: Tensor) -> Tensor:
    return torch.clamp_min(tensor, 0, out=out)
