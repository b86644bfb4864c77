"""Measure the explorer in headless Chromium: ``python tests/benchmarks/explorer_latency.py [moves] [--only PART …]``.

Parts: ``open``, the time from opening the page to the first coarse and the first complete loss map, for every embedded
mode set; on the default set ``pages``, the time from a move of the perturbation slider to the first repaint of the
first picture and to its final state on every page, and ``drag``, the frames lost while the slider is dragged for three
seconds; on the first page ``together``, eight pages that move at once, and ``held``, seven sessions without a browser
and one page in their midst: what the server needs for it, in seconds to what it sends and of its processor. The server
is warm, as ``make explore`` starts it. Everything runs on this machine.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "ui"))
from conftest import DEEP, ROOT, Server, free_port, wait_until_served
from held_session import Answer, HeldSession

from modecomb_viz.checkpoints import catalogue
from modecomb_viz.export.browser import FLAGS, find_chromium

#: Watches the first picture from inside the page, so that no round trip to this process is measured. The elements are
#: looked up once and few pixels are read, since the watching itself takes time from what is watched.
WATCH = (
    "(every) => {"
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
      } else setTimeout(look, every)
    }
    look()
  })
}"""
)

#: Counts frames that come more than 50 ms after the one before, for three seconds.
FRAMES = """() => { window.frames_lost = new Promise((done) => {
  const start = performance.now(), seen = {frames: 0, gaps: 0, longest_gap_ms: 0}
  let last = start
  const tick = (now) => {
    const gap = now - last
    last = now
    seen.frames += 1
    if (gap > 50) seen.gaps += 1
    seen.longest_gap_ms = Math.max(seen.longest_gap_ms, Math.round(gap))
    if (now - start < 3000) requestAnimationFrame(tick)
    else done(seen)
  }
  requestAnimationFrame(tick)
}) }"""

#: Pages whose first picture follows the slider.
_MOVED = ("Slice", "Distribution", "Perturbation", "Transitivity", "Similarity", "Layers")

_SESSIONS = 8

#: Milliseconds between two looks at the page while it opens.
POLL = 50

#: The same after a move, of one page, and of each of several.
_LOOK, _LOOK_AT_MANY = 10, 50


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


def watched(browser: Browser, url: str, every: int = _LOOK) -> Page:
    """A new page whose pictures are complete, and which watches the first of them every so many milliseconds."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    opened(page, url)
    page.evaluate(WATCH, every)
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


def dragged(page: Page) -> dict[str, int]:
    """Frames, and those that were late, while the slider moves twenty times a second."""
    page.locator("input[type=range]").first.focus()
    page.evaluate(FRAMES)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(50)
    return page.evaluate("() => window.frames_lost")


def processor_seconds(server: Server) -> float:
    """What the server has used of the processor."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def moved_without_browser(sessions: list[HeldSession], strength: float) -> list[Answer]:
    return await asyncio.gather(*(session.move(strength + 0.02 * i) for i, session in enumerate(sessions)))


def measure_open(browser: Browser, server: Server, moves: int) -> dict[str, Any]:
    maps = {}
    for name in ("digits-mlp", *(n for n in catalogue() if n != "digits-mlp")):
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        first, whole = opened(page, f"{server.url}?modes_name={name}")
        maps[name] = {"first_s": round(first, 2), "complete_s": round(whole, 2)}
        page.close()
    return maps


def measure_pages(browser: Browser, server: Server, moves: int) -> dict[str, Any]:
    return {name: on_page(browser, server, name, lambda page: milliseconds([moved(page, "ArrowRight")
            for _ in range(moves)])) for name in _MOVED}  # fmt: skip


def measure_drag(browser: Browser, server: Server, moves: int) -> dict[str, Any]:
    return {name: on_page(browser, server, name, dragged) for name in _MOVED}


def on_page(browser: Browser, server: Server, name: str, measured: Callable[[Page], Any]) -> Any:
    page = watched(browser, f"{server.url}?page={name}")
    try:
        return measured(page)
    finally:
        page.close()


def measure_together(browser: Browser, server: Server, moves: int) -> dict[str, int]:
    pages = [watched(browser, server.url, _LOOK_AT_MANY) for _ in range(_SESSIONS)]
    together = [one for _ in range(moves) for one in moved_together(pages, "ArrowRight")]
    for page in pages:
        page.close()
    return milliseconds(together)


def measure_held(browser: Browser, server: Server, moves: int) -> dict[str, Any]:
    page, answers, real, used = watched(browser, server.url), [], [], 0.0
    loop = asyncio.new_event_loop()
    with ThreadPoolExecutor(1) as thread:  # beside the loop of the browser's client
        run = lambda work: thread.submit(loop.run_until_complete, work)  # noqa: E731
        sessions = [HeldSession(server.url, pictures=2) for _ in range(_SESSIONS - 1)]
        for session in sessions:
            run(session.open()).result()
        for k in range(moves):
            before = processor_seconds(server)
            others = run(moved_without_browser(sessions, 0.2 + 0.01 * k))
            real.append(moved(page, "ArrowRight"))
            answers += others.result()
            used += processor_seconds(server) - before
        for session in sessions:
            thread.submit(session.close).result()
    sent = [{"first": 1000 * one.first, "final": 1000 * one.final} for one in answers]
    return {
        "sent_to_sessions_without_browser": milliseconds(sent),
        "page_in_their_midst": milliseconds(real),
        "processor_seconds_per_session_and_move": round(used / moves / _SESSIONS, 2),
        "messages_median": statistics.median(one.patches for one in answers),
        "kilobytes_median": round(statistics.median(one.size for one in answers) / 1000),
    }


PARTS: dict[str, Callable[[Browser, Server, int], Any]] = {
    "open": measure_open,
    "pages": measure_pages,
    "drag": measure_drag,
    "together": measure_together,
    "held": measure_held,
}


def measure(parts: list[str], moves: int):
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = start_server(Path(folder) / "log")
        try:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", *FLAGS])
            for part in parts:
                load = os.getloadavg()[0]
                print(
                    json.dumps({part: PARTS[part](browser, server, moves), "load_before": load}, indent=2), flush=True
                )
            browser.close()
        finally:
            server.process.terminate()
            server.process.wait(20)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("moves", type=int, nargs="?", default=20)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    given = parser.parse_args()
    measure(given.only, given.moves)
