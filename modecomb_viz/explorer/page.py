"""The explorer as a whole: its pages, its controls, and what it says when something is wrong."""

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param
import xarray as xr
from bokeh.document import Document
from panel.util import edit_readonly

from modecomb_viz.checkpoints import ModeSet
from modecomb_viz.evaluation import resolve_device
from modecomb_viz.executor import Queue, shared_executor
from modecomb_viz.explorer.controls import Controls
from modecomb_viz.explorer.guide import Guide
from modecomb_viz.explorer.keeping import Address, Cell, Keeping
from modecomb_viz.explorer.maps import DifferenceView, MapView, OtherView
from modecomb_viz.explorer.mending import mend
from modecomb_viz.explorer.mixer import MixerView
from modecomb_viz.explorer.modes import ModesView
from modecomb_viz.explorer.notebook import NotebookViewer, arrange, at_home, home
from modecomb_viz.explorer.notices import say
from modecomb_viz.explorer.pictures import (
    LawsView,
    LayersView,
    PerturbationView,
    SimilarityView,
    TransitivityView,
)
from modecomb_viz.explorer.places import CutView, InspectionView
from modecomb_viz.explorer.views import DistributionView, SegmentView, View
from modecomb_viz.explorer.visited import Visited
from modecomb_viz.permutation import Params
from modecomb_viz.state import ON_DEMAND, PAGES, TOPICS, UPLOADED, ExplorerState, Results
from modecomb_viz.sweep import INSPECTED, point_params

__all__ = ["Explorer", "error_page"]


_VIEWS: dict[str, type[View]] = {
    view.name_of_view: view
    for view in (
        MapView, OtherView, DifferenceView, SegmentView, CutView, InspectionView, DistributionView, LawsView,
        PerturbationView, TransitivityView, SimilarityView, MixerView, LayersView, ModesView,
    )
}  # fmt: skip


#: Nothing fades or glides: every frame of that lays the page out anew, and was most of what a move cost the browser.
#: What explains a button is wide enough to be read, and lies over nothing that could be clicked.
_THEME = {
    "components": {
        "MuiTooltip": {
            "defaultProps": {"disableInteractive": True},
            "styleOverrides": {"tooltip": {"minWidth": "220px"}},
        }
    },
    "transitions": {
        "duration": dict.fromkeys(
            ("shortest", "shorter", "short", "standard", "complex", "enteringScreen", "leavingScreen"), 0
        )
    },
}


class _Views(dict[str, View]):
    """The views by name; each is made when it is first asked for, as most sessions open few pages."""

    def __init__(self, state: ExplorerState, results: Results):
        super().__init__()
        self._state, self._results = state, results

    def __missing__(self, name: str) -> View:
        self[name] = made = _VIEWS[name](self._state, self._results)
        return made


def _place(name: str) -> pn.Column:
    """Where a view stands among others: as wide as it wants to be, or as there is room for."""
    return pn.Column(sizing_mode="stretch_width", styles={"flex": f"1 1 {_VIEWS[name].width}px"}, visible=False)


class _Publisher:
    """Brings calls from the executor's thread into a document, in order.

    What is changed between the first rendering of a page and its connection is lost, so calls wait until
    the page is loaded. The document is touched in its own thread alone: what another adds to it while it holds its
    events back may be lost.
    """

    def __init__(self, document: Document):
        self._add, self._lock = home(document.add_next_tick_callback), Lock()
        self._waiting: list[Callable[[], None]] | None = []
        pn.state.onload(self._open)

    def __call__(self, call: Callable[[], None]):
        with self._lock:
            if self._waiting is not None:
                self._waiting.append(call)
                return
        self._add(call)

    def _open(self):
        with self._lock:
            waiting, self._waiting = self._waiting or [], None
        for call in waiting:
            call()


class Explorer(NotebookViewer):
    """The live explorer of the hypercube between two networks.

    Args:
        modes: a mode set, a name of the catalogue, or a folder with a recipe and checkpoints.
        executor: where sweeps run; by default the one queue of the device, shared by all sessions.
        choices: initial values of the state, such as ``strength=0.3``.

    Attributes:
        state: every choice; setting one moves its widget and starts what it changes.
        results: the Datasets that have arrived, by topic.
        views: the views by name, each made when it is first asked for. Their names are attributes too, such as ``map``,
            ``segment`` or ``similarity``; each can be shown alone, and what is shown alone is computed whatever the
            page.
        controls: the sidebar.
        keeping: undo, redo, and what is shown as files.
        visited: what was looked at before.
        guide: a short start, offered to those who come for the first time.
        cell: the code that shows the same view in a notebook.
    """

    def __init__(self, modes: ModeSet | str = "digits-mlp", *, executor: Queue | None = None, **choices: Any):
        super().__init__()
        document = pn.state.curdoc
        publish = {"publish": _Publisher(document)} if document else {}
        self.state = ExplorerState(modes, **choices)
        self.alert = pmui.Alert(object="", severity="error", visible=False, sizing_mode="stretch_width", margin=6)
        self.warning = pmui.Alert(object="", severity="warning", visible=False, sizing_mode="stretch_width", margin=6)
        self.results = Results(self.state, executor or shared_executor(resolve_device(None)), **publish)
        self.controls, self.keeping = Controls(self.state), Keeping(self.state, self.results)
        self.visited, self.cell = Visited(self.state, self.results, document), Cell(self.state, document)
        self.guide = Guide(self.state, self.controls.widgets)
        self.sidebar = [self.keeping, self.controls, self.visited, self.cell]
        self.views = _Views(self.state, self.results)
        self.tabs = pmui.Tabs(
            *((page, pn.Spacer(height=0)) for page in PAGES),
            active=list(PAGES).index(self.state.page),
            sizing_mode="stretch_width",
        )
        self.tabs.param.watch(self._turn, ["active"])
        self.state.param.watch(self._turned, ["page"])
        self._pages: dict[str, pn.FlexBox] = {}
        self._shown = pn.Column(sizing_mode="stretch_width")
        self._show_page(self.state.page)
        self.main = pn.Column(
            self.alert,
            self.warning,
            self.tabs,
            self._shown,
            sizing_mode="stretch_width",
        )
        self.results.param.watch(at_home(self._fill), ["topics"])
        self._faults: list[str] = []
        self._awaited: Mapping[str, str] = {}
        self.results.param.watch(at_home(self._show_errors), ["error"])
        self.state.param.watch(self._show_errors, ["refusal"])
        self.state.param.watch(self._forgive, [name for name in self.state.choices if name != "modes_name"])
        self.state.param.watch(self._open_what_was_awaited, ["modes_name"], precedence=150)
        self.state.param.watch(self._show_warning, ["modes_name", "repair"])
        self._show_errors()
        self._show_warning()
        if document:
            pn.state.on_session_destroyed(self._end)
            self.main.append(Address(self.state, document))
            self.main.insert(0, self.guide)
            if not pn.state.session_args:
                self.guide.offer()
            mend(document)

    def __getattr__(self, name: str) -> View:
        if name in _VIEWS:
            return self.views[name]
        raise AttributeError(f"'Explorer' object has no attribute {name!r}")

    def _page(self, page: str) -> pn.FlexBox:
        """A page with a place for each of its pictures; where nothing is asked for at present it is hidden.

        The places stay: a page whose children change is drawn anew, and takes the focus from who works in it.
        """
        if page not in self._pages:
            self._pages[page] = pn.FlexBox(*map(_place, PAGES[page]), sizing_mode="stretch_width")
        topics = set(self.results.topics)
        for name, place in zip(PAGES[page], self._pages[page], strict=True):
            asked = set(TOPICS[name]) <= topics if name in ON_DEMAND else self.views[name].shown
            if asked and not place.objects:
                arrange(place, [self.views[name].layout])
            place.visible = asked
        return self._pages[page]

    def _fill(self, *events: param.parameterized.Event):
        self._page(self.state.page)

    def _turn(self, event: param.parameterized.Event):
        self.state.page = list(PAGES)[event.new]

    def _turned(self, event: param.parameterized.Event):
        self.tabs.active = list(PAGES).index(event.new)
        self._show_page(event.new)

    def _show_page(self, page: str):
        """One page; the others stay where they are, hidden: the browser keeps the nodes of what is taken out."""
        shown = self._page(page)
        for other in self._pages.values():
            other.visible = other is shown
        if shown not in self._shown.objects:
            arrange(self._shown, [*self._shown.objects, shown])

    @property
    def dataset(self) -> xr.Dataset | None:
        """The newest result of the first picture on the page; None before there is one."""
        datasets = self.results.datasets
        return next((datasets[topic] for topic in self.state.topics if topic in datasets), None)

    @property
    def selected_params(self) -> Params | None:
        """The weights of the point of the map that is inspected, for the plain architecture.

        None where none is, and until it has been looked at with the present choices.
        """
        if self.state.inspected is None or (found := self.results.current("inspection")) is None:
            return None
        return point_params(found, self.state.modes, model=INSPECTED)

    def choose(self, choices: Mapping[str, str]):
        """Set choices from text, as in a URL; what is not allowed is said in the page."""
        modes = choices.get("modes_name", "")
        missing = modes.startswith(UPLOADED) and modes not in self.state.param.modes_name.objects
        self._awaited = choices if missing else {}
        self._faults = self.state.choose(choices)
        self._show_errors()

    def _open_what_was_awaited(self, event: param.parameterized.Event):
        """An address of networks that had to be sent again is opened once they are there; its fault is forgotten."""
        self._faults, awaited = [], self._awaited
        if awaited and self.state.modes_name == awaited["modes_name"]:
            self._awaited = {}
            try:
                self.state.restore(self.state.made_of(awaited).choices)
            except ValueError as error:
                self._faults = [str(error)]
        self._show_errors()

    def _forgive(self, *events: param.parameterized.Event):
        """What was refused is no matter once other choices are made."""
        if self._faults or self.state.refusal:
            self._faults, self.state.refusal = [], ""
            self._show_errors()

    def _show_errors(self, *events: param.parameterized.Event):
        say(self.alert, *self._faults, *filter(None, [self.state.refusal, self.results.error]))

    def _show_warning(self, *events: param.parameterized.Event):
        say(self.warning, *filter(None, [self.state.warning]))

    def _end(self, session_context: Any):
        self.results.cancel()

    def page(self) -> pmui.Page:
        """The explorer as a whole page, for ``panel serve``."""
        page = pmui.Page(
            title="modecomb_viz",
            header=[pn.HSpacer(), self.guide.opener],
            sidebar=self.sidebar,
            main=[self.main],
            sidebar_width=300,
            theme_toggle=True,
            busy_indicator=None,
            theme_config=_THEME,
            sidebar_resizable=False,
        )
        # Unlinked from whether the server is busy: every event of any session would walk the models of all of them.
        with edit_readonly(page):
            page.busy = False
        return page

    def __panel__(self) -> pn.Row:
        return pn.Row(pn.Column(*self.sidebar, width=300), self.main, sizing_mode="stretch_width")


def error_page(error: BaseException) -> pmui.Page:
    """A page that says why the explorer could not start."""
    text = str(error) if isinstance(error, ValueError) else f"The explorer failed: {type(error).__name__}: {error}"
    alert = pmui.Alert(severity="error", sizing_mode="stretch_width")
    say(alert, text)
    if pn.state.curdoc:
        mend(pn.state.curdoc)
    return pmui.Page(title="modecomb_viz", main=[alert])
