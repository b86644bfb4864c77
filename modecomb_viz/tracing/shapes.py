"""Rules of operations that compute entry by entry, along axes, or only move entries about."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
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
    fix_noted,
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


@_rule("view_as_real", "view_as_complex", "polar", "complex", "real", "imag", "_conj", "resolve_conj")
def _complex(reading: Reading, call: Call) -> list[Value]:
    """Pairs of numbers and complex numbers: the last axis of two is fixed, the others pass."""
    values = call.values()
    made, rank = made_by(values), len(call.shapes[0])
    layouts = broadcast(reading, values)
    if rank < len(layouts):
        reading.fix(layouts[rank:])
    return [made.moved((*layouts, fixed(2))[:rank] if rank >= len(layouts) else layouts[:rank])]


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
    "log_sigmoid_forward",
    "_to_copy",
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


@_rule("cumsum", "cumprod", "flip", "roll", "logcumsumexp", "sort", "argsort", "cummax", "cummin")
@_rule("_fft_r2c", "_fft_c2c", "_fft_c2r", "topk", "kthvalue", "median", "mode")
def _ordered(reading: Reading, call: Call) -> list[Value]:
    """A function of the order along some axes: these are fixed, the others pass."""
    value = call["self"]
    axes = axes_of(call.arguments.get("dims", call.arguments.get("dim")), len(value.layouts))
    _keep_order(reading, call, value, axes)
    kept = [layout for axis, layout in enumerate(value.layouts) if axis not in axes]
    results = []
    for shape in (shape for shape in call.shapes if shape is not None):
        if len(shape) == len(value.layouts):
            layouts = (fixed(n) if axis in axes else value.layouts[axis] for axis, n in enumerate(shape))
            results.append(value.moved(layouts))
        else:
            results.append(value.moved(kept))
    return results


@_rule("tril", "triu")
def _triangle(reading: Reading, call: Call) -> list[Value]:
    value = call["self"]
    _keep_order(reading, call, value, axes_of([-2, -1], len(value.layouts)))
    return [value]


def _keep_order(reading: Reading, call: Call, value: Value, axes: Iterable[int]):
    """Fix axes along which an operation goes by number; say so where units stood there."""
    if not value.feeders and not value.owners:
        return reading.fix(value.layouts[axis] for axis in axes)
    why = f"{call.name} goes by the order of units, which stay as they are"
    return fix_noted(reading, [value.layouts[axis] for axis in axes], why, reading.place(value, call.name))


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
    """Along an axis these also give places, which a permutation would change: where they are used, it is fixed."""
    value = call["self"]
    if "other" in call.arguments:
        return pointwise(reading, call)
    places_used = call.name.startswith("arg") or any(user.args[1:] == (1,) and user.users for user in call.node.users)
    if "dim" in call.arguments and places_used:
        _keep_order(reading, call, value, axes_of(call["dim"], len(value.layouts)))
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
    origin = value.origin and (value.origin[0], tuple(value.origin[1][i] for i in order))
    return [replace(value.moved(value.layouts[i] for i in order), origin=origin)]


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
            fix_noted(reading, olds, f"{call.name} cuts units apart, which stay as they are", where)
            reading.fix(news)
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
        _keep_order(reading, call, value, [axis])
        return [value.moved([*layouts[:axis], fixed(call.shapes[0][axis]), *layouts[axis + 1 :]])]
    start = call.arguments.get("start") or 0
    start = max(0, start + size) if start < 0 else min(start, size)
    layouts[axis] = _taken(reading, value, axis, start, start + call.shapes[0][axis])
    return [value.moved(layouts)]


def _taken(reading: Reading, value: Value, axis: int, start: int, stop: int) -> Layout:
    """A part of an axis; what is left of a weight may be read on other inputs only."""
    before, rest = reading.symmetry.cut(value.layouts[axis], start)
    taken, after = reading.symmetry.cut(rest, stop - start)
    if value.owners:
        reading.unread += [before, after]
    return taken


@_rule("select")
def _select(reading: Reading, call: Call) -> list[Value]:
    value, axis = call["self"], axis_of(call["dim"], len(call["self"].layouts))
    index = call["index"] % sizes_of(value)[axis]
    _taken(reading, value, axis, index, index + 1)
    return [value.moved(layout for i, layout in enumerate(value.layouts) if i != axis)]


@_rule("unbind")
def _unbind(reading: Reading, call: Call) -> list[Value]:
    value = call["self"]
    axis = axis_of(call["dim"], len(value.layouts))
    reading.symmetry.fix(value.layouts[axis])
    return [value.moved(layout for i, layout in enumerate(value.layouts) if i != axis)] * len(call.shapes)


@_rule("split", "split_with_sizes", "chunk", "tensor_split", "unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk")
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
            _keep_order(reading, call, value, [len(layouts) - i])
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
    if indexed != list(range(indexed[0], indexed[-1] + 1)):
        return unknown(reading, call)
    _keep_order(reading, call, value, indexed)
    for index in indices:
        if index is not None:
            _keep_order(reading, call, index, range(len(index.layouts)))
    result = [fixed(size) for size in call.shapes[0]]
    tail = len(value.layouts) - indexed[-1] - 1
    result[: indexed[0]] = value.layouts[: indexed[0]]
    result[len(result) - tail :] = value.layouts[len(value.layouts) - tail :]
    return [value.moved(result)]


@_rule("index_select", "gather")
def _index_select(reading: Reading, call: Call) -> list[Value]:
    """Entries by number along one axis; gather reads the others place by place."""
    value, index = call["self"], call["index"]
    axis = axis_of(call["dim"], len(value.layouts))
    if call.name == "gather":
        return unknown(reading, call)
    _keep_order(reading, call, value, [axis])
    _keep_order(reading, call, index, range(len(index.layouts)))
    return [value.moved([*value.layouts[:axis], fixed(call.shapes[0][axis]), *value.layouts[axis + 1 :]])]


@_rule("index_add", "index_copy")
def _index_add(reading: Reading, call: Call) -> list[Value]:
    """Entries are added at numbers along one axis; the others move together."""
    value, source, index = call["self"], call["source"], call["index"]
    axis = axis_of(call["dim"], len(value.layouts))
    for entered, axes in ((value, [axis]), (source, [axis]), (index, range(len(index.layouts)))):
        _keep_order(reading, call, entered, axes)
    layouts = [
        layout if i == axis else reading.symmetry.tie(layout, other)
        for i, (layout, other) in enumerate(zip(value.layouts, source.layouts, strict=True))
    ]
    return [made_by([value, source]).moved(layouts)]


@_rule("pixel_shuffle", "pixel_unshuffle")
def _pixel_shuffle(reading: Reading, call: Call) -> list[Value]:
    """Channels are (channel, block): a channel moves with all places that it is spread over."""
    value, (shape,) = call["self"], call.shapes
    more, fewer = sorted((sizes_of(value)[-3], shape[-3]), reverse=True)
    few, block = fresh(fewer), more // fewer
    many = few if block == 1 else tuple(piece._replace(block=block) for piece in few) if fewer > 1 else fixed(more)
    before, after = (many, few) if call.name == "pixel_shuffle" else (few, many)
    reading.symmetry.tie(value.layouts[-3], before)
    reading.fix(value.layouts[-2:])
    return [value.moved((*value.layouts[:-3], after, *map(fixed, shape[-2:])))]
