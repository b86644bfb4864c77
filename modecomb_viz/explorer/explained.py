"""Controls that say what they do, beside the pointer that rests on them.

The library's own explanations are drawn inside of what holds a control, and cut off at its edge; a title never is.
"""

from typing import Any, ClassVar

import panel_material_ui as pmui

__all__ = ["Button", "Choice", "Explained", "FileDownload", "FloatSlider", "TextInput"]


class Explained:
    """What a control does, as the title of its element; the theme is the one way in which the library takes it.

    Args:
        explanation: the title.
    """

    #: What of the material components gets it.
    _element: ClassVar[str] = "MuiButton"

    def __init__(self, *, explanation: str, **params: Any):
        titled = {"components": {self._element: {"defaultProps": {"title": explanation}}}}
        super().__init__(theme_config=titled, **params)
        self.explanation = explanation


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

    _element = "MuiToggleButton"


class FloatSlider(Explained, pmui.FloatSlider):
    """A slider."""

    _element = "MuiSlider"


class TextInput(Explained, pmui.TextInput):
    """A line of text."""

    _element = "MuiTextField"
