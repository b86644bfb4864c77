"""A stored result, computed again from its recipe and its plan."""

import json
from collections.abc import Iterator

import numpy as np
import xarray as xr

from modecomb_viz.checkpoints import ModeSet
from modecomb_viz.results import recipe
from modecomb_viz.sweep.measurement import Step, Sweep, last_dataset, with_threads
from modecomb_viz.sweep.registry import make_sweep

__all__ = ["check_origin", "differences", "replayed", "rerun", "steps_again"]


def replayed(dataset: xr.Dataset) -> Sweep:
    """The sweep of a result, with the plan and the memory that it ran with.

    Raises:
        ValueError: for a result without a recipe, or of a sweep or a setting that this version does not know.
    """
    settings = recipe(dataset)
    name, _ = settings.pop("sweep"), settings.pop("modes")
    plan = json.loads(dataset.attrs["plan"])
    forced = {key: plan[key] for key in ("strategy", "points", "examples", "share", "block") if key in plan}
    return make_sweep(name, settings | {"plan": forced, "max_memory": plan["memory"]})


def check_origin(dataset: xr.Dataset, modes: ModeSet):
    """ValueError when the networks or the data are not those of the result."""
    for attribute, what in (("modes_hash", "network"), ("data_hash", "split")):
        for name, known in json.loads(dataset.attrs[attribute]).items():
            if modes.hashes.get(name) != known:
                raise ValueError(
                    f"{what} {name} of {modes.name} is not that of the result: its hash is {modes.hashes.get(name)}, "
                    f"the result has {known}. Give the modes and the data that it was computed with."
                )


def steps_again(dataset: xr.Dataset, sweep: Sweep, modes: ModeSet) -> Iterator[Step]:
    """The steps of a replayed sweep, with as many threads as it had.

    Raises:
        ValueError: when the networks or the data are not those of the result.
    """
    check_origin(dataset, modes)
    with with_threads(json.loads(dataset.attrs["plan"])["threads"]):
        yield from sweep.steps(modes)


def rerun(dataset: xr.Dataset, modes: ModeSet) -> xr.Dataset:
    """A result computed again from its recipe, with the plan and threads that it had: on one CPU the same to the bit.

    Raises:
        ValueError: for a result without a recipe, or other networks or data than it was computed with.
    """
    return last_dataset(steps_again(dataset, replayed(dataset), modes))


def differences(dataset: xr.Dataset, again: xr.Dataset) -> dict[str, float]:
    """Per variable the largest difference, relative to its largest value; infinite where one is a number and one not.

    Raises:
        ValueError: when a variable is missing or has another shape.
    """
    found = {}
    for name, old in dataset.data_vars.items():
        if name not in again or again[name].shape != old.shape:
            raise ValueError(f"the result has '{name}' of shape {old.shape}, computed again it has not.")
        a, b = (np.asarray(values, dtype=float) for values in (old.values, again[name].values))
        finite = np.isfinite(a) & np.isfinite(b)
        same = finite | (np.isnan(a) & np.isnan(b)) | (a == b)
        scale = np.abs(a[finite]).max(initial=0.0) or 1.0
        found[str(name)] = float(np.abs(a - b)[finite].max(initial=0.0) / scale) if same.all() else float("inf")
    return found
