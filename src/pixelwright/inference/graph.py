"""A network as a list of operators, each of which can be run for some rows of its output.

    graph = graph_of(network, channels=3, multiple=32)
    graph.nodes        # in the order of computing
    graph.refused      # None, or the operator that cannot be run by rows: "roll"

Taken from `torch.export`'s ATen graph in evaluation mode. What depends on weights alone is computed
once; batch norm goes into the convolution before it, in float64. `_rewrites` then leaves less to
compute.
"""

import math
import operator
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.node import Node as FxNode
from torch.fx.node import map_arg

from pixelwright.inference._rewrites import faster
from pixelwright.inference._row_rules import Call, Map, RefusedError, follow, kernels
from pixelwright.inference._rows import Node, RowOp
from pixelwright.inference._rowwise import PerChannel, Rowwise, Slot
from pixelwright.inference._windows import Conv

IMAGE = 0
"""The number of the map that is the image itself; node `i` gives map `i + 1`."""

_PARTS = ("split", "split_with_sizes", "chunk")


@dataclass(frozen=True)
class Graph:
    """A network by rows.

    Args:
        nodes: In the order of computing; the last gives the logits.
        refused: What cannot be run by rows, in plain words; there are no nodes then.
    """

    nodes: tuple[Node, ...] = ()
    refused: str | None = None


def graph_of(model: nn.Module, channels: int, multiple: int) -> Graph:
    """The graph of a model, or why there is none.

    Args:
        model: In evaluation mode; takes pixel values "1 c h w".
        channels: Of the images.
        multiple: Height and width must be multiples of this.
    """
    # Large enough for padding that mirrors, and not square, so that rows are not taken for columns.
    size = (
        multiple * max(2, math.ceil(64 / multiple)),
        multiple * max(3, math.ceil(96 / multiple)),
    )
    weight = next(model.parameters(), torch.zeros(()))
    image = torch.zeros(1, channels, *size, dtype=torch.uint8, device=weight.device)
    try:
        with torch.no_grad():
            # Without `run_decompositions`, which would take twice as long again.
            program = torch.export.export(model, (image,), strict=False)
    except Exception as error:  # whatever the code of a model raises
        return Graph(refused=f"torch.export cannot follow it ({str(error).partition(chr(10))[0]})")
    try:
        with torch.no_grad():
            nodes = _Reader(program, size[1]).read()
    except RefusedError as refusal:
        return Graph(refused=str(refusal))
    return Graph(tuple(faster(nodes)))


@dataclass
class _Reader:
    """Goes through an exported graph once.

    Args:
        program: Functional, of ATen operators.
        width: Of the image.
    """

    program: torch.export.ExportedProgram
    width: int
    maps: dict[FxNode, Map] = field(default_factory=dict)
    constants: dict[FxNode, Any] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)

    def read(self) -> list[Node]:
        graph = self.program.graph
        named = _weights(self.program)
        uses = Counter(given for node in graph.nodes for given in node.all_input_nodes)
        for node in graph.nodes:
            if node.op == "placeholder" and node.name in named:
                self.constants[node] = named[node.name]
            elif node.op == "placeholder":
                self.maps[node] = Map(IMAGE, tuple(node.meta["val"].shape))
                size = self.maps[node].shape[2:]
            elif node.op == "call_function":
                self._read(node, uses)
            elif node.op == "output":
                logits = self.maps.get(node.args[0][0])
                if logits is None or not logits.plain or logits.shape[2:] != size:
                    raise RefusedError("logits that are not as large as the image")
                if logits.number != len(self.nodes):
                    raise RefusedError("operators whose results are not used")
        return self.nodes

    def _read(self, node: FxNode, uses: Counter[FxNode]) -> None:
        given = [one for one in node.all_input_nodes if one in self.maps]
        if node.target is operator.getitem:
            self._part(node)
        elif not given:
            args: Any = map_arg(node.args, self.constants.get)
            kwargs: Any = map_arg(node.kwargs, self.constants.get)
            self.constants[node] = node.target(*args, **kwargs)  # type: ignore[operator]
        elif "assert" in _name(node):
            return
        elif _name(node) in ("_native_batch_norm_legit_no_training", "batch_norm"):
            self._batch_norm(node, given[0], uses)
        elif _name(node) in _PARTS:
            self.maps[node] = self.maps[given[0]]
        else:
            call = self._call(node, given)
            found = follow(call)
            if found is None:
                self.maps[node] = self.maps[given[0]]
            else:
                self._add(node, found[0], call.maps, call.shape, found[1])
            if node.target._schema.is_mutable:  # type: ignore[union-attr]
                self._overwrite(given[0], self.maps[node])

    def _overwrite(self, source: FxNode, by: Map) -> None:
        """What was written over has the new values from here on, by whatever name."""
        number = self.maps[source].number
        for node, found in self.maps.items():
            if found.number == number:
                self.maps[node] = by

    def _call(self, node: FxNode, given: list[FxNode]) -> Call:
        values: dict[FxNode, Any] = self.constants | {
            one: Slot(number) for number, one in enumerate(given)
        }

        args: Any = map_arg(node.args, values.get)
        kwargs: Any = map_arg(node.kwargs, values.get)
        value = node.meta["val"]
        shape = tuple((value[0] if isinstance(value, (tuple, list)) else value).shape)
        maps = tuple(self.maps[one] for one in given)
        target = _functional(node.target)
        return Call(target, tuple(args), dict(kwargs), maps, shape)

    def _add(
        self,
        node: FxNode,
        op: RowOp,
        given: tuple[Map, ...],
        shape: tuple[int, ...],
        dims: tuple[int, int],
    ) -> None:
        values = math.prod(shape) // (shape[dims[0]] * shape[dims[1]])
        inputs = tuple(one.number for one in given)
        self.nodes.append(Node(op, inputs, dims[0], values, shape[dims[1]] / self.width))
        self.maps[node] = Map(len(self.nodes), shape, dims)

    def _part(self, node: FxNode) -> None:
        """One of the tensors that an operator gives."""
        source, number = node.args
        assert isinstance(source, FxNode) and isinstance(number, int)
        if source in self.constants:
            self.constants[node] = self.constants[source][number]
            return
        whole = self.maps[source]
        if _name(source) not in _PARTS:
            if number:
                raise RefusedError(f"the second result of {_name(source)}")
            self.maps[node] = whole
            return
        dim = self._call(source, [source.all_input_nodes[0]]).given["dim"] % len(whole.shape)
        if dim in whole.dims:
            raise RefusedError("cutting the image into parts")
        lengths = [part.shape[dim] for part in source.meta["val"]]
        start = sum(lengths[:number])
        cut = (Slot(0), dim, start, start + lengths[number])
        op = Rowwise(torch.ops.aten.slice.Tensor, cut, {})
        self._add(node, op, (whole,), tuple(node.meta["val"].shape), whole.dims)

    def _batch_norm(self, node: FxNode, source: FxNode, uses: Counter[FxNode]) -> None:
        """`scale * x + shift`, in the convolution before it where nothing else reads that."""
        given, before = self._call(node, [source]).given, self.maps[source]
        if given.get("training") or 1 in before.dims:
            raise RefusedError("instance norm")
        scale = (given["running_var"].double() + given["eps"]).rsqrt()
        if given["weight"] is not None:
            scale = scale * given["weight"].double()
        shift = -given["running_mean"].double() * scale
        if given["bias"] is not None:
            shift = shift + given["bias"].double()
        last = self.nodes[-1] if self.nodes else None
        own = before.number == len(self.nodes) and uses[source] == 1
        if own and last is not None and isinstance(last.op, Conv):
            self.nodes[-1] = replace(last, op=_scaled(last.op, scale, shift))
            self.maps[node] = before
            return
        kind = given["running_mean"].dtype
        for op, value in ((torch.ops.aten.mul.Tensor, scale), (torch.ops.aten.add.Tensor, shift)):
            by = value.to(kind).reshape(-1, *[1] * (len(before.shape) - 2))
            made = (PerChannel if before.plain else Rowwise)(op, (Slot(0), by), {})
            self._add(node, made, (before,), before.shape, before.dims)
            before = self.maps[node]


def _weights(program: torch.export.ExportedProgram) -> dict[str, Any]:
    """Parameters, buffers and constants, by the names of the graph's inputs."""
    signature = program.graph_signature
    stored: dict[str, Any] = {**program.state_dict, **program.constants}
    names = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    return {name: stored[key].detach() for name, key in names.items()}


def _functional(target: Any) -> Any:
    """The overload that gives a new tensor: `relu` of `relu_`."""
    if not target._schema.is_mutable:
        return target
    name = target.overloadpacket.__name__.removesuffix("_")
    packet = getattr(torch.ops.aten, name, None)
    found = getattr(packet, target._overloadname, None)
    if found is None:
        raise RefusedError(f"{name} in place")
    return found


def _name(node: FxNode) -> str:
    return str(node.target.overloadpacket.__name__)  # type: ignore[union-attr]


def _scaled(conv: Conv, scale: Tensor, shift: Tensor) -> Conv:
    """A convolution followed by `scale * y + shift` for each channel."""
    weight = conv.weight.double() * scale.reshape(-1, 1, 1, 1)
    bias = shift if conv.bias is None else conv.bias.double() * scale + shift
    kind = conv.weight.dtype
    return replace(conv, weight=kernels(weight.to(kind)), bias=bias.to(kind))
