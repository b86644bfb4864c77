"""One run of a network, as a graph of tensor operations, to the table of its axes."""

import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from modecomb_viz.permutation import Axis, PermutationSpec
from modecomb_viz.tracing import layers, shapes
from modecomb_viz.tracing.calls import Call, Reading, Rule, Value, fix_noted, unknown
from modecomb_viz.tracing.layout import Layout, Symbol, fixed, fresh, is_fixed, length, resolve
from modecomb_viz.tracing.recording import POINTWISE, record, tied_names

__all__ = ["Traced", "operation", "read_symmetry", "trace_network"]

#: Modules whose scale and shift belong to the layer that feeds them; so do those whose class is named a norm.
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)

_RULES: dict[str, Rule] = {**shapes.RULES, **layers.RULES}

Weights = Mapping[str, tuple[Layout, ...]]


@dataclass(frozen=True)
class Traced:
    """One run of a network, read.

    Attributes:
        graph: its tensor operations; the first placeholders are the tensors of ``state``, in order.
        state: names of the floating-point tensors, each under its first name.
        values: what is known of every node of the graph.
        layouts: of the axes of every tensor of the state dict.
        groups: the name of every symbol that stands along an axis of a weight.
        reading: what was found out on the way.
    """

    graph: GraphModule
    state: tuple[str, ...]
    values: Mapping[Node, Any]
    layouts: Weights
    groups: Mapping[Symbol, str]
    reading: Reading


def trace_network(model: nn.Module, inputs: Sequence[Tensor]) -> Traced:
    """Run a network once on stand-ins for tensors, and read every operation of the run.

    Raises:
        ValueError: when it cannot be run so.
    """
    graph, state = record(model, inputs)
    tied, kept = tied_names(model), [name for name, t in model.state_dict().items() if t.is_floating_point()]
    reading = Reading(frozenset(name for name, module in model.named_modules() if _is_norm(module)))
    values = _read(reading, graph, state)
    layouts = {name: tuple(map(resolve, reading.weights[tied.get(name, name)])) for name in kept}
    return Traced(graph, tuple(state), values, layouts, _group_names(layouts), reading)


def read_symmetry(model: nn.Module, inputs: Sequence[Tensor]) -> PermutationSpec:
    """The table of a network's axes, not proven yet; see :func:`~modecomb_viz.tracing.trace_permutation_spec`."""
    traced, tied, tensors = trace_network(model, inputs), tied_names(model), model.state_dict()
    reading, layouts = traced.reading, traced.layouts
    unit_axes = {name: axis for name in layouts if (axis := reading.unit_axes.get(tied.get(name, name)))}
    owners = _layers(layouts, unit_axes, reading.fed_by)
    return PermutationSpec(
        {name: tuple(_axis(layout, traced.groups) for layout in axes) for name, axes in layouts.items()},
        {name: tuple(tensors[name].shape) for name in layouts},
        {name: owners[tied.get(name, name)] for name in layouts},
        statistics=frozenset(name for name, _ in model.named_buffers() if name in layouts),
        notes=tuple(_note(*remark) for remark in chain(reading.notes.items(), reading.symmetry.decided.items())),
        tied=tied,
        unit_axes=unit_axes,
        group_sizes={name: symbol.size for symbol, name in traced.groups.items()},
    )


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, _NORMS) or "norm" in type(module).__name__.lower()


def _read(reading: Reading, graph: GraphModule, state: Mapping[str, Tensor]) -> dict[Node, Any]:
    """The value of every node, after all operations have been read."""
    weights = reading.weights
    values: dict[Node, Any] = {}
    names = iter(state)
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            name = next(names, None)
            values[node] = _still(node.meta["val"].shape)
            if name is not None:
                weights[name] = tuple(map(fresh, state[name].shape))
                axes = tuple(range(len(weights[name])))
                values[node] = Value(weights[name], owners=frozenset([_module_of(name)]), origin=(name, axes))
                if not node.users:
                    _leave_unused(reading, name, weights[name])
        elif node.op == "get_attr":
            values[node] = _still(getattr(graph, node.target).shape)
        elif node.op == "call_function":
            values[node] = _read_node(reading, node, values)
        elif node.op == "output":
            map_arg(node.args, lambda made: reading.fix(values[made].layouts))
    reading.symmetry.settle()
    _fix_unread(reading)
    return values


def _fix_unread(reading: Reading):
    """What no operation of this run has read, but a run on another input may, stays: it ties no two axes together."""
    axes = (layout for of in reading.weights.values() for layout in of)
    seen = Counter(symbol for layout in axes for symbol in {piece.symbol for piece in resolve(layout)})
    for layout in reading.unread:
        reading.fix((piece,) for piece in resolve(layout) if seen[piece.symbol] == 1)


def _read_node(reading: Reading, node: Node, values: Mapping[Node, Any]) -> Any:
    """The value of a node, or a list of values where it has several outputs."""
    if node.target is operator.getitem:
        source, index = node.args
        return values[source][index]
    name, made = operation(node), node.meta["val"]
    if not _sized(made):
        raise ValueError(
            f"the network cannot be traced: it turns values of the input into numbers or sizes in Python, by '{name}'. "
            "State the table yourself as PermutationSpec(…)."
        )
    several = isinstance(made, (tuple, list))
    shapes_made = [tuple(t.shape) if isinstance(t, Tensor) else None for t in (made if several else [made])]
    known = _RULES.get(name) or (shapes.pointwise if POINTWISE in node.target.tags else unknown)
    result = known(reading, Call(name, map_arg(_arguments(node), lambda n: values[n]), shapes_made, node))
    return result if several else result[0]


def _sized(made: Any) -> bool:
    """Whether all that an operation gives are tensors whose sizes are known."""
    several = [t for t in (made if isinstance(made, (tuple, list)) else [made]) if t is not None]
    return all(isinstance(t, Tensor) and all(isinstance(size, int) for size in t.shape) for t in several)


def operation(node: Node) -> str:
    """The name without namespace, overload and the underscore of an in-place operation."""
    name = node.target._schema.name.split("::")[-1]
    return name.rstrip("_") if node.target._schema.is_mutable else name


def _arguments(node: Node) -> dict[str, Any]:
    """All arguments by name, defaults filled in."""
    schema = node.target._schema.arguments
    given = dict(zip((argument.name for argument in schema), node.args, strict=False))
    return {a.name: a.default_value for a in schema if a.has_default_value()} | given | dict(node.kwargs)


def _still(shape: Sequence[int]) -> Value:
    return Value(tuple(map(fixed, shape)))


def _leave_unused(reading: Reading, name: str, layouts: tuple[Layout, ...]):
    fix_noted(reading, layouts, "takes no part in the forward pass and stays as it is", repr(name))


def _note(remark: str, places: list[str]) -> str:
    """A remark with its first place and how many more there are."""
    places = list(dict.fromkeys(places))
    return f"{places[0]}{f' and {len(places) - 1} more places' * (len(places) > 1)}: {remark}."


def _module_of(name: str) -> str:
    """The module that owns a tensor; a tensor of the network itself is a layer of its own."""
    return name.rpartition(".")[0] or name


def _group_names(layouts: Weights) -> dict[Symbol, str]:
    """P_0, P_1 … in the order in which the groups stand in the table."""
    symbols = (piece.symbol for axes in layouts.values() for layout in axes for piece in layout)
    found = dict.fromkeys(symbol for symbol in symbols if symbol is not None)
    return {symbol: f"P_{i}" for i, symbol in enumerate(found)}


def _axis(layout: Layout, names: Mapping[Symbol, str]) -> Axis:
    if is_fixed(layout):
        return None
    if len(layout) == 1 and layout[0].block == 1:
        return names[layout[0].symbol]
    return tuple((names[piece.symbol] if piece.symbol else None, piece.block) for piece in layout)


def _layers(layouts: Weights, unit_axes: Mapping[str, int], fed_by: Mapping[str, set[str]]) -> dict[str, str]:
    """The layer of every tensor: its module, or for a norm the one module that feeds it, where the units agree.

    A tensor whose number of units is not that of the first tensor of its module is a layer of its own.
    """
    units = {name: of[unit_axes.get(name, 0)] if of else fixed(1) for name, of in layouts.items()}
    first: dict[str, Layout] = {}
    for name, layout in units.items():
        first.setdefault(_module_of(name), layout)
    feeds = {
        norm: feeder
        for norm, feeders in fed_by.items()
        for feeder in feeders
        if len(feeders) == 1 and norm in first and first.get(feeder) == first[norm]
    }
    modules = {name: _module_of(name) for name in units}
    return {
        name: feeds.get(module, module) if length(units[name]) == length(first[module]) else name
        for name, module in modules.items()
    }
