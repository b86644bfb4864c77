"""What the page says in words: sentences as they are, and why a download cannot be made."""

import asyncio
import io
import re
from collections.abc import Callable, Coroutine
from typing import Any

import panel_material_ui as pmui

from modecomb_viz.state import ExplorerState

__all__ = ["download", "say"]

_MARKS = re.compile(r"([!-/:-@\[-`{-~])")


def say(alert: pmui.Alert, *sentences: str, **looks: Any):
    """Show sentences in an alert, one a line; without any it is hidden.

    Alerts read Markdown, in which a name from a URL could load a picture from anywhere, so its marks are escaped.
    """
    lines = [_MARKS.sub(r"\\\1", " ".join(sentence.split())) for sentence in sentences]
    alert.param.update(object="  \n".join(lines), visible=bool(lines), **looks)


def download(state: ExplorerState, prepare: Callable[[], Callable[[], bytes]]) -> Callable[[], Coroutine]:
    """The callback of a download.

    Args:
        state: whose refusal says why there is none.
        prepare: gives what makes the file, which is called beside the server; both may raise ValueError.
    """

    async def made() -> io.BytesIO:
        state.refusal = ""
        try:
            return io.BytesIO(await asyncio.to_thread(prepare()))
        except ValueError as error:
            state.refusal = str(error)
            raise asyncio.CancelledError from error  # said in the page; there is nothing to log

    return made
