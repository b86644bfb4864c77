"""A network as a program: its tensor operations, recorded once, for any number of examples."""

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.fx import Graph, Node
from torch.utils._pytree import tree_flatten, tree_unflatten

from modecomb_viz.tracing import record

__all__ = ["Program", "Unrecordable", "program_of"]

#: Numbers of examples of the two recordings whose comparison tells sizes that depend on it from those that do not.
_COUNTS = (2, 3)


class Unrecordable(Exception):
    """The network cannot be written as one list of tensor operations that serves any number of examples."""


@dataclass(frozen=True, eq=False)
class Program:
    """The tensor operations of a network on a batch of examples.

    Attributes:
        graph: its placeholders are the tensors of ``state`` in order, the examples, and their number.
        state: names of the floating-point tensors, each under its first name.
        module: holds the constants that the graph reads.
        bytes_per_example: of the largest tensor that an operation makes.
        schedules: those made of it so far.
    """

    graph: Graph
    state: tuple[str, ...]
    module: nn.Module
    bytes_per_example: int
    schedules: dict[Any, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def inputs(self) -> list[Node]:
        """The placeholders."""
        return [node for node in self.graph.nodes if node.op == "placeholder"]


_KNOWN: WeakKeyDictionary[nn.Module, dict[Any, Program | Unrecordable]] = WeakKeyDictionary()


def program_of(model: nn.Module, x: Tensor) -> Program:
    """The program of a network on inputs like ``x``; recorded once per network, shape, type, device and layout.

    Raises:
        Unrecordable: with the reason.
    """
    layout = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    key = (tuple(x.shape[1:]), x.dtype, x.device, layout)
    known = _KNOWN.setdefault(model, {})
    if key not in known:
        try:
            known[key] = _record(model, x, torch.channels_last if layout else torch.contiguous_format)
        except (Unrecordable, ValueError) as error:
            known[key] = Unrecordable(str(error))
    found = known[key]
    if isinstance(found, Unrecordable):
        raise found
    return found


def _record(model: nn.Module, x: Tensor, layout: torch.memory_format) -> Program:
    batches = [x.new_zeros((n, *x.shape[1:])) for n in _COUNTS]
    if x.ndim == 4:
        batches = [batch.contiguous(memory_format=layout) for batch in batches]
    (first, state), (second, _) = (record(model, [batch], functional=True) for batch in batches)
    graph = first.graph
    _generalise(graph, second.graph)
    _clean(graph)
    (out,) = (node for node in graph.nodes if node.op == "output")
    if len(out.args[0]) != 1:
        raise Unrecordable(f"it gives {len(out.args[0])} tensors")
    out.args = (out.args[0][0],)
    return Program(graph, tuple(state), first, _largest(graph) // _COUNTS[0])


def _generalise(graph: Graph, other: Graph):
    """Replace every size that depends on the number of examples by that dependence."""
    nodes, others = list(graph.nodes), list(other.nodes)
    if [(n.op, n.name) for n in nodes] != [(n.op, n.name) for n in others]:
        raise Unrecordable("its operations depend on the number of examples")
    last = [node for node in nodes if node.op == "placeholder"][-1]
    with graph.inserting_after(last):
        count = graph.placeholder("count")
    scaled: dict[int, Node] = {1: count}
    after = count

    def dependent(factor: int) -> Node:
        nonlocal after
        if factor not in scaled:
            with graph.inserting_after(after):
                scaled[factor] = after = graph.call_function(operator.mul, (count, factor))
        return scaled[factor]

    for node, twin in zip(nodes, others, strict=True):
        if node.op == "call_function":
            node.args, node.kwargs = _merge(node, twin, dependent)


def _merge(node: Node, twin: Node, dependent: Callable[[int], Node]) -> tuple[tuple, dict]:
    (mine, shape), (theirs, other) = (tree_flatten((tuple(n.args), dict(n.kwargs))) for n in (node, twin))
    if shape != other:
        raise Unrecordable(f"the operation {node.name} depends on the number of examples")
    merged = []
    for a, b in zip(mine, theirs, strict=True):
        if isinstance(a, Node) or a == b:
            merged.append(a)
        elif isinstance(a, int) and isinstance(b, int) and a % _COUNTS[0] == 0 and a * _COUNTS[1] == b * _COUNTS[0]:
            merged.append(dependent(a // _COUNTS[0]))
        else:
            raise Unrecordable(f"an argument of {node.name} is {a} for {_COUNTS[0]} examples and {b} for {_COUNTS[1]}")
    return tree_unflatten(merged, shape)


def _clean(graph: Graph):
    """Leave out what has no effect, and make shapes independent of the layout in memory, which the weights decide."""
    aten = torch.ops.aten
    for node in list(graph.nodes):
        if node.target in (aten.detach.default, aten.alias.default):
            node.replace_all_uses_with(node.args[0])
        elif node.target in (aten.view.default, aten._unsafe_view.default):
            node.target = aten.reshape.default
        elif node.target is aten.as_strided.default:
            raise Unrecordable("it reads memory by strides, which depend on the layout of the weights")
    graph.eliminate_dead_code()


def _largest(graph: Graph) -> int:
    """Bytes of the largest tensor that an operation makes; views cost nothing."""
    largest = 1
    for node in graph.nodes:
        made = node.meta.get("val") if node.op == "call_function" else None
        if node.op == "call_function" and getattr(node.target, "is_view", False):
            continue
        for tensor in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(tensor, Tensor):
                largest = max(largest, tensor.numel() * tensor.element_size())
    return largest
