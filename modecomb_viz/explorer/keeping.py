"""Nothing is lost: undo and redo, what is shown as files, the state in the URL."""

import tempfile
from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path
from urllib.parse import urlencode

import panel as pn
import panel_material_ui as pmui
import param
import xarray as xr
from bokeh.document import Document
from bokeh.models import ColumnDataSource

from modecomb_viz.explorer.explained import Button, FileDownload
from modecomb_viz.explorer.later import Later
from modecomb_viz.explorer.notebook import NotebookViewer, Words, at_home
from modecomb_viz.explorer.notices import download
from modecomb_viz.explorer.views import folded
from modecomb_viz.export.archive import archive
from modecomb_viz.report import save_report
from modecomb_viz.state import ExplorerState, History, Results

__all__ = ["Address", "Cell", "Keeping"]

#: Seconds of quiet before the URL follows the state.
_QUIET = 0.4

#: Around the buttons.
_MARGIN = (4, 0)

#: Topics that a report shows only of the page that is open: other pages have more of them.
_SMALL = ("matched",)


class Keeping(NotebookViewer):
    """A row of buttons: undo, redo; the data and the report of what is shown.

    Attributes:
        history: the states that were.
        undo, redo, data, report: the buttons.
    """

    def __init__(self, state: ExplorerState, results: Results):
        super().__init__()
        self._state, self._results, self.history = state, results, History(state)
        self.undo = Button(
            "Undo", "Take the last choice back.", on_click=lambda event: self.history.undo(), margin=_MARGIN
        )
        self.redo = Button(
            "Redo",
            "Make the choice again that was taken back.",
            on_click=lambda event: self.history.redo(),
            margin=_MARGIN,
        )
        self.data = FileDownload(
            "Data",
            "The numbers of this page as NetCDF and CSV, with their recipes and the code that gives them again, in one "
            "ZIP file.",
            filename="modecomb.zip",
            callback=download(state, self._data),
            margin=_MARGIN,
        )
        self.report = FileDownload(
            "Report",
            "One HTML file that needs no network: this page, and what else is complete for the same choices.",
            filename="modecomb.html",
            callback=download(state, self._report),
            margin=_MARGIN,
        )
        self._layout = pn.Row(self.undo, self.redo, self.data, self.report)
        self.history.param.watch(self._show_history, ["can_undo", "can_redo"])
        results.param.watch(at_home(self._show_data), ["datasets", "topics"])
        self._show_history()
        self._show_data()

    def _show_history(self, *events: param.parameterized.Event):
        self.undo.disabled, self.redo.disabled = not self.history.can_undo, not self.history.can_redo

    def _show_data(self, *events: param.parameterized.Event):
        if self.data.disabled != (missing := not self._shown()):
            self.data.disabled = self.report.disabled = missing

    def _shown(self) -> dict[str, xr.Dataset]:
        """The results of the page."""
        datasets = self._results.datasets
        return {topic: datasets[topic] for topic in self._results.topics if topic in datasets}

    def _data(self) -> Callable[[], bytes]:
        return partial(archive, self._shown())

    def _report(self) -> Callable[[], bytes]:
        """Of the page, and of what else is complete for the same choices."""
        others = {topic: found for topic, found in self._results.complete.items() if topic not in _SMALL}
        return partial(
            _rendered, list({**others, **self._shown()}.values()), f"Mode combinability: {self._state.modes.name}"
        )

    def __panel__(self) -> pn.Row:
        return self._layout


def _rendered(datasets: list[xr.Dataset], title: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return save_report(datasets, Path(folder) / "report.html", title=title).read_bytes()


class Cell(NotebookViewer):
    """The code that shows the same view in a notebook, folded, with a button that copies it."""

    def __init__(self, state: ExplorerState, document: Document | None):
        super().__init__()
        self._state = state
        self._code = Words("", sizing_mode="stretch_width", styles={"overflow-x": "auto", "font-size": "12px"})
        self._text = ColumnDataSource({"code": [""]})
        copy = Button("Copy", "Copy the cell, to paste it into a notebook.")
        copy.js_on_click(args={"text": self._text}, code="navigator.clipboard.writeText(text.data.code[0])")
        self._layout = folded("Cell for a notebook", pn.Column(self._code, copy))
        self._later = Later(self._write, _QUIET, document)
        state.param.watch(lambda *events: self._later.ask(), list(state.choices))
        self._write()

    def _write(self):
        code = self._state.code
        self._text.data, self._code.object = {"code": [code]}, f"<pre>{escape(code)}</pre>"

    def __panel__(self) -> pmui.Card:
        return self._layout


class Address(pn.viewable.Viewer):
    """Keeps the choices in the query of a page's URL, in place of the one before: reloading gives the same view."""

    def __init__(self, state: ExplorerState, document: Document):
        super().__init__()
        self._state = state
        self._later = Later(self._write, _QUIET, document)
        self._query = pn.widgets.TextInput(visible=False)
        self._query.jscallback(value="window.history.replaceState(null, '', cb_obj.value)")
        state.param.watch(lambda *events: self._later.ask(), list(state.choices))

    def _write(self):
        self._query.value = f"?{urlencode(self._state.query)}"

    def __panel__(self) -> pn.widgets.TextInput:
        return self._query
