"""One point of a stored result as weights of the plain architecture, and as a checkpoint."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr

from modecomb_viz import __version__
from modecomb_viz.checkpoints import ModeSet, save_params
from modecomb_viz.checkpoints.files import diverged
from modecomb_viz.evaluation import REDUCED, finish
from modecomb_viz.permutation import Params
from modecomb_viz.results import check_path
from modecomb_viz.sweep.again import check_origin, replayed
from modecomb_viz.sweep.measurement import Measurement, Sweep, with_threads
from modecomb_viz.sweep.perturbation import ALL_GROUPS

__all__ = ["export_point", "point_params"]

#: Coordinates that may lie between and beyond those that were evaluated.
_CONTINUOUS = ("u", "v", "t")

#: Numbers nearer than this share of the largest are the same.
_SAME = 1e-9

#: Entries that a message lists.
_LISTED = 12


class _Rebuilt(NamedTuple):
    """A point made again.

    Attributes:
        params: its weights, on the CPU.
        where: its coordinates, with those that were left out.
    """

    params: Params
    where: dict[str, Any]


def point_params(dataset: xr.Dataset, modes: ModeSet, **where: Any) -> Params:
    """The weights of one point of a stored result, made from its recipe: ``point_params(plane, modes, u=0.5, v=1)``.

    The point is named by the dimensions of the loss, ``split`` aside: u and v of a plane, t of a segment, the number of
    a sample, layer and t, strength and repeat … A dimension with one entry may be left out, so may ``group`` (all
    groups) and ``step`` (the last). u, v and t may lie between the points that were evaluated or beyond them; all else
    must be in the result. What a repair changed is put into the weights, so that the plain architecture takes them.

    Raises:
        ValueError: for a point that the result has not, one that is no network, other networks or data than those of
            the result, or a repair that the plain architecture cannot hold.
    """
    return _rebuilt(dataset, modes, where).params


def export_point(dataset: xr.Dataset, modes: ModeSet, path: str | Path, **where: Any) -> Path:
    """Write :func:`point_params` as safetensors, which :func:`~modecomb_viz.load_params` and PyTorch read.

    Its metadata, each a text in JSON: ``point`` (the coordinates), ``recipe``, ``modes_hash``, ``data_hash`` and
    ``versions`` of the result, ``exported_with``, and ``test_loss``, ``test_accuracy`` and the like where the point is
    one of the result.

    Raises:
        ValueError: as :func:`point_params`; for weights that are not finite, or a path that cannot be written.
    """
    path = check_path(path, ".safetensors")
    params, point = _rebuilt(dataset, modes, where)
    if broken := diverged(params, modes.model):
        raise ValueError(
            f"the point has weights that are not finite, in {', '.join(map(repr, broken[:5]))}, so no checkpoint is "
            "written. Choose another point."
        )
    known = {name: json.loads(dataset.attrs[name]) for name in ("recipe", "modes_hash", "data_hash", "versions")}
    shown = {name: None if _is(entry, math.nan) else entry for name, entry in point.items()}
    metadata = {"point": shown, **known, "exported_with": f"modecomb_viz {__version__}", **_measured(dataset, point)}
    return save_params(params, path, metadata)


def _rebuilt(dataset: xr.Dataset, modes: ModeSet, where: Mapping[str, Any]) -> _Rebuilt:
    sweep = _here(replayed(dataset))
    point = _point(dataset, sweep, where)
    check_origin(dataset, modes)
    strength = point["strength"]
    found = dataset.sel(strength=strength) if "strength" in dataset.dims else dataset
    with with_threads(json.loads(dataset.attrs["plan"])["threads"]), torch.no_grad():
        run = Measurement(sweep, modes)
        family, coordinates = finish(sweep.located(run, strength, found, point))
        if run.repair:
            repaired = run.repair.points(family)(coordinates)
            params = run.repair.plain({name: tensor[0] for name, tensor in repaired.items()})
        else:
            params = {name: tensor[0] for name, tensor in family(coordinates).items()}
    return _Rebuilt({name: params[name].cpu().contiguous().clone() for name in run.params_a}, point)


def _here(sweep: Sweep) -> Sweep:
    """The sweep on a device that is here, with weights in a precision that a file holds."""
    gone = sweep.device is not None and sweep.device != "cpu" and not torch.cuda.is_available()
    precision = "float32" if sweep.precision in REDUCED else sweep.precision
    return replace(sweep, device=None if gone else sweep.device, precision=precision)


def _entries(dataset: xr.Dataset, sweep: Sweep) -> dict[str, list[Any]]:
    """What names a point, with the entries that the result has; the strength also where it has one."""
    dims = [str(dim) for dim in dataset.loss.dims if dim not in ("split", "strength")]
    strengths = dataset.strength.values.tolist() if "strength" in dataset.dims else list(sweep.strengths)
    return {"strength": strengths} | {dim: dataset[dim].values.tolist() for dim in dims}


def _point(dataset: xr.Dataset, sweep: Sweep, where: Mapping[str, Any]) -> dict[str, Any]:
    """The coordinates of a point, checked, with those that need not be given."""
    entries = _entries(dataset, sweep)
    if unknown := where.keys() - entries.keys():
        raise ValueError(
            f"a point of this {sweep.name} result is named by {', '.join(entries)}, got {', '.join(sorted(unknown))}."
        )
    defaults = {name: known[0] for name, known in entries.items() if len(known) == 1}
    defaults |= {"group": ALL_GROUPS, "step": entries["step"][-1] if "step" in entries else None}
    given = {name: defaults[name] for name in entries if name in defaults} | dict(where)
    if missing := [name for name in entries if name not in given]:
        named = "; ".join(f"{name} ({_listed(name, entries[name])})" for name in missing)
        raise ValueError(f"a point of this {sweep.name} result needs {named}.")
    return {name: _entry(name, given[name], known) for name, known in entries.items()}


def _listed(name: str, known: list[Any]) -> str:
    """The entries of a dimension in words."""
    if name in _CONTINUOUS:
        return f"any number; evaluated from {known[0]:g} to {known[-1]:g}"
    shown = ", ".join(f"{entry:g}" if isinstance(entry, float) else str(entry) for entry in known[:_LISTED])
    return shown + (f" … {known[-1]}" if len(known) > _LISTED else "")


def _entry(name: str, value: Any, known: list[Any]) -> Any:
    """The entry of a dimension that is meant; of a continuous one any number."""
    if isinstance(known[0], str):
        if str(value) not in known:
            raise ValueError(f"{name} must be one of {_listed(name, known)}, got {value!r}.")
        return str(value)
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a number, got {value!r}; here {_listed(name, known)}.") from error
    scale = max(1.0, *(abs(entry) for entry in known if math.isfinite(entry)), 0.0)
    same = [k for k in known if abs(k - number) <= _SAME * scale or (math.isnan(k) and math.isnan(number))]
    if not same and not (name in _CONTINUOUS and math.isfinite(number)):
        raise ValueError(f"{name} must be one of {_listed(name, known)}, got {value!r}.")
    return same[0] if same else number


def _measured(dataset: xr.Dataset, point: Mapping[str, Any]) -> dict[str, float | None]:
    """What the result has at the point, per split; nothing between its points, None where it is no number."""
    found = {}
    for quantity in ("loss", "accuracy", "loss_error", "accuracy_error"):
        if quantity not in dataset:
            continue
        array = dataset[quantity].transpose("split", ...)
        for dim in array.dims[1:]:
            numbers = [i for i, entry in enumerate(dataset[dim].values.tolist()) if _is(entry, point[str(dim)])]
            if not numbers:
                return {}
            array = array.isel({dim: numbers[0]})
        for split, value in zip(dataset.split.values, array.values, strict=True):
            found[f"{split}_{quantity}"] = float(value) if np.isfinite(value) else None
    return found


def _is(entry: Any, value: Any) -> bool:
    return entry == value or (isinstance(entry, float) and math.isnan(entry) and math.isnan(value))
