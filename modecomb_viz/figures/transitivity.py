"""The barriers between all networks by every route of aligning them."""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from bokeh.layouts import row
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, LayoutDOM, LegendItem

from modecomb_viz.figures.base import Figure, Frame, Property, add_legend, check_shown, make_figure, range_properties
from modecomb_viz.figures.looks import HEIGHT, NAN_COLOR, ROUTES, shortened
from modecomb_viz.figures.scales import SCALE, compressed, compressed_ticks
from modecomb_viz.statistics import BARRIERS, barrier_values, route_kind

__all__ = ["LANES", "TransitivityFigure", "barrier_label", "kind_label", "routes"]

#: Where the routes of a pair stand around it, in rows.
LANES = {"naive": 0.3, "direct": 0.1, "universe": -0.1, "through": -0.3}


def kind_label(kind: str) -> str:
    """How a kind of route is called."""
    return "through a third network" if kind == "through" else kind


def routes(dataset: xr.Dataset, quantity: str, split: str, definition: str = "D2") -> pd.DataFrame:
    """Every route of every pair, one a row: ``pair, route, kind, barrier, cycle_error``, without those a pair has not.

    Raises:
        ValueError: for another definition of the barrier.
    """
    if definition not in BARRIERS:
        raise ValueError(f"definition must be one of {', '.join(BARRIERS)}, got {definition!r}.")
    dataset = dataset.transpose("pair", "route", ...)
    barrier = barrier_values(dataset, quantity, split)[..., BARRIERS.index(definition)]
    pair, route = np.meshgrid(dataset.pair.values, dataset.route.values, indexing="ij")
    columns = {"pair": pair, "route": route, "barrier": barrier, "cycle_error": dataset.cycle_error.values}
    table = pd.DataFrame({name: values.ravel() for name, values in columns.items()}).dropna(subset="cycle_error")
    table.insert(2, "kind", table.route.map(route_kind))
    return table.reset_index(drop=True)


def barrier_label(quantity: str, split: str, definition: str) -> str:
    """For instance ``test loss barrier D2 [nats per example]``."""
    name, units = {"loss": ("loss", "nats per example"), "accuracy": ("error", "fraction")}[quantity]
    return f"{split} {name} barrier {definition} [{units}]"


class TransitivityFigure(Figure):
    """One row per pair of networks, in it one lane per kind of route, every third network a dot.

    Left the barrier, on an axis that is linear near zero and logarithmic from 0.01 on; right the share of units that
    the route brings elsewhere than the direct alignment. A barrier that is not finite is a grey cross at the right.
    """

    def __init__(self, height: int = HEIGHT):
        self._height = height
        self.figure, self._strays = make_figure(height), make_figure(height, width=300)
        self._strays.update(sizing_mode="fixed", y_range=self.figure.y_range)
        self._strays.yaxis.visible = False
        self._strays.xaxis.axis_label = "units brought elsewhere [fraction]"
        for made in (self.figure, self._strays):
            made.ygrid.visible = False
            made.yaxis.update(ticker=FixedTicker(ticks=[]), major_tick_line_color=None, minor_tick_line_color=None)
        self.figure.xaxis.ticker = FixedTicker(ticks=[])
        self.sources = {
            "bands": ColumnDataSource({"top": [], "bottom": []}),
            "marks": ColumnDataSource({name: [] for name in _COLUMNS}),
            "lost": ColumnDataSource({name: [] for name in _COLUMNS}),
        }
        self._draw()

    @property
    def panels(self) -> list[LayoutDOM]:
        """Barriers and errors in one row, because they share the axis of pairs."""
        return [row(self.figure, self._strays, sizing_mode="stretch_width")]

    def _draw(self):
        marks, lost = self.sources["marks"], self.sources["lost"]
        looks = {"marker": "marker", "color": "color", "size": "size", "alpha": 0.85, "line_color": "white"}
        for made, x in ((self.figure, "x"), (self._strays, "error")):
            band = {"fill_color": "#888888", "fill_alpha": 0.1, "line_width": 0}
            made.hstrip("bottom", "top", source=self.sources["bands"], **band)
            dots = made.scatter(x, "y", source=marks, **looks)
            made.add_tools(HoverTool(renderers=[dots], tooltips=_TOOLTIPS))
        crosses = self.figure.scatter("x", "y", source=lost, marker="x", size=10, line_width=2.5, color=NAN_COLOR)
        self.figure.add_tools(HoverTool(renderers=[crosses], tooltips=_TOOLTIPS))
        items = [
            LegendItem(
                label=kind_label(kind),
                renderers=[self.figure.scatter([0], [0], marker=marker, size=9, color=color, visible=False)],
            )
            for kind, (color, marker) in ROUTES.items()
        ]
        add_legend(self.figure, items)

    def frame(
        self, dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test", definition: str = "D2"
    ) -> Frame:
        """Marks, rows and axes of a transitivity result without the dimension ``strength``."""
        check_shown(dataset, quantity, split)
        table = routes(dataset, quantity, split, definition)
        pairs = dataset.pair.values.tolist()
        finite = np.isfinite(table.barrier.values)
        positions = compressed(table.barrier.values)
        high = 1.06 * max(positions[finite].max(initial=0.0), 1.0)
        columns = {
            "bands": {"top": [0.5 - i for i in range(1, len(pairs), 2)],
                      "bottom": [-0.5 - i for i in range(1, len(pairs), 2)]},
            "marks": _marks(table[finite], positions[finite], pairs),
            "lost": _marks(table[~finite], np.full((~finite).sum(), 0.97 * high), pairs),
        }  # fmt: skip
        properties = (
            *self._axis_properties(pairs, high),
            Property(self.figure.xaxis[0], "axis_label", f"{barrier_label(quantity, split, definition)}, {SCALE}"),
            Property(self.figure.title, "text", f"grey ×: not finite, {(~finite).sum()}" if (~finite).any() else " "),
        )
        return Frame(columns, properties)

    def _axis_properties(self, pairs: list[str], high: float) -> list[Property]:
        low, marks = -0.04 * high, compressed_ticks(-0.01, high)
        height = min(max(self._height, 110 + 44 * len(pairs)), 1200)
        axis, names = self.figure.xaxis[0], self.figure.yaxis[0]
        return [
            *range_properties(self.figure.x_range, low, high),
            *range_properties(self._strays.x_range, -0.04, 1.04),
            *range_properties(self.figure.y_range, 0.5 - len(pairs), 0.5),
            Property(axis.ticker, "ticks", list(marks)),
            Property(axis, "major_label_overrides", marks),
            Property(names.ticker, "ticks", [-i for i in range(len(pairs))]),
            Property(names, "major_label_overrides", {-i: shortened(pair) for i, pair in enumerate(pairs)}),
            Property(self.figure, "height", height),
            Property(self._strays, "height", height),
        ]


_COLUMNS = ("x", "y", "error", "pair", "route", "value", "color", "marker", "size")
_TOOLTIPS = [
    ("pair", "@pair"),
    ("route", "@route"),
    ("barrier", "@value{0.0000}"),
    ("units brought elsewhere", "@error{0.0%}"),
]


def _marks(table: pd.DataFrame, positions: np.ndarray, pairs: list[str]) -> dict[str, Any]:
    lanes = table.kind.map(LANES).to_numpy(float)
    columns = (
        positions,
        lanes - table.pair.map(pairs.index).to_numpy(float),
        table.cycle_error.to_numpy(),
        table.pair.tolist(),
        table.route.tolist(),
        table.barrier.to_numpy(),
        [ROUTES[kind][0] for kind in table.kind],
        [ROUTES[kind][1] for kind in table.kind],
        np.full(len(table), 10 if len(pairs) <= 10 else 7),
    )
    return dict(zip(_COLUMNS, columns, strict=True))
