"""Measure the explorer in headless Chromium: ``explorer_latency.py [moves] [--only PART …] [--on PAGE …]``.

Parts: ``open``, the time from opening the page to the first coarse and the first complete loss map, for every embedded
mode set and for eight pages that open at once; on every page of the default set ``pages``, the time from a move of the
perturbation slider to the first repaint of the first picture and to its final state, ``together``, the same of eight
pages that move at once, and ``drag``, the frames lost while the slider is dragged for three seconds, in one page and
in eight; ``held``, seven sessions without a browser and one page in their midst: what the server needs for it, in
seconds to what it sends and of its processor. The server is warm, as ``make explore`` starts it. Everything runs on
this machine.
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
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
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
  const status = window.watched = deep(document, '.state')[0].getRootNode()
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

#: Tells the milliseconds from the start of a navigation to the first picture of the map, and to the complete map.
OPENING = (
    "window.opened = new Promise((done) => {"
    + DEEP
    + """
  const seen = {}
  const look = () => {
    if (!seen.first && /\\d/.test(deep(document, '.numbers')[0]?.textContent)) seen.first = performance.now()
    if (seen.first && deep(document, '.state')[0]?.textContent === 'complete') {
      seen.final = performance.now()
      done(seen)
    } else setTimeout(look, 200)
  }
  look()
})"""
)

#: Moves the slider twenty times a second for three seconds, and counts the frames that come more than 50 ms after the
#: one before.
DRAG = (
    "() => {"
    + DEEP
    + """
  const slider = deep(document, 'input[type=range]')[0], start = performance.now()
  const key = slider.value < 0.5 ? 'ArrowRight' : 'ArrowLeft'
  const press = () => slider.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, composed: true}))
  const moving = setInterval(press, 50)
  window.frames_lost = new Promise((done) => {
    const seen = {frames: 0, gaps: 0, longest_gap_ms: 0, moved_from: slider.value}
    let last = start
    const tick = (now) => {
      const gap = now - last
      last = now
      seen.frames += 1
      if (gap > 50) seen.gaps += 1
      seen.longest_gap_ms = Math.max(seen.longest_gap_ms, Math.round(gap))
      if (now - start < 3000) return requestAnimationFrame(tick)
      clearInterval(moving)
      seen.moved_to = slider.value
      done(seen)
    }
    requestAnimationFrame(tick)
  })
}"""
)

#: Pages whose first picture follows the slider.
_MOVED = ("Slice", "Distribution", "Perturbation", "Transitivity", "Similarity", "Layers")

_SESSIONS = 8

#: Seconds for which a page stands that was turned, before it is moved.
_SETTLED = 2.0

#: Whether another page than the watched one is there, and complete.
_TURNED = f"""() => {{{DEEP}
  const states = deep(document, '.state')
  return states.length && states[0].getRootNode() !== window.watched
    && states.every((e) => e.textContent === 'complete')
}}"""

#: Milliseconds between two looks at the page after a move: at one page, and at each of several.
_LOOK, _LOOK_AT_MANY = 10, 50


@contextmanager
def opened(browser: Browser, *urls: str) -> Iterator[tuple[list[Page], list[dict[str, float]]]]:
    """New pages that open at once, when their pictures are complete, and how long that took."""
    pages = [browser.new_page(viewport={"width": 1280, "height": 800}) for _ in urls]
    try:
        for page, url in zip(pages, urls, strict=True):
            page.add_init_script(OPENING)
            page.evaluate("(url) => { window.location.href = url }", url)
        for page, url in zip(pages, urls, strict=True):
            page.wait_for_url(url.partition("?")[0] + "**", wait_until="commit")
        yield pages, [page.evaluate("() => window.opened") for page in pages]
    finally:
        for page in pages:
            page.close()


@contextmanager
def watched(browser: Browser, url: str, count: int = 1) -> Iterator[list[Page]]:
    """New pages which watch the first of their pictures."""
    with opened(browser, *[url] * count) as (pages, _):
        watch(pages)
        yield pages


def turned(browser: Browser, url: str, names: list[str], count: int = 1) -> Iterator[tuple[str, list[Page]]]:
    """The same, at one page of the explorer after the other."""
    with opened(browser, *[f"{url}?page={names[0]}"] * count) as (pages, _):
        for name in names:
            for page in pages if name != names[0] else []:
                page.get_by_role("tab", name=name).click()
            for page in pages:
                page.wait_for_function(_TURNED, timeout=120_000, polling=200)
            time.sleep(_SETTLED)
            watch(pages)
            yield name, pages


def watch(pages: list[Page]):
    for page in pages:
        page.evaluate(WATCH, _LOOK if len(pages) == 1 else _LOOK_AT_MANY)


def moved(pages: list[Page], key: str) -> list[dict[str, float]]:
    """Milliseconds from a key on the strength slider of every page, at once, to the first repaint and the final map."""
    for page in pages:
        page.locator("input[type=range]").first.focus()
    for page in pages:
        page.evaluate("() => { window.result = window.watch() }")
        page.keyboard.press(key)
    return [page.evaluate("() => window.result") for page in pages]


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


def processor_seconds(server: Server) -> float:
    """What the server has used of the processor."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def moved_without_browser(sessions: list[HeldSession], strength: float) -> list[Answer]:
    return await asyncio.gather(*(session.move(strength + 0.02 * i) for i, session in enumerate(sessions)))


async def closed(sessions: list[HeldSession]):
    """End sessions; a socket is closed in the loop that it was opened in."""
    for session in sessions:
        session.close()


def measure_open(browser: Browser, server: Server, moves: int, names: list[str]) -> dict[str, Any]:
    maps = {}
    default = "digits-mlp"
    singly = [(name, 1) for name in sorted(catalogue(), key=default.__ne__)]
    for name, count in (*singly, (default, _SESSIONS)):
        with opened(browser, *[f"{server.url}?modes_name={name}"] * count) as (_, times):
            first, whole = (max(one[which] for one in times) / 1000 for which in ("first", "final"))
        maps[f"{name}, {count} at once"] = {"first_s": round(first, 2), "complete_s": round(whole, 2)}
    return maps


def measure_moves(browser: Browser, server: Server, moves: int, names: list[str], count: int = 1) -> dict[str, Any]:
    return {
        name: milliseconds([one for _ in range(moves) for one in moved(pages, "ArrowRight")])
        for name, pages in turned(browser, server.url, names, count)
    }


def measure_drag(browser: Browser, server: Server, moves: int, names: list[str]) -> dict[str, Any]:
    return {
        f"{name}, {count} at once": dragged(pages)
        for count in (1, _SESSIONS)
        for name, pages in turned(browser, server.url, names, count)
    }


def dragged(pages: list[Page]) -> dict[str, Any]:
    """Frames, and those that were late, while the sliders move: of the page with the longest gap."""
    for page in pages:
        page.evaluate(DRAG)
    return max((page.evaluate("() => window.frames_lost") for page in pages), key=lambda one: one["longest_gap_ms"])


def measure_held(browser: Browser, server: Server, moves: int, names: list[str]) -> dict[str, Any]:
    answers, real, used = [], [], 0.0
    loop = asyncio.new_event_loop()
    with watched(browser, server.url) as pages, ThreadPoolExecutor(1) as thread:  # beside the browser's own loop
        run = lambda work: thread.submit(loop.run_until_complete, work)  # noqa: E731
        sessions = [HeldSession(server.url, pictures=2) for _ in range(_SESSIONS - 1)]
        for session in sessions:
            run(session.open()).result()
        for k in range(moves):
            before = processor_seconds(server)
            others = run(moved_without_browser(sessions, 0.2 + 0.01 * k))
            real += moved(pages, "ArrowRight")
            answers += others.result()
            used += processor_seconds(server) - before
        run(closed(sessions)).result()
    sent = [{"first": 1000 * one.first, "final": 1000 * one.final} for one in answers]
    return {
        "sent_to_sessions_without_browser": milliseconds(sent),
        "page_in_their_midst": milliseconds(real),
        "processor_seconds_per_session_and_move": round(used / moves / _SESSIONS, 2),
        "messages_median": statistics.median(one.patches for one in answers),
        "kilobytes_median": round(statistics.median(one.size for one in answers) / 1000),
    }


PARTS: dict[str, Callable[[Browser, Server, int, list[str]], Any]] = {
    "open": measure_open,
    "pages": measure_moves,
    "together": partial(measure_moves, count=_SESSIONS),
    "drag": measure_drag,
    "held": measure_held,
}


def measure(parts: list[str], moves: int, names: list[str]):
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = start_server(Path(folder) / "log")
        try:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", *FLAGS])
            for part in parts:
                load = os.getloadavg()[0]
                found = PARTS[part](browser, server, moves, names)
                print(json.dumps({part: found, "load_before": load}, indent=2), flush=True)
            browser.close()
        finally:
            server.process.terminate()
            server.process.wait(20)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("moves", type=int, nargs="?", default=20)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument(
        "--on", nargs="+", choices=_MOVED, default=list(_MOVED), help="pages of pages, together and drag"
    )
    given = parser.parse_args()
    measure(given.only, given.moves, given.on)
