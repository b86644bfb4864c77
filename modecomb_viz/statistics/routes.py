"""What going through a third mode costs."""

import numpy as np
import xarray as xr

from modecomb_viz.results import label
from modecomb_viz.statistics.barriers import BARRIERS, barriers
from modecomb_viz.statistics.names import ATTRIBUTES, require

#: Kinds of routes between two networks.
_KINDS = ("naive", "direct", "through", "universe")


def route_kind(route: str) -> str:
    """naive, direct, universe, or through: all third networks together."""
    return "through" if route.startswith("through ") else route


def transitivity(dataset: xr.Dataset, *, definition: str = "D2") -> xr.Dataset:
    """What going through a third mode costs: barriers of all routes of a kind, over all pairs and third modes.

    Returns:
        ``route_barrier``, ``lowest_barrier``, ``highest_barrier`` by ``kind`` (naive, direct, through, universe);
        ``cost_of_third``, the mean over pairs and third modes of barrier(through) − barrier(direct); ``share_kept``,
        (naive − through) / (naive − direct): 1 means transitive, 0 that nothing of the alignment is left, NaN where
        alignment gains nothing. All are NaN where the barrier of a route is; routes that a pair has not, whose
        ``cycle_error`` is NaN, do not count.

    Raises:
        ValueError: for a dataset of another sweep, or another definition of the barrier.
    """
    require(dataset, "route", "transitivity")
    if definition not in BARRIERS:
        raise ValueError(f"definition must be one of {', '.join(BARRIERS)}, got {definition!r}.")
    barrier = barriers(dataset).barrier.sel(definition=definition, drop=True).transpose(..., "pair", "route")
    error = dataset.cycle_error.broadcast_like(barrier).transpose(*barrier.dims)
    values, exists, others = barrier.values, error.notnull().values, barrier.dims[:-2]
    kinds = np.array([route_kind(str(route)) for route in dataset.route.values])
    of_kind = {kind: (values[..., kinds == kind], exists[..., kinds == kind]) for kind in _KINDS}
    statistics = {"route_barrier": _mean, "lowest_barrier": _lowest, "highest_barrier": _highest}
    found = {name: np.stack([over(*of_kind[kind]) for kind in _KINDS]) for name, over in statistics.items()}
    naive, direct, through = found["route_barrier"][:3]
    with np.errstate(divide="ignore", invalid="ignore"):
        kept = np.where(naive > direct, (naive - through) / (naive - direct), np.nan)
    cost = _mean(of_kind["through"][0] - of_kind["direct"][0][..., :1], of_kind["through"][1])
    result = xr.Dataset(
        {name: (("kind", *others), array) for name, array in found.items()}
        | {"cost_of_third": (others, cost), "share_kept": (others, kept)},
        {"kind": list(_KINDS)} | {name: barrier[name] for name in others},
        {**dataset.attrs, "definition": definition},
    )
    return label(result, ATTRIBUTES)


#: Pairs and routes.
_ROUTES = (-2, -1)


def _mean(values: np.ndarray, exists: np.ndarray) -> np.ndarray:
    """Over the routes that there are; NaN where one of these is, or where there are none."""
    with np.errstate(invalid="ignore"):
        return np.where(exists, values, 0.0).sum(_ROUTES) / exists.sum(_ROUTES)


def _lowest(values: np.ndarray, exists: np.ndarray) -> np.ndarray:
    found = np.where(exists, values, np.inf).min(_ROUTES, initial=np.inf)
    return np.where(exists.any(_ROUTES), found, np.nan)


def _highest(values: np.ndarray, exists: np.ndarray) -> np.ndarray:
    return -_lowest(-values, exists)
