"""All that a picture is made of in one file: results, tables, and how to compute them again."""

import io
import json
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import xarray as xr

from modecomb_viz.export.tables import save_table, table_names
from modecomb_viz.report.recipes import recipe_table
from modecomb_viz.results import recipe, save

__all__ = ["archive"]


def archive(datasets: Mapping[str, xr.Dataset]) -> bytes:
    """A ZIP file with ``NAME.nc``, ``NAME.TABLE.csv`` and ``NAME.json`` (the recipe) of every result, and ``again.py``.

    Args:
        datasets: results by a name that can be the name of a file.

    Raises:
        ValueError: when there is none, or a Dataset that no sweep made.
    """
    if not datasets:
        raise ValueError("there is nothing to save yet: wait for the first picture.")
    held, calls = io.BytesIO(), []
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, dataset in datasets.items():
            paths = [save(dataset, Path(folder) / f"{name}.nc")]
            paths += [save_table(dataset, Path(folder) / f"{name}.{of}.csv", of=of) for of in table_names(dataset)]
            for path in paths:
                packed.write(path, path.name)
            packed.writestr(f"{name}.json", json.dumps(recipe(dataset), indent=2))
            imports, call = recipe_table(dataset)["code"].split("\n\n", 1)
            calls.append(f"{name} = {call}")
        packed.writestr("again.py", "\n\n".join([imports, *calls]) + "\n")
    return held.getvalue()
