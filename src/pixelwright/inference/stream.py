"""Logits of an image of any height, band by band, in memory that grows with its width only.

    stream = Stream(graph_of(network, channels=3, multiple=32))
    for top, logits in stream.bands(read, height=8192, band=256):
        ...                                      # logits "1 k rows w" of the rows from `top` on

The operators of the network take turns. For a band of logits each computes those rows that the band
still lacks, from what it is handed and from the few rows of its input that were kept; then all
rows that nothing further down will need are let go. So no row is computed twice but those few that
are cheaper to compute than to keep (`_rewrites`), and each is computed from the same numbers as in
one pass over the whole image.

Paper: for encoder-decoder networks, we know of none; for plain stacks of layers, fused-layer
accelerators, Alwani et al., 2016, https://doi.org/10.1109/MICRO.2016.7783725
Differs: any graph without operators over the whole image; demand is followed from the logits back,
so a fast branch never runs ahead of a slow one by more than the join of both needs.
"""

import operator
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from pixelwright.inference._rows import Node, Overwriting, RowOp, Rows, Writing, workspace_bytes
from pixelwright.inference._rowwise import Rowwise, may_be_view
from pixelwright.inference.graph import IMAGE, Graph

Read = Callable[[int, int], Tensor]
"""Rows [start, stop) of the image, "1 c rows w", channels last."""


@dataclass(frozen=True)
class Demand:
    """What one round computes and keeps, for each map.

    Args:
        rows: That are computed.
        keep: The first row that later rounds need.
    """

    rows: tuple[Rows, ...]
    keep: tuple[int, ...]


class Stream:
    """Runs a network by bands of rows.

    Args:
        graph: Of the network; not a refused one.
        autocast: The type of mixed precision; None computes in the network's own.
    """

    def __init__(self, graph: Graph, autocast: torch.dtype | None = None) -> None:
        assert graph.refused is None, graph.refused
        self.graph, self._autocast = graph, autocast
        nodes = graph.nodes
        self._readers: list[list[tuple[int, int]]] = [[] for _ in range(len(nodes) + 1)]
        for number, node in enumerate(nodes):
            for slot, source in enumerate(node.inputs):
                self._readers[source].append((number, slot))
        self._last = [readers[-1][0] if readers else len(nodes) for readers in self._readers]
        self._in_place = [self._may_write(number) for number in range(len(nodes))]

    def bands(
        self, read: Read, height: int, band: int
    ) -> Iterator[tuple[int, Float[Tensor, "1 k rows w"]]]:
        """The logits from top to bottom, each row once.

        Args:
            read: Asked for each row of the image once, from top to bottom.
            height: Of the image, a multiple of the model's size rule.
            band: Rows of logits at a time; a multiple of the stride keeps the operators' work even.
        """
        dims = [2, *(node.dim for node in self.graph.nodes)]
        maps = [_Map(*one) for one in zip(dims, self._held(height, band), strict=True)]
        heights = self.heights(height)
        kind = "cpu"
        for demand in self.demands(height, band):
            top, stop = demand.rows[IMAGE]
            if stop > top:
                pixels = read(top, stop)
                kind = pixels.device.type
                maps[IMAGE].put(pixels, (top, stop), demand.keep[IMAGE])
                del pixels
            with torch.autocast(kind, self._autocast, enabled=self._autocast is not None):
                self._round(demand, maps, heights)
            top, stop = demand.rows[-1]
            if stop > top:
                logits = maps[-1].take(top, stop)
                yield top, logits.to(torch.promote_types(logits.dtype, torch.float32))
                maps[-1].let_go(stop)

    def _round(self, demand: Demand, maps: list["_Map"], heights: list[int]) -> None:
        """All operators in turn."""
        for number, node in enumerate(self.graph.nodes):
            rows = demand.rows[number + 1]
            if rows[1] > rows[0]:
                self._compute(number, node, maps, rows, demand.keep[number + 1], heights)
            for source in set(node.inputs):
                if self._last[source] == number:
                    maps[source].let_go(demand.keep[source])

    def bytes(self, height: int, width: int, band: int, itemsize: int = 4) -> int:
        """The most that the maps hold at one time, logits of the band included.

        Args:
            height: Of the image.
            width: Of the image.
            band: As in `bands`.
            itemsize: Bytes of a value.
        """
        nodes = self.graph.nodes
        sizes = [0, *(round(node.columns * width) * node.values * itemsize for node in nodes)]
        held = self._held(height, band)
        buffers, loose, most = sum(map(operator.mul, held, sizes)), [0] * len(sizes), 0
        for shape in self._rounds(height, band):
            for number, node in enumerate(nodes, start=1):
                loose[number] = shape[number][0] * sizes[number]
                given = shape[node.inputs[0]][0] * sizes[node.inputs[0]]
                workspace = workspace_bytes(node.op, given, shape[number][0], width * itemsize)
                most = max(most, buffers + sum(loose) + workspace)
                if held[number]:
                    loose[number] = 0
                for source in set(node.inputs):
                    if self._last[source] == number - 1:
                        loose[source] = 0
            loose = [0] * len(sizes)
        return most

    def _held(self, height: int, band: int) -> list[int]:
        """Rows that the buffer of each map has room for; none where no row outlives its round.

        Where many rows wait there is room for some more, so that they need not move every round.
        """
        most, before = [0] * (len(self.graph.nodes) + 1), [0] * (len(self.graph.nodes) + 1)
        for shape in self._rounds(height, band):
            for number, (new, kept) in enumerate(shape):
                if kept or before[number]:
                    spare = before[number] // 4 if before[number] > new else 0
                    most[number] = max(most[number], before[number] + new + spare)
            before = [kept for _, kept in shape]
        return most

    def _rounds(self, height: int, band: int) -> Iterator[list[tuple[int, int]]]:
        """Of each map the rows that a round adds, and that it keeps; until rounds are alike."""
        before: list[tuple[int, int]] = []
        for demand in self.demands(height, band):
            shape = [(r[1] - r[0], r[1] - k) for r, k in zip(demand.rows, demand.keep, strict=True)]
            yield shape
            if shape == before and shape[-1][0]:
                return
            before = shape

    def heights(self, height: int) -> list[int]:
        """Rows of each map, the image first."""
        found = [height]
        for node in self.graph.nodes:
            found.append(node.op.height([found[source] for source in node.inputs]))
        return found

    def demands(self, height: int, band: int) -> Iterator[Demand]:
        """What each round computes; arguments as in `bands`.

        The first logits need the image as far down as the network sees. If it were all asked for at
        once, every map would be as tall as that once, and never again. So rounds without logits
        come before, each over as many rows of the image as a band has.
        """
        heights = self.heights(height)
        step = -(-band * heights[IMAGE] // heights[-1])
        done = [0] * len(heights)
        for top in range(0, heights[-1], band):
            need = self._needed(done, min(top + band, heights[-1]), heights)
            while need[IMAGE] - done[IMAGE] > step:
                reached = self._reached(done, need, done[IMAGE] + step, heights)
                yield self._demand(done, reached, heights)
                done = reached
            yield self._demand(done, need, heights)
            done = need

    def _demand(self, done: list[int], need: list[int], heights: list[int]) -> Demand:
        keep = [self._needed_from(number, need, heights) for number in range(len(heights))]
        return Demand(tuple(zip(done, need, strict=True)), tuple(keep))

    def _needed(self, done: list[int], stop: int, heights: list[int]) -> list[int]:
        """Behind the last row of each map that logits up to `stop` need."""
        need = done.copy()
        need[-1] = stop
        for number in range(len(self.graph.nodes), 0, -1):
            rows = (done[number], need[number])
            if rows[1] <= rows[0]:
                continue
            node = self._node(number)
            for slot, source in enumerate(node.inputs):
                need[source] = max(need[source], node.op.needs(slot, rows, heights[source])[1])
        return need

    def _reached(
        self, done: list[int], need: list[int], image: int, heights: list[int]
    ) -> list[int]:
        """Behind the last row of each map that so many rows of the image suffice for; no logits."""
        reached = [image]
        for number in range(1, len(heights)):
            some = range(done[number] + 1, need[number] + 1)
            lacks = partial(self._lacks, number, done[number], reached, heights)
            reached.append(done[number] + bisect_left(some, True, key=lacks))
        return [*reached[:-1], done[-1]]

    def _lacks(
        self, number: int, done: int, reached: list[int], heights: list[int], stop: int
    ) -> bool:
        """Whether rows from `done` to `stop` of a map need rows that are not there."""
        node = self._node(number)
        return any(
            node.op.needs(slot, (done, stop), heights[source])[1] > reached[source]
            for slot, source in enumerate(node.inputs)
        )

    def _needed_from(self, number: int, done: list[int], heights: list[int]) -> int:
        """The first row of a map that is needed once so many rows of each map are done."""
        first = done[number]
        for reader, slot in self._readers[number]:
            left = (done[reader + 1], heights[reader + 1])
            if left[0] < left[1]:
                op = self.graph.nodes[reader].op
                first = min(first, op.needs(slot, left, heights[number])[0])
        return first

    def _node(self, number: int) -> Node:
        return self.graph.nodes[number - 1]

    def _typed(self, op: RowOp) -> bool:
        """Whether results have the type of what they are made from: not so under autocast."""
        return self._autocast is None or not isinstance(op, Rowwise)

    def _may_write(self, number: int) -> bool:
        """Whether a node may write over its first input: nothing else reads or shares it."""
        node = self.graph.nodes[number]
        source = node.inputs[0]
        if source == IMAGE or len(self._readers[source]) > 1:
            return False
        before = self._node(source)
        same = (before.values, before.columns, before.dim) == (node.values, node.columns, node.dim)
        writes = isinstance(node.op, Overwriting) and node.op.overwrites(same)
        return writes and self._typed(node.op) and not may_be_view(before.op)

    def _compute(
        self,
        number: int,
        node: Node,
        maps: list["_Map"],
        rows: Rows,
        keep: int,
        heights: list[int],
    ) -> None:
        own = [heights[source] for source in node.inputs]
        spans = [node.op.needs(slot, rows, high) for slot, high in enumerate(own)]
        slabs = [maps[m].take(*span) for m, span in zip(node.inputs, spans, strict=True)]
        made, op = maps[number + 1], node.op
        spare = self._in_place[number] and maps[node.inputs[0]].loose is not None
        writing = made.buffer is not None and made.waits(rows, keep) and self._typed(op)
        if writing and isinstance(op, Writing) and op.writes(slabs, rows, spare):
            assert made.buffer is not None
            op.run_into(slabs, rows, made.room(rows, made.buffer))
            return
        starts = [first for first, _ in spans]
        run = op.run_over if spare and isinstance(op, Overwriting) else op.run
        made.put(run(slabs, starts, rows, own), rows, keep)


class _Map:
    """The rows of a map that are there.

    Rows that a later round needs lie in a buffer, each round's behind those of the one before;
    where none are, the tensor that an operator gave is handed on as it is.

    Args:
        dim: Where the rows lie.
        most: Rows that the buffer has room for.
    """

    def __init__(self, dim: int, most: int) -> None:
        self.dim, self.most = dim, most
        self.loose: Tensor | None = None
        self.buffer: Tensor | None = None
        self.first, self.begin, self.stop = 0, 0, 0  # in the buffer; still needed; behind the last

    def put(self, tensor: Tensor, rows: Rows, keep: int) -> None:
        """Add rows, of which those from `keep` on outlive the round."""
        if self.waits(rows, keep):
            self.room(rows, tensor).copy_(tensor)
        else:
            self.loose, self.first, self.begin, self.stop = tensor, rows[0], *rows

    def waits(self, rows: Rows, keep: int) -> bool:
        """Whether rows go to the buffer."""
        return self.begin < self.stop or keep < rows[1]

    def room(self, rows: Rows, like: Tensor) -> Tensor:
        """Where to write rows, in the buffer.

        Args:
            rows: The next ones.
            like: Of the same other dimensions.
        """
        kept, new = self.stop - self.begin, rows[1] - rows[0]
        held = self.buffer
        if held is None:
            self.buffer = self._empty(like, max(self.most, kept + new))
            self.first = self.begin = rows[0]
        elif self.stop - self.first + new > held.shape[self.dim]:
            fits = kept + new <= held.shape[self.dim]
            self.buffer = held if fits else self._empty(like, kept + new)
            self._move(held, self.buffer)
            self.first = self.begin
        assert self.buffer is not None
        start, self.stop = rows[0] - self.first, rows[1]
        return self.buffer.narrow(self.dim, start, new)

    def _move(self, held: Tensor, into: Tensor) -> None:
        """Bring the rows that are needed to the top: piece by piece, as they may overlap."""
        shift, kept = self.begin - self.first, self.stop - self.begin
        piece = kept if into is not held else shift
        for top in range(0, kept, max(piece, 1)):
            rows = min(piece, kept - top)
            into.narrow(self.dim, top, rows).copy_(held.narrow(self.dim, shift + top, rows))

    def _empty(self, like: Tensor, rows: int) -> Tensor:
        """Rows lie outermost, then columns, so that bands are dense in memory."""
        shape = list(like.shape)
        shape[self.dim] = rows
        after, before = range(self.dim + 1, like.ndim), range(1, self.dim)
        order = (0, self.dim, *after, *before)
        return torch.empty_permuted(shape, order, dtype=like.dtype, device=like.device)

    def take(self, start: int, stop: int) -> Tensor:
        """Rows that are there; a view."""
        held = self.buffer if self.loose is None else self.loose
        assert held is not None
        if self.loose is not None and (start, stop) == (self.first, self.stop):
            return held
        return held.narrow(self.dim, start - self.first, stop - start)

    def let_go(self, keep: int) -> None:
        """Forget rows before `keep`."""
        self.begin = min(max(self.begin, keep), self.stop)
        if self.begin == self.stop:
            self.loose, self.first = None, self.stop
