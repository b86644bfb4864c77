"""What is done on the map with a mouse or a finger: a point is tapped, a cut is drawn, a part is zoomed into."""

from collections.abc import Callable

import numpy as np
import xarray as xr
from bokeh.document import Document
from bokeh.events import PanEnd, PanStart, RangesUpdate, Reset, Tap
from bokeh.models import BoxZoomTool, ColumnDataSource, CustomJS
from panel.reactive import Reactive

from modecomb_viz.explorer.later import Later
from modecomb_viz.figures import MapFigure
from modecomb_viz.figures.maps import region_of, seen
from modecomb_viz.results import recipe
from modecomb_viz.state import ExplorerState

__all__ = ["Gestures"]

#: Seconds of quiet after which a part that was zoomed into is computed.
_QUIET = 0.3

#: Ranges that differ by less than this share of their length are the same.
_SAME = 1e-6

#: Draws the cut in the page while it is dragged; the server is told of its ends alone.
_DRAG = """
if (!cut.tags.includes("drawn")) { return }
const first = cb_obj.event_name === "panstart" || cut.data.u.length < 2
const from = first ? [cb_obj.x, cb_obj.y] : [cut.data.u[0], cut.data.v[0]]
cut.data = {u: [from[0], cb_obj.x], v: [from[1], cb_obj.y]}
"""

#: What a drag does is decided in the page, as it may begin before the server has heard of the choice.
_CHOOSE = """
const cuts = cb_obj.value === "Cut"
cut.tags = cuts ? ["drawn"] : []
toolbar.active_drag = cuts ? null : zoom
"""


class Gestures:
    """Turns what happens on a map into choices of the state, and shows those choices on the map.

    Args:
        state: the choices.
        figure: the map.
        shown: what the map shows at present.
        document: of a page that is served.
    """

    def __init__(
        self,
        state: ExplorerState,
        figure: MapFigure,
        shown: Callable[[], xr.Dataset | None],
        document: Document | None,
    ):
        self._state, self._figure, self._shown = state, figure, shown
        plot = figure.figure
        self._inspected = ColumnDataSource({"u": [], "v": []})
        self._cut = ColumnDataSource({"u": [], "v": []})
        plot.line("u", "v", source=self._cut, line_color="white", line_width=4, line_alpha=0.8)
        plot.line("u", "v", source=self._cut, line_color="black", line_width=1.5)
        for size, color in ((17, "white"), (13, "black")):
            ring = plot.scatter("u", "v", source=self._inspected, size=size, line_color=color, line_width=2)
            ring.glyph.fill_alpha = 0
        self._zoom = plot.select_one(BoxZoomTool)
        self._start = (0.0, 0.0)
        self._ranges: tuple[float, ...] = ()
        self._later = Later(self._look_closer, _QUIET, document)
        plot.on_event(Tap, self._tap)
        plot.on_event(PanStart, self._begin)
        plot.on_event(PanEnd, self._end)
        plot.on_event(RangesUpdate, self._moved)
        plot.on_event(Reset, self._whole)
        for event in ("panstart", "pan"):
            plot.js_on_event(event, CustomJS(args={"cut": self._cut}, code=_DRAG))
        state.param.watch(self._show, ["inspected", "cut"])
        state.param.watch(self._come_back, ["region"])
        self._show()
        self.draw(False)

    def follow(self, drag: Reactive):
        """Have a widget choose whether a drag zooms or cuts: its values are "Zoom" and "Cut"."""
        parts = {"cut": self._cut, "toolbar": self._figure.figure.toolbar, "zoom": self._zoom}
        drag.jscallback(args=parts, value=_CHOOSE)
        drag.param.watch(lambda event: self.draw(event.new == "Cut"), ["value"])

    def draw(self, cuts: bool):
        """Whether a drag draws a cut; otherwise it chooses the part that is zoomed into."""
        self._cut.tags = ["drawn"] if cuts else []
        self._figure.figure.toolbar.active_drag = None if cuts else self._zoom

    def _show(self, *events: object):
        place, cut = self._state.inspected, self._state.cut
        self._inspected.data = {"u": [place[0]], "v": [place[1]]} if place else {"u": [], "v": []}
        self._cut.data = {"u": [cut[0], cut[2]], "v": [cut[1], cut[3]]} if cut else {"u": [], "v": []}

    def _come_back(self, event: object):
        """Show the part that is chosen, where its map is there already: the browser has left it."""
        dataset = self._shown()
        if dataset is not None and tuple(recipe(dataset)["region"] or ()) == (self._state.region or ()):
            self._figure.look_at(dataset)

    def _tap(self, event: Tap):
        if (place := self._near(event.x, event.y)) is not None:
            self._state.inspected = place

    def _begin(self, event: PanStart):
        self._start = event.x, event.y

    def _end(self, event: PanEnd):
        if not self._cut.tags:
            return
        start, end = self._near(*self._start), self._near(event.x, event.y)
        if start is None or end is None or start == end:
            self._show()
        else:
            self._state.cut = (*start, *end)

    def _near(self, u: float | None, v: float | None) -> tuple[float, float] | None:
        """The named point within a cell of a place, else the nearest point of the grid; None beside the map."""
        dataset = self._shown()
        if dataset is None or u is None or v is None:
            return None
        (u0, u1), (v0, v1) = seen(dataset)
        if not (u0 <= u <= u1 and v0 <= v <= v1):
            return None
        lows, highs = (np.array([axis.attrs[end] for axis in (dataset.u, dataset.v)]) for end in ("low", "high"))
        cells = (highs - lows) / (self._state.resolution - 1)
        marks = np.stack([dataset.mark_u.values, dataset.mark_v.values], 1)
        far = np.abs((marks - [u, v]) / cells).max(1)
        if far.min(initial=np.inf) < 1:
            place = marks[far.argmin()]
        else:
            place = lows + cells * np.round((np.clip([u, v], lows, highs) - lows) / cells)
        return round(float(place[0]), 12), round(float(place[1]), 12)

    def _moved(self, event: RangesUpdate):
        ranges = event.x0, event.x1, event.y0, event.y1
        if None not in ranges:
            self._ranges = ranges
            self._later.ask()

    def _look_closer(self):
        dataset = self._shown()
        if dataset is None or not self._ranges:
            return
        x0, x1, y0, y1 = self._ranges
        (u0, u1), (v0, v1) = seen(dataset)
        sizes = np.array([u1 - u0, u1 - u0, v1 - v0, v1 - v0])
        if x0 < x1 and y0 < y1 and (np.abs(np.subtract((x0, x1, y0, y1), (u0, u1, v0, v1))) > _SAME * sizes).any():
            self._state.region = tuple(round(side, 6) for side in region_of((x0, x1), (y0, y1)))

    def _whole(self, event: Reset):
        self._ranges, self._state.region = (), None
