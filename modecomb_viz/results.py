"""Results as labelled arrays: names of dimensions, units, provenance, files.

Every sweep ends in an :class:`xarray.Dataset` of this schema. Nothing here knows torch, so a stored
result is read, plotted and exported without it.

=============  ==========================================  ================================
``sweep``      dimensions of ``loss`` and ``accuracy``     further variables
=============  ==========================================  ================================
segment        ``[strength,] split, t``
plane          ``[strength,] split, v, u``                 ``mark_u, mark_v (mark)``
samples        ``[strength,] split, sample``               ``reference_* ([strength,] split, reference)``
perturbation   ``split, strength, repeat``                 ``churn, objective_lost (strength, repeat)``,
                                                           ``reference_* (split, reference)``
=============  ==========================================  ================================

The coordinates u and v of a plane carry ``low`` and ``high``, the ends of the final grid. ``reference_*`` are
``reference_loss`` and ``reference_accuracy``. The dimension ``strength`` is there only when a list of perturbation
strengths was asked for.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

__all__ = ["ATTRIBUTES", "label", "open", "recipe", "save"]

#: Attributes of every variable and coordinate, by name. Units are spelled out once, here.
ATTRIBUTES: dict[str, dict[str, str]] = {
    "loss": {"units": "nats per example", "long_name": "cross-entropy loss"},
    "accuracy": {"units": "fraction", "long_name": "accuracy"},
    "reference_loss": {"units": "nats per example", "long_name": "cross-entropy loss"},
    "reference_accuracy": {"units": "fraction", "long_name": "accuracy"},
    "churn": {"units": "fraction", "long_name": "units moved by the perturbation"},
    "objective_lost": {"units": "fraction", "long_name": "matching objective lost"},
    "split": {"units": "", "long_name": "data split"},
    "strength": {"units": "fraction", "long_name": "perturbation strength"},
    "repeat": {"units": "", "long_name": "repeat (seed offset)"},
    "sample": {"units": "", "long_name": "draw of the coefficients"},
    "reference": {"units": "", "long_name": "reference network"},
    "mark": {"units": "", "long_name": "named point"},
    "mark_u": {"units": "", "long_name": "u of the named point"},
    "mark_v": {"units": "", "long_name": "v of the named point"},
    "t": {"units": "coefficient", "long_name": "position on the segment"},
    "u": {"units": "coefficient", "long_name": "u"},
    "v": {"units": "coefficient", "long_name": "v"},
}


def label(dataset: xr.Dataset, attributes: Mapping[str, Mapping[str, Any]] | None = None) -> xr.Dataset:
    """The dataset with units and a long name on every variable and coordinate.

    ``attributes`` goes before :data:`ATTRIBUTES`, for coordinates whose meaning depends on the sweep.

    Raises:
        KeyError: for a variable that has no units; add it to :data:`ATTRIBUTES`.
    """
    table = {**ATTRIBUTES, **(attributes or {})}
    for name in dataset.variables:
        dataset[name].attrs.update(table[str(name)])
    return dataset


def recipe(dataset: xr.Dataset) -> dict[str, Any]:
    """The arguments that computed the dataset: ``{"sweep": "plane", "modes": …, "resolution": …, …}``.

    Raises:
        ValueError: when the dataset carries no recipe, that is, it was not made by a sweep.
    """
    if "recipe" not in dataset.attrs:
        raise ValueError(
            "the dataset has no 'recipe' attribute, so it does not come from a modecomb_viz sweep "
            f"(its attributes are {sorted(map(str, dataset.attrs))}). Compute it with sweep_segment, "
            "sweep_plane, sweep_samples or sweep_perturbation."
        )
    return json.loads(dataset.attrs["recipe"])


def save(dataset: xr.Dataset, path: str | Path) -> Path:
    """Write the dataset as NetCDF (h5netcdf) and return the path.

    Raises:
        ValueError: when the path does not end in ``.nc`` or its folder cannot be written.
    """
    path = Path(path)
    if path.suffix != ".nc":
        raise ValueError(f"a result is saved as NetCDF: the path must end in '.nc', got '{path}'")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.to_netcdf(path, engine="h5netcdf")
    except OSError as error:
        raise ValueError(
            f"cannot write '{path}': {error.strerror or error}. Choose a folder that you may write to."
        ) from error
    return path


def open(path: str | Path) -> xr.Dataset:  # noqa: A001 (the public name is mc.open)
    """Read a dataset that :func:`save` wrote.

    Raises:
        ValueError: when the file is missing, is not NetCDF, or holds no recipe.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no result at '{path}'. `modecomb plane --out {path.name}` would write one.")
    try:
        dataset = xr.load_dataset(path, engine="h5netcdf")
    except (OSError, ValueError) as error:
        raise ValueError(f"'{path}' is not a NetCDF file that can be read: {error}") from error
    recipe(dataset)
    return dataset
