"""Something that is done once its cause has been quiet for a while."""

import asyncio
from collections.abc import Callable
from typing import Any

from bokeh.document import Document

__all__ = ["Later"]


class Later:
    """Calls at the end of every burst of :meth:`ask`, in the document's own thread.

    Args:
        call: what is done.
        quiet: seconds without a further ask before it is done.
        document: of a page that is served; without one, the running loop of the notebook waits, and where there is
            none either, nothing does.
    """

    def __init__(self, call: Callable[[], None], quiet: float, document: Document | None):
        self._call, self._quiet, self._document = call, quiet, document
        self._waiting: Any = None

    def ask(self):
        """Do it once no further ask comes."""
        if self._document is not None:
            if self._waiting is not None:
                self._document.remove_timeout_callback(self._waiting)
            self._waiting = self._document.add_timeout_callback(self._now, round(1000 * self._quiet))
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._call()
            return
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = loop.call_later(self._quiet, self._now)

    def _now(self):
        self._waiting = None
        self._call()
