"""The explorer: thin Panel views on the state and its results.

``mc.Explorer(modes)`` is live in JupyterLab as the last expression of a cell; ``apps/explorer.py`` serves its
:meth:`Explorer.page`. Each picture is a view of its own: ``explorer.map``, ``explorer.segment``,
``explorer.distribution``.
"""

from collections.abc import Callable, Mapping
from html import escape
from threading import Lock
from typing import Any, ClassVar

import numpy as np
import panel as pn
import panel_material_ui as pmui
import param
import xarray as xr
from bokeh.document import Document

from modecomb_viz.checkpoints import ModeSet
from modecomb_viz.evaluation import resolve_device
from modecomb_viz.executor import Queue, shared_executor
from modecomb_viz.figures import MapFigure, SamplesFigure, SegmentFigure
from modecomb_viz.figures.segments import d2_barrier
from modecomb_viz.hypercube import LAWS
from modecomb_viz.state import TOPICS, ExplorerState, Results, law_parameter
from modecomb_viz.statistics import low_loss_share

__all__ = ["DistributionView", "Explorer", "MapView", "SegmentView", "View", "error_page"]

#: Widgets by kind of parameter.
_WIDGETS: dict[type[param.Parameter], type] = {
    param.Boolean: pmui.Switch,
    param.Selector: pmui.Select,
    param.Integer: pmui.IntSlider,
    param.Number: pmui.FloatSlider,
}

#: The controls, from top to bottom.
_SECTIONS: dict[str, tuple[str, ...]] = {
    "Networks": ("modes_name", "a", "b", "c", "alignment", "repair"),
    "Matching perturbation": ("perturbation", "strength", "perturbation_seed"),
    "Distribution of the coefficients": (
        "distribution",
        *(law_parameter(law, name) for law in LAWS for name in LAWS[law].parameters),
        "granularity",
        "draws",
        "seed",
    ),
    "Map": ("plane", "z_kind", "z_layers", "coordinates", "resolution", "margin", "tolerance"),
    "Shown": ("quantity", "split", "log_scale"),
}


def _widget(state: ExplorerState, name: str) -> pn.viewable.Viewable:
    declared = state.param[name]
    kind = next(widget for kind, widget in _WIDGETS.items() if isinstance(declared, kind))
    if name.endswith("seed"):
        kind = pmui.IntInput
    widget = kind.from_param(declared, description=declared.doc, size="small", sizing_mode="stretch_width")
    widget.visible = _relevant(state)[name]
    return widget


def _relevant(state: ExplorerState) -> dict[str, bool]:
    """Which controls have an effect under the present choices."""
    relevant = dict.fromkeys((name for names in _SECTIONS.values() for name in names), True)
    for law in LAWS:
        for name in LAWS[law].parameters:
            relevant[law_parameter(law, name)] = law == state.distribution
    relevant["z_kind"] = state.plane == "split"
    relevant["z_layers"] = state.plane == "split" and state.z_kind == "layers"
    relevant["coordinates"] = relevant["c"] = state.plane == "three_modes"
    relevant["log_scale"] = state.quantity == "loss"
    return relevant


class Controls(pn.viewable.Viewer):
    """The sidebar: one widget per parameter; a control that would change nothing is hidden."""

    def __init__(self, state: ExplorerState):
        super().__init__()
        self.state = state
        self.widgets = {name: _widget(state, name) for names in _SECTIONS.values() for name in names}
        self._layout = pn.Column(
            *(self._section(title, names) for title, names in _SECTIONS.items()), sizing_mode="stretch_width"
        )
        state.param.watch(self._show_relevant, ["distribution", "plane", "z_kind", "quantity"])

    def _section(self, title: str, names: tuple[str, ...]) -> pn.Column:
        heading = pmui.Typography(title, variant="subtitle2", margin=(8, 10, 0, 10))
        return pn.Column(heading, *(self.widgets[name] for name in names), sizing_mode="stretch_width")

    def _show_relevant(self, *events: param.parameterized.Event):
        with pn.io.hold():
            for name, visible in _relevant(self.state).items():
                self.widgets[name].visible = visible

    def __panel__(self) -> pn.Column:
        return self._layout


def _number(value: float) -> str:
    """A value for the status line: four significant digits."""
    return "not a number" if np.isnan(value) else f"{value:.4g}"


class View(pn.viewable.Viewer):
    """One picture, what it shows in a sentence, and a line with its numbers and its progress."""

    title: ClassVar[str]
    sentence: ClassVar[str]

    def __init__(self, state: ExplorerState, results: Results):
        super().__init__()
        self.state, self.results = state, results
        self.figure = self._make_figure()
        self.status = pn.pane.HTML("", styles={"font-size": "13px"}, sizing_mode="stretch_width", min_height=20)
        self.bar = pmui.LinearProgress(
            value=0, max=100, variant="determinate", sizing_mode="stretch_width", height=4, margin=(0, 10)
        )
        self.switch = pmui.Button(
            label="Stop", variant="text", size="small", margin=(0, 10, 0, 0), on_click=self._toggle
        )
        self._pane = pn.pane.Bokeh(self.figure.figure, sizing_mode="stretch_width")
        self._in_page = pn.state.curdoc is not None
        self.figure.figure.on_change("inner_width", self._go_live)
        self._layout = pmui.Paper(
            pn.Row(
                pmui.Typography(self.title, variant="subtitle1", margin=(2, 10, 0, 10)),
                pn.Spacer(sizing_mode="stretch_width"),
                self.switch,
                sizing_mode="stretch_width",
            ),
            self.bar,
            pmui.Typography(self.sentence, variant="caption", margin=(2, 10, 0, 10)),
            self._pane,
            self.status,
            sizing_mode="stretch_width",
            elevation=1,
            margin=6,
        )
        self._drawn: tuple[Any, ...] = ()
        self._numbers_shown, self._live = "", False
        results.param.watch(self._refresh, ["datasets", "progress", "stopped"])
        state.param.watch(self._refresh, ["quantity", "split", "log_scale"])
        self._refresh()

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics of the results that this view draws."""
        return TOPICS[self.name_of_view]

    name_of_view: ClassVar[str]

    def datasets(self) -> dict[str, xr.Dataset]:
        """What has arrived for this view, on the chosen split."""
        arrived = {topic: self.results.datasets[topic] for topic in self.topics if topic in self.results.datasets}
        return {topic: dataset for topic, dataset in arrived.items() if self.state.split in dataset.split}

    @property
    def _awaited(self) -> bool:
        """Whether a notebook has been sent the view but has not laid it out yet: what changes until then is lost."""
        return not self._in_page and not self._live and bool(self._pane._models)

    def _go_live(self, attribute: str, old: Any, new: Any):
        if not self._live:
            self._live = True
            self._refresh()

    def _refresh(self, *events: param.parameterized.Event):
        if self._awaited:
            return
        datasets = self.datasets()
        drawn = (
            *map(id, datasets.values()),
            *datasets,
            self.state.quantity,
            self.state.split,
            self.state.log_scale,
        )
        with pn.io.hold():
            if datasets and drawn != self._drawn:
                self._draw(datasets)
                self._numbers_shown = escape(self._numbers(datasets))
                self._drawn = drawn
            self._show_progress(bool(datasets))

    def _show_progress(self, something: bool):
        running = [self.results.progress[topic] for topic in self.topics if topic in self.results.progress]
        total = sum(progress.total for progress in running)
        self.bar.value = round(100 * sum(progress.done for progress in running) / total) if total else 0
        stopped = not running and any(topic in self.results.stopped for topic in self.topics)
        state = "stopped" if stopped else "complete" if something else "waiting"
        if running:
            state = f"computing {self.bar.value} %"
        self.switch.param.update(label="Go on" if stopped else "Stop", disabled=not (running or stopped))
        self.status.object = f'<span class="state">{state}</span> · <span class="numbers">{self._numbers_shown}</span>'

    def _toggle(self, event: Any):
        """Stop what is computed for this view, or go on with it."""
        running = any(topic in self.results.progress for topic in self.topics)
        (self.results.stop if running else self.results.resume)(self.topics)

    def _make_figure(self) -> Any:
        raise NotImplementedError

    def _draw(self, datasets: dict[str, xr.Dataset]):
        raise NotImplementedError

    def _numbers(self, datasets: Mapping[str, xr.Dataset]) -> str:
        raise NotImplementedError

    def __panel__(self) -> pmui.Paper:
        return self._layout


class MapView(View):
    """The loss map of the chosen plane."""

    title = "Loss map"
    name_of_view = "map"
    sentence = (
        "A plane of combinations (1 − Λ) ⊙ A + Λ ⊙ π(B). One basin that holds all marks: the networks combine; "
        "walls between them: they do not."
    )

    def _make_figure(self) -> MapFigure:
        return MapFigure(height=300)

    def _draw(self, datasets: dict[str, xr.Dataset]):
        self.figure.update(
            datasets["plane"],
            quantity=self.state.quantity,
            split=self.state.split,
            log_scale=self.state.log_scale,
        )

    def _numbers(self, datasets: Mapping[str, xr.Dataset]) -> str:
        dataset, quantity, split = datasets["plane"], self.state.quantity, self.state.split
        values = dataset[quantity].sel(split=split).values
        finite = values[np.isfinite(values)]
        name = f"{quantity}_error"
        exact = int((dataset[name].sel(split=split) == 0).sum()) if name in dataset else values.size
        size = f"{exact} of {values.size} points"
        if not finite.size:
            return f"{size} · no point is finite"
        text = f"{size} · lowest {_number(finite.min())} · highest {_number(finite.max())}"
        return text + f" · {values.size - finite.size} not finite" * (finite.size < values.size)


class SegmentView(View):
    """Naive, aligned and perturbed curves from A to B."""

    title = "Segment from A to B"
    name_of_view = "segment"
    sentence = (
        "(1 − t)·A + t·π(B). A flat aligned curve below the naive hump is linear mode connectivity. D2: highest "
        "rise above the straight line between the ends."
    )

    def _make_figure(self) -> SegmentFigure:
        return SegmentFigure(height=300)

    def _draw(self, datasets: dict[str, xr.Dataset]):
        self.figure.update(datasets, quantity=self.state.quantity, split=self.state.split)

    def _numbers(self, datasets: Mapping[str, xr.Dataset]) -> str:
        values = {
            topic: d2_barrier(dataset, self.state.quantity, self.state.split) for topic, dataset in datasets.items()
        }
        return "D2 barrier: " + " · ".join(f"{topic} {_number(value)}" for topic, value in values.items())


class DistributionView(View):
    """The distribution of loss over draws of the law."""

    title = "Distribution over draws"
    name_of_view = "distribution"
    sentence = (
        "Every dot is one draw Λ of the law, beside both networks and two midpoints. Draws near A and B: the law "
        "stays in the basin."
    )

    def _make_figure(self) -> SamplesFigure:
        return SamplesFigure(height=200)

    def _draw(self, datasets: dict[str, xr.Dataset]):
        self.figure.update(datasets["samples"], quantity=self.state.quantity, split=self.state.split)

    def _numbers(self, datasets: Mapping[str, xr.Dataset]) -> str:
        dataset = datasets["samples"]
        values = dataset[self.state.quantity].sel(split=self.state.split)
        share = low_loss_share(dataset).sel(split=self.state.split).item()
        mean = _number(values.mean(skipna=False).item())
        return (
            f"{dataset.sizes['sample']} of {self.state.draws} draws · mean {mean} · "
            f"{share:.0%} within 0.1 nat of the worse end"
        )


class _Publisher:
    """Brings calls from the executor's thread into a document, in order.

    What is changed between the first rendering of a page and its connection is lost, so calls wait until
    the page is loaded.
    """

    def __init__(self, document: Document):
        self._document, self._lock = document, Lock()
        self._waiting: list[Callable[[], None]] | None = []
        pn.state.onload(self._open)

    def __call__(self, call: Callable[[], None]):
        with self._lock:
            if self._waiting is not None:
                self._waiting.append(call)
                return
        self._document.add_next_tick_callback(call)

    def _open(self):
        with self._lock:
            waiting, self._waiting = self._waiting or [], None
        for call in waiting:
            call()


class Explorer(pn.viewable.Viewer):
    """The live explorer of the hypercube between two networks.

    Args:
        modes: a mode set, a name of the catalogue, or a folder with a recipe and checkpoints.
        executor: where sweeps run; by default the one queue of the device, shared by all sessions.
        choices: initial values of the state, such as ``strength=0.3``.

    Attributes:
        state: every choice; setting one moves its widget and starts what it changes.
        results: the Datasets that have arrived, by topic.
        map, segment, distribution, controls: the views, each of which can be shown alone.
    """

    def __init__(self, modes: ModeSet | str = "digits-mlp", *, executor: Queue | None = None, **choices: Any):
        super().__init__()
        document = pn.state.curdoc
        publish = {"publish": _Publisher(document)} if document else {}
        self.state = ExplorerState(modes, **choices)
        self.alert = pmui.Alert(object="", severity="error", visible=False, sizing_mode="stretch_width", margin=6)
        self.warning = pmui.Alert(object="", severity="warning", visible=False, sizing_mode="stretch_width", margin=6)
        self.results = Results(self.state, executor or shared_executor(resolve_device(None)), **publish)
        self.controls = Controls(self.state)
        self.map, self.segment, self.distribution = (
            view(self.state, self.results) for view in (MapView, SegmentView, DistributionView)
        )
        self.main = pn.Column(
            self.alert,
            self.warning,
            pn.Row(self.map, self.segment, sizing_mode="stretch_width"),
            self.distribution,
            sizing_mode="stretch_width",
        )
        self._faults: list[str] = []
        self.results.param.watch(self._show_errors, ["error"])
        self.state.param.watch(self._show_errors, ["refusal"])
        self.state.param.watch(self._show_warning, ["modes_name", "repair"])
        self._show_errors()
        self._show_warning()
        if document:
            pn.state.on_session_destroyed(self._end)

    def choose(self, choices: Mapping[str, str]):
        """Set choices from text, as in a URL; what is not allowed is said in the page."""
        self._faults = self.state.choose(choices)
        self._show_errors()

    def _show_errors(self, *events: param.parameterized.Event):
        texts = [*self._faults, *filter(None, [self.state.refusal, self.results.error])]
        self.alert.param.update(object="  \n".join(map(escape, texts)), visible=bool(texts))

    def _show_warning(self, *events: param.parameterized.Event):
        text = self.state.warning
        self.warning.param.update(object=escape(text), visible=bool(text))

    def _end(self, session_context: Any):
        self.results.cancel()

    def page(self) -> pmui.Page:
        """The explorer as a whole page, for ``panel serve``."""
        return pmui.Page(
            title="modecomb_viz",
            sidebar=[self.controls],
            main=[self.main],
            sidebar_width=300,
            theme_toggle=False,
            busy_indicator=None,
        )

    def __panel__(self) -> pn.Row:
        return pn.Row(pn.Column(self.controls, width=300), self.main, sizing_mode="stretch_width")


def error_page(error: BaseException) -> pmui.Page:
    """A page that says why the explorer could not start."""
    text = str(error) if isinstance(error, ValueError) else f"The explorer failed: {type(error).__name__}: {error}"
    alert = pmui.Alert(object=escape(text), severity="error", sizing_mode="stretch_width")
    return pmui.Page(title="modecomb_viz", main=[alert])
