"""Results as tidy tables, in memory, as CSV and as Parquet.

The table ``points`` has a row for every point that was evaluated: its coordinates, then every variable that depends on
no more than they; what depends on less is repeated. Every other set of dimensions is a table of its own, named by what
a row is, apart from split and strength: ``reference``, ``mark``, ``model-other`` … The statistics that fit the result
are tables too; the two bounds of an interval are two columns, ``…_low`` and ``…_high``.
"""

import json
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from modecomb_viz.results import check_path, write_whole
from modecomb_viz.statistics import barriers, diversity, embedding, summary, tolerance, transitivity

__all__ = ["POINTS", "STATISTICS", "Statistic", "save_table", "table", "table_names", "tables"]

#: The table that every result has.
POINTS = "points"

#: Dimensions that say in which data and for which matching a row holds, and not what it is about.
_COMMON = ("strength", "split")


#: Variables that are pictures, and no numbers of a table.
_PICTURES = ("image",)


class Statistic(NamedTuple):
    """A table of a statistic.

    Attributes:
        table: its name.
        needs: dimensions and variables of the results that have it.
        compute: result → statistics.
        has: the dimension that every variable of this table has.
        lacks: the dimension that none has.
    """

    table: str
    needs: tuple[str, ...]
    compute: Callable[[xr.Dataset], xr.Dataset]
    has: str = ""
    lacks: str = ""


_DRAWS = ("sample", "reference_loss")
_REPEATS = ("repeat", "reference_loss", "churn")

#: Every statistic that is a table.
STATISTICS = (
    Statistic("barriers", ("t",), barriers),
    Statistic("barriers", _REPEATS, tolerance, has="repeat"),
    Statistic("tolerance", _REPEATS, tolerance, lacks="repeat"),
    Statistic("summary", _DRAWS, summary, lacks="quantile"),
    Statistic("quantiles", _DRAWS, summary, has="quantile"),
    Statistic("transitivity", ("route",), transitivity),
    Statistic("diversity", ("other",), diversity),
    Statistic("embedding", ("other",), embedding),
)


def table_names(dataset: xr.Dataset) -> list[str]:
    """The names of the tables of a result, in the order of :func:`tables`; nothing is computed.

    Raises:
        ValueError: for a dataset without ``loss``, that is, no result of a sweep.
    """
    return list(_parts(dataset))


def table(dataset: xr.Dataset, of: str = POINTS) -> pd.DataFrame:
    """One table of a result, tidy: coordinates as columns first; ``attrs["units"]`` has the units of every column.

    >>> import xarray as xr
    >>> loss = xr.DataArray([[0.5, 2.0]], {"split": ["test"], "t": [0.0, 1.0]}, ("split", "t"))
    >>> accuracy = xr.DataArray([[0.9, 0.4]], loss.coords)
    >>> print(table(xr.Dataset({"loss": loss, "accuracy": accuracy})).to_string(index=False))
    split   t  loss  accuracy
     test 0.0   0.5       0.9
     test 1.0   2.0       0.4

    Args:
        of: which; see :func:`table_names`.

    Raises:
        ValueError: for a dataset without ``loss``, or a table that the result has not.
    """
    return _frame(_part(dataset, of))


def tables(dataset: xr.Dataset) -> dict[str, pd.DataFrame]:
    """All tables of a result, by name: ``points``, one per further set of dimensions, and the statistics that fit.

    Raises:
        ValueError: for a dataset without ``loss``, that is, no result of a sweep.
    """
    return {name: _frame(make()) for name, make in _parts(dataset).items()}


def save_table(dataset: xr.Dataset, path: str | Path, *, of: str = POINTS, units: bool = True) -> Path:
    """Write one table of a result as CSV or Parquet, and return the path.

    CSV has one header line, with the units in the names of the columns: ``loss [nats per example]``. What is not a
    number is ``NaN``, what is infinite ``inf``. Parquet has bare names; units and long names are metadata of the
    fields, the recipe and everything else that the result says of itself is metadata of the file, by the same names.

    Args:
        path: ends in ``.csv`` or ``.parquet``.
        of: which table; see :func:`table_names`.
        units: of a CSV: False for bare names of columns.

    Raises:
        ValueError: for another ending, a folder that cannot be written, or a table that the result has not.
    """
    path = Path(path)
    writers = {".csv": partial(_write_csv, units=units), ".parquet": _write_parquet}
    if path.suffix not in writers:
        raise ValueError(f"a table is written to {' or '.join(writers)}, got '{path}'. Choose one of these endings.")
    check_path(path, path.suffix)
    part = _part(dataset, of)
    return write_whole(path, lambda file: writers[path.suffix](part, file))


def _write_csv(part: xr.Dataset, file: Path, *, units: bool):
    frame = _frame(part)
    named = {name: f"{name} [{unit}]" for name, unit in frame.attrs["units"].items() if unit and units}
    frame.rename(columns=named).to_csv(file, index=False, na_rep="NaN", encoding="utf-8", lineterminator="\n")


def _write_parquet(part: xr.Dataset, file: Path):
    import pyarrow
    from pyarrow import parquet

    written = pyarrow.Table.from_pandas(_frame(part), preserve_index=False)
    columns = _bounds_apart(part)
    fields = [field.with_metadata(_texts(columns[field.name].attrs)) for field in written.schema]
    metadata = {**_texts(part.attrs), **written.schema.metadata}
    parquet.write_table(written.cast(pyarrow.schema(fields, metadata)), file)


def _texts(attributes: Mapping) -> dict[bytes, bytes]:
    """Attributes as UTF-8: text as it is, numbers as JSON."""
    texts = {k: v if isinstance(v, str) else json.dumps(v, default=_plain) for k, v in attributes.items()}
    return {str(name).encode(): text.encode() for name, text in texts.items()}


def _plain(value: np.generic | np.ndarray) -> object:
    return value.tolist()


def _part(dataset: xr.Dataset, name: str) -> xr.Dataset:
    parts = _parts(dataset)
    if name not in parts:
        raise ValueError(f"there is no table '{name}' of this result; its tables are {', '.join(parts)}.")
    return parts[name]()


def _parts(dataset: xr.Dataset) -> dict[str, Callable[[], xr.Dataset]]:
    """By the name of every table, how to make the Dataset whose variables are its columns."""
    if "loss" not in dataset:
        raise ValueError(
            f"the dataset has no variable 'loss', only {', '.join(map(str, dataset)) or 'none'}: it is no result of a "
            "sweep. Give what a sweep returned, or what open() read."
        )
    of_points = [name for name, values in dataset.items() if set(values.dims) <= set(dataset.loss.dims)]
    parts: dict[str, Callable[[], xr.Dataset]] = {POINTS: lambda: dataset[of_points]}
    for name, variables in _by_rows(dataset).items():
        parts[name] = lambda variables=variables: dataset[variables]
    once = cache(lambda compute: compute(dataset))
    for statistic in STATISTICS:
        if set(statistic.needs) <= {*dataset.dims, *dataset.data_vars}:
            parts[statistic.table] = partial(_of_statistic, once, statistic)
    return parts


def _by_rows(dataset: xr.Dataset) -> dict[str, list[str]]:
    """Variables by what their rows are, for the rows that are not those of ``points``."""
    groups: dict[str, list[str]] = {}
    for name, values in dataset.items():
        if (rows := _rows(values)) and name not in _PICTURES:
            groups.setdefault(rows, []).append(str(name))
    groups.pop(_rows(dataset.loss), None)
    return groups


def _rows(values: xr.DataArray) -> str:
    return "-".join(str(dim) for dim in values.dims if dim not in _COMMON)


def _of_statistic(once: Callable[[Callable], xr.Dataset], statistic: Statistic) -> xr.Dataset:
    found = once(statistic.compute)
    has, lacks = statistic.has, statistic.lacks
    return found[[name for name, v in found.items() if (not has or has in v.dims) and lacks not in v.dims]]


def _frame(part: xr.Dataset) -> pd.DataFrame:
    """The variables of a Dataset side by side, one row per combination of its coordinates."""
    part = _bounds_apart(part)
    part = part if part.dims else part.expand_dims("row")
    ordered = sorted(part.data_vars.values(), key=lambda values: -values.ndim)
    dims = dict.fromkeys(dim for values in ordered for dim in values.dims)
    dims = [*(dim for dim in _COMMON if dim in dims), *(dim for dim in dims if dim not in _COMMON)]
    frame = part.to_dataframe(dim_order=dims).reset_index()
    others = [name for name in part.coords if name not in dims]
    frame = frame[[*(dim for dim in dims if dim != "row"), *others, *part.data_vars]]
    frame.attrs = {"units": {name: part[name].attrs.get("units", "") for name in frame.columns}}
    return frame


def _bounds_apart(part: xr.Dataset) -> xr.Dataset:
    """Every interval as two variables, its lower and its upper bound."""
    if "bound" not in part.dims:
        return part
    variables: dict[str, xr.DataArray] = {}
    for name, values in part.items():
        if "bound" not in values.dims:
            variables[str(name)] = values
            continue
        for bound in ("low", "high"):
            of_bound = values.sel(bound=bound, drop=True)
            long_name = f"{values.attrs['long_name']}, {bound} end"
            variables[f"{name}_{bound}"] = of_bound.assign_attrs(values.attrs, long_name=long_name)
    return xr.Dataset(variables, attrs=part.attrs)
