"""What a mouse does on the map, by the keyboard: a point, a cut, a part of the plane, as numbers."""

from functools import partial

import panel as pn
import panel_material_ui as pmui
import param

from modecomb_viz.explorer.notebook import arrange
from modecomb_viz.explorer.views import folded
from modecomb_viz.state import ExplorerState

__all__ = ["Typed"]

#: The choices, what their fields are called, and what stands in them while they are empty.
_FIELDS = {
    "inspected": ("Point", "u, v"),
    "cut": ("Cut", "u, v of its start, u, v of its end"),
    "region": ("Part of the plane", "lowest and highest u, lowest and highest v"),
}


class Typed:
    """A folded row of fields; they are made when it is unfolded.

    Attributes:
        card: what is unfolded.
        fields: by the name of the choice; empty before.
    """

    def __init__(self, state: ExplorerState):
        self._state, self.fields = state, dict[str, pmui.TextInput]()
        self._row = pn.FlexBox(sizing_mode="stretch_width")
        self.card = folded("Point, cut and part by numbers", self._row)
        self.card.param.watch(self._make, ["collapsed"])
        state.param.watch(self._follow, list(_FIELDS))

    def _make(self, *events: param.parameterized.Event):
        if self.fields or self.card.collapsed:
            return
        for name, (label, wanted) in _FIELDS.items():
            self.fields[name] = field = pmui.TextInput(
                label=label, placeholder=wanted, description=self._state.param[name].doc, size="small", width=280
            )
            field.param.watch(partial(self._choose, name), ["value"])
        self._follow()
        arrange(self._row, list(self.fields.values()))

    def _choose(self, name: str, event: param.parameterized.Event):
        """Take a field's numbers; what is none is said, and stays to be mended."""
        if event.new == self._text(name):
            self._state.refusal = ""
        else:
            self._state.attempt(name, event.new.replace(" ", ""))

    def _follow(self, *events: param.parameterized.Event):
        """Show what is chosen; a field whose choice did not change keeps what was typed, to be mended."""
        for name in [event.name for event in events] or self.fields:
            if name in self.fields:
                self.fields[name].value = self._text(name)

    def _text(self, name: str) -> str:
        return ", ".join(f"{number:.6g}" for number in getattr(self._state, name) or ())
