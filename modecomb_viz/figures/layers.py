"""Which layers matter: their curves, and what each does at the ends and at the base."""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from bokeh.core.properties import value as literal
from bokeh.layouts import row
from bokeh.models import ColumnDataSource, HoverTool, LayoutDOM, LegendItem, Span

from modecomb_viz.figures.base import (
    TALLEST_BESIDE,
    Figure,
    Frame,
    Panels,
    Property,
    add_legend,
    check_shown,
    make_figure,
    make_rows,
    padded_range,
    range_properties,
    row_properties,
    rows_height,
)
from modecomb_viz.figures.looks import HEIGHT, HIGHLIGHTS, NAN_COLOR, UNITS, quantity_label, shortened
from modecomb_viz.results import recipe
from modecomb_viz.statistics import BARRIER_OF, barriers

__all__ = ["LayersFigure", "base_words", "layer_table", "most_moving"]


def base_words(dataset: xr.Dataset) -> str:
    """The coefficient of the layers that stay: one number, or that each has its own."""
    base = recipe(dataset)["base"]
    return "their coefficients" if isinstance(base, list) else f"{base:g}"


def layer_table(dataset: xr.Dataset, quantity: str, split: str) -> pd.DataFrame:
    """One row per layer, in the order of the network; ``change`` is value(t = 1) − value(t = 0).

    ``lowest`` and ``highest`` are of the curve less its value at t = 0; ``barrier`` is D2, of the loss or of the
    error; ``slope`` is ∂L/∂λ at the base. What a NaN on the curve makes unknown is NaN.
    """
    curves = dataset[quantity].sel(split=split).transpose("layer", "t").values
    rise = curves - curves[:, :1]
    variable = BARRIER_OF[quantity]
    barrier = barriers(dataset)[variable].sel(split=split, definition="D2")
    return pd.DataFrame(
        {
            "layer": dataset.layer.values.tolist(), "change": rise[:, -1], "lowest": rise.min(1),
            "highest": rise.max(1), "barrier": barrier.values, "slope": dataset.slope.sel(split=split).values,
        }
    )  # fmt: skip


def most_moving(dataset: xr.Dataset, quantity: str, split: str) -> list[str]:
    """The layers whose curves go farthest from their start, at any strength: as many as colours, in their own order."""
    curves = dataset[quantity].sel(split=split).transpose(..., "layer", "t").values
    way = np.abs(curves - curves[..., :1])
    way = np.where(np.isfinite(way), way, 0.0).max(-1).reshape(-1, dataset.sizes["layer"]).max(0)
    farthest = np.sort(np.argsort(-way, kind="stable")[: len(HIGHLIGHTS)])
    return dataset.layer.values[farthest].tolist()


class LayersFigure(Panels):
    """Left the curve of every layer, right a row for every layer.

    ``frame`` takes ``highlighted``, names of at most six layers whose curves are in colour and in the legend; by
    default those that move most.
    """

    def __init__(self, height: int = HEIGHT):
        super().__init__(curves=_Curves(height + 60), rows=_Rows(height + 60))


class _Curves(Figure):
    """All curves in grey, but for a few in colour with their names in the legend."""

    def __init__(self, height: int):
        self._height = height
        self.figure = make_figure(height)
        slots = [f"slot {i}" for i in range(len(HIGHLIGHTS))]
        self.sources = {
            "others": ColumnDataSource({"t": [], "value": [], "layer": []}),
            **{slot: ColumnDataSource({"t": [], "value": [], "layer": []}) for slot in slots},
        }
        self._base = Span(location=None, dimension="width", line_color="#888888", line_dash="dotted", line_width=2)
        self.figure.add_layout(self._base)
        others = self.figure.multi_line(
            "t", "value", source=self.sources["others"], color="#9a9a9a", line_width=1.2, alpha=0.7,
            hover_line_color="#000000",
        )  # fmt: skip
        self.figure.add_tools(HoverTool(renderers=[others], tooltips=[("layer", "@layer"), ("t", "$x{0.00}")]))
        self._items = []
        for slot, color in zip(slots, HIGHLIGHTS, strict=True):
            line = self.figure.line("t", "value", source=self.sources[slot], color=color, line_width=2.5)
            dots = self.figure.scatter("t", "value", source=self.sources[slot], color=color, size=5)
            tooltips = [("layer", "@layer"), ("t", "@t{0.000}"), ("value", "@value{0.0000}")]
            self.figure.add_tools(HoverTool(renderers=[dots], tooltips=tooltips))
            self._items.append(LegendItem(label=slot, renderers=[line, dots], visible=False))
        self._others = LegendItem(label="others", renderers=[others], visible=False)
        add_legend(self.figure, [*self._items, self._others], ncols=2)

    def frame(
        self,
        dataset: xr.Dataset,
        *,
        quantity: str = "loss",
        split: str = "test",
        highlighted: list[str] | None = None,
    ) -> Frame:
        """Curves, axes and legend of a layers result without the dimension ``strength``."""
        check_shown(dataset, quantity, split)
        names, t = dataset.layer.values.tolist(), dataset.t.values
        curves = dict(zip(names, dataset[quantity].sel(split=split).transpose("layer", "t").values, strict=True))
        chosen = most_moving(dataset, quantity, split) if highlighted is None else highlighted
        rest = [name for name in names if name not in chosen]
        columns: dict[str, dict[str, Any]] = {
            "others": {"t": [t] * len(rest), "value": [curves[name] for name in rest], "layer": rest}
        }
        properties = []
        for i, item in enumerate(self._items):
            here = chosen[i : i + 1]
            columns[f"slot {i}"] = {
                "t": t if here else [], "value": curves[here[0]] if here else [], "layer": here * len(t),
            }  # fmt: skip
            properties.append(Property(item, "visible", bool(here)))
            properties.append(Property(item, "label", literal(shortened(here[0], 24) if here else " ")))
        at_base = dataset[f"base_{quantity}"].sel(split=split).item() if f"base_{quantity}" in dataset else None
        properties += [
            Property(self._others, "visible", bool(rest)),
            Property(self._others, "label", literal(f"{len(rest)} other layers")),
            Property(self._base, "location", at_base),
            *range_properties(self.figure.y_range, *padded_range(list(curves.values()))),
            *range_properties(self.figure.x_range, *padded_range([t], 0.03)),
            Property(
                self.figure.xaxis[0], "axis_label", f"t: coefficient of one layer, the others at {base_words(dataset)}"
            ),
            Property(self.figure.yaxis[0], "axis_label", quantity_label(quantity, split)),
            Property(self.figure.title, "text", _missing(list(curves.values()))),
            Property(self.figure, "height", min(rows_height(self._height, len(names)), TALLEST_BESIDE)),
        ]
        return Frame(columns, tuple(properties))


def _missing(curves: list[np.ndarray]) -> str:
    lost = sum(not np.isfinite(curve).all() for curve in curves)
    return f"{lost} of {len(curves)} layers have points that are not finite" if lost else " "


class _Rows(Figure):
    """A row per layer: the change by its swap, the range of its curve, its barrier; and its slope at the base."""

    def __init__(self, height: int):
        self._height = height
        self.figure, self._slopes = make_rows(height, 190)
        for made in (self.figure, self._slopes):
            made.add_layout(Span(location=0, dimension="height", line_color="#888888", line_width=1))
        self.sources = {
            "rows": ColumnDataSource({name: [] for name in _ROWS}),
            "lost": ColumnDataSource({"zero": [], "y": [], "layer": []}),
        }
        self._slopes.xaxis.ticker.desired_num_ticks = 3  # more do not fit
        self._draw()

    @property
    def panels(self) -> list[LayoutDOM]:
        """Changes and slopes in one row, because they share the axis of layers."""
        return [row(self.figure, self._slopes, sizing_mode="stretch_width")]

    def _draw(self):
        rows, lost = self.sources["rows"], self.sources["lost"]
        spread = self.figure.segment("lowest", "y", "highest", "y", source=rows, color="#9ecae1", line_width=5)
        change = self.figure.scatter("change", "y", source=rows, color="#0072B2", size=9)
        barrier = self.figure.scatter("barrier", "y", source=rows, marker="diamond", color="#E69F00", size=9, alpha=0.9)
        self._slopes.hbar("y", right="slope", height=0.55, source=rows, color="#009E73", alpha=0.8)
        for made in (self.figure, self._slopes):
            crosses = made.scatter("zero", "y", source=lost, marker="x", size=10, line_width=2.5, color=NAN_COLOR)
            made.add_tools(HoverTool(renderers=[crosses], tooltips=[("layer", "@layer"), ("value", "not finite")]))
            made.add_tools(HoverTool(renderers=[r for r in made.renderers if r is not crosses], tooltips=_TOOLTIPS))
        items = {"change from t = 0 to 1": change, "range of the curve": spread, "barrier D2": barrier}
        labelled = [LegendItem(label=name, renderers=[glyph]) for name, glyph in items.items()]
        add_legend(self.figure, labelled, ncols=1)  # side by side they reach over the neighbour

    def frame(
        self,
        dataset: xr.Dataset,
        *,
        quantity: str = "loss",
        split: str = "test",
        highlighted: list[str] | None = None,
    ) -> Frame:
        """Rows and axes of a layers result without the dimension ``strength``; ``highlighted`` changes nothing."""
        check_shown(dataset, quantity, split)
        table = layer_table(dataset, quantity, split)
        y = -np.arange(len(table), dtype=float)
        lost = table.drop(columns="layer").isna().any(axis=1).to_numpy()
        columns = {
            "rows": {"y": y, **{name: table[name].to_numpy() for name in _ROWS[1:]}},
            "lost": {"zero": np.zeros(lost.sum()), "y": y[lost], "layer": table.layer[lost].tolist()},
        }
        spans = [table[name].to_numpy() for name in ("change", "lowest", "highest", "barrier")]
        properties = (
            *row_properties((self.figure, self._slopes), table.layer.tolist(), self._height),
            *range_properties(self.figure.x_range, *padded_range([*spans, np.zeros(1)], 0.08)),
            *range_properties(self._slopes.x_range, *padded_range([table.slope.to_numpy(), np.zeros(1)], 0.12)),
            Property(self.figure.xaxis[0], "axis_label", f"change in {split} {quantity} [{UNITS[quantity]}]"),
            Property(self._slopes.xaxis[0], "axis_label", "∂L/∂λ [nats per coefficient]"),
            Property(self.figure.title, "text", "grey ×: not finite" if lost.any() else " "),
            Property(self._slopes.title, "text", f"slope at {base_words(dataset)}"),
        )
        return Frame(columns, properties)


_ROWS = ("y", "layer", "change", "lowest", "highest", "barrier", "slope")
_TOOLTIPS = [
    ("layer", "@layer"),
    ("change from t = 0 to 1", "@change{+0.0000}"),
    ("range of the curve", "@lowest{+0.0000} to @highest{+0.0000}"),
    ("barrier D2", "@barrier{0.0000}"),
    ("slope at the base", "@slope{+0.0000}"),
]
