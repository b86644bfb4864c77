"""Names for readers of the screen, where the widgets have none of their own."""

from importlib.resources import files

from bokeh.document import Document
from bokeh.models import CustomJS

__all__ = ["name_elements"]


def name_elements(document: Document):
    """Have a page give names to its buttons, bars, help marks and headings, and to those that come later."""
    code = (files("modecomb_viz") / "templates" / "named.js").read_text(encoding="utf-8")
    document.js_on_event("document_ready", CustomJS(code=code))
