"""The midpoint, or draws of a law, against the strength of the matching perturbation."""

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
from modecomb_viz.results import recipe

__all__ = ["PerturbationFigure", "all_groups", "combination", "of_repeats", "single_groups"]


def all_groups(dataset: xr.Dataset) -> xr.Dataset:
    """What all groups of units perturbed at once give: the first entry, where groups are perturbed alone as well."""
    return dataset.isel(group=0, drop=True) if "group" in dataset.dims else dataset


def single_groups(dataset: xr.Dataset) -> xr.Dataset | None:
    """What groups perturbed alone give; None where they were not."""
    return dataset.isel(group=slice(1, None)) if dataset.sizes.get("group", 1) > 1 else None


def of_repeats(dataset: xr.Dataset, quantity: str, split: str) -> xr.DataArray:
    """Loss or accuracy of every perturbation: of draws of a law, their mean; NaN where one is."""
    values = dataset[quantity].sel(split=split)
    return values.mean("sample", skipna=False) if "sample" in values.dims else values


def combination(dataset: xr.Dataset) -> str:
    """What is combined after the perturbation, in a word: the midpoint, another point of the line, or draws."""
    if "sample" in dataset.dims:
        return "draws"
    value = recipe(dataset)["parameters"]["value"]
    return "midpoint" if value == 0.5 else f"λ = {value:g}"


class PerturbationFigure(Figure):
    """Mean over the repeats, their range as a band, every repeat as a dot, and the references as lines.

    Where groups of units were perturbed alone as well, the mean of each is a thin grey line.
    """

    def __init__(self, height: int = HEIGHT):
        self.figure = make_figure(height)
        self.sources = {
            "mean": ColumnDataSource({"strength": [], "mean": [], "low": [], "high": []}),
            "dots": ColumnDataSource({"strength": [], "value": [], "churn": [], "lost": []}),
            "lines": ColumnDataSource({"y": [], "left": [], "right": [], "color": []}),
            "cursor": ColumnDataSource({"x": [], "low": [], "high": []}),
            "groups": ColumnDataSource({"strength": [], "mean": [], "group": []}),
        }
        mean, groups = self.sources["mean"], self.sources["groups"]
        alone = self.figure.multi_line(
            "strength", "mean", source=groups, color="#9a9a9a", line_width=1.5, hover_line_color="#000000"
        )
        self.figure.add_tools(
            HoverTool(renderers=[alone], tooltips=[("group alone", "@group"), ("strength", "$x{0.00}")])
        )
        band = self.figure.varea("strength", "low", "high", source=mean, fill_color="#E69F00", fill_alpha=0.25)
        line = self.figure.line("strength", "mean", source=mean, color="#E69F00", line_width=2.5)
        dots = self.figure.scatter("strength", "value", source=self.sources["dots"], size=6, color="#B97A00", alpha=0.8)
        self.figure.segment("left", "y", "right", "y", source=self.sources["lines"], color="color", line_width=2)
        self.figure.segment("x", "low", "x", "high", source=self.sources["cursor"], color="#888888", line_dash="dotted")
        tooltips = [("strength", "@strength{0.00}"), ("value", "@value{0.0000}"), ("units moved", "@churn{0.0%}")]
        self.figure.add_tools(HoverTool(renderers=[dots], tooltips=[*tooltips, ("objective lost", "@lost{0.0%}")]))
        self._perturbed = LegendItem(label="perturbed midpoint", renderers=[line, band])
        self._alone = LegendItem(label="one group alone", renderers=[alone], visible=False)
        self._add_legend()

    def _add_legend(self):
        self._items = {}
        for name in ("A", "B", "midpoint", "naive midpoint"):
            glyph = self.figure.line([0], [0], color=COLORS[name], line_width=2, visible=False)
            self._items[name] = LegendItem(label=name, renderers=[glyph])
        add_legend(self.figure, [self._perturbed, *self._items.values(), self._alone], ncols=3)

    def frame(
        self, dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test", strength: float | None = None
    ) -> Frame:
        """Curve, band, dots and references; ``strength`` draws a dotted cursor there.

        A repeat that is not a number leaves a gap in the curve and in the band.
        """
        check_shown(dataset, quantity, split, strength=True)
        whole = all_groups(dataset)
        values = of_repeats(whole, quantity, split).transpose("strength", "repeat")
        groups = _group_columns(dataset, quantity, split)
        references = dataset[f"reference_{quantity}"].sel(split=split)
        x = dataset.strength.values
        low, high = padded_range([values.values, references.values, *groups["mean"]])
        columns = {
            "mean": {
                "strength": x, "mean": values.mean("repeat", skipna=False).values,
                "low": values.min("repeat", skipna=False).values,
                "high": values.max("repeat", skipna=False).values,
            },
            "dots": {
                "strength": np.repeat(x, values.sizes["repeat"]), "value": values.values.ravel(),
                "churn": whole.churn.transpose("strength", "repeat").values.ravel(),
                "lost": whole.objective_lost.transpose("strength", "repeat").values.ravel(),
            },
            "lines": {
                "y": references.values, "left": np.full(references.size, -0.02),
                "right": np.full(references.size, 1.02),
                "color": [COLORS[str(name)] for name in dataset.reference.values],
            },
            "cursor": {key: [] if strength is None else [value] for key, value in
                       {"x": strength, "low": low, "high": high}.items()},
            "groups": groups,
        }  # fmt: skip
        return Frame(columns, tuple(self._properties(dataset, references, quantity, split, low, high)))

    def _properties(self, dataset, references, quantity: str, split: str, low: float, high: float) -> list[Property]:
        shown, alone = references.to_series(), single_groups(dataset)
        return [
            Property(self._perturbed, "label", literal(f"perturbed {combination(dataset)}, mean and range")),
            Property(self._alone, "visible", alone is not None),
            *(Property(item, "label", literal(f"{name} {number(shown[name])}")) for name, item in self._items.items()),
            *range_properties(self.figure.y_range, low, high),
            *range_properties(self.figure.x_range, -0.02, 1.02),
            Property(self.figure.xaxis[0], "axis_label", axis_label(dataset.strength)),
            Property(self.figure.yaxis[0], "axis_label", quantity_label(quantity, split)),
        ]


def _group_columns(dataset: xr.Dataset, quantity: str, split: str) -> dict[str, list[Any]]:
    """One line for every group perturbed alone: the mean over its repeats."""
    alone = single_groups(dataset)
    if alone is None:
        return {"strength": [], "mean": [], "group": []}
    means = of_repeats(alone, quantity, split).mean("repeat", skipna=False).transpose("group", "strength")
    names = alone.group.values.tolist()
    return {"strength": [dataset.strength.values] * len(names), "mean": list(means.values), "group": names}
