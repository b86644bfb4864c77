"""Named points of the cube, side by side."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from bokeh.layouts import row
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, LayoutDOM, LegendItem, Span

from modecomb_viz.figures.base import (
    Figure,
    Frame,
    Property,
    add_legend,
    axis_properties,
    check_shown,
    make_rows,
    range_properties,
    row_properties,
)
from modecomb_viz.figures.looks import COLORS, HEIGHT, NAN_COLOR, lost_text
from modecomb_viz.figures.scales import position, span

__all__ = ["KINDS", "Kind", "PointsFigure", "cross_place", "far_end", "point_table"]


class Kind(NamedTuple):
    """How points of a kind look.

    Attributes:
        points: the names of those of the kind.
        suffix: of the names of further ones.
    """

    label: str
    color: str
    marker: str
    size: int
    points: tuple[str, ...] = ()
    suffix: str | None = None


KINDS = (
    Kind("A", COLORS["A"], "circle", 10, ("A",)),
    Kind("π(B)", COLORS["B"], "circle", 10, ("π(B)",)),
    Kind("midpoint", COLORS["midpoint"], "circle", 10, ("midpoint",)),
    Kind("chosen weight by weight", "#E69F00", "square", 9, ("magnitude", "sign", "Fisher")),
    Kind("best and worst draw", COLORS["draws"], "triangle", 11, ("best", "worst")),
    Kind("A with one layer of π(B)", "#CC79A7", "diamond", 14, suffix=" of B"),
)


def _kind(point: str) -> Kind:
    for kind in KINDS:
        if point in kind.points or (kind.suffix and point.endswith(kind.suffix)):
            return kind
    known = ", ".join(name for kind in KINDS for name in kind.points)
    raise ValueError(f"no such named point: {point!r}. Known are {known}, and 'LAYER of B'.")


def _worse_end(dataset: xr.Dataset, quantity: str, split: str) -> float:
    """The larger loss, or the smaller accuracy, of A and π(B); NaN where one is."""
    ends = dataset[quantity].sel(split=split, point=["A", "π(B)"])
    return (ends.max if quantity == "loss" else ends.min)(skipna=False).item()


def point_table(dataset: xr.Dataset, quantity: str, split: str) -> pd.DataFrame:
    """One row per point: ``point, kind, value, excess`` and what else is known of it; excess is over the worse end.

    ``x`` and ``worse`` are positions on the axis of the quantity: of the value, and of the worse end.
    """
    details = ("mean_coefficient", "midpoint_distance", "draw", "chosen_loss")
    values = dataset[quantity].sel(split=split).values
    worse = np.full(len(values), _worse_end(dataset, quantity, split))
    return pd.DataFrame(
        {
            "point": dataset.point.values.tolist(),
            "kind": [_kind(point).label for point in dataset.point.values.tolist()],
            "value": values,
            "excess": values - worse,
            "x": position(values, quantity),
            "worse": position(worse, quantity),
            **{name: dataset[name].values for name in details},
        }
    )


def far_end(table: pd.DataFrame) -> float:
    """Where the axis of distances from the midpoint ends; those of a network and itself are not known."""
    return 1.06 * max([0.5, *table.midpoint_distance.dropna()])


def cross_place(within: tuple[float, float]) -> float:
    """Where on an axis between two positions what is not finite stands."""
    low, high = within
    return high - 0.03 * (high - low)


class PointsFigure(Figure):
    """One row per point: its loss or accuracy, with a stem from that of the worse end; right how far from the midpoint.

    What is not finite is a grey cross at the right.
    """

    def __init__(self, height: int = HEIGHT):
        self._height = height
        self.figure, self._far = make_rows(height, 220)
        self.figure.xaxis.ticker = FixedTicker(ticks=[])
        self._worse = Span(location=0, dimension="height", line_color="#888888", line_width=1)
        self.figure.add_layout(self._worse)
        self.sources = {name: ColumnDataSource({column: [] for column in _COLUMNS}) for name in ("points", "lost")}
        self._draw()

    @property
    def panels(self) -> list[LayoutDOM]:
        """Values and distances in one row, because they share the axis of points."""
        return [row(self.figure, self._far, sizing_mode="stretch_width")]

    def _draw(self):
        points, lost = self.sources["points"], self.sources["lost"]
        looks = {"marker": "marker", "color": "color", "size": "size", "line_color": "white"}
        self.figure.segment("worse", "y", "x", "y", source=points, color="#bbbbbb", line_width=2)
        self._far.hbar("y", right="midpoint_distance", height=0.5, source=points, color="color", alpha=0.7)
        self._far.hbar("y", right="midpoint_distance", height=0.5, source=lost, color=NAN_COLOR, alpha=0.7)
        shown = [self.figure.scatter("x", "y", source=points, **looks), *self._far.renderers]
        shown.append(self.figure.scatter("x", "y", source=lost, marker="x", size=10, line_width=2.5, color=NAN_COLOR))
        for made in (self.figure, self._far):
            made.add_tools(HoverTool(renderers=[r for r in shown if r in made.renderers], tooltips=_TOOLTIPS))
        items = [
            LegendItem(
                label=kind.label,
                renderers=[
                    self.figure.scatter([0], [0], marker=kind.marker, size=kind.size, color=kind.color, visible=False)
                ],
            )
            for kind in KINDS
        ]
        add_legend(self.figure, items, ncols=3)

    def frame(
        self,
        dataset: xr.Dataset,
        *,
        quantity: str = "loss",
        split: str = "test",
        within: tuple[float, float] | None = None,
    ) -> Frame:
        """Rows and axes of named points without the dimension ``strength``; ``within``: the ends of the axis."""
        check_shown(dataset, quantity, split)
        table = point_table(dataset, quantity, split)
        low, high = within or span(table.value.to_numpy(), quantity)
        table["y"] = -np.arange(len(table), dtype=float)
        finite, worse = np.isfinite(table.value), float(table.worse[0])
        missing = table[~finite].assign(x=cross_place((low, high)))
        properties = (
            *row_properties((self.figure, self._far), table.point.tolist(), self._height),
            *range_properties(self.figure.x_range, low, high),
            *range_properties(self._far.x_range, 0, far_end(table)),
            Property(self._worse, "location", worse),
            Property(self._worse, "visible", bool(np.isfinite(worse))),
            *axis_properties(self.figure.xaxis[0], (low, high), quantity, split),
            Property(self._far.xaxis[0], "axis_label", f"from the midpoint [{dataset.midpoint_distance.units}]"),
            Property(self.figure.title, "text", _title(int((~finite).sum()))),
        )
        return Frame({"points": _columns(table[finite]), "lost": _columns(missing)}, properties)


_COLUMNS = (
    "x", "y", "worse", "color", "marker", "size", "point", "value", "excess", "mean_coefficient", "midpoint_distance",
)  # fmt: skip
_TOOLTIPS = [
    ("point", "@point"),
    ("value", "@value{0.0000}"),
    ("over the worse end", "@excess{+0.0000}"),
    ("mean coefficient", "@mean_coefficient{0.000}"),
    ("distance from the midpoint", "@midpoint_distance{0.000}"),
]


def _columns(table: pd.DataFrame) -> dict[str, Any]:
    kinds = [_kind(point) for point in table.point]
    looks = {name: [getattr(kind, name) for kind in kinds] for name in ("color", "marker", "size")}
    return {name: looks[name] if name in looks else table[name].tolist() for name in _COLUMNS}


def _title(missing: int) -> str:
    stems = "stems: from the worse of A and π(B)"
    return stems + (f" · grey ×: {lost_text(missing, 'point')}" if missing else "")
