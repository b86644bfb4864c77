"""Datasets to one self-contained HTML page, with sliders that work without Python and without a network.

Every figure of :mod:`modecomb_viz.figures` is asked for its frames, one per strength, quantity, split and, where
results differ in these alone, law and granularity; the page holds them all, and its script shows the frame that the
controls choose.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from modecomb_viz.report.gallery import save_gallery
from modecomb_viz.report.page import PICTURES, render
from modecomb_viz.report.picture import TABLE_STYLE, Picture, Shown, Table
from modecomb_viz.report.recipes import file_name
from modecomb_viz.results import check_path, recipe, save, write_whole

__all__ = [
    "PICTURES",
    "SIZE_BUDGET",
    "TABLE_STYLE",
    "Picture",
    "Shown",
    "Table",
    "render",
    "save_gallery",
    "save_report",
]

#: Bytes that a standard report must not exceed; a larger page says so.
SIZE_BUDGET = 8_000_000


def save_report(datasets: Sequence[xr.Dataset], path: str | Path, *, title: str = "Mode combinability") -> Path:
    """Write one HTML file that shows the Datasets, opens without a network and keeps its sliders.

    Args:
        datasets: results of any sweeps in any number; naive and aligned segments of the same networks are drawn
            together, and results that differ in the parameters of a law or in granularity alone are one picture with a
            control for each. Those with the dimension ``strength`` follow the slider.
        path: ends in ``.html``.
        title: the heading of the page.

    Raises:
        ValueError: for no dataset, one that no sweep made, splits that differ, a path with another ending, or a folder
            that cannot be written.
    """
    path = check_path(path, ".html")
    if not datasets:
        raise ValueError("there is nothing to report: datasets is empty. Give at least one result of a sweep.")
    for dataset in datasets:
        recipe(dataset)
    # A page that is rendered once Panel is imported links to its scripts, so it would need a network.
    html = _render_elsewhere(datasets, title) if "panel" in sys.modules else render(datasets, title, SIZE_BUDGET)
    return write_whole(path, lambda part: part.write_text(html, encoding="utf-8"))


def _render_elsewhere(datasets: Sequence[xr.Dataset], title: str) -> str:
    """Render in a fresh process; the names of files are kept, as the page names them."""
    with tempfile.TemporaryDirectory() as folder:
        names = [Path(file_name(dataset)).stem for dataset in datasets]
        paths = [
            str(save(dataset, Path(folder) / str(i) / f"{name}.nc"))
            for i, (name, dataset) in enumerate(zip(names, datasets, strict=True))
        ]
        command = [sys.executable, "-m", "modecomb_viz.report", title, str(SIZE_BUDGET), *paths]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise ValueError(f"the report could not be rendered: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout
