"""Two-dimensional slices of the hypercube and its vicinity."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from modecomb_viz.hypercube.coefficients import Coefficients, draw_generator, expand, slots
from modecomb_viz.hypercube.points import Combinations
from modecomb_viz.permutation import Params, PermutationSpec

__all__ = ["PLANES", "Plane", "grid_axis", "random_plane", "split_plane", "three_modes_plane"]


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


def _numbers(coordinates: Tensor, params: Params) -> tuple[Coefficients, Coefficients]:
    """The coordinates u and v as coefficients of every tensor."""
    columns = {name: tuple(_columns(coordinates, tensor)) for name, tensor in params.items()}
    return {name: u for name, (u, _) in columns.items()}, {name: v for name, (_, v) in columns.items()}


def _affine(family: Combinations) -> Combinations:
    """A plane whose coefficients are affine in u and v, as a mixture of its points (0, 0), (1, 0) and (0, 1).

    Where every weight has a coefficient of its own this spares a table of them per point, and three products with the
    data serve the whole first layer. Where coefficients are shared by the inputs of a unit, two do: then it stays.
    """
    probe = family.coefficients(torch.zeros(1, 2, dtype=torch.float64))
    if all(tensor[0, 0].numel() <= 1 for table in probe for tensor in table.values() if tensor.ndim > 2):
        return family
    origin, along_u, along_v = (
        {name: tensor[0] for name, tensor in family(torch.tensor([corner], dtype=torch.float64)).items()}
        for corner in ((0, 0), (1, 0), (0, 1))
    )
    return replace(family, affine=Combinations(origin, (along_u, along_v), lambda at: _numbers(at, origin)))


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
    family = _affine(Combinations(params_a, (params_b,), at))
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

    family = _affine(Combinations(params_a, (params_b,), at))
    return Plane(family, (-1, 1), (-1, 1), {"midpoint": (0, 0)}, ("u: along D₁", "v: along D₂"), "× D (RMS ½)")


def _orthogonal_directions(shapes: Mapping[str, tuple[int, ...]], seed: int) -> list[dict[str, Tensor]]:
    count = sum(math.prod(shape) for shape in shapes.values())
    if count < 2:
        raise ValueError(f"a random plane needs at least two coefficients, this network has {count}.")
    normal = torch.randn(count, 2, generator=draw_generator(seed, 0), dtype=torch.float64)
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
        return _numbers(points.double() @ basis, params_a)

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
