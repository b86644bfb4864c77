"""Pictures with what they show, their numbers and their progress; the segment and the distribution."""

import time
from collections.abc import Mapping
from html import escape
from typing import Any, ClassVar

import numpy as np
import panel as pn
import panel_material_ui as pmui
import param
import xarray as xr

from modecomb_viz.explorer.explained import Button
from modecomb_viz.explorer.notebook import NotebookViewer, Words, at_home, home
from modecomb_viz.figures import Figure, SamplesFigure, SegmentFigure
from modecomb_viz.state import TOPICS, ExplorerState, Results
from modecomb_viz.statistics import d2_barrier, low_loss_share

__all__ = ["TALL", "DistributionView", "SegmentView", "View", "folded", "four_digits"]


#: Seconds over which a rate is measured before it is told.
_RATE_OVER = 0.5


def four_digits(value: float) -> str:
    """A value for the status line: four significant digits."""
    return "not a number" if np.isnan(value) else f"{value:.4g}"


_OPENER = "& .MuiCardHeader-action .MuiIconButton-root"

#: A low head that opens wherever it is clicked: the area of its button is that of the head, so its arrow turns alone.
_FOLD = {
    "& .MuiCardHeader-root": {"padding": "4px 10px", "position": "relative"},
    "& .MuiCardHeader-content *": {"fontSize": "14px"},
    _OPENER: {"position": "static", "transform": "none !important"},
    f"{_OPENER}[aria-expanded=true] svg": {"transform": "rotate(180deg)"},
    f"{_OPENER}::after": {"content": '""', "position": "absolute", "inset": 0},
    f"{_OPENER}.Mui-focusVisible::after": {"outline": "2px solid #1976d2", "borderRadius": "4px"},
    f"{_OPENER} .MuiTouchRipple-root": {"display": "none"},
}


def _bar(percent: int) -> str:
    """How much is done. Plain HTML: a widget of the page's library costs the server several times as much to move."""
    return (
        f'<div role="progressbar" aria-label="Progress" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent}"'
        ' style="height: 4px; background: #1976d240">'
        f'<div style="height: 4px; width: {percent}%; background: #1976d2"></div></div>'
    )


def folded(title: str, content: pn.viewable.Viewable | pn.viewable.Viewer) -> pmui.Card:
    """What is opened by those who want to know more."""
    return pmui.Card(
        content,
        title=title,
        collapsed=True,
        variant="outlined",
        margin=(6, 10),
        sizing_mode="stretch_width",
        sx=_FOLD,
    )


class View(NotebookViewer):
    """One picture, what it shows in a sentence, and a line with its numbers and its progress.

    Attributes:
        title, sentence: above the picture.
        formula: what is computed, for those who ask.
        name_of_view: its key in :data:`~modecomb_viz.state.TOPICS`.
        options: choices of the state that change what is drawn, not what is computed.
        panel: pixels that each part of the figure needs; where there is less they stand below each other.
        width: the same for the view among others.
        height: of every part, in CSS, for figures that can have any; of others their own.
    """

    title: str
    sentence: str
    formula: str = ""
    name_of_view: str
    options: ClassVar[tuple[str, ...]] = ("quantity", "split")
    panel: int = 320
    width: int = 900
    height: str = ""

    def __init__(self, state: ExplorerState, results: Results):
        super().__init__()
        self.state, self.results = state, results
        self.figure = self._make_figure()
        self.status = Words("", styles={"font-size": "13px"}, sizing_mode="stretch_width", min_height=20)
        self.bar = Words(_bar(0), sizing_mode="stretch_width", height=4, margin=(0, 10))
        self.switch = Button(
            "Stop", "Stop what is computed for this picture, or go on with it.", margin=(0, 10, 0, 0),
            on_click=self._toggle,
        )  # fmt: skip
        panels = self.figure.panels if self.figure else []
        mode = "stretch_both" if self.height else "stretch_width"
        for panel in panels if self.height else []:
            panel.sizing_mode = mode
        self._panes = [pn.pane.Bokeh(panel, sizing_mode=mode, margin=0) for panel in panels]
        self._heading = Words("", styles={"font-size": "16px"}, margin=(6, 10, 0, 10))
        self._words = Words("", styles={"font-size": "12px"}, margin=(4, 10, 0, 10), sizing_mode="stretch_width")
        self._say(self.title, self.sentence)
        self._in_page = pn.state.curdoc is not None
        if self._panes:
            self._bokeh_figure.on_change("inner_width", home(self._go_live))
        self.layout = pmui.Paper(
            pn.Row(
                self._heading,
                pn.Spacer(sizing_mode="stretch_width"),
                *self._tools(),
                self.switch,
                sizing_mode="stretch_width",
            ),
            self.bar,
            self._words,
            *self._body(),
            sizing_mode="stretch_width",
            styles={"flex": "1 1 auto"},
            elevation=1,
            margin=6,
        )
        self._drawn: tuple[dict[str, xr.Dataset], list[Any]] = {}, []
        self._numbers_shown, self._live = "", False
        self._measured = 0, 0, 0.0
        results.param.watch(at_home(self._refresh), ["datasets", "progress", "stopped", "topics"])
        state.param.watch(self._refresh, list(self.options))
        self._refresh()

    @property
    def _bokeh_figure(self) -> Any:
        """The figure itself, or the first of several."""
        parts = getattr(self.figure, "parts", None)
        return next(iter(parts.values())).figure if parts else self.figure.figure

    def _body(self) -> list[pn.viewable.Viewable]:
        """What stands below the sentence."""
        styles = {"flex": f"1 1 {self.panel}px", "min-width": "0", **({"height": self.height} if self.height else {})}
        panels = [pn.Column(pane, sizing_mode=pane.sizing_mode, styles=styles) for pane in self._panes]
        return [pn.FlexBox(*panels, sizing_mode="stretch_width"), self.status]

    def _tools(self) -> list[pn.viewable.Viewable]:
        """What stands beside the heading."""
        return []

    def _say(self, heading: str, sentence: str):
        """What stands above the picture."""
        formula = f"<details><summary>Formula</summary>{escape(self.formula)}</details>" if self.formula else ""
        self._heading.object = f'<h2 style="font: inherit; margin: 0">{escape(heading)}</h2>'
        self._words.object = escape(sentence) + formula

    @property
    def asked(self) -> bool:
        """Whether the choices give the view something to show."""
        return any(topic in self.results.topics for topic in self.topics)

    @property
    def shown(self) -> bool:
        """Whether it has a place on its page: as long as nothing can be computed there, all have."""
        return not self.results.topics or self.asked

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics of the results that this view draws."""
        return TOPICS[self.name_of_view]

    def datasets(self) -> dict[str, xr.Dataset]:
        """What has arrived for this view, on the chosen split."""
        arrived = {topic: self.results.datasets[topic] for topic in self.topics if topic in self.results.datasets}
        return {topic: dataset for topic, dataset in arrived.items() if self.state.split in dataset.split}

    @property
    def _awaited(self) -> bool:
        """Whether a notebook has been sent the view but has not laid it out yet: what changes until then is lost."""
        return not self._in_page and not self._live and any(pane._models for pane in self._panes)

    def _go_live(self, attribute: str, old: Any, new: Any):
        if not self._live:
            self._live = True
            self._refresh()

    def _refresh(self, *events: param.parameterized.Event):
        if self._awaited or not (self.shown or self.layout.visible):
            return
        if not self.shown:
            self.layout.visible = False
            return
        datasets = self.datasets()
        options = [getattr(self.state, name) for name in self.options]
        with pn.io.hold():
            self.layout.visible = True
            if datasets and not self._shows(datasets, options):
                self._draw(datasets)
                self._numbers_shown = escape(self._numbers(datasets))
                self._drawn = datasets, options
            self._show_progress(bool(datasets))

    def _shows(self, datasets: Mapping[str, xr.Dataset], options: list[Any]) -> bool:
        """Whether these very results are drawn already, with these options."""
        drawn, with_options = self._drawn
        same = drawn.keys() == datasets.keys() and all(drawn[topic] is datasets[topic] for topic in datasets)
        return same and options == with_options

    def _show_progress(self, something: bool):
        running = [self.results.progress[topic] for topic in self.topics if topic in self.results.progress]
        done, total = (sum(getattr(progress, name) for progress in running) for name in ("done", "total"))
        percent = round(100 * done / total) if total else 0
        self.bar.object = _bar(percent)
        stopped = not running and any(topic in self.results.stopped for topic in self.topics)
        state = "stopped" if stopped else "complete" if something else "waiting"
        if running:
            state = f"computing {percent} %{self._time_left(done, total)}"
        self.switch.param.update(label="Go on" if stopped else "Stop", disabled=not (running or stopped))
        self.status.object = f'<span class="state">{state}</span> · <span class="numbers">{self._numbers_shown}</span>'

    def _time_left(self, done: int, total: int) -> str:
        """In words, at the rate so far; nothing while that is not known or less than two seconds are left."""
        now = time.monotonic()
        if done < self._measured[0] or total != self._measured[1]:
            self._measured = done, total, now
        begun, _, since = self._measured
        if done == begun or now - since < _RATE_OVER:
            return ""
        left = (total - done) * (now - since) / (done - begun)
        return "" if left < 2 else f", about {left:.0f} s left" if left < 120 else f", about {left / 60:.0f} min left"

    def _toggle(self, event: Any):
        """Stop what is computed for this view, or go on with it."""
        running = any(topic in self.results.progress for topic in self.topics)
        (self.results.stop if running else self.results.resume)(self.topics)

    def _make_figure(self) -> Figure | None:
        """The figure; None where words are all that there is."""
        return None

    def _draw(self, datasets: dict[str, xr.Dataset]):
        raise NotImplementedError

    def _numbers(self, datasets: Mapping[str, xr.Dataset]) -> str:
        raise NotImplementedError

    def __panel__(self) -> pmui.Paper:
        """The view displayed by itself: it is computed whatever the page."""
        self.state.show(self.name_of_view)
        return self.layout


#: Half of what a window has below the tabs.
TALL = "clamp(300px, 42vh, 640px)"


class SegmentView(View):
    """Naive, aligned and perturbed curves from A to B."""

    title = "Segment from A to B"
    name_of_view = "segment"
    width, height = 400, TALL
    sentence = (
        "(1 − t)·A + t·π(B). A flat aligned curve below the naive hump is linear mode connectivity. D2: highest "
        "rise above the straight line between the ends."
    )
    formula = (
        "D1 = max L − ½(L_A + L_B); D2 = max over t of L(t) − ((1 − t)·L_A + t·L_B); D3 = L(½) − ½(L_A + L_B); "
        "D4 = max L − max(L_A, L_B)."
    )

    def _make_figure(self) -> SegmentFigure:
        return SegmentFigure(height=300)

    def _draw(self, datasets: dict[str, xr.Dataset]):
        self.figure.update(datasets, quantity=self.state.quantity, split=self.state.split)

    def _numbers(self, datasets: Mapping[str, xr.Dataset]) -> str:
        values = {
            topic: d2_barrier(dataset, self.state.quantity, self.state.split) for topic, dataset in datasets.items()
        }
        return "D2 barrier: " + " · ".join(f"{topic} {four_digits(value)}" for topic, value in values.items())


class DistributionView(View):
    """The distribution of loss over draws of the law."""

    title = "Distribution over draws"
    name_of_view = "distribution"
    height = "clamp(200px, 60vh - 280px, 640px)"
    sentence = (
        "Every dot is one draw Λ of the law, beside both networks and two midpoints. Draws near A and B: the law "
        "stays in the basin."
    )
    formula = "Θ(Λ) = (1 − Λ) ⊙ A + Λ ⊙ π(B), Λ drawn from the law. Excess: L − max(L_A, L_B)."

    def _make_figure(self) -> SamplesFigure:
        return SamplesFigure(height=200)

    def _draw(self, datasets: dict[str, xr.Dataset]):
        self.figure.update(datasets["samples"], quantity=self.state.quantity, split=self.state.split)

    def _numbers(self, datasets: Mapping[str, xr.Dataset]) -> str:
        dataset = datasets["samples"]
        values = dataset[self.state.quantity].sel(split=self.state.split)
        share = low_loss_share(dataset).sel(split=self.state.split).item()
        mean = four_digits(values.mean(skipna=False).item())
        return (
            f"{dataset.sizes['sample']} of {self.state.draws} draws · mean {mean} · "
            f"{share:.0%} within 0.1 nat of the worse end"
        )
