"""The settings that were looked at, each with a name and a picture."""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

import param

from modecomb_viz.state.choices import ExplorerState

__all__ = ["Visit", "Visits"]

#: Visits that are kept.
_KEPT = 12

#: How a PNG begins, and the bytes that the picture of a visit has at most.
_PNG, _LARGEST = b"\x89PNG\r\n\x1a\n", 50_000

#: Choices that a name tells at most.
_TOLD = 4


class Visit(NamedTuple):
    """A setting that was looked at.

    Attributes:
        query: the choices that differ from the defaults, as text.
        name: of the user, or what differs.
        picture: a PNG.
    """

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
        visit = Visit(query, known.name if known else _name(self._state, query), picture)
        if self.visits and self.visits[0] == visit:
            return
        self.visits = [visit, *(other for other in self.visits if other is not known)][:_KEPT]

    def rename(self, visit: Visit, name: str):
        """Give a visit a name of one's own; it keeps its own where that is empty."""
        if name := name.strip():
            same = visit.query
            self.visits = [other._replace(name=name) if other.query == same else other for other in self.visits]

    def drop(self, visit: Visit):
        """Forget a visit."""
        self.visits = [other for other in self.visits if other.query != visit.query]

    def open(self, visit: Visit):
        """Make its choices again; the state refuses those of networks that are there no more."""
        try:
            choices = self._state.made_of(visit.query).choices
        except ValueError as error:
            self._state.refusal = f"'{visit.name}' cannot be opened: {error}"
            return
        self._state.refusal = ""
        self._state.restore(choices)

    def compare(self, visit: Visit):
        """Show its map beside the present one."""
        query = {name: text for name, text in visit.query.items() if name not in ("kept", "against", "page")}
        kept = urlencode(query) or "page=Slice"  # an empty query would be that of no view
        self._state.param.update(kept=kept, against="kept view", page="Slice")

    @property
    def text(self) -> str:
        """All of them, to be kept and taken up again by :meth:`recall`."""
        told = [visit._asdict() | {"picture": b64encode(visit.picture).decode()} for visit in self.visits]
        return json.dumps(told)

    def recall(self, text: str):
        """Take up visits that were kept, behind those that there are.

        Raises:
            ValueError: when the text is not what :attr:`text` gave.
        """
        try:
            kept = [_recalled(**told) for told in json.loads(text)]
        except (TypeError, ValueError) as error:
            raise ValueError(f"what was kept of earlier visits cannot be read: {error}") from None
        known = [visit.query for visit in self.visits]
        self.visits = [*self.visits, *(visit for visit in kept if visit.query not in known)][:_KEPT]


def _recalled(query: Mapping[str, str], name: str, picture: str) -> Visit:
    texts = [name, picture, *query, *query.values()] if isinstance(query, dict) else [None]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a query, a name or a picture is none")
    decoded = b64decode(picture, validate=True)
    if not decoded.startswith(_PNG) or len(decoded) > _LARGEST:
        raise ValueError(f"a picture of {len(decoded)} bytes is no PNG of at most {_LARGEST} bytes")
    return Visit(query, name, decoded)


def _name(state: ExplorerState, query: Mapping[str, str]) -> str:
    """The page, and what differs from the defaults."""
    told = [f"{name.replace('_', ' ')} {text}" for name, text in query.items() if name not in ("page", "kept")]
    more = f" and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    return f"{state.page}: {', '.join(told[:_TOLD])}{more}" if told else f"{state.page}, as at first"
