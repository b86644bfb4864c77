"""Where the units of every group can be seen at work: the data that enters the products with weights."""

import operator
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

from modecomb_viz.permutation import Params, PermutationSpec
from modecomb_viz.tracing.calls import Value
from modecomb_viz.tracing.trace import Traced, operation, trace_network

__all__ = ["Activations", "Tap"]

#: Products with weights: what enters them are the activations of a layer.
_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "convolution", "linear", "matmul")


class Tap(NamedTuple):
    """One place where a group is seen: a node of the graph, the axis, the offset in it, and the block per unit."""

    node: str
    axis: int
    offset: int
    group: str
    block: int


class Activations:
    """Runs a network and gives the activations of the units of every group.

    Every group is read where its units enter a product with weights, after norm, activation and pooling; a group that
    enters none is read where it was last seen. A batch of another size is traced again.

    Args:
        model: in eval mode.
        spec: the traced spec of the model.

    Raises:
        ValueError: when the spec is not the one that tracing gives.
    """

    def __init__(self, model: nn.Module, spec: PermutationSpec):
        self.model, self.spec = model, spec
        self._open = lru_cache(maxsize=4)(self._trace)

    def _trace(self, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Traced, dict[str, list[Tap]]]:
        traced = trace_network(self.model, [torch.zeros(shape, dtype=dtype)])
        if {name: symbol.size for symbol, name in traced.groups.items()} != self.spec.sizes:
            raise ValueError(
                "activations are read with the traced table, and the spec given has other groups. Leave the spec to "
                "tracing, or align by weights."
            )
        taps: dict[str, list[Tap]] = {}
        for tap in _taps(traced):
            taps.setdefault(tap.node, []).append(tap)
        return traced, taps

    def units(self, params: Params, x: Tensor) -> Iterator[tuple[Tap, Shaped[Tensor, "sample unit"]]]:
        """Per tap the activations of its group's units; samples are examples times positions."""
        traced, taps = self._open(tuple(x.shape), x.dtype)
        seen: dict[str, Tensor] = {}
        with torch.no_grad():
            _Recorder(traced.graph, taps, seen).run(*(params[name] for name in traced.state), x)
        for name, tensor in seen.items():
            for tap in taps[name]:
                size = self.spec.sizes[tap.group]
                part = tensor.movedim(tap.axis, -1)[..., tap.offset : tap.offset + size * tap.block]
                yield tap, part.unflatten(-1, (size, tap.block)).movedim(-2, -1).reshape(-1, size)


class _Recorder(Interpreter):
    """Runs the graph and keeps what the wanted nodes gave."""

    def __init__(self, graph: GraphModule, wanted: Mapping[str, Any], seen: dict[str, Tensor]):
        super().__init__(graph)
        self._wanted, self._seen = wanted, seen

    def run_node(self, n: Node) -> Any:
        made = super().run_node(n)
        if n.name in self._wanted:
            self._seen[n.name] = made.clone()
        return made


def _taps(traced: Traced) -> list[Tap]:
    values, groups = traced.values, traced.groups
    last: dict[str, list[Tap]] = {}
    entering: dict[str, list[Tap]] = {}
    for node in traced.graph.graph.nodes:
        if node.op != "call_function":
            continue
        for tap in _seen_at(node, values[node], groups):
            last[tap.group] = [tap]
        if node.target is not operator.getitem and operation(node) in _PRODUCTS and _has_weights(node, values):
            for source in node.all_input_nodes:
                for tap in _seen_at(source, values[source], groups):
                    entering.setdefault(tap.group, []).append(tap)
    return list(dict.fromkeys(tap for group in last for tap in entering.get(group, last[group])))


def _has_weights(node: Node, values: Mapping[Node, Any]) -> bool:
    return any(values[source].owners for source in node.all_input_nodes)


def _seen_at(node: Node, value: Any, groups: Mapping[Any, str]) -> list[Tap]:
    """The groups along the axes of a tensor of data."""
    if not isinstance(value, Value) or value.owners:
        return []
    taps = []
    for axis, layout in enumerate(value.resolved()):
        offset = 0
        for piece in layout:
            if piece.symbol in groups:
                taps.append(Tap(node.name, axis, offset, groups[piece.symbol], piece.block))
            offset += piece.length
    return taps
