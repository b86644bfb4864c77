"""Undo and redo over the whole state."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import param

from modecomb_viz.state.choices import ExplorerState

__all__ = ["History"]

#: Seconds within which moves of one control are one step.
_TOGETHER = 1.0

#: Steps that are kept.
_KEPT = 200


class History(param.Parameterized):
    """Every state that was, in order; moves of one control that follow each other at once are one step.

    Args:
        state: the choices.
        clock: seconds that only grow.
    """

    can_undo = param.Boolean(False, doc="Whether there is a state before this one.")
    can_redo = param.Boolean(False, doc="Whether there is a state after this one.")

    def __init__(self, state: ExplorerState, clock: Callable[[], float] = time.monotonic):
        super().__init__()
        self._state, self._clock = state, clock
        self._steps: list[Mapping[str, Any]] = []
        self._when, self._going = 0.0, False
        self.begin()
        state.param.watch(self._note, list(state.choices), precedence=200)

    def begin(self):
        """What was before is no step: the state as it is now is the first."""
        self._steps, self._at, self._moved = [self._state.choices], 0, ""
        self._tell()

    def undo(self):
        """Back to the state before, if there is one."""
        self._go(self._at - 1)

    def redo(self):
        """Forward again, if there was an undo."""
        self._go(self._at + 1)

    def _go(self, at: int):
        if not 0 <= at < len(self._steps):
            return
        self._at, self._moved, self._going = at, "", True
        try:
            self._state.restore(self._steps[at])
        finally:
            self._going = False
        self._tell()

    def _note(self, *events: param.parameterized.Event):
        if self._going:
            return
        now = self._clock()
        moved = events[0].name if len(events) == 1 else ""
        again = bool(moved) and moved == self._moved and now - self._when < _TOGETHER
        self._moved, self._when = moved, now
        choices = self._state.choices
        if again:
            self._steps[self._at] = choices
        elif choices != self._steps[self._at]:
            self._steps = [*self._steps[: self._at + 1], choices][-_KEPT:]
            self._at = len(self._steps) - 1
        self._tell()

    def _tell(self):
        self.param.update(can_undo=self._at > 0, can_redo=self._at + 1 < len(self._steps))
