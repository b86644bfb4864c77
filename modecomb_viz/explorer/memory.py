"""Text that the browser of a page keeps from one loading of the page to the next."""

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import panel as pn
import param
from panel.custom import JSComponent

__all__ = ["Memory"]


class Memory(JSComponent):
    """Text under a key, of which the browser tells when the page is loaded.

    A browser that keeps nothing, as private windows may, tells nothing.

    Args:
        recalled: called once, with the text that was kept, None where there is none.
    """

    key = param.String("modecomb", doc="Under what the text is kept.")
    lasting = param.Boolean(True, doc="Kept by the browser for all its pages, or else for as long as the tab is open.")

    _esm = (files("modecomb_viz") / "templates" / "memory.js").read_text(encoding="utf-8")

    def __init__(self, recalled: Callable[[str | None], None], **params: Any):
        super().__init__(**params, width=0, height=0, margin=0)
        self._recalled, self._told = recalled, False

    def keep(self, text: str):
        """Keep a text in place of the one before."""
        self._send_msg(text)

    def _handle_msg(self, data: Any):
        if self._told:  # a browser that draws the page anew tells again
            return
        self._told = True
        text = data.get("text") if isinstance(data, dict) else None
        told = text if isinstance(text, str) else None
        pn.state.onload(lambda: self._recalled(told))  # what changes a page before that never reaches it
