"""What a notebook's browser is sent, and where what it sends is handled; JupyterLab itself is in tests/ui."""

import asyncio
import threading

import panel as pn
import panel_material_ui as pmui
import pytest
from bokeh.document import Document
from bokeh.models import ImportedStyleSheet, UIElement
from bokeh.plotting import figure
from bokeh.protocol import Protocol
from pyviz_comms import Comm

from modecomb_viz.explorer.notebook import NotebookViewer, arrange, at_home


class Shown(NotebookViewer):
    """A view of a notebook that holds what it was given."""

    def __init__(self, layout):
        super().__init__()
        self.layout = layout

    def __panel__(self):
        return self.layout


#: A layout that Panel wraps before it sends it, and one that it sends as it is.
LAYOUTS = {"wrapped": pn.Row, "as it is": pmui.Paper}


@pytest.fixture
def inline(monkeypatch):
    """Resources are put into the notebook."""
    monkeypatch.setattr(pn.config, "inline", True)
    return monkeypatch


def rendered(layout, comm=None):
    return pn.panel(Shown(layout)).get_root(Document(), comm)


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_message_is_handled_in_the_thread_that_shows_the_view(inline, kind):
    handled, calls = [], []
    inline.setattr(LAYOUTS[kind], "_on_msg", lambda *message: handled.append((threading.get_ident(), message[1:])))
    layout = LAYOUTS[kind](pn.pane.HTML("text"))

    async def shown():
        rendered(layout, Comm())
        call = at_home(calls.append)
        call("first")
        assert calls == []  # the browser has not answered
        thread = threading.Thread(target=layout._on_msg, args=("ref", "manager", "message"))
        thread.start()
        thread.join()
        assert handled == []  # not in that thread
        await asyncio.sleep(0)
        call("second")

    asyncio.run(shown())
    assert handled == [(threading.get_ident(), ("ref", "manager", "message"))]
    assert calls == ["first", "second"]


@pytest.mark.parametrize("kind", LAYOUTS)
def test_what_goes_wrong_with_a_message_is_told_below_the_output(inline, kind):
    told = []

    def fail(*message):
        raise RuntimeError("no such model")

    inline.setattr(LAYOUTS[kind], "_on_msg", fail)
    inline.setattr(LAYOUTS[kind], "_on_error", lambda self, ref, error: told.append(str(error)))
    layout = LAYOUTS[kind](pn.pane.HTML("text"))

    async def shown():
        rendered(layout, Comm())
        with pytest.raises(RuntimeError, match="no such model"):
            layout._on_msg("ref", "manager", "message")

    asyncio.run(shown())
    assert told == ["no such model"]


def test_through_ipywidgets_the_size_of_a_figure_is_the_answer(inline):
    inline.setattr(pn.config, "comms", "ipywidgets")
    calls, drawn = [], figure()

    async def shown():
        rendered(pn.Row(pn.pane.Bokeh(drawn)))
        at_home(calls.append)("result")
        assert calls == []
        drawn.trigger("inner_width", None, 400)

    asyncio.run(shown())
    assert calls == ["result"]


def test_through_ipywidgets_children_are_complete_when_they_are_sent(inline):
    inline.setattr(pn.config, "comms", "ipywidgets")
    layout = pn.Column()
    root, sent = rendered(pn.Row(pmui.Button(label="First"), layout)), []
    document = Document()  # as ipywidgets have it: not the one in which Panel has rendered
    document.add_root(root)
    document.on_change(lambda event: sent.append((event.attr, Protocol().create("PATCH-DOC", [event]).content_json)))
    arrange(layout, [pmui.Button(label="Second"), pn.pane.HTML("text")])
    attribute, children = sent[0]
    assert attribute == "children"
    assert "Second" in children
    assert "cdn.holoviz.org" not in children
    assert len(children) < 100_000  # the first button has brought the bundle
    assert not any(
        isinstance(sheet, ImportedStyleSheet)
        for model in root.select({"type": UIElement})
        for sheet in model.stylesheets
    )
    assert document.callbacks.hold_value is None
