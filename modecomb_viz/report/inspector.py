"""What the page tells of a point of a map: where it is, in words, and how it is written as a checkpoint."""

import shlex
from typing import Any

import xarray as xr
from bokeh.events import Tap
from bokeh.models import ColumnDataSource, CustomJS

from modecomb_viz.figures.looks import shortened
from modecomb_viz.figures.words import place_template
from modecomb_viz.report.points import MapPicture
from modecomb_viz.report.recipes import file_name
from modecomb_viz.results import recipe

__all__ = ["attach", "inspected"]


def attach(picture: MapPicture, section: str):
    """Let a tap on the map choose a point, and mark it."""
    source = ColumnDataSource({"u": [], "v": []}, name=f"{section}-point")
    figure = picture.figure.figure
    looks = {"marker": "cross", "size": 22, "line_color": "white", "line_width": 2.5, "fill_alpha": 0}
    figure.scatter("u", "v", source=source, **{**looks, "line_color": "black", "line_width": 5})
    figure.scatter("u", "v", source=source, **looks)
    figure.js_on_event(Tap, CustomJS(args={}, code=f"modecomb.inspect({section!r}, cb_obj.x, cb_obj.y)"))


def inspected(picture: MapPicture) -> dict[str, Any]:
    """What the script of the page needs to know of every member of a map."""
    return {"members": [_member(dataset) for dataset in picture.kin], "strengths": picture.follows}


def _member(dataset: xr.Dataset) -> dict[str, Any]:
    settings = recipe(dataset)
    marks = [
        [shortened(str(name)), float(u), float(v)]
        for name, u, v in zip(dataset.mark.values, dataset.mark_u.values, dataset.mark_v.values, strict=True)
    ]
    return {
        "u": [float(f"{u:.9g}") for u in dataset.u.values],
        "v": [float(f"{v:.9g}") for v in dataset.v.values],
        "marks": marks,
        "words": place_template(settings),
        "command": f"modecomb point {shlex.quote(file_name(dataset))}",
    }
