"""In a notebook: views that load what they need, and that need neither a network nor megabytes per control.

Where resources are inline, Panel puts the whole bundle of the material components, 1.4 MB, into every one of them, and
fetches style sheets by their address all the same. Here the first component keeps the bundle, the browser gives it
to the others, and style sheets are inline too.
"""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import panel as pn
from bokeh.core.serialization import Serializer
from bokeh.model import Model
from bokeh.models import ImportedStyleSheet, Plot, UIElement
from panel.io.model import remove_root
from panel.io.notebook import replace_inline_css
from panel.layout.base import ListLike
from panel.models.esm import ReactiveESM
from panel.viewable import Viewable
from panel_material_ui.layout.base import MaterialWrapper

__all__ = ["NotebookViewer", "Words", "arrange", "at_home", "home"]


class NotebookViewer(pn.viewable.Viewer):
    """A viewer that a notebook displays as it is: without ``pn.extension()``, and without a network."""

    def __init__(self):
        super().__init__()
        if pn.state.curdoc is None and _slim not in Viewable._preprocessing_hooks:
            Viewable._preprocessing_hooks.append(_slim)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        _load()
        return super()._repr_mimebundle_(include, exclude)


def at_home(call: Callable[..., None]) -> Callable[..., None]:
    """What changes a page, to be called from any thread: it runs in the one in which it was made.

    In a notebook results arrive in the thread that computes them. What is sent to a page goes in several messages, and
    those of two threads would mix, so all that draws is handed to the kernel's loop. In a page that is served results
    come in its own thread already; where no loop runs, as in a script, nothing is shown and the call is made at once.

    What is sent before the browser has laid a view out is lost there, or worse, a part of it: so long the call waits.
    """

    def called(*events: Any):
        if _AWAITED:
            _WAITING[call] = events
        else:
            call(*events)

    return home(called)


def home(call: Callable[..., None]) -> Callable[..., None]:
    """A call that any thread may make: it is made by the loop that runs here; where none does, by whoever makes it."""
    try:
        thread, loop = threading.get_ident(), asyncio.get_running_loop()
    except RuntimeError:
        return call

    @wraps(call)
    def called(*arguments: Any):
        if threading.get_ident() == thread:
            call(*arguments)
        elif not loop.is_closed():
            loop.call_soon_threadsafe(call, *arguments)

    return called


#: Views that were sent to a browser and have not answered, and what waits for them to.
_AWAITED: set[str] = set()
_WAITING: dict[Callable[..., None], tuple[Any, ...]] = {}
_SENT: WeakSet[Model] = WeakSet()

#: Seconds after which a view is not waited for any more: its output may have been cleared.
_PATIENCE = 20.0


def _await(viewable: Viewable, root: Model):
    """Wait for a view that is sent to a browser: until it sends something, all of which is handled at home.

    JupyterLab has messages handled in a thread of their own, and there Panel throws away what is just being sent.
    Through ipywidgets it hears of none; there the first that is heard are the sizes of the figures.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    if root in _SENT:
        return
    _SENT.add(root)
    ref = root.ref["id"]
    displayed = viewable.objects[0] if isinstance(viewable, MaterialWrapper) else viewable  # what is given the messages
    handle = type(displayed)._on_msg

    def answered(*message: Any):
        _go_on(ref)
        try:
            handle(displayed, *message)
        except Exception as error:
            displayed._on_error(ref, error)  # below the output, as where Panel calls it itself
            raise

    displayed._on_msg = home(answered)
    for figure in root.select({"type": Plot}) if _through_ipywidgets() else ():
        figure.on_change("inner_width", home(lambda attr, old, new: _go_on(ref)))
    _AWAITED.add(ref)
    loop.call_later(_PATIENCE, _go_on, ref)


def _go_on(ref: str):
    """A view is there, or is not waited for any more."""
    _AWAITED.discard(ref)
    while _WAITING and not _AWAITED:
        call = next(iter(_WAITING))
        call(*_WAITING.pop(call))


def _through_ipywidgets() -> bool:
    return pn.config.comms in ("ipywidgets", "vscode")


def arrange(layout: ListLike, objects: Sequence[Viewable]):
    """Give a layout other children, complete when they are sent.

    Through ipywidgets every change goes by itself, the children before what Panel and :func:`_slim` do to them.
    """
    documents = {model.document for model, _ in layout._models.values() if model.document is not None}
    held = [document for document in documents if not (document.session_context or document.callbacks.hold_value)]
    for document in held:
        document.hold()
    try:
        layout.objects = list(objects)
    finally:
        for document in held:
            document.unhold()


class Words(pn.pane.HTML):
    """HTML that changes: Panel sends the addresses of all style sheets with every change, this sends what changed."""

    def _update(self, ref: str, model: Model):
        properties = self._get_properties(model.document)
        model.update(**{name: value for name, value in properties.items() if name != "stylesheets"})


def _load():
    """Load Panel into the notebook unless that was done; inline, as a kernel may have no network. Colab has one."""
    if not pn.extension._loaded:
        pn.extension(inline="google.colab" not in sys.modules)


#: The component of every root that carries the bundle, by its id.
_CARRIERS: WeakKeyDictionary[Model, str] = WeakKeyDictionary()


def _slim(viewable: Viewable, root: Model):
    """Before models are sent to a notebook: one bundle for all of them, and no style sheet that is fetched."""
    _await(viewable, root)
    if _through_ipywidgets() and root.document is None:
        remove_root(root)  # a figure that is shown again still belongs to where it was
    if not pn.config.inline:
        return
    components = {model.id: model for model in root.select({"type": ReactiveESM}) if model.bundle not in (None, "url")}
    if components and root not in _CARRIERS:
        _CARRIERS[root] = next(name for name in _finalized(Serializer().encode(root)) if name in components)
    components.pop(_CARRIERS.get(root, ""), None)
    for model in components.values():
        model.esm = ""
    _inline_stylesheets(root)


def _inline_stylesheets(root: Model):
    """Style sheets as text instead of by address; each once, whatever number of models has it."""
    texts: dict[str, Model] = {}
    for model in root.select({"type": UIElement}):
        sheets = [
            texts.setdefault(sheet.url, replace_inline_css(sheet)) if isinstance(sheet, ImportedStyleSheet) else sheet
            for sheet in model.stylesheets
        ]
        if sheets != model.stylesheets:
            model.stylesheets = sheets


def _finalized(encoded: Any) -> Iterator[str]:
    """Ids of models in the order in which BokehJS makes them ready: what a model holds comes before itself."""
    if isinstance(encoded, dict):
        for part in encoded.values():
            yield from _finalized(part)
        if encoded.get("type") == "object" and "id" in encoded:
            yield encoded["id"]
    elif isinstance(encoded, list | tuple):
        for part in encoded:
            yield from _finalized(part)
