"""What a page mends of the libraries that it is made of."""

from importlib.resources import files

from bokeh.document import Document
from bokeh.models import CustomJS

__all__ = ["mend"]

#: Names for readers of the screen, where the widgets have none of their own, also for what comes later; and models that
#: the server has sent are not sent back in full by what is first done with them, of which it would warn.
_SCRIPTS = ("named.js", "known.js")


def mend(document: Document):
    """Run the scripts once the page is there."""
    for name in _SCRIPTS:
        code = (files("modecomb_viz") / "templates" / name).read_text(encoding="utf-8")
        document.js_on_event("document_ready", CustomJS(code=code))
