"""The settings that were looked at, with their pictures: open one again, name it, compare with it."""

from collections.abc import Callable
from functools import partial

import panel as pn
import param
from bokeh.document import Document

from modecomb_viz.explorer.explained import Button, TextInput
from modecomb_viz.explorer.later import Later
from modecomb_viz.explorer.memory import Memory
from modecomb_viz.explorer.notebook import NotebookViewer, Words, arrange, at_home
from modecomb_viz.explorer.views import folded
from modecomb_viz.figures.pixels import png_url
from modecomb_viz.figures.thumbnails import thumbnail
from modecomb_viz.state import ExplorerState, Results, Visit, Visits

__all__ = ["Visited"]

#: Seconds for which a complete picture stands before it counts as looked at.
_QUIET = 1.5


_NARROW = {"minWidth": 0, "padding": "2px 5px"}


def _button(label: str, explanation: str, call: Callable[[], object]) -> Button:
    return Button(label, explanation, on_click=lambda event: call(), sx=_NARROW)


class Visited(NotebookViewer):
    """A folded list of what was looked at.

    Attributes:
        visits: what was looked at.
        card: what is unfolded to see it.
        memory: where the tab of the browser keeps it, so that it is there when the page is loaded again.
    """

    def __init__(self, state: ExplorerState, results: Results, document: Document | None):
        super().__init__()
        self._state, self._results, self.visits = state, results, Visits(state)
        self._later = Later(self._note, _QUIET, document)
        self._list = pn.Column(sizing_mode="stretch_width")
        self._rows: list[tuple[Visit, pn.Row]] = []
        self.memory = Memory(self._recall, key=f"modecomb-visits of {state.first_modes}", lasting=False)
        kept = [self.memory] if document else []
        self.card = folded("Looked at before", self._list)
        self._layout = pn.Column(self.card, *kept, sizing_mode="stretch_width")
        results.param.watch(at_home(self._look), ["progress", "datasets"])
        self.visits.param.watch(self._show, ["visits"])
        self.card.param.watch(self._show, ["collapsed"])

    def _recall(self, text: str | None):
        try:
            self.visits.recall(text or "[]")
        except ValueError as error:
            self._state.refusal = str(error)
        self.visits.param.watch(lambda event: self.memory.keep(self.visits.text), ["visits"])

    def _look(self, *events: param.parameterized.Event):
        if not self._results.progress:
            self._later.ask()

    def _note(self):
        """The picture stands: its first result is what it is recognised by."""
        state, results = self._state, self._results
        shown = next(map(results.current, results.topics), None)
        if results.progress or results.error or shown is None or state.split not in shown.split:
            return
        self.visits.note(thumbnail(shown, state.quantity, state.split))

    def _show(self, *events: param.parameterized.Event):
        """A row for every visit, made once somebody looks."""
        if self.card.collapsed:
            return
        known = {id(visit): (visit, row) for visit, row in self._rows}
        self._rows = [known.get(id(visit)) or (visit, self._row(visit)) for visit in self.visits.visits]
        arrange(self._list, [row for _, row in self._rows])

    def _rename(self, visit: Visit, field: TextInput, event: param.parameterized.Event):
        self.visits.rename(visit, event.new)
        field.value = next((other.name for other in self.visits.visits if other.query == visit.query), visit.name)

    def _row(self, visit: Visit) -> pn.Row:
        name = TextInput(
            label="Name", value=visit.name, size="small", sizing_mode="stretch_width", margin=(4, 0),
            explanation="What this view is called; type another name.",
        )  # fmt: skip
        name.param.watch(partial(self._rename, visit, name), ["value"])
        buttons = pn.Row(
            _button("Open", "Make all choices as they were then.", partial(self.visits.open, visit)),
            _button("Compare", "Show its map beside the present one.", partial(self.visits.compare, visit)),
            _button("Forget", "Take it off this list.", partial(self.visits.drop, visit)),
        )
        image = Words(
            f'<img alt="" width="72" height="48" src="{png_url(visit.picture)}">', width=76, margin=(8, 4, 0, 0)
        )
        return pn.Row(image, pn.Column(name, buttons, sizing_mode="stretch_width"), sizing_mode="stretch_width")

    def __panel__(self) -> pn.Column:
        return self._layout
