"""Measure the explorer in headless Chromium: ``python tests/benchmarks/explorer_latency.py [moves]``.

Prints the time from opening the page to the first coarse and the first complete loss map, for every embedded mode
set, and, on the default set, the time from a move of the perturbation slider to the first repaint of the first picture
and to its final state: on every page with one session, and on the first page with eight that move at once. The server
is warm, as ``make explore`` starts it. Everything runs on this machine.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "ui"))
from conftest import DEEP, ROOT, Server, free_port, wait_until_served

from modecomb_viz.checkpoints import catalogue
from modecomb_viz.export.browser import FLAGS, find_chromium

#: Watches the first picture from inside the page, so that no round trip to this process is measured. The elements are
#: looked up once and few pixels are read, since the watching itself takes time from what is watched.
WATCH = (
    "() => {"
    + DEEP
    + """
  const status = deep(document, '.state')[0].getRootNode()
  const canvas = deep(document, 'canvas.bk-layer:not(.bk-glyph)')[0]
  const context = canvas.getContext('2d', {willReadFrequently: true})
  const pixels = () => {
    const {data} = context.getImageData(60, 40, canvas.width - 120, 200)
    let sum = 0
    for (let i = 0; i < data.length; i += 20) sum = (sum * 31 + data[i]) | 0
    return sum
  }
  window.watch = () => new Promise((done) => {
    const start = performance.now(), seen = {}, old = pixels()
    const look = () => {
      if (!seen.first && pixels() !== old) seen.first = performance.now() - start
      if (seen.first && status.querySelector('.state').textContent === 'complete') {
        seen.final = performance.now() - start
        done(seen)
      } else setTimeout(look, 10)
    }
    look()
  })
}"""
)

#: Pages whose first picture follows the slider; transitivity waits for a universe at every move.
_MOVED = ("Slice", "Distribution", "Perturbation", "Similarity", "Layers")

_SESSIONS = 8

#: Milliseconds between two looks at the page while it opens.
POLL = 50


def opened(page: Page, url: str) -> tuple[float, float]:
    """Seconds from opening the page to the first picture of the map, and to the complete map."""
    start = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.wait_for_function(
        f"() => {{{DEEP} return /\\d/.test(deep(document, '.numbers')[0]?.textContent)}}", timeout=60_000
    )
    first = time.perf_counter() - start
    done = f"() => {{{DEEP} return deep(document, '.state')[0]?.textContent === 'complete'}}"
    page.wait_for_function(done, timeout=60_000, polling=POLL)
    return first, time.perf_counter() - start


def moved(page: Page, key: str) -> dict[str, float]:
    """Milliseconds from a key on the strength slider to the first repaint and to the final map."""
    page.locator("input[type=range]").first.focus()
    page.evaluate("() => { window.result = window.watch() }")
    page.keyboard.press(key)
    return page.evaluate("() => window.result")


def moved_together(pages: list[Page], key: str) -> list[dict[str, float]]:
    """The same for one session in each page, all moved at once."""
    for page in pages:
        page.locator("input[type=range]").first.focus()
    for page in pages:
        page.evaluate("() => { window.result = window.watch() }")
        page.keyboard.press(key)
    return [page.evaluate("() => window.result") for page in pages]


def watched(browser: Browser, url: str) -> Page:
    """A new page whose pictures are complete, and which watches the first of them."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    opened(page, url)
    page.evaluate(WATCH)
    return page


def milliseconds(results: list[dict[str, float]]) -> dict[str, int]:
    """Median and worst of the first repaint, median of the final picture."""
    first, final = ([one[which] for one in results] for which in ("first", "final"))
    return {
        "first_repaint_median": round(statistics.median(first)),
        "first_repaint_worst": round(max(first)),
        "final_median": round(statistics.median(final)),
    }


def start_server(log: Path) -> Server:
    port = free_port()
    command = [sys.executable, "-m", "panel", "serve", "apps/explorer.py", "--warm", "--address", "127.0.0.1"]
    process = subprocess.Popen(
        [*command, "--port", str(port)], cwd=ROOT, stdout=log.open("w"), stderr=subprocess.STDOUT
    )
    server = Server(process, f"http://127.0.0.1:{port}/explorer", log)
    wait_until_served(server, time.monotonic() + 60)
    return server


def measure(moves: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = start_server(Path(folder) / "log")
        try:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", *FLAGS])
            maps = {}
            for name in ("digits-mlp", *(n for n in catalogue() if n != "digits-mlp")):
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                first, whole = opened(page, f"{server.url}?modes_name={name}")
                maps[name] = {"first_s": round(first, 2), "complete_s": round(whole, 2)}
                page.close()
            one_session = {}
            for name in _MOVED:
                page = watched(browser, f"{server.url}?page={name}")
                one_session[name] = milliseconds([moved(page, "ArrowRight") for _ in range(moves)])
                page.close()
            pages = [watched(browser, server.url) for _ in range(_SESSIONS)]
            together = [one for _ in range(moves) for one in moved_together(pages, "ArrowRight")]
            browser.close()
        finally:
            server.process.terminate()
            server.process.wait(20)
    return {
        "page_open_to_map": maps,
        "moves": moves,
        "one_session_ms": one_session,
        f"{_SESSIONS}_sessions_ms": milliseconds(together),
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 20), indent=2))
