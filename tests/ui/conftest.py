"""A real browser and a real server."""

import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from modecomb_viz.export.browser import FLAGS, find_chromium

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args, browser_type):
    """The system's Chromium if there is one, else Playwright's own; without either the test fails and says so."""
    try:
        found = find_chromium()
    except ValueError:
        found = browser_type.executable_path
    if not Path(found).exists():
        pytest.fail("no Chromium: install it (Debian: sudo apt-get install chromium) to run the browser tests")
    return {**browser_type_launch_args, "executable_path": found, "args": ["--no-sandbox", *FLAGS]}


#: What tornado and Panel write of it: one traceback, or a pair of them, through its websocket alone.
_MESSAGE_TO_A_PAGE_THAT_WAS_LEFT = re.compile(
    r"^.*Task exception was never retrieved\n(?:future: .*WebSocketClosedError.*\n)?"
    r"Traceback \(most recent call last\):\n(?:  .*\n)+"
    r"(?:tornado\.iostream\.StreamClosedError: Stream is closed\n\n"
    r"During handling of the above exception, another exception occurred:\n\n"
    r"Traceback \(most recent call last\):\n(?:  .*\n)+)?tornado\.websocket\.WebSocketClosedError\n",
    re.MULTILINE,
)


class Server:
    """A served app: its address and everything it has printed."""

    def __init__(self, process: subprocess.Popen, url: str, log: Path):
        self.process, self.url, self._log, self._told = process, url, log, 0

    def printed(self) -> str:
        """Everything since it was last told to forget."""
        return self._log.read_text()[self._told :]

    def forget(self):
        """What has been printed so far is no matter of those who ask from now on."""
        self._told += len(self.printed())

    def troubles(self) -> list[str]:
        """Lines at WARNING or above, and tracebacks; but not of a message that was under way when its page was left."""
        words = ("WARNING", "ERROR", "CRITICAL", "Traceback", "Warning:")
        printed = _MESSAGE_TO_A_PAGE_THAT_WAS_LEFT.sub("", self.printed())
        return [line for line in printed.splitlines() if any(word in line for word in words)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def port() -> int:
    """A free one, for a server of a whole module."""
    return free_port()


def wait_until_served(server: Server, deadline: float):
    while time.monotonic() < deadline:
        assert server.process.poll() is None, server.printed()
        try:
            with urllib.request.urlopen(server.url, timeout=30) as answer:
                assert answer.status == 200
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)  # asking without a pause would take a core from the server that starts
    raise AssertionError(f"not served in time: {server.printed()}")


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory):
    """One explorer for all tests that start it as it is."""
    with serving(tmp_path_factory.mktemp("shared")) as start:
        yield start("apps/explorer.py")


@pytest.fixture
def explorer_server(shared_server):
    """The explorer, served; its troubles are those of one test."""
    shared_server.forget()
    return shared_server


@pytest.fixture
def serve(tmp_path):
    """``serve("apps/explorer.py", *arguments)``: panel serve on a free port; stopped by its id at the end."""
    with serving(tmp_path) as start:
        yield start


@contextmanager
def serving(folder: Path):
    """Start servers, which write their logs into a folder and are stopped at the end."""
    servers = []

    def start(app: str, *arguments: str) -> Server:
        port, log = free_port(), folder / f"server{len(servers)}.log"
        command = [sys.executable, "-W", "always", "-m", "panel", "serve", app, "--address", "127.0.0.1"]
        extra = ["--args", *arguments] if arguments else []
        with log.open("w") as out:
            process = subprocess.Popen([*command, "--port", str(port), *extra], cwd=ROOT, stdout=out, stderr=out)
        server = Server(process, f"http://127.0.0.1:{port}/{Path(app).stem}", log)
        servers.append(server)
        wait_until_served(server, time.monotonic() + 60)
        return server

    try:
        yield start
    finally:
        for server in servers:
            server.process.terminate()
        for server in servers:
            server.process.wait(20)


@pytest.fixture
def complaints(page):
    """Errors of the browser's console and uncaught exceptions, as they come."""
    heard = []
    page.on("console", lambda message: heard.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: heard.append(str(error)))
    return heard


#: Walks through shadow roots, where Panel and Bokeh keep their elements.
DEEP = """
const deep = (root, selector) => [...root.querySelectorAll('*')].flatMap((e) => [
  ...(e.matches(selector) && e.checkVisibility() ? [e] : []), ...(e.shadowRoot ? deep(e.shadowRoot, selector) : [])])
const hash = (canvas) => {
  if (!canvas.width || !canvas.height) { return 0 } // not laid out yet
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
  let h = 0
  for (let i = 0; i < data.length; i += 97) h = (h * 31 + data[i]) | 0
  return h
}
const pictures = () => deep(document, 'canvas.bk-layer:not(.bk-glyph)').filter((_, i) => i % 2 === 0).map(hash)
"""


#: What the first heading of a page of the explorer holds, once it is drawn.
HEADINGS = {
    "Slice": "Loss map",
    "Distribution": "Distribution over draws",
    "Perturbation": "under a perturbed matching",
    "Transitivity": "Routes between all networks",
    "Similarity": "How different the combinations are",
    "Layers": "Layer mixer",
    "Modes": "Modes",
}


class Deep:
    """Reads a page through its shadow roots."""

    def __init__(self, page):
        self.page = page

    def texts(self, selector: str) -> list[str]:
        return self.page.evaluate(f"(s) => {{{DEEP} return deep(document, s).map((e) => e.textContent)}}", selector)

    def read(self, expression: str):
        """The value of a JavaScript expression, in which ``deep`` and ``pictures`` are at hand."""
        return self.page.evaluate(f"() => {{{DEEP} return {expression}}}")

    def pictures(self) -> list[int]:
        """A number per figure that changes when its pixels do (the second canvas of a figure is for tools)."""
        return self.read("pictures()")

    def wait(self, condition: str, argument=None, timeout: float = 30_000):
        """Wait for a JavaScript condition, in which ``deep`` and ``pictures`` are at hand."""
        self.page.wait_for_function(f"(arg) => {{{DEEP} return {condition}}}", arg=argument, timeout=timeout)

    def turn(self, name: str, views: int, timeout: float = 60_000):
        """Open a page of the explorer, and wait until so many pictures are on it, all with numbers."""
        self.page.get_by_role("tab", name=name).click()
        shown = """(() => {
          const numbers = deep(document, '.numbers')
          return deep(document, 'h2')[0]?.textContent.includes(arg.heading) && numbers.length === arg.views
            && numbers.every((e) => e.textContent.length > 20)
        })()"""
        self.wait(shown, {"heading": HEADINGS[name], "views": views}, timeout)
        if name != "Transitivity":  # its universe takes long; all else is there before
            self.wait_until_complete(views, timeout)

    def wait_until_complete(self, pictures: int = 2, timeout: float = 30_000):
        """Wait until so many pictures are on the page, and all are complete."""
        self.wait("(() => { const s = deep(document, '.state'); return s.length === arg && "
                  "s.every((e) => e.textContent === 'complete') })()", pictures, timeout)  # fmt: skip


@pytest.fixture
def deep(page):
    return Deep(page)
