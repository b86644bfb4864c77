"""The settings that were looked at, each with a name and a picture."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

import param

from modecomb_viz.state.choices import ExplorerState

__all__ = ["Visit", "Visits"]

#: Visits that are kept.
_KEPT = 12

#: Choices that a name tells at most.
_TOLD = 4


class Visit(NamedTuple):
    """A setting that was looked at.

    Attributes:
        choices: every choice.
        query: those that differ from the defaults, as text.
        name: of the user, or what differs.
        picture: a PNG.
    """

    choices: Mapping[str, Any]
    query: Mapping[str, str]
    name: str
    picture: bytes


class Visits(param.Parameterized):
    """The settings that were looked at, first the newest.

    Args:
        state: the choices.
    """

    visits = param.List(default=[], doc="What was looked at, first the newest.")

    def __init__(self, state: ExplorerState):
        super().__init__()
        self._state = state

    def note(self, picture: bytes):
        """The present choices have been looked at; those that were before come to the front and keep their name."""
        query = self._state.query
        known = next((visit for visit in self.visits if visit.query == query), None)
        visit = Visit(self._state.choices, query, known.name if known else _name(self._state, query), picture)
        if self.visits and self.visits[0] == visit:
            return
        self.visits = [visit, *(other for other in self.visits if other is not known)][:_KEPT]

    def rename(self, visit: Visit, name: str):
        """Give a visit a name of one's own."""
        renamed = visit._replace(name=name.strip() or visit.name)
        self.visits = [renamed if other is visit else other for other in self.visits]

    def drop(self, visit: Visit):
        """Forget a visit."""
        self.visits = [other for other in self.visits if other is not visit]

    def open(self, visit: Visit):
        """Make its choices again."""
        self._state.restore(visit.choices)

    def compare(self, visit: Visit):
        """Show its map beside the present one."""
        query = {name: text for name, text in visit.query.items() if name not in ("kept", "against", "page")}
        kept = urlencode(query) or "page=Slice"  # an empty query would be that of no view
        self._state.param.update(kept=kept, against="kept view", page="Slice")


def _name(state: ExplorerState, query: Mapping[str, str]) -> str:
    """The page, and what differs from the defaults."""
    told = [f"{name.replace('_', ' ')} {text}" for name, text in query.items() if name not in ("page", "kept")]
    more = f" and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    return f"{state.page}: {', '.join(told[:_TOLD])}{more}" if told else f"{state.page}, as at first"
