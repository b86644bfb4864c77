"""Controls that say what they do, beside the pointer that rests on them.

The library's own explanations are drawn inside of what holds a control, and cut off at its edge; a title never is.
"""

from typing import Any

import panel_material_ui as pmui
from bokeh.document import Document

__all__ = ["Button", "Choice", "Explained", "FileDownload", "FloatSlider", "TextInput"]


class Explained:
    """What a control does, as the title of its element.

    Args:
        explanation: the title.
    """

    def __init__(self, *, explanation: str, **params: Any):
        super().__init__(**params)
        self.explanation = explanation

    def _get_properties(self, doc: Document | None) -> dict[str, Any]:
        return {**super()._get_properties(doc), "html_attributes": {"title": self.explanation}}


class Button(Explained, pmui.Button):
    """A small button, of words alone unless its variant says otherwise."""

    def __init__(
        self, label: str, explanation: str, *, variant: str = "text", margin: int | tuple[int, ...] = 0, **params: Any
    ):
        super().__init__(explanation=explanation, label=label, variant=variant, size="small", margin=margin, **params)


class FileDownload(Explained, pmui.FileDownload):
    """A small button of words that gives a file."""

    def __init__(self, label: str, explanation: str, *, margin: int | tuple[int, ...] = 0, **params: Any):
        super().__init__(explanation=explanation, label=label, auto=True, size="small", margin=margin, **params)
        self.variant = "text"  # as an argument it would be taken for two and warned of


class Choice(Explained, pmui.RadioButtonGroup):
    """Buttons, one of which is pressed."""


class FloatSlider(Explained, pmui.FloatSlider):
    """A slider."""


class TextInput(Explained, pmui.TextInput):
    """A line of text."""
