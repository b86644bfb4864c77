"""Results that differ in the parameters of their law or in granularity alone: one picture, with a control for each."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import xarray as xr

from modecomb_viz.results import recipe

__all__ = ["Family", "families"]

#: Granularities from the coarsest to the finest; the page begins with units where they are there.
_GRANULARITIES = ("model", "layer", "unit", "weight")
_FIRST = "unit"

_MOVED = ("parameters", "granularity")


class Family(NamedTuple):
    """Results of one sweep.

    Attributes:
        members: by law, then by granularity.
        laws: the parameters of every law; empty where there is one.
        granularities: empty where there is one.
    """

    members: list[xr.Dataset]
    laws: tuple[dict[str, float], ...] = ()
    granularities: tuple[str, ...] = ()

    @property
    def start(self) -> tuple[int, int]:
        """The places of the law and the granularity that are shown first."""
        first = self.granularities.index(_FIRST) if _FIRST in self.granularities else 0
        return len(self.laws) // 2, first


def families(datasets: Sequence[xr.Dataset]) -> list[Family]:
    """The results in families, in the order of their first members.

    Where results do not fill the grid of laws and granularities, those of one granularity are a family over laws.
    """
    found = []
    for group in _alike(datasets, _MOVED):
        parts = [group] if _grid(group) else _alike(group, ("parameters",))
        for part in parts:
            whole = _grid(part)
            found += [whole] if whole else [Family([dataset]) for dataset in part]
    return found


def _alike(datasets: Sequence[xr.Dataset], moved: tuple[str, ...]) -> list[list[xr.Dataset]]:
    """Groups of results that agree in all but some settings, in networks, data and strengths."""
    groups: dict[str, list[xr.Dataset]] = {}
    for dataset in datasets:
        settings = {name: value for name, value in recipe(dataset).items() if name not in moved}
        settings["parameters of the law"] = sorted(recipe(dataset).get("parameters", {}))
        origin = [dataset.attrs.get(name) for name in ("modes_hash", "data_hash")]
        strengths = dataset.strength.values.tolist() if "strength" in dataset.dims else None
        key = json.dumps([settings, origin, strengths, sorted(map(str, dataset.dims))], sort_keys=True)
        groups.setdefault(key, []).append(dataset)
    return list(groups.values())


def _grid(group: Sequence[xr.Dataset]) -> Family | None:
    """The family of results that fill a grid of laws and granularities; None of others."""
    recipes = [recipe(dataset) for dataset in group]
    laws = _distinct([one.get("parameters", {}) for one in recipes])
    laws.sort(key=lambda law: [law[name] for name in sorted(law)])
    granularities = _distinct([one.get("granularity", "") for one in recipes])
    granularities.sort(key=lambda name: _GRANULARITIES.index(name) if name in _GRANULARITIES else len(_GRANULARITIES))
    places = {
        (laws.index(one.get("parameters", {})), granularities.index(one.get("granularity", ""))): dataset
        for one, dataset in zip(recipes, group, strict=True)
    }
    if not len(group) == len(places) == len(laws) * len(granularities):
        return None
    members = [places[place] for place in sorted(places)]
    shown = [tuple(entries) if len(entries) > 1 else () for entries in (laws, granularities)]
    return Family(members, *shown)


def _distinct(values: list[Any]) -> list[Any]:
    return [value for i, value in enumerate(values) if value not in values[:i]]
