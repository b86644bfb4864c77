"""Views of the pictures that a report has: the same figure, the same words, the same table."""

from collections.abc import Mapping
from typing import ClassVar

import panel as pn
import param
import xarray as xr
from bokeh.models import Plot

from modecomb_viz.explorer.notebook import Words
from modecomb_viz.explorer.views import View, folded
from modecomb_viz.figures import Figure
from modecomb_viz.report import PICTURES, TABLE_STYLE, Picture, Shown
from modecomb_viz.state import ExplorerState, Results

__all__ = ["LawsView", "LayersView", "PerturbationView", "PictureView", "SimilarityView", "TransitivityView"]


#: What a figure grows to that is low in a high window. In one of 800 pixels it has its own height.
_GROWN = "clamp(0px, 60vh - 190px, 800px)"


class PictureView(View):
    """A picture of the report, live; its table of intervals opens below it.

    Attributes:
        sweep: whose picture it is.
    """

    sweep: ClassVar[str]

    def __init__(self, state: ExplorerState, results: Results):
        self.table = Words("", sizing_mode="stretch_width", stylesheets=[TABLE_STYLE])
        self._picture: Picture | None = None
        self._shown: Shown | None = None
        super().__init__(state, results)

    def _make_figure(self) -> Figure:
        made = PICTURES[self.sweep][1]()
        for panel in made.panels:
            for plot in panel.select({"type": Plot}):
                if plot.frame_height is None:
                    plot.styles = {"min-height": _GROWN}
        return made

    def _body(self) -> list[pn.viewable.Viewable]:
        self._folded = folded("Table of the numbers", self.table)
        self._folded.param.watch(self._tabulate, ["collapsed"])
        return [*super()._body(), self._folded]

    def _draw(self, datasets: Mapping[str, xr.Dataset]):
        (dataset,) = datasets.values()
        if self._picture is None or self._picture.datasets[0] is not dataset:
            self._picture = PICTURES[self.sweep][0](self.figure, [dataset])
            self._say(self._picture.heading, self._picture.sentence)
        self._shown = self._picture.shown((self.state.strength, self.state.quantity, self.state.split))
        self.figure.apply(self._shown.frame)
        self._folded.visible = self._shown.table is not None
        self._tabulate()

    def _tabulate(self, *events: param.parameterized.Event):
        """The table of what is shown, once it is unfolded."""
        if self._shown is not None and self._shown.table is not None and not self._folded.collapsed:
            self.table.object = str(self._shown.table().html())

    def _numbers(self, datasets: Mapping[str, xr.Dataset]) -> str:
        return self._shown.numbers


class PerturbationView(PictureView):
    """A combination against the strength of the perturbation."""

    title, sentence = "Under a perturbed matching", "How much of the matching may be wrong."
    name_of_view = sweep = "perturbation"
    options = ("quantity", "split", "strength")
    formula = (
        "Shuffle: round(s·n) units of every group are re-assigned without fixed points. Noise: similarities get "
        "s/(1 − s)·std·N(0, 1) and are matched again. Churn: share of the units that moved."
    )


class LawsView(PictureView):
    """A family of laws."""

    title, sentence = "A family of laws", "Laws of all means and deviations, and what their draws lose."
    name_of_view = sweep = "laws"
    formula = "Every cell: draws of the law of this mean and deviation; mean excess L − max(L_A, L_B) over its draws."


class TransitivityView(PictureView):
    """Every route between all networks."""

    title, sentence = "Transitivity", "Barriers of all routes between all networks."
    name_of_view = sweep = "transitivity"
    formula = (
        "Direct: A with π_B→A(B). Through C: π_A→C(A) with π_B→C(B). Units brought elsewhere: share on which π_B→A and "
        "the way through C differ."
    )


class SimilarityView(PictureView):
    """Networks compared with each other."""

    title, sentence = "Similarity", "How different the combinations are."
    name_of_view = sweep = "similarity"
    formula = (
        "Disagreement: share of examples with another argmax; of the most that the error rates e and f allow: divided "
        "by min(1, e + f). Distance: ‖Θ − Θ′‖ / ‖A − π(B)‖."
    )
    panel = 350


class LayersView(PictureView):
    """One layer at a time."""

    title, sentence = "Layers", "Which layers matter."
    name_of_view = sweep = "layers"
    formula = "Λ(t) = mix + (t − mix_ℓ)·e_ℓ; slope ∂L/∂λ_ℓ at the mix; D2 of every curve."
    panel = 500
