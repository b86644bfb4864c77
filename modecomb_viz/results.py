"""Results as labelled arrays: names of dimensions, units, provenance, files.

Every sweep ends in an :class:`xarray.Dataset` of this schema. Nothing here knows torch, so a stored
result is read, plotted and exported without it.

=============  ==========================================  ================================
``sweep``      dimensions of ``loss`` and ``accuracy``     further variables
=============  ==========================================  ================================
segment        ``[strength,] split, t``
plane          ``[strength,] split, v, u``                 ``mark_u, mark_v (mark)``; of the best or the worst draw
                                                           ``draw, chosen_loss ([strength])``
samples        ``[strength,] split, sample``               ``reference_* ([strength,] split, reference)``
perturbation   ``split, [group,] strength, repeat``        ``churn, objective_lost ([group,] strength, repeat)``,
               ``[, sample]``                              ``reference_* (split, reference)``
laws           ``[strength,] split, deviation, mean,       ``reference_*`` as samples
               sample``
layers         ``[strength,] split, layer, t``             ``slope ([strength,] split, layer)``, ``base_loss,
                                                           base_accuracy ([strength,] split)``
points         ``[strength,] split, point``                ``mean_coefficient, midpoint_distance, draw, chosen_loss
                                                           ([strength,] point)``, the last two NaN where no draw is
search         ``[strength,] split, step``                 ``searched_loss ([strength,] step)``, ``coefficient
                                                           ([strength,] step, slot)``, means of layers where units are
                                                           searched, then with ``unit_coefficient ([strength,] unit)``;
                                                           ``excess ([strength,] split, end)``, ``reference_*``
inspection     ``split, model``                            ``u, v``; ``disagreement, jensen_shannon (split, model)``,
                                                           ``confusion (split, label, predicted)``; ``example,
                                                           true_label (split, shown)``, ``prediction, certainty (split,
                                                           shown, model)``, −1 and NaN where there are fewer, ``image
                                                           (split, shown, channel, row, column)``; ``coefficient
                                                           (toward, layer)``, ``weight_distance (model)``
cut            ``[strength,] split, t``                    ``u, v (t)``
transitivity   ``[strength,] split, pair, route, t``       ``cycle_error ([strength,] pair, route)``
similarity     ``split, model``                            measures ``(split, model, other)`` of function, ``(model,
                                                           other)`` of weights; ``ensemble_* (split, k)``
=============  ==========================================  ================================

A plane that is not evaluated at every point has estimates in between, and ``loss_error`` and ``accuracy_error``, their
standard errors: 0 where evaluated, NaN where the estimate is no number, infinite between numbers and none.
The coordinates u and v of a plane carry ``low`` and ``high``, the ends of the final grid. ``reference_*`` are
``reference_loss`` and ``reference_accuracy``. The dimension ``strength`` is there only when a list of perturbation
strengths was asked for.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

__all__ = [
    "ATTRIBUTES",
    "FORMATS",
    "check_path",
    "described",
    "disagreement",
    "label",
    "open",
    "recipe",
    "save",
    "write_whole",
]

#: Endings of stored results: NetCDF, and Zarr (a folder).
FORMATS = (".nc", ".zarr")

#: Attributes of every variable and coordinate, by name. Units are spelled out once, here.
ATTRIBUTES: dict[str, dict[str, str]] = {
    "loss": {"units": "nats per example", "long_name": "cross-entropy loss"},
    "accuracy": {"units": "fraction", "long_name": "accuracy"},
    "loss_error": {"units": "nats per example", "long_name": "standard error of the loss (0: evaluated)"},
    "accuracy_error": {"units": "fraction", "long_name": "standard error of the accuracy (0: evaluated)"},
    "reference_loss": {"units": "nats per example", "long_name": "cross-entropy loss"},
    "reference_accuracy": {"units": "fraction", "long_name": "accuracy"},
    "example_loss_train": {"units": "nats", "long_name": "loss of every training example"},
    "example_loss_test": {"units": "nats", "long_name": "loss of every test example"},
    "reference_example_loss_train": {"units": "nats", "long_name": "loss of every training example"},
    "reference_example_loss_test": {"units": "nats", "long_name": "loss of every test example"},
    "churn": {"units": "fraction", "long_name": "units moved by the perturbation"},
    "objective_lost": {"units": "fraction", "long_name": "matching objective lost"},
    "mean_coefficient": {"units": "coefficient", "long_name": "mean coefficient of the weights"},
    "midpoint_distance": {"units": "× ‖A − π(B)‖", "long_name": "distance of the weights from the midpoint"},
    "draw": {"units": "", "long_name": "number of the draw"},
    "chosen_loss": {"units": "nats per example", "long_name": "loss of the training examples that chose the draw"},
    "searched_loss": {"units": "nats per example", "long_name": "loss of the training examples that are searched"},
    "excess": {"units": "nats per example", "long_name": "loss found, less that of the better and of the worse end"},
    "coefficient": {"units": "coefficient", "long_name": "mean coefficient of the layer"},
    "unit_coefficient": {"units": "coefficient", "long_name": "coefficient of the unit, at the last step"},
    "point": {"units": "", "long_name": "named point"},
    "step": {"units": "steps", "long_name": "steps of the search"},
    "slot": {"units": "", "long_name": "layer"},
    "unit": {"units": "", "long_name": "unit"},
    "end": {"units": "", "long_name": "end that the loss is compared with"},
    "slope": {"units": "nats per coefficient", "long_name": "∂L/∂λ of the layer"},
    "base_loss": {"units": "nats per example", "long_name": "loss at the base"},
    "base_accuracy": {"units": "fraction", "long_name": "accuracy at the base"},
    "mean": {"units": "coefficient", "long_name": "mean of the law"},
    "deviation": {"units": "coefficient", "long_name": "standard deviation of the law"},
    "layer": {"units": "", "long_name": "layer"},
    "cycle_error": {"units": "fraction", "long_name": "units that the route brings elsewhere"},
    "disagreement": {"units": "fraction", "long_name": "examples with different labels"},
    "disagreement_share": {"units": "fraction", "long_name": "disagreement of the most that errors allow"},
    "least_disagreement": {"units": "fraction", "long_name": "least disagreement that the errors allow"},
    "most_disagreement": {"units": "fraction", "long_name": "most disagreement that the errors allow"},
    "jensen_shannon": {"units": "nats per example", "long_name": "Jensen–Shannon divergence"},
    "error_overlap": {"units": "fraction", "long_name": "Jaccard overlap of the errors"},
    "cka": {"units": "fraction", "long_name": "linear CKA"},
    "weight_distance": {"units": "× ‖A − π(B)‖", "long_name": "distance of the weights"},
    "weight_cosine": {"units": "fraction", "long_name": "cosine of the weights"},
    "weight_angle": {"units": "degrees", "long_name": "angle of the weights at A"},
    "ensemble_loss": {"units": "nats per example", "long_name": "loss of the ensemble of k draws"},
    "ensemble_accuracy": {"units": "fraction", "long_name": "accuracy of the ensemble of k draws"},
    "confusion": {"units": "examples", "long_name": "examples of a label that are given another"},
    "differing": {"units": "examples", "long_name": "examples on which the point differs from a network"},
    "example": {"units": "", "long_name": "number of the example in the split"},
    "true_label": {"units": "", "long_name": "label of the example"},
    "prediction": {"units": "", "long_name": "label that the network gives"},
    "certainty": {"units": "fraction", "long_name": "probability that the network gives to its label"},
    "image": {"units": "fraction", "long_name": "the example, every channel from 0 to 1"},
    "label": {"units": "", "long_name": "label"},
    "predicted": {"units": "", "long_name": "label that is given"},
    "shown": {"units": "", "long_name": "place in the list of examples"},
    "toward": {"units": "", "long_name": "network whose share the coefficient is"},
    "model": {"units": "", "long_name": "network"},
    "other": {"units": "", "long_name": "other network"},
    "k": {"units": "draws", "long_name": "draws in the ensemble"},
    "pair": {"units": "", "long_name": "pair of networks"},
    "route": {"units": "", "long_name": "route of alignment"},
    "split": {"units": "", "long_name": "data split"},
    "strength": {"units": "fraction", "long_name": "perturbation strength"},
    "group": {"units": "", "long_name": "group of units"},
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


def disagreement(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Where two tables of settings differ: ``n: 3 there, 5 here``; nothing where they agree."""
    names = sorted(name for name in {**there, **here} if there.get(name, ...) != here.get(name, ...))
    return ", ".join(f"{name}: {there.get(name)!r} there, {here.get(name)!r} here" for name in names)


def described(dataset: xr.Dataset) -> str:
    """What a result holds, in lines: sweep, modes, dimensions, variables with units and ranges, recipe, provenance."""
    settings = recipe(dataset)
    lines = [f"{settings.pop('sweep')} of {settings.pop('modes')}"]
    lines.append("dimensions: " + ", ".join(f"{name} {size}" for name, size in dataset.sizes.items()))
    for name, values in dataset.data_vars.items():
        units = values.attrs.get("units", "")
        missing = int(values.isnull().sum())
        span = "no number" if missing == values.size else f"{float(values.min()):.6g} … {float(values.max()):.6g}"
        notes = f", {missing} of {values.size} no numbers" if missing else ""
        lines.append(f"  {name} ({', '.join(map(str, values.dims))}): {span} [{units}]{notes}")
    lines.append("recipe: " + ", ".join(f"{key}={value!r}" for key, value in settings.items()))
    known = (
        "modes_hash",
        "data_hash",
        "device",
        "dtype",
        "plan",
        "precision_error",
        "matching_objective",
        "versions",
        "wall_time",
    )
    lines += [f"{key}: {dataset.attrs[key]}" for key in known if key in dataset.attrs]
    return "\n".join(lines)


def check_path(path: str | Path, *suffixes: str) -> Path:
    """The path of a file that is about to be written; its folder is made if need be.

    Raises:
        ValueError: when the path has another ending, or its folder cannot be made or written.
    """
    path = Path(path)
    if path.suffix not in suffixes:
        raise ValueError(f"the path must end in {' or '.join(map(repr, suffixes))}, got '{path}'.")
    if path.is_dir() and not _is_store(path):
        raise ValueError(_unwritable(path, "it is a folder"))
    probe = _part(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if probe.is_dir():  # of a run that was killed while it wrote a store
            shutil.rmtree(probe)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(_unwritable(path, error.strerror)) from error
    return path


def write_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Write beside the path and rename, so that a file under this name is always whole.

    Raises:
        ValueError: when the folder cannot be written.
    """
    part = _part(path)
    try:
        write(part)
        if _is_store(path):
            shutil.rmtree(path)
        part.replace(path)
    except OSError as error:
        raise ValueError(_unwritable(path, error.strerror or error)) from error
    finally:
        if part.is_dir():
            shutil.rmtree(part)
        part.unlink(missing_ok=True)
    return path


def _opened_store(path: Path) -> xr.Dataset:
    """A Zarr store, none of its arrays left out."""
    dataset = xr.open_zarr(path, consolidated=False).load()
    if lost := {folder.name for folder in path.iterdir() if folder.is_dir()} - set(dataset.variables):
        raise ValueError(f"its arrays {', '.join(sorted(lost))} are damaged")
    return dataset


def _is_store(path: Path) -> bool:
    """Whether this is a Zarr store, the one kind of folder that is a result."""
    return path.suffix == ".zarr" and (path / ".zgroup").is_file()


def _part(path: Path) -> Path:
    """Where a file is written before it is whole."""
    return path.with_name(f".part-{path.name}")


def _unwritable(path: Path, reason: object) -> str:
    return f"cannot write '{path}': {reason}. Choose a folder that you may write to."


def save(dataset: xr.Dataset, path: str | Path) -> Path:
    """Write the dataset as NetCDF (h5netcdf) or Zarr, by the ending, and return the path.

    Raises:
        ValueError: when the path ends in neither ``.nc`` nor ``.zarr``, or its folder cannot be written.
    """
    path = check_path(path, *FORMATS)
    if path.suffix == ".zarr":
        return write_whole(path, lambda part: dataset.to_zarr(part, mode="w", consolidated=False, zarr_format=2))
    return write_whole(path, lambda part: dataset.to_netcdf(part, engine="h5netcdf"))


def open(path: str | Path) -> xr.Dataset:  # noqa: A001 (the public name is mc.open)
    """Read a dataset that :func:`save` wrote.

    Raises:
        ValueError: when there is none, it is neither NetCDF nor Zarr, or it holds no recipe.
    """
    path = Path(path)
    if not path.is_file() and not _is_store(path):
        raise ValueError(f"there is no result at '{path}'. `modecomb plane --out {path.name}` would write one.")
    try:
        dataset = _opened_store(path) if path.is_dir() else xr.load_dataset(path, engine="h5netcdf")
    except (OSError, ValueError, KeyError) as error:
        kind = "Zarr store" if path.is_dir() else "NetCDF file"
        raise ValueError(f"'{path}' is not a {kind} that can be read: {error}") from error
    recipe(dataset)
    return dataset
