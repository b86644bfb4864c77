"""A session of the explorer that is held without a browser: what the server sends is timed and counted, not drawn."""

import json
import re
import time
import urllib.request
from dataclasses import dataclass, field
from html import unescape
from typing import Any

from bokeh.protocol import Protocol
from tornado.httpclient import HTTPRequest
from tornado.ioloop import IOLoop
from tornado.websocket import WebSocketClientConnection, websocket_connect

_TOKEN = re.compile(r'"token":\s*"([^"]+)"')

#: What a page tells the server once it is drawn.
_READY = {"type": "event", "name": "document_ready", "values": {"type": "map", "entries": []}}


@dataclass
class Answer:
    """What the server sent after a move, to be read when it is complete.

    Attributes:
        first, final: seconds until new data of a picture was received, and until all was complete.
        patches, size: messages and bytes received until then.
    """

    first: float = 0.0
    final: float = 0.0
    patches: int = 0
    size: int = 0


@dataclass
class HeldSession:
    """A websocket to a served explorer, at one page of it, with so many pictures."""

    url: str
    pictures: int = 1
    _socket: WebSocketClientConnection | None = None
    _slider: dict[str, Any] = field(default_factory=dict)
    _states: dict[str, str] = field(default_factory=dict)

    async def open(self):
        """Ask for the page as a browser does, and wait until its pictures are complete."""
        found = await IOLoop.current().run_in_executor(None, _token_of, self.url)
        address = re.sub(r"^http(.*?)(\?.*)?$", r"ws\1/ws", self.url)
        self._socket = await websocket_connect(HTTPRequest(address), subprotocols=["bokeh", found])
        await self._message()  # ACK
        request = Protocol().create("PULL-DOC-REQ")
        for part in (request.header_json, request.metadata_json, request.content_json):
            await self._socket.write_message(part)
        content: dict[str, Any] = {}
        while "doc" not in content:
            content, _ = await self._message()
        self._slider = _slider(content)
        await self._patch({"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": _READY})
        await self._until_complete(Answer(), time.perf_counter(), begun=True)

    async def move(self, strength: float) -> Answer:
        """Set the strength of the perturbation, as the slider does."""
        answer, start = Answer(), time.perf_counter()
        await self._patch({"kind": "ModelChanged", "model": self._slider, "attr": "value", "new": strength})
        return await self._until_complete(answer, start)

    def close(self):
        """End the session."""
        if self._socket is not None:
            self._socket.close()

    async def _until_complete(self, answer: Answer, start: float, *, begun: bool = False) -> Answer:
        while True:
            content, size = await self._message()
            text = json.dumps(content)
            if "events" not in content:
                continue
            answer.patches, answer.size = answer.patches + 1, answer.size + size
            begun = begun or "computing" in text
            if not answer.first and ('"ndarray"' in text or '"attr": "data"' in text):
                answer.first = time.perf_counter() - start
            self._note(content)
            if (
                begun
                and len(self._states) >= self.pictures
                and all(state == "complete" for state in self._states.values())
            ):
                answer.final = time.perf_counter() - start
                return answer

    def _note(self, content: dict[str, Any]):
        """Which pictures of the page are complete, by the lines below them."""
        for event in content["events"]:
            if found := re.search(r'class="state">(\w+)', unescape(str(event.get("new", "")))):
                self._states[event["model"]["id"]] = found[1]

    async def _patch(self, event: dict[str, Any]):
        header = json.dumps({"msgid": f"{time.perf_counter_ns()}", "msgtype": "PATCH-DOC"})
        for part in (header, "{}", json.dumps({"events": [event]})):
            await self._socket.write_message(part)

    async def _message(self) -> tuple[dict[str, Any], int]:
        """The content of the next message, and its size with all buffers."""
        parts = [await self._part() for _ in range(3)]
        buffers = [await self._part() for _ in range(2 * json.loads(parts[0]).get("num_buffers", 0))]
        return json.loads(parts[2]), sum(map(len, [*parts, *buffers]))

    async def _part(self) -> str | bytes:
        part = await self._socket.read_message()
        if part is None:
            raise ConnectionError(f"{self.url} closed the session.")
        return part


def _token_of(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return _TOKEN.search(answer.read().decode())[1]


def _slider(content: dict[str, Any]) -> dict[str, str]:
    """A reference to the model that holds the value of the strength."""
    waiting: list[Any] = [content]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            own = one.get("attributes", {})
            if isinstance(own, dict) and own.get("label") == "Strength" and "id" in one:
                return {"id": one["id"]}
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    raise ValueError("the page has no slider of the strength.")
