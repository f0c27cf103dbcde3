"""The same network with fewer operations: what the reader of a graph leaves to be found.

faster(nodes)      # as many maps or fewer, and equal logits up to rounding
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor

from pixelwright.inference._joined import Joined
from pixelwright.inference._resizes import Grow, Shuffle
from pixelwright.inference._row_rules import kernels
from pixelwright.inference._rows import Node, RowOp
from pixelwright.inference._rowwise import PerChannel, Rowwise, Slot
from pixelwright.inference._windows import Conv, MaxPool


def faster(nodes: list[Node]) -> list[Node]:
    """All of the below, in the order in which each finds most."""
    for rewritten in (_coarsened, _pooled_first, _scaled_later, _in_planes, _joined):
        nodes = rewritten(nodes)
    return nodes


def _alone(nodes: list[Node]) -> list[int]:
    """The numbers of the nodes each of which alone reads the one before it, and nothing else."""
    uses = Counter(number for node in nodes for number in node.inputs)
    return [n for n, node in enumerate(nodes) if node.inputs == (n,) and uses[n] == 1 and n]


def _coarsened(nodes: list[Node]) -> list[Node]:
    """The same with each upsampling and its convolution done at the lower resolution."""
    made = list(nodes)
    for number in _alone(nodes):
        grow, conv = nodes[number - 1], nodes[number]
        if not isinstance(grow.op, Grow) or not isinstance(conv.op, Conv):
            continue
        found = coarse_conv(grow.op, conv.op)
        if found is not None:
            coarse, placed = found
            values, columns = conv.values * placed.factor**2, grow.columns / placed.factor
            made[number - 1] = Node(coarse, grow.inputs, 2, values, columns)
            made[number] = replace(conv, op=placed)
    return made


def _pooled_first(nodes: list[Node]) -> list[Node]:
    """The same with each ReLU within the max pooling behind it, where it sees fewer values."""
    made = list(nodes)
    # From the last on, so that the numbers before it stay.
    for number in reversed(_alone(nodes)):
        relu, pool = made[number - 1], made[number]
        if _is_relu(relu) and isinstance(pool.op, MaxPool):
            made[number] = replace(pool, inputs=relu.inputs, op=replace(pool.op, relu=True))
            made = _without(made, number)
    return made


REPEATED = 200
"""Multiply-adds for each value of a row that each band may do once more.

If a row is to wait for the next band, all rows of the band are copied.
"""


def _joined(nodes: list[Node]) -> list[Node]:
    """The same with pairs of convolutions, ReLU between, as one, where that is less work."""
    made, alone = list(nodes), set(_alone(nodes))
    number = len(nodes) - 1
    while number >= 2:
        first, relu, last = made[number - 2 : number + 1]
        follow = {number - 1, number} <= alone and _is_relu(relu)
        if follow and _repeated(first.op, last.op) <= REPEATED:
            assert isinstance(first.op, Conv)
            fused = replace(first, op=replace(first.op, relu=True))
            made[number] = replace(last, inputs=first.inputs, op=Joined(fused, last))
            made = _without(_without(made, number), number - 1)
            number -= 2
        number -= 1
    return made


def _repeated(first: RowOp, last: RowOp) -> float:
    """Multiply-adds for each value of a row that would be done for two bands."""
    if not isinstance(first, Conv) or not isinstance(last, Conv):
        return math.inf
    rows = last.dilation[0] * (last.kernel[0] - 1) + 1 - last.stride[0]
    return float(max(rows, 0) * first.weight[0].numel())


def _is_relu(node: Node) -> bool:
    return isinstance(node.op, Rowwise) and node.op.target is torch.ops.aten.relu.default


def _scaled_later(nodes: list[Node]) -> list[Node]:
    """The same with factors of channels, as of a normalisation, in the convolution behind them."""
    made = list(nodes)
    # From the last on, so that the numbers before it stay.
    for number in reversed(_alone(nodes)):
        scale, conv = made[number - 1], made[number]
        factor = _factor(scale)
        if factor is not None and isinstance(conv.op, Conv) and conv.op.groups == 1:
            # Zeros around the image stay zeros.
            weight = conv.op.weight.double() * factor.reshape(1, -1, 1, 1)
            weight = kernels(weight.to(conv.op.weight.dtype))
            made[number] = replace(conv, inputs=scale.inputs, op=replace(conv.op, weight=weight))
            made = _without(made, number)
    return made


def _factor(node: Node) -> Tensor | None:
    """What a node multiplies each channel by, in float64; None if it does anything else."""
    op = node.op
    if not isinstance(op, PerChannel) or op.kwargs or len(op.args) != 2 or op.args[0] != Slot(0):
        return None
    by: Tensor = op.args[1].double().flatten()
    if op.target is torch.ops.aten.mul.Tensor:
        return by
    return 1 / by if op.target is torch.ops.aten.div.Tensor else None


def _without(nodes: list[Node], gone: int) -> list[Node]:
    """The same without the node of a map that no node reads."""
    later = [
        replace(node, inputs=tuple(number - (number > gone) for number in node.inputs))
        for node in nodes[gone:]
    ]
    return [*nodes[: gone - 1], *later]


FEW = 16
"""Channels of which it pays to let each lie by itself."""

LANES = 8
"""Channels that convolutions compute at a time."""


def _in_planes(nodes: list[Node]) -> list[Node]:
    """The same with the few logits of a last shuffle class by class, as classes are compared."""
    last = nodes[-1]
    if not isinstance(last.op, Shuffle) or last.values > FEW:
        return nodes
    made = [*nodes[:-1], replace(last, op=replace(last.op, planes=last.values))]
    if len(nodes) - 1 in _alone(nodes):
        made[-2] = _filled_up(made[-2])
    return made


def _filled_up(node: Node) -> Node:
    """A convolution with channels of zeros behind its own, where whole lanes take less time."""
    if not isinstance(node.op, Conv):
        return node
    weight, bias = node.op.weight, node.op.bias
    more = -len(weight) % LANES
    if node.op.groups > 1 or 2 * more > len(weight):
        return node
    weight = kernels(torch.cat([weight, weight.new_zeros(more, *weight.shape[1:])]))
    bias = None if bias is None else torch.cat([bias, bias.new_zeros(more)])
    return replace(node, op=replace(node.op, weight=weight, bias=bias), values=node.values + more)


def coarse_conv(grow: Grow, conv: Conv) -> tuple[Conv, Shuffle] | None:
    """A convolution that gives groups of fine pixels as channels, and what places them.

    The pixels of a group see the same few coarse ones, each as often as it is repeated under the
    kernel, so the weights that meet one coarse pixel are summed beforehand. Groups may begin before
    the coarse pixels do: those of two by two that lie around the corners of coarse pixels see two
    by two of them through a kernel of three by three, not three by three. Done where that takes
    fewer multiplications.

    Args:
        grow: Nearest upsampling.
        conv: Of the result.

    Returns:
        None where it does not apply, or does not pay.
    """
    factor, side, padding = grow.factor[0], conv.kernel[0], conv.padding[0]
    same = {grow.factor, conv.kernel, conv.padding} == {(factor,) * 2, (side,) * 2, (padding,) * 2}
    plain = conv.groups == 1 and conv.stride == (1, 1) and conv.dilation == (1, 1)
    if grow.mode != "nearest" or not same or not plain or side != 2 * padding + 1:
        return None
    before, reach, coarse = min(_groupings(factor, padding), key=lambda grouping: grouping[2])
    if coarse >= side:
        return None
    out, into = conv.weight.shape[:2]
    exact = conv.weight.double()
    summed = exact.new_zeros(out, factor, factor, into, coarse, coarse)
    met = [
        [(phase - before + tap - padding) // factor + reach for tap in range(side)]
        for phase in range(factor)
    ]
    for (y, tops), (x, lefts) in product(enumerate(met), repeat=2):
        for (row, top), (column, left) in product(enumerate(tops), enumerate(lefts)):
            summed[:, y, x, :, top, left] += exact[:, :, row, column]
    kind = conv.weight.dtype
    weight = kernels(summed.reshape(out * factor**2, into, coarse, coarse).to(kind))
    bias = None if conv.bias is None else conv.bias.repeat_interleave(factor**2)
    made = Conv((coarse, coarse), (1, 1), (reach, reach), (1, 1), weight, bias, 1)
    return made, Shuffle(factor, before)


def _groupings(factor: int, padding: int) -> Iterator[tuple[int, int, int]]:
    """Ways to group fine pixels: how many lie before the first coarse one; padding; kernel."""
    for before in range(factor):
        above = -(-(before + padding) // factor)
        below = (factor - 1 - before + padding) // factor
        # A group more, if some begin before the image, needs to see as far below as above.
        if below + (before > 0) == above:
            yield before, above, above + below + 1
