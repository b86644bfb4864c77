"""What a map is between its evaluated points: a smooth surrogate, with an error that its own levels tell.

The grid is known at some points. From coarse to fine, every level of it adds a bicubic spline through its surpluses,
that is, what its evaluated points have beyond the coarser levels; where none is evaluated the surplus is taken as 0. So
the surrogate goes through every evaluated point, wherever the grid is finer. Losses are interpolated as logarithms.

The surpluses are the errors that the surrogate had before: per distance d from what was known then, a surplus says how
rough the map is there, and the standard error at a point is

    SE(x) = 1.25 · C(x) · d(x)^p,

d the distance to the nearest evaluated point in grid cells, C the local root mean square of |surplus| / d^p, of the
finest level that is evaluated around, p = 1 for the loss and ½ for the accuracy, which moves in steps of one example.
The error of a spline falls faster than its spacing where the map is smooth, so this is on the safe side; around walls
that are narrower than the spacing the errors are of the right size, but not at every point. Factor and powers were
chosen on maps of the embedded modes and of MNIST networks. The definition is ours.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.interpolate import RectBivariateSpline
from scipy.ndimage import distance_transform_edt, gaussian_filter

from modecomb_viz.sweep.refinement import strides

__all__ = ["Surface", "coarsest", "estimate", "nearest", "next_points"]

Grid = Float[np.ndarray, "v u"]
Mask = Bool[np.ndarray, "v u"]

#: Factor of the standard error, and the share that the whole level has in the local roughness.
_SAFETY, _WHOLE = 1.25, 0.1

#: Powers of the distance in the standard error.
_LOSS_POWER, _ACCURACY_POWER = 1.0, 0.5

#: Share of the largest error below which points are no longer ordered by it.
_NEGLIGIBLE = 1e-6

#: Points that would be left over are evaluated along with so many times as many.
_FEW = 0.25

#: A point lies between numbers and none when the distances to either differ by at most this factor.
_BORDER = 3

#: A loss is interpolated as the logarithm of itself and this share of the range.
_OFFSET = 1e-3


class Surface(NamedTuple):
    """A map that is known in part.

    Attributes:
        values: those that were evaluated, and estimates.
        errors: standard errors; 0 where evaluated, infinite where some points around are not a number and some are.
        roughness: standard error at a distance of one grid cell from the nearest evaluated point, finite.
    """

    values: Grid
    errors: Grid
    roughness: Grid


def coarsest(resolution: int) -> Mask:
    """The points that are evaluated first: a coarse grid that reaches all edges."""
    return _strides_of_points(resolution) >= strides(resolution)[0]


def _axis(resolution: int, stride: int) -> Int[np.ndarray, " index"]:
    """Every stride-th index, and the last."""
    return np.union1d(np.arange(0, resolution, stride), [resolution - 1])


def _strides_of_points(resolution: int) -> Int[np.ndarray, "v u"]:
    """The stride of the coarsest level that holds each point."""
    of_index = np.ones(resolution, dtype=np.int64)
    for stride in reversed(strides(resolution)):
        of_index[_axis(resolution, stride)] = stride
    return np.minimum.outer(of_index, of_index)


def _spline(axis: Int[np.ndarray, " index"], values: Float[np.ndarray, "index index"], resolution: int) -> Grid:
    """A bicubic spline through values on a coarser grid, at every grid point."""
    degree, every = min(3, len(axis) - 1), np.arange(resolution)
    return RectBivariateSpline(axis, axis, values, kx=degree, ky=degree)(every, every)


class _Level(NamedTuple):
    """The surpluses of one level of the grid, and the points known before them."""

    stride: int
    points: Mask
    surplus: Grid
    known: Mask


def _levels(values: Grid, known: Mask) -> tuple[Grid, list[_Level]]:
    """The surrogate through the known values, and the surpluses of its levels, coarse to fine.

    The coarsest level, which is known whole, is split once more for its surpluses: every second point against the rest.
    """
    n = len(values)
    of_points, (first, *finer) = _strides_of_points(n), strides(n)
    axis = _axis(n, first)
    half = np.union1d(axis[::2], axis[-1:])
    on_half, on_first = np.zeros((2, n, n), dtype=bool)
    on_half[np.ix_(half, half)] = on_first[np.ix_(axis, axis)] = True
    surrogate = _spline(axis, values[np.ix_(axis, axis)], n)
    surplus = values - _spline(half, values[np.ix_(half, half)], n)
    levels = [_Level(2 * first, on_first & ~on_half & known, surplus, on_half & known)]
    coarser = on_first & known
    for stride in finer:
        points = known & (of_points == stride)
        if points.any():
            surplus, axis = np.where(points, values - surrogate, 0), _axis(n, stride)
            surrogate = surrogate + _spline(axis, surplus[np.ix_(axis, axis)], n)
            levels.append(_Level(stride, points, surplus, coarser))
            coarser = coarser | points
    return surrogate, levels


def _roughness(levels: list[_Level], shape: tuple[int, int], power: float) -> Grid:
    """Local root mean square of surplus per distance, of the finest level that is evaluated around a point."""
    of_points, squares = _strides_of_points(shape[0]), np.zeros(shape)
    for stride, points, surplus, known in levels:
        if not points.any():
            continue
        share = np.where(points, surplus / np.maximum(_distance(known), 1) ** power, 0) ** 2
        around = _smooth(points, stride)
        local = (1 - _WHOLE) * _smooth(share, stride) / np.maximum(around, 1e-300) + _WHOLE * share[points].mean()
        whole = _smooth(of_points == stride, stride) if stride <= of_points.max() else around
        here = np.where(around > 1e-12, np.clip(around / np.maximum(whole, 1e-300), 0, 1), 0)
        squares = (1 - here) * squares + here * np.where(here > 0, local, 0)
    return np.sqrt(squares)


def _distance(known: Mask) -> Grid:
    """To the nearest known point, in grid cells; the side of the grid where there is none."""
    return distance_transform_edt(~known) if known.any() else np.full(known.shape, float(len(known)))


def nearest(values: Grid, known: Mask) -> Grid:
    """At every point the value of the nearest known one."""
    index = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return values[tuple(index)]


def _smooth(values: np.ndarray, stride: int) -> Grid:
    return gaussian_filter(values.astype(float), stride, mode="nearest")


def estimate(values: Grid, evaluated: Mask, *, loss: bool, base: Grid | None = None) -> Surface:
    """The whole map from the points that are evaluated, among them all of :func:`coarsest`.

    Where the nearest evaluated point is not a finite number, neither is the estimate.

    Args:
        values: read where ``evaluated``.
        loss: interpolate the logarithm; otherwise a fraction in [0, 1], as it is.
        base: a similar map that is known everywhere, such as that of a sample of the data: the difference to it is
            interpolated instead.
    """
    known = evaluated & np.isfinite(values)
    if base is not None:
        known &= np.isfinite(base)
    if not known.any():
        blank = np.full(values.shape, np.nan)
        return Surface(np.where(evaluated, values, blank), np.where(evaluated, 0, blank), np.zeros(values.shape))
    power = _LOSS_POWER if loss else _ACCURACY_POWER
    offset = _OFFSET * (np.ptp(values[known]) or 1.0)

    def there(raw: Grid) -> Grid:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.log(raw + offset) if loss else raw

    of_base = 0.0 if base is None else there(base)
    raw = there(np.where(known, values, np.nan)) - of_base
    surrogate, levels = _levels(nearest(raw, known), known)
    surrogate = surrogate + of_base
    estimated, slope = surrogate, 1.0
    if loss:
        slope = np.exp(surrogate)
        estimated = slope - offset
    roughness = np.nan_to_num(_SAFETY * _roughness(levels, values.shape, power) * slope, nan=0.0, posinf=0.0)
    estimated = np.clip(estimated, 0, None if loss else 1)
    distance = _distance(known)
    errors = roughness * distance**power
    if (evaluated & ~known).any():
        to_unknown = _distance(evaluated & ~known)
        beyond = to_unknown < distance
        estimated, errors = np.where(beyond, np.nan, estimated), np.where(beyond, np.nan, errors)
        between = np.maximum(to_unknown, distance) <= _BORDER * np.minimum(to_unknown, distance)
        errors = np.where(between, np.inf, errors)
        roughness = np.where(between, max(roughness.max(), np.ptp(values[known]), 1e-300), roughness)
    return Surface(np.where(evaluated, values, estimated), np.where(evaluated, 0.0, errors), roughness)


def next_points(roughness: Grid, evaluated: Mask, least: int, accepted: float = 0.0) -> Mask:
    """The points whose evaluation is next: about ``least`` or more, where the error is largest, coarse before fine.

    Args:
        roughness: of the loss, as in :class:`Surface`; of several splits the largest, in the units of ``accepted``.
        evaluated: the points that are.
        least: number of points.
        accepted: a standard error that needs no further points.
    """
    remaining, chosen = ~evaluated, np.zeros_like(evaluated)
    of_points = _strides_of_points(len(roughness))
    largest = limit = (roughness * _distance(evaluated)).max()
    while chosen.sum() < least and limit > max(accepted, largest * _NEGLIGIBLE):
        limit, chosen = max(limit / 2, accepted), np.zeros_like(evaluated)
        for stride in strides(len(roughness)):
            error = roughness * _distance(evaluated | chosen)
            chosen |= remaining & (of_points >= stride) & (error > limit)
    few_left = (remaining & ~chosen).sum() <= _FEW * chosen.sum()
    return chosen if accepted or not (few_left or chosen.sum() < least) else remaining
