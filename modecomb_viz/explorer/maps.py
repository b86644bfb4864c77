"""The map, a second one beside it, and their difference."""

from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import parse_qsl

import numpy as np
import panel as pn
import param
import xarray as xr

from modecomb_viz.explorer.explained import Button, Choice
from modecomb_viz.explorer.gestures import Gestures
from modecomb_viz.explorer.typed import Typed
from modecomb_viz.explorer.views import TALL, View, four_digits
from modecomb_viz.figures import DifferenceFigure, MapFigure
from modecomb_viz.figures.differences import difference
from modecomb_viz.state import ExplorerState, Results

__all__ = ["DifferenceView", "MapView", "OtherView"]


class _PlaneView(View):
    """A loss map in the colours of all that are shown beside each other.

    Attributes:
        topic: what it shows.
        beside: the topic of the map that it is compared with.
    """

    topic: ClassVar[str]
    beside: ClassVar[str]
    width, height = 400, TALL
    options = ("quantity", "split", "log_scale", "keep_colors", "fits", "contours")

    def _make_figure(self) -> MapFigure:
        return MapFigure(height=300)

    def datasets(self) -> dict[str, xr.Dataset]:
        """The map, and that which it is compared with as far as there is one."""
        found, other = super().datasets(), self.results.datasets.get(self.beside)
        if found and other is not None and self.state.against != "nothing" and self.state.split in other.split:
            found[self.beside] = other
        return found

    def _draw(self, datasets: dict[str, xr.Dataset]):
        self.figure.update(
            datasets[self.topic],
            quantity=self.state.quantity,
            split=self.state.split,
            log_scale=self.state.log_scale,
            keep_colors=self.state.keep_colors,
            fits=self.state.fits,
            contours=self.state.contours,
            beside=[other for topic, other in datasets.items() if topic != self.topic],
        )

    def _numbers(self, datasets: Mapping[str, xr.Dataset]) -> str:
        dataset, quantity, split = datasets[self.topic], self.state.quantity, self.state.split
        values = dataset[quantity].sel(split=split).values
        finite = values[np.isfinite(values)]
        name = f"{quantity}_error"
        exact = int((dataset[name].sel(split=split) == 0).sum()) if name in dataset else values.size
        size = f"{exact} of {values.size} points"
        if not finite.size:
            return f"{size} · no point is finite"
        text = f"{size} · lowest {four_digits(finite.min())} · highest {four_digits(finite.max())}"
        return text + f" · {values.size - finite.size} not finite" * (finite.size < values.size)


_SMALL = {"& .MuiToggleButton-root": {"padding": "1px 10px", "fontSize": "12px"}}


class MapView(_PlaneView):
    """The loss map of the chosen plane; it is tapped, cut and zoomed into.

    Attributes:
        gestures, typed: what is done on the map, and the same by numbers.
        drag: what a drag does, "Zoom" or "Cut".
    """

    title = "Loss map"
    name_of_view, topic, beside = "map", "plane", "other"
    sentence = (
        "A plane of combinations (1 − Λ) ⊙ A + Λ ⊙ π(B). One basin that holds all marks: the networks combine; "
        "walls between them: they do not. Tap a point to look at it closely; drag to zoom or to cut."
    )
    formula = (
        "Split plane: Λ(u, v) = u·z + v·(1 − z). Random plane: Λ(u, v) = ½ + u·D₁ + v·D₂, D orthogonal and of root "
        "mean square ½. Three modes: Θ(u, v) = A + u·(π(B) − A) + v·(π(C) − A). Loss: mean cross-entropy."
    )

    def __init__(self, state: ExplorerState, results: Results):
        self.drag = Choice(
            label="", options=["Zoom", "Cut"], value="Zoom", size="small", margin=(4, 6, 0, 6), sx=_SMALL,
            explanation="What a drag on the map does: it zooms into a part, at full resolution, or draws a cut.",
        )  # fmt: skip
        self._whole = Button("Whole plane", "Show the whole plane again.", visible=False, on_click=self._show_whole)
        self.fit = Button("Fit colours", "Span the colours over what the map shows now.", on_click=self._fit_colors)
        self.typed = Typed(state)
        super().__init__(state, results)
        self.gestures = Gestures(state, self.figure, lambda: results.datasets.get("plane"), pn.state.curdoc)
        self.gestures.follow(self.drag)
        state.param.watch(self._offer_whole, ["region"])
        self._offer_whole()

    def _tools(self) -> list[pn.viewable.Viewable]:
        return [self._whole, self.fit, self.drag]

    def _body(self) -> list[pn.viewable.Viewable]:
        return [*super()._body(), self.typed.card]

    def _fit_colors(self, event: object):
        self.state.fits += 1

    def _offer_whole(self, *events: param.parameterized.Event):
        self._whole.visible = self.state.region is not None

    def _show_whole(self, event: object):
        self.state.region = None


class OtherView(_PlaneView):
    """The map that the first is compared with."""

    title = "The other map"
    name_of_view, topic, beside = "other", "other", "plane"
    options = (*_PlaneView.options, "against", "other_alignment", "other_strength", "other_repair", "kept")
    sentence = "The same plane under another setting, in the colours of the first map."
    formula = "L′(Θ′(u, v)), Θ′ as in the first map, but for what the heading names."

    def _draw(self, datasets: dict[str, xr.Dataset]):
        super()._draw(datasets)
        state, what = self.state, self.state.against
        if self.results.current(self.topic) is None:  # still the map of another comparison, under its name
            return
        if what in ("alignment", "strength", "repair"):
            what = f"{what} {getattr(state, f'other_{what}')}"
        elif what == "kept view":
            what = ", ".join(f"{name} {text}" for name, text in parse_qsl(state.kept))
        self._say(f"Compared with: {what.replace('_', ' ')}", self.sentence)


class DifferenceView(View):
    """The first map less the other."""

    title = "Difference"
    name_of_view = "difference"
    width, height = 400, TALL
    options = ("quantity", "split", "contours")
    sentence = (
        "The first map less the other: red where the first is larger, blue where it is smaller, white where equal."
    )
    formula = "L(Θ(u, v)) − L′(Θ′(u, v)); of estimates the standard errors add as √(σ² + σ′²)."

    def _make_figure(self) -> DifferenceFigure:
        return DifferenceFigure(height=300)

    @property
    def asked(self) -> bool:
        """Both maps are needed."""
        return set(self.topics) <= set(self.results.topics)

    def datasets(self) -> dict[str, xr.Dataset]:
        """Both maps, once both are there and no new axes are on their way."""
        found = super().datasets()
        if len(found) < 2:
            return {}
        plane, other = found.values()
        coming = any(topic in self.results.progress for topic in self.topics)
        return found if (plane.u.equals(other.u) and plane.v.equals(other.v)) or not coming else {}

    def _draw(self, datasets: dict[str, xr.Dataset]):
        try:
            self._difference = difference(*datasets.values())
        except ValueError as error:
            self._fault = str(error)
            return
        self._fault = ""
        self.figure.update(
            self._difference, quantity=self.state.quantity, split=self.state.split, contours=self.state.contours
        )

    def _numbers(self, datasets: Mapping[str, xr.Dataset]) -> str:
        if self._fault:
            return self._fault
        values = self._difference[self.state.quantity].sel(split=self.state.split).values
        finite = values[np.isfinite(values)]
        if not finite.size:
            return "no point is finite in both"
        mean, low, high = (four_digits(value) for value in (finite.mean(), finite.min(), finite.max()))
        return f"mean {mean} · from {low} to {high} · the first is lower at {(finite < 0).mean():.0%} of the points"
