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
    barrier = barriers(dataset).barrier.sel(definition=definition, drop=True)
    kinds = np.array([route_kind(str(route)) for route in dataset.route.values])
    of_kind = {kind: barrier.isel(route=kinds == kind) for kind in _KINDS}
    exists = {kind: dataset.cycle_error.isel(route=kinds == kind).notnull() for kind in _KINDS}
    statistics = {"route_barrier": "mean", "lowest_barrier": "min", "highest_barrier": "max"}
    kind = xr.DataArray(list(_KINDS), dims="kind", name="kind")
    result = xr.Dataset(
        {
            name: xr.concat([_over_routes(of_kind[one], exists[one], how) for one in _KINDS], kind)
            for name, how in statistics.items()
        }
    )
    naive, direct, through = (result.route_barrier.sel(kind=kind, drop=True) for kind in _KINDS[:3])
    cost = of_kind["through"] - of_kind["direct"].isel(route=0, drop=True)
    result["cost_of_third"] = _over_routes(cost, exists["through"], "mean")
    result["share_kept"] = ((naive - through) / (naive - direct)).where(naive > direct)
    result.attrs = {**dataset.attrs, "definition": definition}
    return label(result, ATTRIBUTES)


def _over_routes(values: xr.DataArray, exists: xr.DataArray, how: str) -> xr.DataArray:
    """A statistic over the routes that there are; NaN where one of these is."""
    lost = (values.isnull() & exists).any(("pair", "route"))
    return getattr(values.where(exists), how)(("pair", "route")).where(~lost)
