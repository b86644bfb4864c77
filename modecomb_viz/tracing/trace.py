"""One run of a network, as a graph of tensor operations, to the table of its axes."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg

from modecomb_viz.permutation import Axis, PermutationSpec
from modecomb_viz.tracing import layers, shapes
from modecomb_viz.tracing.calls import Call, Reading, Rule, Value, unknown
from modecomb_viz.tracing.layout import Layout, Symbol, fixed, fresh, is_fixed, length, resolve

__all__ = ["Traced", "operation", "read_symmetry", "tied_names", "trace_network"]

#: Modules whose scale and shift belong to the layer that feeds them; so do those whose class is named a norm.
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

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
    state = {
        name: tensor.detach()
        for name, tensor in chain(model.named_parameters(), model.named_buffers())
        if tensor.is_floating_point()
    }
    tied, kept = tied_names(model), [name for name, t in model.state_dict().items() if t.is_floating_point()]
    reading = Reading(frozenset(name for name, module in model.named_modules() if _is_norm(module)))
    graph = _graph(model, state, inputs)
    weights, values = _read(reading, graph, state)
    layouts = {name: tuple(map(resolve, weights[tied.get(name, name)])) for name in kept}
    return Traced(graph, tuple(state), values, layouts, _group_names(layouts), reading)


def read_symmetry(model: nn.Module, inputs: Sequence[Tensor]) -> PermutationSpec:
    """The table of a network's axes, not proven yet; see :func:`~modecomb_viz.tracing.trace_permutation_spec`."""
    traced, tied, tensors = trace_network(model, inputs), tied_names(model), model.state_dict()
    reading, layouts = traced.reading, traced.layouts
    owners = _layers(model, layouts, reading.fed_by)
    return PermutationSpec(
        {name: tuple(_axis(layout, traced.groups) for layout in axes) for name, axes in layouts.items()},
        {name: tuple(tensors[name].shape) for name in layouts},
        {name: owners[tied.get(name, name)] for name in layouts},
        statistics=frozenset(name for name, _ in model.named_buffers() if name in layouts),
        notes=tuple(_note(*remark) for remark in chain(reading.notes.items(), reading.symmetry.decided.items())),
        tied=tied,
        unit_axes={name: axis for name, axis in _unit_axes(model).items() if name in layouts},
        group_sizes={name: symbol.size for symbol, name in traced.groups.items()},
    )


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, _NORMS) or "norm" in type(module).__name__.lower()


def tied_names(model: nn.Module) -> dict[str, str]:
    """Every further name of a tensor, and its first name."""
    first: dict[int, str] = {}
    named = chain(model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False))
    return {name: seen for name, tensor in named if (seen := first.setdefault(id(tensor), name)) != name}


def _graph(model: nn.Module, state: Mapping[str, Tensor], inputs: Sequence[Tensor]) -> GraphModule:
    """The tensor operations of one run; its first placeholders are the tensors of the state, in order."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    trace = make_fx(
        lambda *x: functional_call(model, dict(zip(state, x, strict=False)), x[len(state) :]),
        tracing_mode="fake",
        _allow_non_fake_inputs=True,
    )
    try:
        return trace(*state.values(), *inputs)
    except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError, AttributeError) as error:
        shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
        raise ValueError(
            f"{type(model).__name__} cannot be traced on an input of shape {shapes}: {error} Does the input fit the "
            "network, and does its forward pass branch on values? Give another example, or state the table yourself "
            "as PermutationSpec(…)."
        ) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


def _read(
    reading: Reading, graph: GraphModule, state: Mapping[str, Tensor]
) -> tuple[dict[str, tuple[Layout, ...]], dict[Node, Any]]:
    """The layouts of every weight, and the value of every node, after all operations have been read."""
    weights: dict[str, tuple[Layout, ...]] = {}
    values: dict[Node, Any] = {}
    names = iter(state)
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            name = next(names, None)
            values[node] = _still(node.meta["val"].shape)
            if name is not None:
                weights[name] = tuple(map(fresh, state[name].shape))
                values[node] = Value(weights[name], owners=frozenset([_module_of(name)]))
                if not node.users:
                    _leave_unused(reading, name, weights[name])
        elif node.op == "get_attr":
            values[node] = _still(getattr(graph, node.target).shape)
        elif node.op == "call_function":
            values[node] = _read_node(reading, node, values)
        elif node.op == "output":
            map_arg(node.args, lambda made: _fix_all(reading, values[made]))
    reading.symmetry.settle()
    return weights, values


def _read_node(reading: Reading, node: Node, values: Mapping[Node, Any]) -> Any:
    """The value of a node, or a list of values where it has several outputs."""
    if node.target is operator.getitem:
        source, index = node.args
        return values[source][index]
    name, made = operation(node), node.meta["val"]
    several = isinstance(made, (tuple, list))
    shapes_made = [tuple(t.shape) if isinstance(t, Tensor) else None for t in (made if several else [made])]
    known = _RULES.get(name) or (shapes.pointwise if torch.Tag.pointwise in node.target.tags else unknown)
    result = known(reading, Call(name, map_arg(_arguments(node), lambda n: values[n]), shapes_made, node))
    return result if several else result[0]


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


def _fix_all(reading: Reading, value: Value):
    for layout in value.layouts:
        reading.symmetry.fix(layout)


def _leave_unused(reading: Reading, name: str, layouts: tuple[Layout, ...]):
    reading.notes["takes no part in the forward pass and stays as it is"].append(repr(name))
    _fix_all(reading, Value(layouts))


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


def _unit_axes(model: nn.Module) -> dict[str, int]:
    """Weights whose output units do not lie along their first axis."""
    return {
        f"{name}.weight".lstrip("."): 1
        for name, module in model.named_modules()
        if isinstance(module, _TRANSPOSED) and module.groups == 1
    }


def _layers(model: nn.Module, layouts: Weights, fed_by: Mapping[str, set[str]]) -> dict[str, str]:
    """The layer of every tensor: its module, or for a norm the one module that feeds it, where the units agree.

    A tensor whose number of units is not that of the first tensor of its module is a layer of its own.
    """
    axes = _unit_axes(model)
    units = {name: of[axes.get(name, 0)] if of else fixed(1) for name, of in layouts.items()}
    first: dict[str, Layout] = {}
    for name, layout in units.items():
        first.setdefault(_module_of(name), layout)
    feeds = {
        norm: feeder
        for norm, feeders in fed_by.items()
        for feeder in feeders
        if len(feeders) == 1 and first[feeder] == first[norm]
    }
    modules = {name: _module_of(name) for name in units}
    return {
        name: feeds.get(module, module) if length(units[name]) == length(first[module]) else name
        for name, module in modules.items()
    }
