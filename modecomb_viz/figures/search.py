"""The trace of a search through the cube."""

import numpy as np
import xarray as xr
from bokeh.core.properties import value as literal
from bokeh.models import BasicTicker, ColumnDataSource, FixedTicker, HoverTool, LegendItem, LinearColorMapper
from bokeh.palettes import interp_palette

from modecomb_viz.figures.base import (
    TALLEST_BESIDE,
    Figure,
    Frame,
    Panels,
    Property,
    add_legend,
    axis_properties,
    check_shown,
    make_figure,
    range_properties,
    row_properties,
    rows_height,
)
from modecomb_viz.figures.looks import COLORS, HEIGHT, NAN_COLOR, lost_text, number
from modecomb_viz.figures.maps import make_color_bar
from modecomb_viz.figures.scales import position, span
from modecomb_viz.results import recipe

__all__ = [
    "BETWEEN",
    "SearchFigure",
    "coefficient_range",
    "coefficient_title",
    "trace_missing",
    "trace_span",
    "trace_values",
]

#: Colours of a coefficient, from A's to B's.
BETWEEN = interp_palette((COLORS["A"], "#f7f7f7", COLORS["B"]), 255)


def coefficient_range(dataset: xr.Dataset) -> tuple[float, float]:
    """The bounds of the search, made symmetric about ½, so that the middle colour is the midpoint."""
    low, high = recipe(dataset)["bounds"]
    reach = max(0.5 - low, high - 0.5)
    return 0.5 - reach, 0.5 + reach


def coefficient_title(dataset: xr.Dataset) -> str:
    """What a row of coefficients is."""
    return "mean over the units of a layer" if recipe(dataset)["granularity"] == "unit" else "one per layer"


def trace_values(dataset: xr.Dataset, quantity: str, split: str) -> dict[str, np.ndarray]:
    """By name the curves over the steps ``[…, step]``, and the constant values of A and B ``[…, 1]``."""
    ends = dataset[f"reference_{quantity}"].sel(split=split)
    curves = {"found": dataset[quantity].sel(split=split).transpose(..., "step").values}
    if quantity == "loss":
        curves["searched"] = dataset.searched_loss.values
    return curves | {name: ends.sel(reference=[name]).transpose(..., "reference").values for name in ("A", "B")}


def trace_span(dataset: xr.Dataset, quantity: str, split: str) -> tuple[float, float]:
    """Positions on the axis between which all curves lie, those of every strength."""
    return span(
        np.concatenate([values.ravel() for values in trace_values(dataset, quantity, split).values()]), quantity
    )


def trace_missing(curves: dict[str, np.ndarray]) -> str:
    """What of the curves of :func:`trace_values` cannot be drawn, for the title; a blank where there is nothing."""
    counts = {name: int((~np.isfinite(curves[name])).sum()) for name in ("found", "searched") if name in curves}
    words = [lost_text(count, f"{_MISSING[name]}step") for name, count in counts.items() if count]
    return " · ".join(words) or " "


#: What the steps of a curve are called.
_MISSING = {"found": "", "searched": "searched "}


class SearchFigure(Panels):
    """Left loss or accuracy of the best (worst) point up to every step, right its coefficients."""

    def __init__(self, height: int = HEIGHT):
        super().__init__(trace=_Trace(height), coefficients=_Coefficients(height))


class _Trace(Figure):
    """The curve of a split, that of the examples that are searched, and the two networks."""

    def __init__(self, height: int):
        self._height = height
        self.figure = make_figure(height)
        self.figure.xaxis.axis_label = "step of the search"
        self.figure.yaxis.ticker = FixedTicker(ticks=[])
        self.sources = {name: ColumnDataSource({"step": [], "y": [], "value": []}) for name in _CURVES}
        self._items = {}
        for name, (color, dash, width) in _CURVES.items():
            line = self.figure.line(
                "step", "y", source=self.sources[name], color=color, line_dash=dash, line_width=width
            )
            self._items[name] = LegendItem(label=name, renderers=[line])
            tooltips = [("curve", name), ("step", "@step"), ("value", "@value{0.0000}")]
            self.figure.add_tools(HoverTool(renderers=[line], tooltips=tooltips))
        add_legend(self.figure, list(self._items.values()), ncols=2)

    def frame(
        self,
        dataset: xr.Dataset,
        *,
        quantity: str = "loss",
        split: str = "test",
        within: tuple[float, float] | None = None,
    ) -> Frame:
        """Curves and axes of a search without the dimension ``strength``; ``within``: the ends of the upright axis."""
        check_shown(dataset, quantity, split)
        steps, curves = dataset.step.values, trace_values(dataset, quantity, split)
        low, high = within or trace_span(dataset, quantity, split)
        columns = {name: {"step": [], "y": [], "value": []} for name in _CURVES}
        for name, values in curves.items():
            at = steps if len(values) == len(steps) else steps[[0, -1]]
            values = np.broadcast_to(values, at.shape)
            columns[name] = {"step": at, "y": position(values, quantity), "value": values}
        labels = {
            "found": f"{recipe(dataset)['goal']} so far, {split} {quantity}",
            "searched": "training examples searched",
            **{name: f"{name} {number(curves[name].item())}" for name in ("A", "B")},
        }
        edge = max(0.02 * float(steps[-1]), 0.1)
        properties = (
            *(Property(item, "label", literal(labels[name])) for name, item in self._items.items()),
            *(Property(item, "visible", name in curves) for name, item in self._items.items()),
            *range_properties(self.figure.x_range, -edge, steps[-1] + edge),
            *range_properties(self.figure.y_range, low, high),
            *axis_properties(self.figure.yaxis[0], (low, high), quantity, split),
            Property(self.figure, "height", min(rows_height(self._height, dataset.sizes["slot"]), TALLEST_BESIDE)),
            Property(self.figure.title, "text", trace_missing(curves)),
        )
        return Frame(columns, properties)


#: Colour, dash and width of the curves.
_CURVES = {
    "found": (COLORS["text"], "solid", 2.5),
    "searched": (COLORS["text"], "dotted", 1.5),
    "A": (COLORS["A"], "dashed", 1.5),
    "B": (COLORS["B"], "dashed", 1.5),
}


class _Coefficients(Figure):
    """A row per layer, a column per step; the colour is the coefficient."""

    def __init__(self, height: int):
        self._height = height
        self.figure = make_figure(height)
        self.figure.grid.visible = False
        self.figure.xaxis.axis_label = "step of the search"
        self.figure.yaxis.update(ticker=FixedTicker(ticks=[]), minor_tick_line_color=None)
        self._mapper = LinearColorMapper(palette=BETWEEN, low=0.0, high=1.0, nan_color=NAN_COLOR)
        self.sources = {"image": ColumnDataSource({name: [] for name in ("image", "x", "y", "dw", "dh")})}
        image = self.figure.image(
            "image", "x", "y", "dw", "dh", source=self.sources["image"], color_mapper=self._mapper
        )
        make_color_bar(self.figure, self._mapper, BasicTicker()).title = "coefficient of π(B)"
        tooltips = [("step", "$x{0}"), ("coefficient", "@image{0.000}")]
        self.figure.add_tools(HoverTool(renderers=[image], tooltips=tooltips))

    def frame(
        self,
        dataset: xr.Dataset,
        *,
        quantity: str = "loss",
        split: str = "test",
        within: tuple[float, float] | None = None,
    ) -> Frame:
        """The image of a search without the dimension ``strength``; quantity, split and ``within`` change nothing."""
        check_shown(dataset, quantity, split)
        names, steps = dataset.slot.values.tolist(), dataset.sizes["step"]
        low, high = coefficient_range(dataset)
        values = dataset.coefficient.transpose("slot", "step").values[::-1].astype(np.float32)
        column = {"image": [values], "x": [-0.5], "y": [0.5 - len(names)], "dw": [steps], "dh": [len(names)]}
        properties = (
            *row_properties((self.figure,), names, self._height),
            *range_properties(self.figure.x_range, -0.5, steps - 0.5),
            Property(self._mapper, "low", low),
            Property(self._mapper, "high", high),
            Property(self.figure.title, "text", coefficient_title(dataset)),
        )
        return Frame({"image": column}, properties)
