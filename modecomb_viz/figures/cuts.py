"""The curve along a cut through a plane."""

import numpy as np
import xarray as xr
from bokeh.models import ColumnDataSource, HoverTool

from modecomb_viz.figures.base import (
    Figure,
    Frame,
    Property,
    check_shown,
    make_figure,
    padded_range,
    range_properties,
)
from modecomb_viz.figures.looks import COLORS, HEIGHT, quantity_label

__all__ = ["CutFigure", "place_words"]


def place_words(dataset: xr.Dataset, end: int) -> str:
    """u and v of the first (0) or the last (−1) point of a cut: ``(0.25, 1)``."""
    return f"({dataset.u.values[end]:.3g}, {dataset.v.values[end]:.3g})".replace("-", "−")


class CutFigure(Figure):
    """Loss or accuracy between two points of a plane, over the straight line between its ends (dotted)."""

    def __init__(self, height: int = HEIGHT):
        self.figure = make_figure(height)
        self.sources = {
            "curve": ColumnDataSource({name: [] for name in ("t", "value", "u", "v")}),
            "straight": ColumnDataSource({"t": [], "value": []}),
        }
        curve, color = self.sources["curve"], COLORS["midpoint"]
        self.figure.line(
            "t", "value", source=self.sources["straight"], color="#888888", line_dash="dotted", line_width=2
        )
        self.figure.line("t", "value", source=curve, color=color, line_width=2.5)
        dots = self.figure.scatter("t", "value", source=curve, color=color, size=5)
        tooltips = [("u, v", "@u{0.000}, @v{0.000}"), ("t", "@t{0.000}"), ("value", "@value{0.0000}")]
        self.figure.add_tools(HoverTool(renderers=[dots], tooltips=tooltips))

    def frame(self, dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test") -> Frame:
        """Curve and axes of a cut without the dimension ``strength``."""
        check_shown(dataset, quantity, split)
        t, values = dataset.t.values, dataset[quantity].sel(split=split).values
        columns = {
            "curve": {"t": t, "value": values, "u": dataset.u.values, "v": dataset.v.values},
            "straight": {"t": t[[0, -1]], "value": values[[0, -1]]},
        }
        lost = int((~np.isfinite(values)).sum())
        label = f"t: from (u, v) = {place_words(dataset, 0)} to {place_words(dataset, -1)}"
        properties = (
            *range_properties(self.figure.y_range, *padded_range([values])),
            *range_properties(self.figure.x_range, *padded_range([t], 0.03)),
            Property(self.figure.xaxis[0], "axis_label", label),
            Property(self.figure.yaxis[0], "axis_label", quantity_label(quantity, split)),
            Property(self.figure.title, "text", f"{lost} of {len(t)} points are not finite" if lost else " "),
        )
        return Frame(columns, properties)
