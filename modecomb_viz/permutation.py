"""Permutations of hidden units: the table that says which axes move together, and what acts on it.

A network keeps its function when the units of a hidden layer are re-ordered, provided that every weight
axis that belongs to these units is re-ordered alike. A :class:`PermutationSpec` is the table of these
axes; a permutation is ``dict[group, LongTensor]`` with

    apply(p, W)[i] = W[p[i]]        along every axis of the group.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod

import torch
from jaxtyping import Bool, Int
from torch import Tensor

__all__ = [
    "Axis",
    "Params",
    "Permutation",
    "PermutationSpec",
    "apply_permutation",
    "check_params",
    "check_strength",
    "churn",
    "compose",
    "identity_permutation",
    "invert",
    "pieces_of",
    "random_permutation",
    "restrict",
    "shuffle",
]

#: Every floating-point entry of a ``state_dict()``, buffers included.
Params = Mapping[str, Tensor]

#: One index vector per group: ``apply(p, W)[i] = W[p[i]]``.
Permutation = Mapping[str, Tensor]

#: What permutes one axis: nothing, a group, or consecutive pieces ``(group or None, block length)``.
#: A piece of a group of n units covers n · block entries; a fixed piece ``(None, length)`` covers ``length``.
Axis = None | str | tuple[tuple[str | None, int], ...]


@dataclass(frozen=True)
class PermutationSpec:
    """The permutation symmetry of one architecture, as a table.

    Args:
        axes_to_perm: per tensor, what permutes each of its axes, for instance
            ``{"conv1.weight": ("P_0", None, None, None), "fc.weight": (None, (("P_7", 49),))}``.
        shapes: the shape of every tensor.
        layers: the layer that owns each tensor. The scale, shift and statistics of a norm belong to the
            layer that feeds it when exactly one does.
        statistics: tensors that are running statistics, not trained; matching leaves them out.
        notes: remarks on what could not be permuted, and why.
        tied: further names of a tensor that has several, and its first name; they share their coefficients.
        unit_axes: the axis of a tensor along which its output units lie, where it is not the first.
        group_sizes: number of units per group; by default read from the axes.

    Raises:
        ValueError: when the tables name different tensors or a group has two sizes.
    """

    axes_to_perm: Mapping[str, tuple[Axis, ...]]
    shapes: Mapping[str, tuple[int, ...]]
    layers: Mapping[str, str]
    statistics: frozenset[str] = field(default_factory=frozenset)
    notes: tuple[str, ...] = ()
    tied: Mapping[str, str] = field(default_factory=dict)
    unit_axes: Mapping[str, int] = field(default_factory=dict)
    group_sizes: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self):
        for table in (self.shapes, self.layers):
            _check_names("a table of the spec", table, "axes_to_perm", self.axes_to_perm)
        for name, axes in self.axes_to_perm.items():
            if len(axes) != len(self.shapes[name]):
                raise ValueError(
                    f"the spec has {len(axes)} axes for '{name}', whose shape is {self.shapes[name]}. "
                    "Give one entry per axis: None, a group, or (group, block) pieces."
                )
        self.sizes  # noqa: B018 (raises when a group has two sizes)

    @cached_property
    def places(self) -> dict[str, list[tuple[str, int]]]:
        """Per group, every ``(tensor, axis)`` that it permutes."""
        places: dict[str, list[tuple[str, int]]] = {}
        for name, axes in self.axes_to_perm.items():
            for axis, entry in enumerate(axes):
                for group in dict.fromkeys(group for group, _ in _pieces(entry) if group is not None):
                    places.setdefault(group, []).append((name, axis))
        return places

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Number of units of every group."""
        whole = {group: self.group_sizes.get(group) or self._whole_size(group) for group in self.places}
        for name, axes in self.axes_to_perm.items():
            for axis, entry in enumerate(axes):
                covered = sum(block * whole.get(group, 1) for group, block in _pieces(entry))
                if entry is not None and covered != self.shapes[name][axis]:
                    raise ValueError(
                        f"axis {axis} of '{name}' has {self.shapes[name][axis]} entries, but {entry!r} covers "
                        f"{covered} of them (groups: {whole})."
                    )
        return whole

    def _whole_size(self, group: str) -> int:
        for name, axis in self.places[group]:
            pieces = _pieces(self.axes_to_perm[name][axis])
            if len(pieces) == 1:
                return self.shapes[name][axis] // pieces[0][1]
        raise ValueError(
            f"the size of group '{group}' is open: it never covers a whole axis alone. Give it in group_sizes."
        )

    @property
    def layer_names(self) -> list[str]:
        """The layers, in the order in which their tensors stand in the table."""
        return list(dict.fromkeys(self.layers.values()))

    @cached_property
    def writers(self) -> dict[str, list[str]]:
        """Per group, the layers whose output units it orders; several share a residual stream or are concatenated."""
        writers: dict[str, list[str]] = {group: [] for group in self.places}
        for name, axes in self.axes_to_perm.items():
            for group, _ in _pieces(axes[self.unit_axes.get(name, 0)]) if axes else ():
                if group and self.layers[name] not in writers[group]:
                    writers[group].append(self.layers[name])
        return writers

    @property
    def permuted_share(self) -> float:
        """Share of the trained weights that lie on at least one permuted axis, a fraction in [0, 1]."""
        trained = [name for name in self.axes_to_perm if name not in self.statistics and name not in self.tied]
        sizes = {name: prod(self.shapes[name]) for name in trained}
        moved = sum(size for name, size in sizes.items() if any(self.axes_to_perm[name]))
        return moved / sum(sizes.values()) if sizes else 0.0

    def __str__(self) -> str:
        tensors = [
            (name, "×".join(map(str, self.shapes[name])) or "scalar", ", ".join(map(self._describe, axes)), layer)
            for (name, axes), layer in zip(self.axes_to_perm.items(), self.layers.values(), strict=True)
        ]
        groups = [
            (group, str(size), "shared" if len(self.writers[group]) > 1 else "permuted", _abridged(self.writers[group]))
            for group, size in self.sizes.items()
        ]
        return "\n".join(
            [
                *_table(("tensor", "shape", "axes", "layer"), tensors),
                "",
                *_table(("group", "units", "kind", "orders the units of"), groups),
                f"{self.permuted_share:.1%} of the weights lie on a permuted axis.",
                *(f"tied: {name} is {first}" for name, first in self.tied.items()),
                *(f"note: {note}" for note in self.notes),
            ]
        )

    def _describe(self, entry: Axis) -> str:
        """One axis in words: fixed, a group, or pieces; a group that several layers share is called shared."""
        pieces = [
            f"{'shared ' * (len(self.writers.get(group, ())) > 1)}{group or 'fixed'}{f'×{block}' * (block > 1)}"
            for group, block in _pieces(entry)
        ]
        return _abridged(pieces, " + ") or "fixed"


def _abridged(words: list[str], between: str = ", ") -> str:
    """The words in a row; a long row shows its beginning and how many follow."""
    return between.join(words[:6]) + f" … {len(words) - 6} more" * (len(words) > 6)


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in (header, *rows)]


def _pieces(entry: Axis) -> tuple[tuple[str | None, int], ...]:
    if entry is None:
        return ()
    return ((entry, 1),) if isinstance(entry, str) else entry


def _name_faults(got: Iterable[str], want: Iterable[str]) -> list[str]:
    """Which names are missing and which are unknown, in words."""
    got, want = list(got), list(want)
    missing, unexpected = sorted(set(want) - set(got)), sorted(set(got) - set(want))
    return [
        f"{verb} {', '.join(repr(name[:100]) for name in names[:5])}{' …' * (len(names) > 5)}"
        for verb, names in (("is missing", missing), ("does not know", unexpected))
        if names
    ]


def _check_names(got_name: str, got: Collection[str], want_name: str, want: Collection[str]):
    if faults := _name_faults(got, want):
        raise ValueError(
            f"{got_name} {' and '.join(faults)} ({want_name}: {len(want)} tensors, {got_name}: {len(got)}). "
            "Do both come from the same architecture?"
        )


def check_params(shapes: Mapping[str, tuple[int, ...]], params: Params, name: str = "params"):
    """Raise a ValueError that names every missing, unexpected or wrongly shaped tensor of ``params``."""
    faults = _name_faults(params, shapes)
    wrong = [
        f"'{key}' is {tuple(params[key].shape)}, expected {tuple(shape)}"
        for key, shape in shapes.items()
        if key in params and tuple(params[key].shape) != tuple(shape)
    ]
    if wrong:
        faults.append(
            f"has tensors of another shape: {'; '.join(wrong[:5])}{f' and {len(wrong) - 5} more' * (len(wrong) > 5)}"
        )
    if faults:
        named = len(faults) > bool(wrong)
        counts = f" (the architecture: {len(shapes)} tensors, {name}: {len(params)})" * named
        ask = "Do both come from the same architecture?" if named else "Was it built with another width?"
        raise ValueError(f"{name} {' and '.join(faults)}{counts}. {ask}")


def check_strength(strength: float) -> float:
    """The strength as a float; ValueError unless it is a number in [0, 1]."""
    if not 0.0 <= strength <= 1.0:
        raise ValueError(
            f"strength must lie in [0, 1] (0 keeps the matching, 1 replaces all of it), got {strength}. "
            "It is a share, not a percentage."
        )
    return float(strength)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def identity_permutation(spec: PermutationSpec) -> dict[str, Tensor]:
    """p[i] = i for every group."""
    return {group: torch.arange(size) for group, size in spec.sizes.items()}


def random_permutation(spec: PermutationSpec, seed: int = 0) -> dict[str, Tensor]:
    """A uniformly random permutation of every group, from ``seed``."""
    generator = _generator(seed)
    return {group: torch.randperm(size, generator=generator) for group, size in spec.sizes.items()}


def apply_permutation(spec: PermutationSpec, permutation: Permutation, params: Params) -> dict[str, Tensor]:
    """π(Θ): every tensor with its axes re-ordered, ``apply(p, W)[i] = W[p[i]]``.

    Groups that ``permutation`` does not name stay as they are. The result is a new dict; tensors that
    no group touches are shared with ``params``.

    Raises:
        ValueError: when params do not fit the spec, or the permutation has an unknown group or an index
            vector that is not a permutation of 0 … n−1.
    """
    check_params(spec.shapes, params)
    _check_permutation(spec, permutation)
    whole = {**identity_permutation(spec), **permutation}
    return {
        name: _permute(tensor, spec.axes_to_perm[name], whole, permutation.keys()) for name, tensor in params.items()
    }


def _permute(tensor: Tensor, axes: tuple[Axis, ...], permutation: Permutation, moved: Collection[str]) -> Tensor:
    for axis, entry in enumerate(axes):
        if any(group in moved for group, _ in _pieces(entry)):
            tensor = tensor.index_select(axis, _axis_index(entry, permutation, tensor.shape[axis]).to(tensor.device))
    return tensor


def _axis_index(entry: Axis, permutation: Permutation, length: int) -> Int[Tensor, " length"]:
    """The index vector of a whole axis that is made of pieces."""
    if isinstance(entry, str):
        return permutation[entry].cpu()
    index, offset = [], 0
    for group, block in _pieces(entry):
        units = torch.arange(1) if group is None else permutation[group].cpu()
        part = (units[:, None] * block + torch.arange(block)).flatten()
        index.append(part + offset)
        offset += len(part)
    return torch.cat(index)


def restrict(spec: PermutationSpec, names: Collection[str]) -> PermutationSpec:
    """The table of some tensors alone; groups keep their names and sizes."""
    tables = {
        table: {name: getattr(spec, table)[name] for name in names} for table in ("axes_to_perm", "shapes", "layers")
    }
    return replace(spec, **tables, group_sizes=spec.sizes)


def pieces_of(spec: PermutationSpec, name: str, axis: int) -> list[tuple[str | None, int, int]]:
    """The pieces of an axis in order: group (None: fixed), entries per unit, entries in all."""
    entry, length = spec.axes_to_perm[name][axis], spec.shapes[name][axis]
    if entry is None:
        return [(None, length, length)]
    return [(group, block, block * spec.sizes.get(group, 1)) for group, block in _pieces(entry)]


def _check_permutation(spec: PermutationSpec, permutation: Permutation):
    for group, p in permutation.items():
        if group not in spec.sizes:
            raise ValueError(f"the permutation has a group '{group}'; the spec has {', '.join(spec.sizes)}.")
        n = spec.sizes[group]
        if p.shape != (n,) or not torch.equal(p.sort().values.cpu(), torch.arange(n)):
            raise ValueError(
                f"the permutation of '{group}' must hold each of 0 … {n - 1} once; it has shape {tuple(p.shape)}."
            )


def invert(permutation: Permutation) -> dict[str, Tensor]:
    """p⁻¹, with ``compose(p, invert(p))`` the identity.

    >>> invert({"P_0": torch.tensor([2, 0, 1])})
    {'P_0': tensor([1, 2, 0])}
    """
    return {group: torch.argsort(p) for group, p in permutation.items()}


def compose(p: Permutation, q: Permutation) -> dict[str, Tensor]:
    """First q, then p: ``apply(compose(p, q), W) = apply(p, apply(q, W))``, so ``compose(p, q)[i] = q[p[i]]``.

    Raises:
        ValueError: when p and q are about different groups.
    """
    _check_names("p", p, "q", q)
    return {group: q[group][p[group]] for group in p}


def _moved(p: Permutation, q: Permutation) -> Bool[Tensor, " unit"]:
    _check_names("p", p, "q", q)
    return torch.cat([p[group].cpu() != q[group].cpu() for group in p])


def churn(p: Permutation, q: Permutation) -> float:
    """Share of all units that p and q place differently, a fraction in [0, 1]."""
    return _moved(p, q).double().mean().item() if p else 0.0


def shuffle(permutation: Permutation, strength: float, seed: int = 0) -> dict[str, Tensor]:
    """Re-assign round(s·n) units of every group of n units, without fixed points.

    The units are the first round(s·n) of a random order that depends on the seed alone, so the sets are
    nested in s; each takes the place of the next of them, in a cycle. One unit alone cannot be re-assigned:
    where round(s·n) is 1, nothing moves. The realised churn is ``churn(permutation, shuffled)``.

    Raises:
        ValueError: for a strength outside [0, 1].
    """
    strength, generator = check_strength(strength), _generator(seed)
    shuffled = {}
    for group, p in permutation.items():
        order = torch.randperm(len(p), generator=generator)
        chosen = order[: round(strength * len(p))]
        shuffled[group] = p.clone()
        shuffled[group][chosen] = p[chosen.roll(1)]
    return shuffled
