"""What must be computed once, once per coefficient, and once per point.

Points that give equal coefficients to all weights behind an operation share its result, so operations are grouped by
which points they tell apart, and a group runs once per part. A product of data with weights whose coefficients are
constant along its inputs is itself a mixture of the products with the ends,

    x·Wᵀ = (1 − Σ Λ_k) ⊙ x·W_Aᵀ + Σ Λ_k ⊙ x·W_kᵀ,

so where many points share the data, the products with the ends are computed instead, once for all of them. A BatchNorm
with running statistics is folded into the weights of the convolution before it.
"""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from modecomb_viz.evaluation.partitions import Partitions
from modecomb_viz.evaluation.program import Program
from modecomb_viz.hypercube import Points, mixed

__all__ = ["Group", "Need", "Schedule", "make_schedule"]

aten = torch.ops.aten

#: A product is shared where it would otherwise be computed at least so many times as often as those with the ends.
_WORTH = 1.5

#: Products of data with a matrix of weights: where the data, the weights and the added bias stand.
_PRODUCTS: dict[Any, tuple[int, int, int | None]] = {
    aten.mm.default: (0, 1, None),
    aten.addmm.default: (1, 2, 0),
    aten.convolution.default: (0, 1, 2),
}

_TURNS = (aten.t.default, aten.transpose.int, aten.permute.default)


class Need(NamedTuple):
    """What a group reads of the points: a ``"weight"``, a ``"coefficient"`` Λ_k of one, or an ``"end"`` of one."""

    kind: str
    name: str
    k: int = 0
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Group:
    """Operations that run once per part of a partition.

    Attributes:
        partition: the number of the partition.
        needs: what ``make`` reads of the points.
        made_from: results of ``make`` of coarser groups that it reads as well.
        make: the operations that do not read the examples; run once per part.
        makes: what it gives.
        run_from: results that ``run`` reads, after the examples and their number.
        run: the operations on examples; run once per part and chunk of examples.
        gives: what it gives.
    """

    partition: int
    needs: tuple[Need, ...]
    made_from: tuple[str, ...]
    make: GraphModule
    makes: tuple[str, ...]
    run_from: tuple[str, ...]
    run: GraphModule
    gives: tuple[str, ...]


@dataclass(frozen=True)
class Schedule:
    """The groups, coarse to fine.

    Attributes:
        groups: in the order in which they run.
        output: the name of the logits.
        shared: the operations that are mixed from products with the ends.
        kept_bytes: per example, of results that wait for other groups.
        batched: the results that have a leading axis of parts when points are stacked.
    """

    groups: tuple[Group, ...]
    output: str
    shared: tuple[str, ...]
    kept_bytes: int


def make_schedule(
    program: Program,
    points: Points,
    partitions: Partitions,
    of: Mapping[str, int],
    *,
    share: bool = True,
    stacked: bool = False,
    narrow: bool = False,
) -> Schedule:
    """Group the operations of a program for some points; equal structures share one schedule.

    Args:
        of: the partition of every tensor of the program's state.
        share: mix products from those with the ends where that is less work.
        stacked: for several parts at once under vmap, where nothing may be changed in place.
        narrow: round the factors of products to bfloat16; what they give is float32 again.
    """
    known = {node: of[name] for node, name in zip(program.inputs, program.state, strict=False)}
    numbers = {}
    for node in program.graph.nodes:
        numbers[node] = known.get(node, partitions.join(numbers[source] for source in node.all_input_nodes))
    shared = tuple(_worth_sharing(program, points, partitions, numbers)) if share else ()
    key = (tuple(numbers.values()), tuple(node.name for node, _ in shared), len(points.ends), stacked, narrow)
    if key not in program.schedules:
        program.schedules[key] = _Builder(program, partitions, numbers, len(points.ends)).build(shared, stacked, narrow)
    return program.schedules[key]


class _Product(NamedTuple):
    """A product that can be shared: its data, the tensors of the state behind its weights and bias, the unit axis."""

    data: Node
    weight: Node
    bias: Node | None
    axis: int


def _worth_sharing(
    program: Program, points: Points, partitions: Partitions, numbers: Mapping[Node, int]
) -> Iterable[tuple[Node, _Product]]:
    names = dict(zip(program.inputs, program.state, strict=False))
    for node in program.graph.nodes:
        product = _as_product(node, names)
        if product is None or not _mixes(points, names, product):
            continue
        rows = partitions.parts(numbers[product.data])
        if partitions.parts(numbers[node]) >= _WORTH * len(points.ends) * rows:
            yield node, product


def _as_product(node: Node, names: Mapping[Node, str]) -> _Product | None:
    """The product that a node is, if its weights are a tensor of the state, turned at most."""
    if node.target not in _PRODUCTS or (node.target == aten.addmm.default and node.kwargs):
        return None
    places = _PRODUCTS[node.target]
    data, weight, bias = (None if place is None else node.args[place] for place in places)
    axis = 0 if node.target == aten.convolution.default else 1
    if node.target == aten.convolution.default and node.args[6]:
        return None
    if weight.target in _TURNS and len(weight.meta["val"].shape) == 2:
        weight, axis = weight.args[0], 1 - axis
    if weight not in names or (bias is not None and bias not in names) or data in names:
        return None
    return _Product(data, weight, bias, axis)


def _mixes(points: Points, names: Mapping[Node, str], product: _Product) -> bool:
    """Whether the coefficients are constant along the inputs of every unit, and the bias has those of its unit."""
    weight, bias = names[product.weight], names.get(product.bias)
    if not points.coefficients or weight in points.given or bias in points.given:
        return False
    for table in points.coefficients:
        shape = list(table[weight].shape[1:])
        units = shape.pop(product.axis)
        if any(size != 1 for size in shape):
            return False
        if bias is not None:
            rows = [table[name].reshape(len(points), -1) for name in (weight, bias)]
            if rows[0].shape != rows[1].shape or not torch.equal(*rows) or units != rows[0].shape[1]:
                return False
    return True


class _Builder:
    """Turns a program into groups: rewrites a copy of its graph, then cuts it."""

    def __init__(self, program: Program, partitions: Partitions, numbers: Mapping[Node, int], ends: int):
        self.program, self.partitions, self.ends = program, partitions, ends
        self.graph = Graph()
        copies: dict[Node, Node] = {}
        self.graph.output(self.graph.graph_copy(program.graph, copies))
        self.part = {copies[node]: number for node, number in numbers.items() if node in copies}
        self.needs: dict[Node, Need] = {
            copies[node]: Need("weight", name) for node, name in zip(program.inputs, program.state, strict=False)
        }
        self.x, self.count = (copies[node] for node in program.inputs[len(program.state) :])
        self.copies = copies

    def build(self, shared: Sequence[tuple[Node, _Product]], stacked: bool, narrow: bool) -> Schedule:
        for node, product in shared:
            self._share(self.copies[node], product, in_place=not stacked)
        for node in list(self.graph.nodes):
            self._fold(node)
        if narrow:
            for node in list(self.graph.nodes):
                self._narrow(node)
        if not stacked:
            for node in self.graph.nodes:
                self._write_over(node)
        self.graph.eliminate_dead_code()
        self.graph.lint()
        return self._cut(tuple(node.name for node, _ in shared))

    def _number(self, node: Node) -> int:
        """The partition of a node; that of a new one follows from what it reads."""
        if node not in self.part:
            self.part[node] = self.partitions.join(self._number(source) for source in node.all_input_nodes)
        return self.part[node]

    def _call(self, target: Callable[..., Any], *args: Any, like: Node | None = None) -> Node:
        made = self.graph.call_function(target, args)
        if like is not None:
            made.meta = dict(like.meta)
        return made

    def _placeholder(self, need: Need, number: int, like: Node) -> Node:
        """A placeholder for something else of the points, once."""
        for node, known in self.needs.items():
            if known == need:
                return node
        with self.graph.inserting_before(next(iter(self.graph.nodes))):
            made = self.graph.placeholder(f"{need.kind}_{need.k}_{like.name}")
        made.meta, self.needs[made], self.part[made] = dict(like.meta), need, number
        return made

    def _share(self, node: Node, product: _Product, in_place: bool):
        """Replace a product by the mixture of the products with the ends."""
        places = _PRODUCTS[node.target]
        weight, bias = (source and self.copies[source] for source in (product.weight, product.bias))
        turned = node.args[places[1]]
        products = []
        with self.graph.inserting_before(node):
            for k in range(self.ends):
                end = self._placeholder(Need("end", self.needs[weight].name, k), 0, weight)
                args = list(node.args)
                args[places[1]] = (
                    end if turned is weight else self._call(turned.target, end, *turned.args[1:], like=turned)
                )
                if bias is not None:
                    args[places[2]] = self._placeholder(Need("end", self.needs[bias].name, k), 0, bias)
                products.append(self._call(node.target, *args, like=node))
            rank = len(node.meta["val"].shape)
            shape = (-1,) if rank == 2 else (-1, *[1] * (rank - 2))
            shares = [
                self._placeholder(Need("coefficient", self.needs[weight].name, k, shape), self.part[weight], weight)
                for k in range(self.ends - 1)
            ]
            made = self._call(mixed, products, shares, like=node)
            made.kwargs = {"in_place": in_place}
        self.part[made] = self.part[node]
        node.replace_all_uses_with(made)
        self.graph.erase_node(node)

    def _fold(self, node: Node):
        """A BatchNorm with running statistics becomes part of the convolution that alone feeds it."""
        names = ("native_batch_norm.default", "_native_batch_norm_legit_no_training.default")
        if node.op != "call_function" or str(node.target).removeprefix("aten.") not in names:
            return
        source, scale, shift, mean, var, *rest = node.args
        if rest[0] is True or not _is_convolution(source) or len(source.users) > 1:
            return
        (first,) = [user for user in node.users if user.args[1] == 0]
        with self.graph.inserting_before(node):
            factor = self._call(torch.rsqrt, self._call(torch.add, var, rest[-1]))
            if scale is not None:
                factor = self._call(torch.mul, factor, scale)
            kernel = source.args[1]
            column = self._call(torch.reshape, factor, (-1, *[1] * (len(kernel.meta["val"].shape) - 1)))
            centre = mean if source.args[2] is None else self._call(torch.sub, mean, source.args[2])
            offset = self._call(torch.mul, self._call(torch.neg, centre), factor, like=mean)
            if shift is not None:
                offset = self._call(torch.add, offset, shift, like=mean)
            args = (source.args[0], self._call(torch.mul, kernel, column, like=kernel), offset, *source.args[3:])
            made = self._call(source.target, *args, like=source)
        first.replace_all_uses_with(made)
        for old in (*node.users, node, source):
            if not old.users:
                self.graph.erase_node(old)

    def _narrow(self, node: Node):
        """The factors of a product are rounded to bfloat16, its result becomes float32."""
        if node.target not in _MULTIPLIES:
            return
        with self.graph.inserting_before(node):
            node.args = tuple(
                self._call(torch.Tensor.bfloat16, arg, like=arg) if isinstance(arg, Node) and _is_tensor(arg) else arg
                for arg in node.args
            )
        with self.graph.inserting_after(node):
            made = self._call(torch.Tensor.float, node, like=node)
        node.replace_all_uses_with(made, delete_user_cb=lambda user: user is not made)

    def _write_over(self, node: Node):
        """Write the result over an argument that is a tensor of its own group and is not read again."""
        source = node.args[0] if node.args else None
        if not isinstance(source, Node) or not self._is_own(source, self._number(node)):
            return
        if node.target == aten.relu.default:
            node.target = torch.relu_
        elif node.target == aten.add.Tensor and not node.kwargs and isinstance(node.args[1], Node):
            mine, other, made = (n.meta["val"] for n in (source, node.args[1], node))
            if mine.shape == made.shape and mine.dtype == made.dtype and isinstance(other, Tensor):
                node.target = torch.Tensor.add_

    def _is_own(self, node: Node, number: int) -> bool:
        """Whether a result is a tensor of its own group, or a view of one, that is read in one place alone."""
        if len(node.users) > 1 or self._number(node) != number or not node.args:
            return False
        if node.target is operator.getitem:
            return node.args[0].target in _NORMS and node.args[1] == 0
        return node.target in _FRESH or (node.target in _VIEWS and self._is_own(node.args[0], number))

    def _cut(self, shared: tuple[str, ...]) -> Schedule:
        """One pair of graphs per partition."""
        on_data: dict[Node, bool] = {}
        for node in self.graph.nodes:
            on_data[node] = node in (self.x, self.count) or any(on_data[source] for source in node.all_input_nodes)
        (out,) = (node.args[0] for node in self.graph.nodes if node.op == "output")
        members: dict[int, list[Node]] = {}
        for node in self.graph.nodes:
            if node.op != "output" and node not in (self.x, self.count):
                members.setdefault(self._number(node), []).append(node)
        order = sorted(members, key=lambda number: (number != 0, self.partitions.parts(number)))
        cutter = _Cutter(self, on_data, out)
        groups = tuple(cutter.group(number, members[number]) for number in order)
        return Schedule(groups, out.name, shared, cutter.kept_bytes)


class _Cutter:
    """Cuts one graph into those of the groups."""

    def __init__(self, builder: _Builder, on_data: Mapping[Node, bool], out: Node):
        self.builder, self.on_data, self.out = builder, on_data, out
        self.kept_bytes = 0

    def group(self, number: int, nodes: Sequence[Node]) -> Group:
        first = [node for node in nodes if not self.on_data[node]]
        then = [node for node in nodes if self.on_data[node]]
        needs = [node for node in first if node in self.builder.needs]
        made_from, makes = self._borders(first)
        run_from, gives = self._borders(then)
        make = self._graph([*needs, *made_from], [node for node in first if node not in self.builder.needs], makes)
        run = self._graph([self.builder.x, self.builder.count, *run_from], then, gives)
        self.kept_bytes += sum(_bytes(node) for node in gives)
        return Group(
            number,
            tuple(self.builder.needs[node] for node in needs),
            tuple(node.name for node in made_from),
            make,
            tuple(node.name for node in makes),
            tuple(node.name for node in run_from),
            run,
            tuple(node.name for node in gives),
        )

    def _borders(self, nodes: Sequence[Node]) -> tuple[list[Node], list[Node]]:
        """What the nodes read of others, and what others read of them."""
        inside = set(nodes)
        given = {self.builder.x, self.builder.count}
        entering = dict.fromkeys(s for node in nodes for s in node.all_input_nodes if s not in inside | given)
        leaving = [node for node in nodes if any(user not in inside for user in node.users)]
        return list(entering), leaving

    def _graph(self, entering: Sequence[Node], nodes: Sequence[Node], leaving: Sequence[Node]) -> GraphModule:
        graph, of = Graph(), {}
        for node in entering:
            of[node] = graph.placeholder(node.name)
        for node in nodes:
            if node.op == "placeholder":
                continue
            of[node] = graph.node_copy(node, lambda source: of[source])
        graph.output(tuple(of[node] for node in leaving))
        return GraphModule(self.builder.program.module, graph)


def _is_tensor(node: Node) -> bool:
    return isinstance(node.meta.get("val"), Tensor)


def _is_convolution(node: Any) -> bool:
    return isinstance(node, Node) and node.target == aten.convolution.default and not node.args[6]


#: Operations that multiply tensors and add up.
_MULTIPLIES = (*_PRODUCTS, aten.bmm.default, aten.baddbmm.default)

#: Operations that make a tensor of their own, which nobody else sees.
_FRESH = (
    aten.addmm.default,
    aten.mm.default,
    aten.convolution.default,
    aten.add.Tensor,
    mixed,
    torch.relu_,
    torch.Tensor.add_,
    torch.Tensor.float,
)

#: Those that give several, the first of which is the normalised data.
_NORMS = (aten.native_layer_norm.default, aten.native_batch_norm.default, aten.native_group_norm.default)

#: Views of all entries of a tensor.
_VIEWS = (aten.permute.default, aten.reshape.default, aten.transpose.int)


def _bytes(node: Node) -> int:
    made = node.meta.get("val")
    return made.numel() * made.element_size() // 2 if isinstance(made, Tensor) else 0
