"""Rules of operations that compute entry by entry, along axes, or only move entries about."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import prod

from modecomb_viz.tracing.calls import (
    Call,
    Reading,
    Rule,
    Value,
    axes_of,
    axis_of,
    broadcast,
    compose,
    made_by,
    note_norms,
    registrar,
    sizes_of,
    unknown,
)
from modecomb_viz.tracing.layout import Layout, fixed, fresh, length, repeat

__all__ = ["RULES", "pointwise"]

RULES: dict[str, Rule] = {}
_rule = registrar(RULES)


@_rule("clone", "detach", "alias", "_to_copy", "lift_fresh", "lift_fresh_copy", "contiguous", "hardswish", "copy")
@_rule(
    "fill",
    "zero",
    "dropout",
    "native_dropout",
    "prelu",
    "_prelu_kernel",
    "rrelu_with_noise",
    "mish",
    "where",
    "masked_fill",
)
def pointwise(reading: Reading, call: Call) -> list[Value]:
    """One function of the entries at each place: broadcast axes move together."""
    values = call.values()
    made = made_by(values).moved(broadcast(reading, values))
    note_norms(reading, values, made)
    return [made] * len(call.shapes)


@_rule("softmax", "_softmax", "log_softmax", "_log_softmax", "_safe_softmax")
def _along(reading: Reading, call: Call) -> list[Value]:
    """A function of a whole axis that moves with its entries."""
    return [call.values()[0]]


@_rule("cumsum", "cumprod", "flip", "roll", "logcumsumexp")
def _ordered(reading: Reading, call: Call) -> list[Value]:
    """A function that depends on the order along some axes: these are fixed."""
    value = call["self"]
    for axis in axes_of(call.arguments.get("dims", call.arguments.get("dim")), len(value.layouts)):
        reading.symmetry.fix(value.layouts[axis])
    return [value]


@_rule("sum", "mean", "amax", "amin", "var", "std", "var_mean", "std_mean", "linalg_vector_norm", "norm", "logsumexp")
@_rule("prod", "any", "all")
def _reduce(reading: Reading, call: Call) -> list[Value]:
    """A symmetric function of the entries along some axes: their order does not matter."""
    value = call["self"]
    axes = axes_of(call.arguments.get("dim"), len(value.layouts))
    if call.arguments.get("keepdim"):
        layouts = [fixed(1) if i in axes else layout for i, layout in enumerate(value.layouts)]
    else:
        layouts = [layout for i, layout in enumerate(value.layouts) if i not in axes]
    return [value.moved(layouts)] * len(call.shapes)


@_rule("max", "min", "argmax", "argmin")
def _extreme(reading: Reading, call: Call) -> list[Value]:
    """Along an axis these also give places, which a permutation would change: the axis is fixed."""
    value = call["self"]
    if "other" in call.arguments:
        return pointwise(reading, call)
    if "dim" in call.arguments:
        for axis in axes_of(call["dim"], len(value.layouts)):
            reading.symmetry.fix(value.layouts[axis])
    return _reduce(reading, call)


@_rule("permute", "t", "transpose", "movedim", "swapaxes")
def _transpose(reading: Reading, call: Call) -> list[Value]:
    value = call["self"]
    order = list(range(len(value.layouts)))
    if "dims" in call.arguments:
        order = [axis_of(dim, len(order)) for dim in call["dims"]]
    elif "dim0" in call.arguments:
        i, j = axis_of(call["dim0"], len(order)), axis_of(call["dim1"], len(order))
        order[i], order[j] = j, i
    else:
        order.reverse()
    return [value.moved(value.layouts[i] for i in order)]


@_rule("view", "_unsafe_view", "reshape", "squeeze", "unsqueeze", "flatten", "unflatten", "_reshape_alias")
def _reshape(reading: Reading, call: Call) -> list[Value]:
    """The same entries in the same row-major order."""
    value, (shape,) = call["self"], call.shapes
    old = {axis: size for axis, size in enumerate(sizes_of(value)) if size != 1}
    new = {axis: size for axis, size in enumerate(shape) if size != 1}
    layouts = [fixed(size) for size in shape]
    for olds, news in _factors(old, new):
        parts = _refine([value.layouts[axis] for axis in olds], [new[axis] for axis in news], reading, call)
        for axis, layout in zip(news, parts, strict=True):
            layouts[axis] = layout
    return [value.moved(layouts)]


def _factors(old: dict[int, int], new: dict[int, int]) -> Iterable[tuple[list[int], list[int]]]:
    """The smallest runs of old and new axes that have equal products."""
    olds, news = list(old), list(new)
    while olds or news:
        left, right = [olds.pop(0)], [news.pop(0)]
        while (a := prod(old[i] for i in left)) != (b := prod(new[i] for i in right)):
            if a < b:
                left.append(olds.pop(0))
            else:
                right.append(news.pop(0))
        yield left, right


def _refine(olds: list[Layout], sizes: list[int], reading: Reading, call: Call) -> list[Layout]:
    """Layouts of the new axes: both sides are products of common factors, from the innermost outwards."""
    if len(olds) == len(sizes) == 1:
        return olds
    where = reading.place(call["self"], call.name)
    news = [fresh(size) for size in sizes]
    before = [(layout, length(layout)) for layout in olds]
    after = list(zip(news, sizes, strict=True))
    parts: dict[int, list[Layout]] = defaultdict(list)
    (old, a), (new, b) = before.pop(), after.pop()
    while True:
        size = min(a, b)
        if max(a, b) % size:
            for layout in (*olds, *news):
                reading.symmetry.fix(layout)
            return news
        factor = fresh(size)
        parts[id(old)].insert(0, factor)
        parts[id(new)].insert(0, factor)
        a, b = a // size, b // size
        if a == b == 1 and not before and not after:
            break
        if a == 1:
            old, a = before.pop()
        if b == 1:
            new, b = after.pop()
    for layout in (*olds, *news):
        compose(reading, layout, parts[id(layout)], where)
    return news


@_rule("as_strided")
def _as_strided(reading: Reading, call: Call) -> list[Value]:
    """The same tensor when sizes and strides stay, except strides of single entries, which are never taken."""
    before, after = call.node.args[0].meta["val"], call.node.meta["val"]
    steps = [[step for step, size in zip(t.stride(), t.shape, strict=True) if size > 1] for t in (before, after)]
    return [call["self"]] if before.shape == after.shape and steps[0] == steps[1] else unknown(reading, call)


@_rule("expand", "expand_as")
def _expand(reading: Reading, call: Call) -> list[Value]:
    """A repeated single entry is the same everywhere, so its axis is free."""
    value, (shape,) = call["self"], call.shapes
    sizes = [1] * (len(shape) - len(value.layouts)) + sizes_of(value)
    layouts = [fixed(1)] * (len(shape) - len(value.layouts)) + list(value.layouts)
    return [
        value.moved(
            layout if size == wanted else fresh(wanted)
            for layout, size, wanted in zip(layouts, sizes, shape, strict=True)
        )
    ]


@_rule("repeat")
def _repeat(reading: Reading, call: Call) -> list[Value]:
    value, (shape,) = call["self"], call.shapes
    extra = len(shape) - len(value.layouts)
    layouts = [fixed(1)] * extra + list(value.layouts)
    return [value.moved(repeat(layout, n) for layout, n in zip(layouts, call["repeats"], strict=True))]


@_rule("slice", "narrow")
def _slice(reading: Reading, call: Call) -> list[Value]:
    value, axis = call["self"], axis_of(call["dim"], len(call["self"].layouts))
    size, layouts = sizes_of(value)[axis], list(value.layouts)
    if call.arguments.get("step", 1) != 1:
        reading.symmetry.fix(layouts[axis])
        return [value.moved([*layouts[:axis], fixed(call.shapes[0][axis]), *layouts[axis + 1 :]])]
    start = call.arguments.get("start") or 0
    start = max(0, start + size) if start < 0 else min(start, size)
    layouts[axis] = reading.symmetry.take(layouts[axis], start, start + call.shapes[0][axis])
    return [value.moved(layouts)]


@_rule("select")
def _select(reading: Reading, call: Call) -> list[Value]:
    value, axis = call["self"], axis_of(call["dim"], len(call["self"].layouts))
    _take_one(reading, value, axis, call["index"])
    return [value.moved(layout for i, layout in enumerate(value.layouts) if i != axis)]


def _take_one(reading: Reading, value: Value, axis: int, index: int):
    index %= sizes_of(value)[axis]
    reading.symmetry.take(value.layouts[axis], index, index + 1)


@_rule("unbind")
def _unbind(reading: Reading, call: Call) -> list[Value]:
    value = call["self"]
    axis = axis_of(call["dim"], len(value.layouts))
    reading.symmetry.fix(value.layouts[axis])
    return [value.moved(layout for i, layout in enumerate(value.layouts) if i != axis)] * len(call.shapes)


@_rule("split", "split_with_sizes", "chunk", "tensor_split")
def _split(reading: Reading, call: Call) -> list[Value]:
    value, axis = call["self"], axis_of(call["dim"], len(call["self"].layouts))
    parts, start = [], 0
    for shape in call.shapes:
        layouts = list(value.layouts)
        layouts[axis] = reading.symmetry.take(layouts[axis], start, start + shape[axis])
        start += shape[axis]
        parts.append(value.moved(layouts))
    return parts


@_rule("glu")
def _glu(reading: Reading, call: Call) -> list[Value]:
    """One half times the sigmoid of the other: both halves move alike."""
    value, axis = call["self"], axis_of(call["dim"], len(call["self"].layouts))
    layouts = list(value.layouts)
    layouts[axis] = reading.symmetry.tie(*reading.symmetry.cut(layouts[axis], sizes_of(value)[axis] // 2))
    return [value.moved(layouts)]


@_rule("cat", "stack")
def _cat(reading: Reading, call: Call) -> list[Value]:
    values = [value for value in call["tensors"] if sizes_of(value) != [0]]
    if call.name == "stack":
        axis = axis_of(call["dim"], len(values[0].layouts) + 1)
        values = [v.moved([*v.layouts[:axis], fixed(1), *v.layouts[axis:]]) for v in values]
    axis = axis_of(call["dim"], len(values[0].layouts))
    layouts = []
    for i in range(len(values[0].layouts)):
        if i == axis:
            layouts.append(tuple(piece for value in values for piece in value.layouts[i]))
        else:
            layouts.append(_tie_all(reading, [value.layouts[i] for value in values]))
    return [made_by(values).moved(layouts)]


def _tie_all(reading: Reading, layouts: Sequence[Layout]) -> Layout:
    for layout in layouts[1:]:
        reading.symmetry.tie(layouts[0], layout)
    return layouts[0]


@_rule("constant_pad_nd")
def _pad(reading: Reading, call: Call) -> list[Value]:
    """Constant entries at the sides keep their place; a side that is cut off must not move."""
    value, layouts = call["self"], list(call["self"].layouts)
    pads = list(call["pad"])
    for i, (before, after) in enumerate(zip(pads[::2], pads[1::2], strict=True), start=1):
        if min(before, after) < 0:
            reading.symmetry.fix(layouts[-i])
            layouts[-i] = fixed(call.shapes[0][-i])
        else:
            layouts[-i] = (*fixed(before), *layouts[-i], *fixed(after))
    return [value.moved(layouts)]


@_rule("zeros", "ones", "full", "empty", "new_zeros", "new_ones", "new_full", "new_empty", "scalar_tensor")
@_rule("zeros_like", "ones_like", "full_like", "empty_like", "empty_strided", "new_empty_strided")
def _constant(reading: Reading, call: Call) -> list[Value]:
    """The same number everywhere: every axis is free."""
    return [Value(tuple(map(fresh, shape))) for shape in call.shapes]


@_rule("index")
def _index(reading: Reading, call: Call) -> list[Value]:
    """Indexed axes are fixed; where they are neighbours the others keep their place."""
    value, indices = call["self"], list(call["indices"])
    indexed = [axis for axis, index in enumerate(indices) if index is not None]
    for axis in indexed:
        reading.symmetry.fix(value.layouts[axis])
    result = [fixed(size) for size in call.shapes[0]]
    if indexed == list(range(indexed[0], indexed[-1] + 1)):
        tail = len(value.layouts) - indexed[-1] - 1
        result[: indexed[0]] = value.layouts[: indexed[0]]
        result[len(result) - tail :] = value.layouts[len(value.layouts) - tail :]
        return [value.moved(result)]
    return unknown(reading, call)


@_rule("index_select")
def _index_select(reading: Reading, call: Call) -> list[Value]:
    value, axis = call["self"], axis_of(call["dim"], len(call["self"].layouts))
    reading.symmetry.fix(value.layouts[axis])
    return [value.moved([*value.layouts[:axis], fixed(call.shapes[0][axis]), *value.layouts[axis + 1 :]])]
