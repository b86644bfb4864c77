"""What is known of a tensor on its way through a network, and what every rule needs.

A rule reads the values that enter an operation and gives those that leave it, and ties, cuts or fixes what the
operation demands. An operation without a rule fixes all that enters it and gives fixed axes: less is permuted,
never something wrong.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch.fx import Node

from modecomb_viz.tracing.layout import Layout, Symbol, Symmetry, fixed, length, resolve

__all__ = [
    "Call",
    "Reading",
    "Rule",
    "Value",
    "axes_of",
    "axis_of",
    "broadcast",
    "compose",
    "fix_noted",
    "fixed_value",
    "made_by",
    "note_norms",
    "registrar",
    "sizes_of",
    "unknown",
]


@dataclass(frozen=True)
class Value:
    """What is known of a tensor: a layout per axis, and whose weights made it.

    ``feeders`` are the layers whose weights made the data; ``owners`` the layers of a tensor that is made of weights
    alone; ``origin`` the name of a tensor of the state, and which of its axes stands where, while it is only turned.
    """

    layouts: tuple[Layout, ...]
    feeders: frozenset[str] = frozenset()
    owners: frozenset[str] = frozenset()
    origin: tuple[str, tuple[int, ...]] | None = None

    def resolved(self) -> tuple[Layout, ...]:
        """The layouts in free symbols."""
        return tuple(map(resolve, self.layouts))

    def moved(self, layouts: Iterable[Layout]) -> "Value":
        """The same tensor with other axes."""
        return replace(self, layouts=tuple(layouts), origin=None)


@dataclass
class Reading:
    """What has been found out about a network so far.

    Attributes:
        norms: layers whose weights scale or shift what another layer made, because they are norms.
        weights: the layouts of the axes of every tensor of the state.
        symmetry: the constraints.
        fed_by: per norm, whose output it saw.
        unit_axes: per tensor of the state that is a factor of a product, the axis of its output units.
        unread: parts of weights that were left over where another part was read.
        notes: why something could not be permuted, and where.
    """

    norms: frozenset[str]
    weights: dict[str, tuple[Layout, ...]] = field(default_factory=dict)
    symmetry: Symmetry = field(default_factory=Symmetry)
    fed_by: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    unit_axes: dict[str, int] = field(default_factory=dict)
    unread: list[Layout] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def fix(self, layouts: Iterable[Layout]):
        """Nothing of these axes may move."""
        for layout in layouts:
            self.symmetry.fix(layout)

    def freedom_of_weights(self) -> set[Symbol]:
        """The symbols that are free along an axis of a weight so far."""
        axes = (layout for of in self.weights.values() for layout in of)
        return {piece.symbol for layout in axes for piece in resolve(layout) if piece.symbol is not None}

    def units_along(self, weight: Value, axis: int):
        """The first product that a tensor of the state enters says where its output units are."""
        if weight.origin:
            name, axes = weight.origin
            self.unit_axes.setdefault(name, axes[axis])

    def place(self, value: Value, name: str) -> str:
        """In words: an operation after the layers that feed it, or on the weights that enter it."""
        layers = ", ".join(map(repr, sorted(value.feeders or value.owners)[:3]))
        return f"{name} {'after' if value.feeders else 'of'} {layers}" if layers else f"{name} after the input"


@dataclass(frozen=True)
class Call:
    """An operation: its name, its arguments by name, the shapes of its outputs (None: no tensor), and its node."""

    name: str
    arguments: dict[str, Any]
    shapes: list[tuple[int, ...] | None]
    node: Node

    def __getitem__(self, key: str) -> Any:
        return self.arguments[key]

    def values(self) -> list[Value]:
        """Every tensor that enters, in order."""
        entered = []
        for argument in self.arguments.values():
            several = argument if isinstance(argument, (list, tuple)) else [argument]
            entered += [value for value in several if isinstance(value, Value)]
        return entered


#: What an operation does: the values of its outputs from a call.
Rule = Callable[[Reading, Call], list[Value]]


def registrar(rules: dict[str, Rule]) -> Callable[..., Callable[[Rule], Rule]]:
    """A decorator that enters a rule into a table under the names of its operations."""

    def register(*names: str) -> Callable[[Rule], Rule]:
        def enter(rule: Rule) -> Rule:
            rules.update(dict.fromkeys(names, rule))
            return rule

        return enter

    return register


def axis_of(dim: int, rank: int) -> int:
    return dim % rank if rank else 0


def axes_of(dims: Any, rank: int) -> set[int]:
    """The axes named by an argument; None and an empty list name all."""
    if dims is None or dims == []:
        return set(range(rank))
    return {axis_of(dim, rank) for dim in ([dims] if isinstance(dims, int) else dims)}


def sizes_of(value: Value) -> list[int]:
    return [length(layout) for layout in value.layouts]


def made_by(values: Sequence[Value]) -> Value:
    """Feeders and owners of what is made of several tensors: weights count only where all are weights."""
    data = [value for value in values if not value.owners]
    feeders = frozenset().union(*(value.feeders for value in data))
    return Value((), feeders, frozenset() if data else frozenset().union(*(v.owners for v in values)))


def fixed_value(shape: Sequence[int], like: Value = Value(())) -> Value:
    return like.moved(fixed(n) for n in shape)


def fix_noted(reading: Reading, layouts: Iterable[Layout], why: str, where: str):
    """Fix axes, with a note where that takes freedom away from a weight."""
    layouts = list(layouts)
    if reading.freedom_of_weights() & {piece.symbol for layout in layouts for piece in resolve(layout)}:
        reading.notes[why].append(where)
    reading.fix(layouts)


def unknown(reading: Reading, call: Call) -> list[Value]:
    """Fix everything; a note where that takes freedom away."""
    entered = call.values()
    made = made_by(entered)
    layouts = [layout for value in entered for layout in value.layouts]
    if made.feeders or made.owners:
        why = f"{call.name} is not known to keep the order of units; all that enters it stays as it is"
        fix_noted(reading, layouts, why, reading.place(made, call.name))
    reading.fix(layouts)
    return [fixed_value(shape, made) for shape in call.shapes if shape is not None]


def broadcast(reading: Reading, values: Sequence[Value]) -> tuple[Layout, ...]:
    """The layouts of tensors that are combined entry by entry."""
    rank = max((len(value.layouts) for value in values), default=0)
    result: list[Layout | None] = [None] * rank
    for value in values:
        for axis, (layout, size) in enumerate(
            zip(value.layouts, sizes_of(value), strict=True), rank - len(value.layouts)
        ):
            before = result[axis]
            if before is None or length(before) == 1:
                result[axis] = layout
            elif size != 1:
                result[axis] = reading.symmetry.tie(before, layout)
    return tuple(layout if layout is not None else fixed(1) for layout in result)


def note_norms(reading: Reading, values: Sequence[Value], made: Value):
    for value in values:
        if not made.owners:
            for owner in value.owners & reading.norms:
                reading.fed_by[owner] |= made.feeders


def compose(reading: Reading, layout: Layout, factors: list[Layout], where: str):
    if len(factors) == 1:
        reading.symmetry.tie(layout, factors[0])
    else:
        reading.symmetry.product(layout, factors, where)
