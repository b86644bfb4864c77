"""The midpoint against the strength of the matching perturbation."""

from typing import Any

import numpy as np
import xarray as xr
from bokeh.core.properties import value as literal
from bokeh.models import ColumnDataSource, HoverTool, LegendItem

from modecomb_viz.figures.base import (
    Figure,
    Frame,
    Property,
    add_legend,
    check_shown,
    make_figure,
    padded_range,
    range_properties,
)
from modecomb_viz.figures.looks import COLORS, HEIGHT, axis_label, number, quantity_label

__all__ = ["PerturbationFigure"]


class PerturbationFigure(Figure):
    """Mean over the repeats, their range as a band, every repeat as a dot, and the references as lines."""

    def __init__(self, height: int = HEIGHT):
        self.figure = make_figure(height)
        self.sources = {
            "mean": ColumnDataSource({"strength": [], "mean": [], "low": [], "high": []}),
            "dots": ColumnDataSource({"strength": [], "value": [], "churn": [], "lost": []}),
            "lines": ColumnDataSource({"y": [], "left": [], "right": [], "color": []}),
            "cursor": ColumnDataSource({"x": [], "low": [], "high": []}),
        }
        mean = self.sources["mean"]
        band = self.figure.varea("strength", "low", "high", source=mean, fill_color="#E69F00", fill_alpha=0.25)
        line = self.figure.line("strength", "mean", source=mean, color="#E69F00", line_width=2.5)
        dots = self.figure.scatter("strength", "value", source=self.sources["dots"], size=6, color="#B97A00", alpha=0.8)
        self.figure.segment("left", "y", "right", "y", source=self.sources["lines"], color="color", line_width=2)
        self.figure.segment("x", "low", "x", "high", source=self.sources["cursor"], color="#888888", line_dash="dotted")
        tooltips = [("strength", "@strength{0.00}"), ("value", "@value{0.0000}"), ("units moved", "@churn{0.0%}")]
        self.figure.add_tools(HoverTool(renderers=[dots], tooltips=[*tooltips, ("objective lost", "@lost{0.0%}")]))
        self._add_legend([line, band])

    def _add_legend(self, perturbed: list[Any]):
        self._items = {}
        for name in ("A", "B", "midpoint", "naive midpoint"):
            glyph = self.figure.line([0], [0], color=COLORS[name], line_width=2, visible=False)
            self._items[name] = LegendItem(label=name, renderers=[glyph])
        items = [LegendItem(label="perturbed midpoint, mean and range", renderers=perturbed), *self._items.values()]
        add_legend(self.figure, items, ncols=3)

    def frame(
        self, dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test", strength: float | None = None
    ) -> Frame:
        """Curve, band, dots and references; ``strength`` draws a dotted cursor there.

        A repeat that is not a number leaves a gap in the curve and in the band.
        """
        check_shown(dataset, quantity, split, strength=True)
        values = dataset[quantity].sel(split=split).transpose("strength", "repeat")
        references = dataset[f"reference_{quantity}"].sel(split=split)
        x = dataset.strength.values
        low, high = padded_range([values.values, references.values])
        columns = {
            "mean": {
                "strength": x, "mean": values.mean("repeat", skipna=False).values,
                "low": values.min("repeat", skipna=False).values,
                "high": values.max("repeat", skipna=False).values,
            },
            "dots": {
                "strength": np.repeat(x, values.sizes["repeat"]), "value": values.values.ravel(),
                "churn": dataset.churn.values.ravel(), "lost": dataset.objective_lost.values.ravel(),
            },
            "lines": {
                "y": references.values, "left": np.full(references.size, -0.02),
                "right": np.full(references.size, 1.02),
                "color": [COLORS[str(name)] for name in dataset.reference.values],
            },
            "cursor": {key: [] if strength is None else [value] for key, value in
                       {"x": strength, "low": low, "high": high}.items()},
        }  # fmt: skip
        return Frame(columns, tuple(self._properties(dataset, references, quantity, split, low, high)))

    def _properties(self, dataset, references, quantity: str, split: str, low: float, high: float) -> list[Property]:
        shown = references.to_series()
        return [
            *(Property(item, "label", literal(f"{name} {number(shown[name])}")) for name, item in self._items.items()),
            *range_properties(self.figure.y_range, low, high),
            *range_properties(self.figure.x_range, -0.02, 1.02),
            Property(self.figure.xaxis[0], "axis_label", axis_label(dataset.strength)),
            Property(self.figure.yaxis[0], "axis_label", quantity_label(quantity, split)),
        ]
