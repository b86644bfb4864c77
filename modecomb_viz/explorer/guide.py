"""A short guided start, for a first visit."""

from collections.abc import Mapping
from html import escape
from typing import Any, NamedTuple

import panel as pn
import panel_material_ui as pmui
from panel.viewable import Viewable

from modecomb_viz.explorer.explained import Button
from modecomb_viz.explorer.memory import Memory
from modecomb_viz.explorer.notebook import NotebookViewer, Words
from modecomb_viz.state import ExplorerState

__all__ = ["STEPS", "Guide"]


class Step(NamedTuple):
    """A step: what to do and what to see, the choices that show it, and the control that it speaks of."""

    title: str
    text: str
    choices: Mapping[str, Any]
    control: str | None = None


_NETWORKS = {"modes_name": "digits-mlp", "alignment": "weight_matching", "strength": 0.0}

#: The steps, on the embedded networks.
STEPS = (
    Step(
        "A plane between two networks",
        "A and B were trained independently on handwritten digits; B's units were then matched to A's. Every pixel of "
        "the map is a network mixed from both. Tap one to look at it closely.",
        {**_NETWORKS, "page": "Slice", "plane": "split"},
    ),
    Step(
        "What the matching buys",
        "Alignment 'identity' mixes the networks as they are. A wall rises between A and π(B), and the naive hump of "
        "the segment is all that is left of the flat line.",
        {**_NETWORKS, "page": "Slice", "alignment": "identity"},
        "alignment",
    ),
    Step(
        "How wrong the matching may be",
        "With half of the units matched wrongly the basin narrows but does not vanish. Drag Strength and watch the map "
        "follow; the page Perturbation measures it.",
        {**_NETWORKS, "page": "Slice", "strength": 0.5},
        "strength",
    ),
    Step(
        "Any law of the coefficients",
        "Every unit is taken from A or from B by the toss of a coin, again and again. Draws beside A and π(B) say that "
        "the whole region is one basin; choose another law or granularity in the sidebar.",
        {**_NETWORKS, "page": "Distribution", "distribution": "bernoulli", "granularity": "unit"},
        "distribution",
    ),
    Step(
        "Which layers matter",
        "Every layer has a slider of its own. The bars say how the loss reacts, the curves below how far one layer can "
        "go from A to π(B) while the others stay.",
        {**_NETWORKS, "page": "Layers"},
    ),
)

#: Around the buttons.
_MARGIN = (2, 4)

#: How the control is marked that a step speaks of, and the others; what is not said stays as it was in the browser.
_MARKED, _UNMARKED = {"box-shadow": "-5px 0 0 #0072b2"}, {"box-shadow": "none"}


class Guide(NotebookViewer):
    """A card above the pictures; once it is closed it comes only when it is asked for.

    Args:
        state: the choices.
        controls: the widget of every choice; that of which a step speaks is marked.

    Attributes:
        card: the card.
        opener: the button that shows it again.
        memory: where the browser remembers that it was closed.
    """

    def __init__(self, state: ExplorerState, controls: Mapping[str, Viewable]):
        super().__init__()
        self._state, self._controls, self._at, self._offered = state, controls, 0, False
        self.memory = Memory(self._recalled, key="modecomb-guide")
        self._words = Words("", sizing_mode="stretch_width", margin=(8, 12, 0, 12))
        self.back = Button("Back", "The step before.", on_click=lambda event: self._go(self._at - 1), margin=_MARGIN)
        self.show = Button(
            "Show it", "Make the choices that this step speaks of; Undo takes them back.", variant="outlined",
            on_click=self._show_step, margin=_MARGIN,
        )  # fmt: skip
        self.next = Button("Next", "The next step.", on_click=lambda event: self._go(self._at + 1), margin=_MARGIN)
        self.close = Button(
            "Close the guide", "It comes back with the button Guide, at the top of the page.",
            on_click=self._close, margin=_MARGIN,
        )  # fmt: skip
        self.opener = Button(
            "Guide", "A short walk through what the explorer shows.", on_click=self._open, margin=_MARGIN
        )
        buttons = pn.Row(self.back, self.show, self.next, self.close)
        self.card = pmui.Paper(self._words, buttons, visible=False, elevation=1, margin=6, sizing_mode="stretch_width")
        self._layout = pn.Column(self.card, self.memory, sizing_mode="stretch_width")
        self._go(0)

    def offer(self):
        """Show it, unless this browser has closed it before, or cannot remember that it did."""
        self._offered = True

    def _recalled(self, text: str | None):
        if self._offered and text is None:
            self._open()

    def _go(self, at: int):
        self._at = min(max(at, 0), len(STEPS) - 1)
        step = STEPS[self._at]
        self.back.disabled, self.next.disabled = self._at == 0, self._at == len(STEPS) - 1
        title = f"{self._at + 1} of {len(STEPS)}: {step.title}"
        self._words.object = f'<div style="font-size:14px"><b>{escape(title)}</b><br>{escape(step.text)}</div>'
        self._mark()

    def _mark(self):
        """Mark the control that the step speaks of, as long as the step is there."""
        meant = STEPS[self._at].control if self.card.visible else None
        for name in {step.control for step in STEPS} - {None}:
            self._controls[name].styles = _MARKED if name == meant else _UNMARKED

    def _show_step(self, event: Any):
        """Make the choices of the step, which are one step to undo."""
        self._state.param.update(**STEPS[self._at].choices)

    def _open(self, event: Any = None):
        self.card.visible = True
        self._go(0)

    def _close(self, event: Any):
        self.card.visible = False
        self._mark()
        self.memory.keep("closed")

    def __panel__(self) -> pn.Column:
        return self._layout
