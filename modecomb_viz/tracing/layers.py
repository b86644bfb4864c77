"""Rules of operations with weights of their own: products, convolutions, norms, embeddings, attention; and pooling."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import prod

from modecomb_viz.tracing.calls import (
    Call,
    Reading,
    Rule,
    Value,
    broadcast,
    compose,
    fix_noted,
    fixed_value,
    made_by,
    note_norms,
    registrar,
    sizes_of,
)
from modecomb_viz.tracing.layout import Layout, fixed, fresh, length, scale

__all__ = ["RULES"]

RULES: dict[str, Rule] = {}
_rule = registrar(RULES)


def _contracted(reading: Reading, call: Call, values: Sequence[Value], layouts: Iterable[Layout]) -> list[Value]:
    """The result of a product with weights is made by them; a product of data by all that made the data."""
    owners = frozenset().union(*(value.owners for value in values))
    data = [value for value in values if not value.owners]
    if not data:
        return [Value(tuple(layouts), owners=owners)]
    return [Value(tuple(layouts), owners or frozenset().union(*(value.feeders for value in data)))]


@_rule("mm", "bmm", "addmm", "baddbmm", "mv", "dot", "vdot", "addmv", "matmul")
def _multiply(reading: Reading, call: Call) -> list[Value]:
    """[…, n, k] · […, k, m]: the k of both move alike; an added bias moves with the result."""
    if "self" in call.arguments and call.name.startswith(("add", "badd")):
        factors, added = call.values()[1:], [call["self"]]
    else:
        factors, added = call.values(), []
    left, right = (value.layouts for value in factors)
    if len(left) > 2 or len(right) > 2:
        batch = broadcast(reading, [factors[0].moved(left[:-2]), factors[1].moved(right[:-2])])
    else:
        batch = ()
    reading.symmetry.tie(left[-1], right[-2] if len(right) > 1 else right[0])
    reading.units_along(factors[1], -1)
    reading.units_along(factors[0], -2 if len(left) > 1 else -1)
    layouts = (*batch, *left[-2:-1], *right[-1:][: len(right) - 1])
    if added:
        layouts = broadcast(reading, [factors[0].moved(layouts), *added])
    return _contracted(reading, call, [*factors, *added], layouts)


@_rule("linear")
def _linear(reading: Reading, call: Call) -> list[Value]:
    x, weight, bias = call["input"], call["weight"], call.arguments.get("bias")
    reading.symmetry.tie(x.layouts[-1], weight.layouts[1])
    reading.units_along(weight, 0)
    if bias is not None:
        reading.symmetry.tie(weight.layouts[0], bias.layouts[0])
    return _contracted(reading, call, [x, weight], (*x.layouts[:-1], weight.layouts[0]))


@_rule("convolution", "_convolution")
def _convolution(reading: Reading, call: Call) -> list[Value]:
    """Channels are (group, channel of the group) on both sides; the groups keep their order on the way through."""
    x, weight, bias, groups = call["input"], call["weight"], call.arguments.get("bias"), call["groups"]
    reading.fix(weight.layouts[2:])
    dims = len(x.layouts) - 2
    steps, pads = (list(call[name]) * (dims // len(call[name])) for name in ("stride", "padding"))
    kernel = zip(sizes_of(weight)[2:], steps, pads, strict=True)
    space = [layout if entry == (1, 1, 0) else None for layout, entry in zip(x.layouts[2:], kernel, strict=True)]
    mixed = [layout for layout, kept in zip(x.layouts[2:], space, strict=True) if kept is None]
    fix_noted(reading, mixed, "a convolution goes over units, which stay as they are", reading.place(x, call.name))
    reading.units_along(weight, 1 if call["transposed"] and groups == 1 else 0)
    whole, inner = weight.layouts[0], weight.layouts[1]
    group, part = fresh(groups), fresh(sizes_of(weight)[0] // groups)
    place = reading.place(x, f"convolution in {groups} groups")
    _grouped(reading, whole, (group, part), place)
    if call["transposed"]:
        inputs, outputs = whole, _flat(reading, (group, inner), place)
    else:
        inputs, outputs = _flat(reading, (group, inner), place), whole
    reading.symmetry.tie(x.layouts[1], inputs)
    if bias is not None:
        reading.symmetry.tie(bias.layouts[0], outputs)
    kept = [layout or fixed(size) for layout, size in zip(space, call.shapes[0][2:], strict=True)]
    return _contracted(reading, call, [x, weight], (x.layouts[0], outputs, *kept))


def _grouped(reading: Reading, flat: Layout, dims: tuple[Layout, Layout], place: str):
    """flat = (group, part), where one of the two may be a single entry."""
    sides = [dim for dim in dims if length(dim) > 1]
    compose(reading, flat, sides or [dims[0]], place)


def _flat(reading: Reading, dims: tuple[Layout, Layout], place: str) -> Layout:
    flat = fresh(prod(map(length, dims)))
    _grouped(reading, flat, dims, place)
    return flat


@_rule("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm")
@_rule("batch_norm", "miopen_batch_norm", "_batch_norm_with_update", "_batch_norm_no_update")
def _batch_norm(reading: Reading, call: Call) -> list[Value]:
    return _normalised(reading, call, call["input"], 1)


@_rule("native_layer_norm", "layer_norm", "rms_norm", "_fused_rms_norm")
def _layer_norm(reading: Reading, call: Call) -> list[Value]:
    """Mean and variance do not see the order: scale and shift move with the axes that are normalised."""
    x = call["input"]
    weights = call.values()[1:]
    layouts = broadcast(reading, [x, *weights])
    note_norms(reading, weights, x)
    return [x.moved(layouts), *(fixed_value(shape, x) for shape in call.shapes[1:] if shape is not None)]


@_rule("native_group_norm", "group_norm")
def _group_norm(reading: Reading, call: Call) -> list[Value]:
    """A channel may move within its group."""
    x = call["input"]
    groups, channels = call.arguments.get("group", call.arguments.get("num_groups")), sizes_of(x)[1]
    for i in range(1, groups if groups < channels else 0):
        reading.symmetry.cut(x.layouts[1], i * channels // groups)
    return _normalised(reading, call, x, 1)


def _normalised(reading: Reading, call: Call, x: Value, axis: int) -> list[Value]:
    weights = [value for value in call.values() if value is not x]
    for value in weights:
        reading.symmetry.tie(x.layouts[axis], value.layouts[0])
    note_norms(reading, weights, x)
    return [x, *(fixed_value(shape, x) for shape in call.shapes[1:] if shape is not None)]


@_rule("_weight_norm_interface")
def _weight_norm(reading: Reading, call: Call) -> list[Value]:
    """g · v/‖v‖, the norm over all axes of v but one, along which g stands."""
    v, g, axis = call["v"], call["g"], call["dim"]
    layouts = broadcast(reading, [v, g.moved(layout if i == axis else fixed(1) for i, layout in enumerate(g.layouts))])
    return [replace(made_by([v, g]).moved(layouts), origin=v.origin), g]


@_rule("_trilinear")
def _bilinear(reading: Reading, call: Call) -> list[Value]:
    """nn.Bilinear as torch computes it: x₁ and x₂ move with the inputs of the weight, the result with its outputs."""
    factors = [call["i1"], call["i2"], call["i3"]]
    expanded = []
    for value, axes in zip(factors, (call["expand1"], call["expand2"], call["expand3"]), strict=True):
        layouts = list(value.layouts)
        for axis in sorted(axes):
            layouts.insert(axis, fixed(1))
        expanded.append(value.moved(layouts))
    reading.units_along(call["i2"], 0)
    layouts = broadcast(reading, expanded)
    kept = [layout for axis, layout in enumerate(layouts) if axis not in call["sumdim"]]
    return _contracted(reading, call, factors, kept)


@_rule("_embedding_bag", "_embedding_bag_forward_only")
def _embedding_bag(reading: Reading, call: Call) -> list[Value]:
    weight = call["weight"]
    reading.symmetry.fix(weight.layouts[0])
    reading.units_along(weight, 1)
    made = Value((), owners=frozenset(), feeders=weight.owners)
    first = made.moved((fixed(call.shapes[0][0]), weight.layouts[1]))
    return [first, *(fixed_value(shape, made) for shape in call.shapes[1:] if shape is not None)]


@_rule("embedding")
def _embedding(reading: Reading, call: Call) -> list[Value]:
    weight, indices = call["weight"], call["indices"]
    reading.symmetry.fix(weight.layouts[0])
    reading.units_along(weight, 1)
    return _contracted(reading, call, [weight, indices], (*indices.layouts, weight.layouts[1]))


def _attention(reading: Reading, call: Call) -> list[Value]:
    """softmax(q·kᵀ)·v per head: heads move alike, and so do the entries of q and k and the tokens of k and v."""
    q, k, v = (call[name] for name in ("query", "key", "value"))
    mask = call.arguments.get("attn_mask", call.arguments.get("attn_bias"))
    if sizes_of(q)[:-2] != sizes_of(k)[:-2]:
        k, v = (_repeated_heads(reading, q, value) for value in (k, v))
    heads = broadcast(reading, [value.moved(value.layouts[:-2]) for value in (q, k, v)])
    reading.symmetry.tie(q.layouts[-1], k.layouts[-1])
    reading.symmetry.tie(k.layouts[-2], v.layouts[-2])
    if call.arguments.get("is_causal"):
        for value in (q, k):
            reading.symmetry.fix(value.layouts[-2])
    scores = q.moved((*heads, q.layouts[-2], k.layouts[-2]))
    if isinstance(mask, Value):
        broadcast(reading, [scores, mask])
    made = made_by([q, k, v]).moved((*heads, q.layouts[-2], v.layouts[-1]))
    return [made, *(fixed_value(shape, made) for shape in call.shapes[1:] if shape is not None)]


def _repeated_heads(reading: Reading, q: Value, value: Value) -> Value:
    """Grouped queries: every head of k and v serves consecutive heads of q."""
    times = sizes_of(q)[-3] // max(1, sizes_of(value)[-3])
    return value.moved((*value.layouts[:-3], scale(value.layouts[-3], times), *value.layouts[-2:]))


RULES |= {
    f"{prefix}scaled_dot_product_{kind}": _attention
    for prefix in ("", "_")
    for kind in (
        "attention",
        "attention_math",
        "attention_math_for_mps",
        "flash_attention",
        "flash_attention_for_cpu",
        "efficient_attention",
        "cudnn_attention",
    )
}


def _over_space(reading: Reading, call: Call) -> list[Value]:
    """Pooling, padding by reflection and resampling: the last axes are space and fixed, the others pass."""
    value = call.values()[0]
    space = int(re.search(r"([123])d", call.name)[1])
    why = f"{call.name} goes over units, which stay as they are"
    fix_noted(reading, value.layouts[-space:], why, reading.place(value, call.name))
    kept = value.layouts[:-space]
    return [value.moved((*kept, *map(fixed, shape[-space:]))) for shape in call.shapes]


_POOLINGS = ("lp_pool", "avg_pool", "max_pool", "adaptive_avg_pool", "_adaptive_avg_pool", "adaptive_max_pool")
_RESAMPLINGS = ("reflection_pad", "replication_pad", "upsample_nearest", "_upsample_nearest_exact")

RULES |= {f"{name}{space}d": _over_space for name in (*_POOLINGS, *_RESAMPLINGS) for space in (1, 2, 3)}
RULES |= {f"max_pool{space}d_with_indices": _over_space for space in (2, 3)}
RULES |= dict.fromkeys(("upsample_linear1d", "upsample_trilinear3d", "grid_sampler_2d"), _over_space)
RULES |= {
    f"{prefix}upsample_bi{kind}2d{aa}": _over_space
    for prefix in ("", "_")
    for kind in ("linear", "cubic")
    for aa in ("", "_aa")
}
