"""The hypercube between two modes: who shares a coefficient, laws of coefficients, segments and planes.

    Θ(Λ) = (1 − Λ) ⊙ Θ_A + Λ ⊙ π(Θ_B)

Coefficients are ``dict[tensor name, Tensor]`` with a leading point axis, each broadcastable against
``[point, *shape]`` of its tensor, so that one number per layer costs one number. Every point is computed
from the end points; Λ = 0 and Λ = 1 give A and π(B) to the bit, and a network combined with itself is itself.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from modecomb_viz.permutation import Params, PermutationSpec

__all__ = [
    "GRANULARITIES",
    "LAWS",
    "PLANES",
    "Coefficients",
    "Combinations",
    "Law",
    "Parameter",
    "Plane",
    "Points",
    "check_granularity",
    "check_law",
    "combine",
    "expand",
    "grid_axis",
    "layer_mask",
    "mixed",
    "random_plane",
    "sample_coefficients",
    "segment",
    "slots",
    "split_plane",
    "three_modes_plane",
]

Coefficients = Mapping[str, Tensor]

#: What shares one coefficient, from coarse to fine.
GRANULARITIES: dict[str, str] = {
    "model": "one λ for the whole network",
    "layer": "one λ per layer",
    "unit": "one λ per unit or channel: a row of its layer's weight with its bias and norm",
    "weight": "one λ per scalar",
}


def check_granularity(granularity: str) -> str:
    """The granularity, or a ValueError that lists the four."""
    if granularity not in GRANULARITIES:
        raise ValueError(f"granularity must be one of {', '.join(GRANULARITIES)}, got {granularity!r}.")
    return granularity


def slots(spec: PermutationSpec, granularity: str) -> dict[str, tuple[int, ...]]:
    """The distinct coefficients: name and shape of each block of them, in the order in which they are drawn.

    ``model``: one scalar. ``layer``: a scalar per layer. ``unit``: ``(units,)`` per layer. ``weight``: the
    shape of each tensor.
    """
    match check_granularity(granularity):
        case "model":
            return {"model": ()}
        case "layer":
            return dict.fromkeys(spec.layer_names, ())
        case "unit":
            return {layer: (_units(spec, layer),) for layer in spec.layer_names}
        case _:
            return {name: tuple(shape) for name, shape in spec.shapes.items() if name not in spec.tied}


def _units(spec: PermutationSpec, layer: str) -> int:
    sizes = {
        (spec.shapes[name] or (1,))[spec.unit_axes.get(name, 0)]
        for name, owner in spec.layers.items()
        if owner == layer
    }
    if len(sizes) > 1:
        raise ValueError(f"the tensors of layer '{layer}' disagree on its number of units: {sorted(sizes)}.")
    return sizes.pop()


def _slot(spec: PermutationSpec, granularity: str, name: str) -> str:
    return {"model": "model", "weight": spec.tied.get(name, name)}.get(granularity, spec.layers[name])


def expand(spec: PermutationSpec, granularity: str, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Coefficients per tensor from one block ``[point, *slot shape]`` per slot (see :func:`slots`)."""
    coefficients = {}
    for name, shape in spec.shapes.items():
        block = values[_slot(spec, granularity, name)]
        if granularity != "weight":
            axes = [1] * len(shape)
            if granularity == "unit" and shape:
                axes[spec.unit_axes.get(name, 0)] = -1
            block = block.reshape(len(block), *axes)
        coefficients[name] = block
    return coefficients


def layer_mask(spec: PermutationSpec, layers: int | Iterable[str]) -> dict[str, Tensor]:
    """z = 1 on the first ``layers`` layers, or on the named ones, and 0 elsewhere; one point.

    Raises:
        ValueError: for an unknown layer, or a number that leaves no layer on one side.
    """
    names = spec.layer_names
    if isinstance(layers, int):
        if not 0 < layers < len(names):
            raise ValueError(f"z = {layers} layers leaves one side empty; give 1 … {len(names) - 1} of {len(names)}.")
        layers = names[:layers]
    chosen = set(layers)
    if unknown := chosen - set(names):
        raise ValueError(f"there is no layer {', '.join(sorted(unknown))}; the layers are {', '.join(names)}.")
    return expand(spec, "layer", {name: torch.tensor([float(name in chosen)]) for name in names})


class Parameter(NamedTuple):
    """A parameter of a law: its default, the values allowed, the range a slider offers, and what it means."""

    default: float
    allowed: tuple[float, float]
    offered: tuple[float, float]
    doc: str


@dataclass(frozen=True)
class Law:
    """A distribution of coefficients.

    ``draw(generator, shape, **parameters)`` gives independent float64 coefficients; one generator state gives
    nearby draws for nearby parameters wherever the law has a quantile function that is cheap.
    """

    formula: str
    draw: Callable[..., Tensor]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


_REAL = (-math.inf, math.inf)


def _uniforms(generator: torch.Generator, shape: Sequence[int]) -> Tensor:
    return torch.rand(tuple(shape), generator=generator, dtype=torch.float64)


def _constant(generator, shape, value):
    return torch.full(tuple(shape), value, dtype=torch.float64)


def _uniform(generator, shape, low, high):
    if low > high:
        raise ValueError(f"uniform needs low ≤ high, got low={low}, high={high}.")
    return low + (high - low) * _uniforms(generator, shape)


def _bernoulli(generator, shape, p):
    return (_uniforms(generator, shape) < p).double()


def _normal(generator, shape, mean, std, clip):
    draw = mean + std * torch.randn(tuple(shape), generator=generator, dtype=torch.float64)
    return draw.clamp(0, 1) if clip else draw


def _beta(generator, shape, alpha, beta):
    seed = torch.randint(2**62, (), generator=generator).item()
    return torch.as_tensor(np.random.default_rng(seed).beta(alpha, beta, size=tuple(shape)), dtype=torch.float64)


#: The laws by name. Outside [0, 1] a coefficient extrapolates; every law but beta and bernoulli can.
LAWS: dict[str, Law] = {
    "constant": Law("Λ = value", _constant, {"value": Parameter(0.5, _REAL, (-0.5, 1.5), "the one coefficient")}),
    "uniform": Law(
        "Λ ~ U[low, high]",
        _uniform,
        {
            "low": Parameter(0.0, _REAL, (-1.0, 1.0), "smallest coefficient"),
            "high": Parameter(1.0, _REAL, (0.0, 2.0), "largest coefficient"),
        },
    ),
    "bernoulli": Law(
        "Λ ∈ {0, 1}, P(Λ = 1) = p",
        _bernoulli,
        {"p": Parameter(0.5, (0.0, 1.0), (0.0, 1.0), "probability of taking π(B)")},
    ),
    "normal": Law(
        "Λ ~ N(mean, std²)",
        _normal,
        {
            "mean": Parameter(0.5, _REAL, (-0.5, 1.5), "mean coefficient"),
            "std": Parameter(0.25, (0.0, math.inf), (0.0, 1.5), "standard deviation"),
            "clip": Parameter(0.0, (0.0, 1.0), (0.0, 1.0), "1 clips to [0, 1]"),
        },
    ),
    "beta": Law(
        "Λ ~ Beta(alpha, beta)",
        _beta,
        {
            "alpha": Parameter(2.0, (1e-3, math.inf), (0.1, 10.0), "first shape parameter"),
            "beta": Parameter(2.0, (1e-3, math.inf), (0.1, 10.0), "second shape parameter"),
        },
    ),
}


def check_law(distribution: str, parameters: Mapping[str, float]) -> dict[str, float]:
    """All parameters of the law, with defaults filled in.

    Raises:
        ValueError: for an unknown law, an unknown parameter, or a value that is not allowed.
    """
    if distribution not in LAWS:
        raise ValueError(f"distribution must be one of {', '.join(LAWS)}, got {distribution!r}.")
    law = LAWS[distribution]
    if unknown := parameters.keys() - law.parameters.keys():
        raise ValueError(
            f"{distribution} has no parameter {', '.join(sorted(unknown))}; it takes {', '.join(law.parameters)}."
        )
    values = {name: float(parameters.get(name, p.default)) for name, p in law.parameters.items()}
    for name, value in values.items():
        low, high = law.parameters[name].allowed
        if not (low <= value <= high and math.isfinite(value)):
            raise ValueError(
                f"{distribution}: {name} ({law.parameters[name].doc}) must be a finite number in "
                f"[{low:g}, {high:g}], got {value:g}."
            )
    if distribution == "uniform" and values["low"] > values["high"]:
        raise ValueError(f"uniform needs low ≤ high, got low={values['low']:g}, high={values['high']:g}.")
    return values


def _draw_generator(seed: int, index: int) -> torch.Generator:
    state = np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) & (2**63 - 1))


def sample_coefficients(
    spec: PermutationSpec,
    distribution: str = "uniform",
    *,
    granularity: str = "unit",
    n: int = 1,
    seed: int = 0,
    first: int = 0,
    **parameters: float,
) -> dict[str, Tensor]:
    """Draws number ``first`` … ``first + n − 1`` of a law, independent over the slots of the granularity.

    Draw i depends on ``(seed, i)`` and the law alone, on every device and however the draws are grouped.

    Returns:
        Coefficients with a leading point axis of length n, float32.

    Raises:
        ValueError: for an unknown law or granularity, or a parameter that is not allowed.
    """
    values, shapes = check_law(distribution, parameters), slots(spec, granularity)
    draws: dict[str, list[Tensor]] = {slot: [] for slot in shapes}
    for index in range(first, first + n):
        generator = _draw_generator(seed, index)
        for slot, shape in shapes.items():
            draws[slot].append(LAWS[distribution].draw(generator, shape, **values))
    return expand(spec, granularity, {slot: torch.stack(blocks).float() for slot, blocks in draws.items()})


def combine(params_a: Params, params_b: Params, coefficients: Coefficients) -> dict[str, Tensor]:
    """Θ(Λ) = (1 − Λ) ⊙ Θ_A + Λ ⊙ Θ_B for every point, with a leading point axis.

    Computed as a linear interpolation from the nearer end, which is exact at Λ = 0, at Λ = 1 and for
    Θ_A = Θ_B. Nothing is clipped: outside the cube a mixed running variance may be negative.
    """
    points = Points((params_a, params_b), (coefficients,))
    return {name: points.weight(name) for name in params_a}


def mixed(ends: Sequence[Tensor], coefficients: Sequence[Tensor]) -> Tensor:
    """(1 − Σ Λ_k) ⊙ T_A + Σ Λ_k ⊙ T_k; with two ends, exact at Λ = 0 and at Λ = 1."""
    first, *others = ends
    if len(others) == 1:
        return torch.lerp(first, others[0], coefficients[0])
    total = (1 - sum(coefficients)) * first
    for coefficient, other in zip(coefficients, others, strict=True):
        total = torch.addcmul(total, coefficient, other)
    return total


@dataclass(frozen=True)
class Points:
    """Networks, described: Θ_A + Σ_k Λ_k ⊙ (Θ_k − Θ_A), and tensors that are given outright.

    Attributes:
        ends: Θ_A and the other ends.
        coefficients: of every other end, per tensor ``[point, …]``, broadcastable against ``[point, *shape]``.
        given: tensors ``[point, *shape]`` that are no mixture of ends, such as statistics that were measured again.
    """

    ends: tuple[Params, ...]
    coefficients: tuple[Coefficients, ...]
    given: Params = field(default_factory=dict)

    def __len__(self) -> int:
        tables = (*self.coefficients, self.given)
        return len(next(tensor for table in tables for tensor in table.values()))

    def weight(self, name: str, index: int | Tensor | slice = slice(None)) -> Tensor:
        """A tensor of the points with these numbers; with a point axis unless there is one number."""
        if name in self.given:
            return self.given[name][index]
        shape = self.ends[0][name].shape
        shares = [self.coefficient(name, k, index) for k in range(len(self.coefficients))]
        # lerp broadcasts its weight, but faster when told so
        spread = [share.expand(*share.shape[: share.ndim - len(shape)], *shape) for share in shares]
        return mixed([end[name] for end in self.ends], spread)

    def coefficient(self, name: str, k: int = 0, index: int | Tensor | slice = slice(None)) -> Tensor:
        """Λ_k of a tensor, on its device and in its type, of the points with these numbers."""
        return self.coefficients[k][name][index].to(self.ends[0][name])

    def weights(self, index: int | Tensor | slice = slice(None)) -> dict[str, Tensor]:
        """All tensors of the points with these numbers."""
        names = dict.fromkeys([*(self.ends[0] if self.ends else ()), *self.given])
        return {name: self.weight(name, index) for name in names}


@dataclass(frozen=True, eq=False)
class Combinations:
    """A family of networks by coordinates: Θ(x) = Θ_A + Σ_k Λ_k(x) ⊙ (Θ_k − Θ_A).

    Calling it gives weights with a leading point axis.

    Attributes:
        params_a: Θ_A.
        others: the other ends, one or two.
        coefficients: coordinates ``[point, …]`` to the coefficients Λ_k of every other end.
    """

    params_a: Params
    others: tuple[Params, ...]
    coefficients: Callable[[Tensor], tuple[Coefficients, ...]]

    def points(self, coordinates: Tensor) -> Points:
        """The networks at these coordinates, described."""
        return Points((self.params_a, *self.others), self.coefficients(coordinates))

    def __call__(self, coordinates: Tensor) -> dict[str, Tensor]:
        return self.points(coordinates).weights()


def segment(params_a: Params, params_b: Params) -> Combinations:
    """t ↦ (1 − t)·Θ_A + t·Θ_B, for coordinates ``[point]``."""

    def at(t: Tensor) -> tuple[Coefficients]:
        return ({name: t.to(a).reshape(-1, *[1] * a.ndim) for name, a in params_a.items()},)

    return Combinations(params_a, (params_b,), at)


def grid_axis(low: float, high: float, points: int, margin: float = 0.0) -> Float[np.ndarray, " point"]:
    """``points`` equidistant coordinates from low to high, both sides extended by margin · (high − low)."""
    extra = margin * (high - low)
    return np.linspace(low - extra, high + extra, points)


@dataclass(frozen=True)
class Plane:
    """A two-dimensional family of weights.

    ``at`` takes coordinates ``[point, 2]`` (columns u, v). ``u_range`` and
    ``v_range`` are the sides before the margin, ``marks`` the named points, ``labels`` say what u and v mean.
    """

    at: Combinations
    u_range: tuple[float, float]
    v_range: tuple[float, float]
    marks: Mapping[str, tuple[float, float]]
    labels: tuple[str, str]
    units: str = "coefficient"


def _columns(coordinates: Tensor, tensor: Tensor) -> Iterable[Tensor]:
    """u and v, each shaped ``[point, 1, …]`` to broadcast against ``[point, *shape]``."""
    shape = (len(coordinates), *[1] * tensor.ndim)
    return (column.to(tensor).reshape(shape) for column in coordinates.unbind(1))


def split_plane(params_a: Params, params_b: Params, z: Coefficients) -> Plane:
    """Λ(u, v) = u·z + v·(1 − z): u moves the weights where z = 1, v those where z = 0.

    (0, 0) is A, (1, 1) is π(B), (1, 0) is the point z itself and (0, 1) its mirror image 1 − z. ``z`` holds one
    point: a 0/1 mask over layers (:func:`layer_mask`) or a draw (:func:`sample_coefficients`).
    """

    def at(coordinates: Tensor) -> tuple[Coefficients]:
        def mixed(name: str, a: Tensor) -> Tensor:
            u, v = _columns(coordinates, a)
            return torch.lerp(v, u, z[name].to(a))  # exactly u where z = 1, exactly v where z = 0

        return ({name: mixed(name, a) for name, a in params_a.items()},)

    marks = {"A": (0, 0), "π(B)": (1, 1), "z": (1, 0), "1−z": (0, 1)}
    family = Combinations(params_a, (params_b,), at)
    return Plane(family, (0, 1), (0, 1), marks, ("u: coefficient where z = 1", "v: coefficient where z = 0"))


def random_plane(
    spec: PermutationSpec, params_a: Params, params_b: Params, *, granularity: str = "unit", seed: int = 0
) -> Plane:
    """Λ(u, v) = ½ + u·D₁ + v·D₂ with random orthogonal directions D, each of root mean square ½ over the coefficients.

    The definition is ours: with RMS ½, u = ±1 is as far from the midpoint as a corner of the cube.

    Raises:
        ValueError: at granularity "model", where there is one coefficient and no plane.
    """
    shapes = slots(spec, granularity)
    if granularity == "model":
        raise ValueError(
            "a random plane needs at least two coefficients; granularity 'model' has one. Choose layer, unit or weight."
        )
    directions = _orthogonal_directions(shapes, seed)
    d1, d2 = (expand(spec, granularity, direction) for direction in directions)

    def at(coordinates: Tensor) -> tuple[Coefficients]:
        def mixed(name: str, a: Tensor) -> Tensor:
            u, v = _columns(coordinates, a)
            return 0.5 + u * d1[name].to(a) + v * d2[name].to(a)

        return ({name: mixed(name, a) for name, a in params_a.items()},)

    family = Combinations(params_a, (params_b,), at)
    return Plane(family, (-1, 1), (-1, 1), {"midpoint": (0, 0)}, ("u: along D₁", "v: along D₂"), "× D (RMS ½)")


def _orthogonal_directions(shapes: Mapping[str, tuple[int, ...]], seed: int) -> list[dict[str, Tensor]]:
    count = sum(math.prod(shape) for shape in shapes.values())
    if count < 2:
        raise ValueError(f"a random plane needs at least two coefficients, this network has {count}.")
    normal = torch.randn(count, 2, generator=_draw_generator(seed, 0), dtype=torch.float64)
    scaled = torch.linalg.qr(normal).Q * math.sqrt(count) / 2
    lengths = [math.prod(shape) for shape in shapes.values()]
    return [
        {
            slot: part.reshape(1, *shape).float()
            for (slot, shape), part in zip(shapes.items(), d.split(lengths), strict=True)
        }
        for d in scaled.unbind(1)
    ]


def three_modes_plane(params_a: Params, params_b: Params, params_c: Params, *, coordinates: str = "affine") -> Plane:
    """Θ(u, v) = Θ_A + u·(Θ_B − Θ_A) + v·(Θ_C − Θ_A).

    ``coordinates="affine"``: A, B, C stand at (0, 0), (1, 0), (0, 1). ``"orthonormal"``: the axes are Euclidean
    distances in weight space, A at the origin and B on the u axis, so that angles and lengths are true.

    Raises:
        ValueError: for other coordinates, or three modes on one line.
    """
    if coordinates == "affine":
        basis, corners = torch.eye(2, dtype=torch.float64), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]
        labels, units = ("u: from A to π(B)", "v: from A to π(C)"), "coefficient"
    elif coordinates == "orthonormal":
        along, offset, height = _triangle(params_a, params_b, params_c)
        basis = torch.tensor([[1 / along, 0], [-offset / (along * height), 1 / height]], dtype=torch.float64)
        corners = [(0.0, 0.0), (along, 0.0), (offset, height)]
        labels, units = ("u: distance along A → π(B)", "v: distance across"), "Euclidean distance of weights"
    else:
        raise ValueError(f"coordinates must be 'affine' or 'orthonormal', got {coordinates!r}.")

    def at(points: Tensor) -> tuple[Coefficients, Coefficients]:
        columns = {name: tuple(_columns(points.double() @ basis, a)) for name, a in params_a.items()}
        return {name: u for name, (u, _) in columns.items()}, {name: v for name, (_, v) in columns.items()}

    u, v = zip(*corners, strict=True)
    marks = dict(zip(("A", "π(B)", "π(C)"), corners, strict=True))
    family = Combinations(params_a, (params_b, params_c), at)
    return Plane(family, (min(u), max(u)), (min(v), max(v)), marks, labels, units)


def _triangle(params_a: Params, params_b: Params, params_c: Params) -> tuple[float, float, float]:
    """|B − A|, and C in the orthonormal frame of A → B: its projection and its height."""

    def dot(p: Params, q: Params) -> float:
        return sum(((p[k] - a).double() * (q[k] - a).double()).sum().item() for k, a in params_a.items())

    bb, bc, cc = dot(params_b, params_b), dot(params_b, params_c), dot(params_c, params_c)
    if bb * cc - bc**2 <= 1e-12 * bb * cc:
        raise ValueError("the three modes lie on one line, so they span no plane. Choose three different networks.")
    along = math.sqrt(bb)
    return along, bc / along, math.sqrt(cc - bc**2 / bb)


#: The kinds of plane, with what each shows.
PLANES: dict[str, str] = {
    "split": "u moves the coefficients where z = 1, v those where z = 0",
    "random": "a random plane through the midpoint of the cube",
    "three_modes": "the plane through A, π(B) and π(C)",
}
