"""Use the explorer for long: ``python tests/benchmarks/explorer_endurance.py [--moves 500 | --minutes 30] [--seed 0]``.

With ``--moves``, the slider of the strength is moved over all pages in one browser page; the memory of the server and
of the page is printed every 50 moves. With ``--minutes``, controls are clicked and moved, cards unfolded and the map
tapped and dragged at random; the run fails when the browser or the server complains, when nothing can be acted on many
times in a row, or when the pictures are not complete at the end. Everything runs on this machine.
"""

import argparse
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Error, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "ui"))
from conftest import DEEP, Server
from explorer_latency import start_server

from modecomb_viz.export.browser import FLAGS, find_chromium
from modecomb_viz.state import PAGES

#: Moves between two looks at the memory.
_LOOK = 50

#: Milliseconds that anything may take.
_PATIENCE = 120_000

#: Milliseconds that a single action waits for what it acts on.
_SOON = 1000

_NUMBERS = "deep(document, '.numbers').length > 0 && deep(document, '.numbers').every((e) => e.textContent.length > 20)"
_KINDS = (
    "tab", "slider", "slider", "slider", "choice", "switch", "step", "button", "key", "wheel", "tap", "drag", "fold",
)  # fmt: skip
#: What is pressed by its name.
_BUTTONS = (
    "Undo", "Redo", "Stop", "Go on", "Toggle theme", "Fit colours", "Cut", "Zoom", "Whole plane", "Use as centre",
    "Close", "Compare", "Add", "Multiply", "Set all", "Randomise", "Reset",
)  # fmt: skip

#: So many actions in a row that meet nothing are a page that has died.
_DEAD = 40

_COMPLETE = "deep(document, '.state').every((e) => ['complete', 'stopped'].includes(e.textContent))"
_KEYS = ("ArrowRight", "ArrowLeft", "PageUp", "PageDown", "Home", "End", "Tab", "Enter", "Escape")


@contextmanager
def opened(query: str) -> Iterator[tuple[Server, Page, list[str]]]:
    """A server, a page of it, and what the browser complains of."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = start_server(Path(folder) / "log")
        try:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", *FLAGS])
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            complaints: list[str] = []
            page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.goto(f"{server.url}?{query}")
            shown(page)
            yield server, page, complaints
            browser.close()
        finally:
            server.process.terminate()
            server.process.wait(120)


def shown(page: Page):
    """Wait until every picture of the page has numbers."""
    page.wait_for_function(f"() => {{{DEEP} return {_NUMBERS}}}", timeout=_PATIENCE)


def resident(server: Server) -> float:
    """Memory of the server, MiB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def heap(page: Page) -> tuple[float, int]:
    """What the scripts of the page hold after a collection, MiB, and its number of nodes."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    session.send("HeapProfiler.collectGarbage")
    values = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    session.detach()
    return values["JSHeapUsedSize"] / 2**20, int(values["Nodes"])


def move(moves: int) -> list[str]:
    """Move the slider over all pages, each move until something new is shown; prints the memory."""
    names = [name for name in PAGES if name not in ("Modes", "Transitivity")]  # nothing or a long search at each move
    with opened("resolution=9&draws=8") as (server, page, complaints):
        print(f"{'moves':>6} {'server MiB':>11} {'page MiB':>9} {'nodes':>7}", flush=True)
        for done in range(moves + 1):
            if done % _LOOK == 0:
                held, nodes = heap(page)
                print(f"{done:6} {resident(server):11.0f} {held:9.1f} {nodes:7}", flush=True)
            if done % 10 == 0:
                page.get_by_role("tab", name=names[done // 10 % len(names)]).click()
                shown(page)
            slider = page.locator("input[type=range]").first
            slider.focus()
            page.keyboard.press("ArrowLeft" if done // 90 % 2 else "ArrowRight")
            page.wait_for_function(
                f"() => {{{DEEP} return deep(document, '.state').every((e) => e.textContent === 'complete')}}",
                timeout=_PATIENCE,
            )
        return [*complaints, *server.troubles()]


def act(page: Page, kind: str, chance: random.Random):
    """Something that a user may do."""
    if kind == "tab":
        page.get_by_role("tab", name=chance.choice(list(PAGES))).click(timeout=_SOON)
    elif kind == "key":
        for _ in range(chance.randint(1, 5)):
            page.keyboard.press(chance.choice(_KEYS))
    elif kind == "wheel":
        page.mouse.move(*somewhere(chance))
        page.mouse.wheel(0, chance.choice([-200, 200]))
    elif kind == "tap":
        page.mouse.click(*somewhere(chance))
    elif kind == "drag":
        page.mouse.move(*somewhere(chance))
        page.mouse.down()
        page.mouse.move(*somewhere(chance), steps=5)
        page.mouse.up()
    elif kind == "fold":
        chosen(page, ".MuiCardHeader-action button:visible", chance).click(timeout=_SOON)
    elif kind == "choice":
        chosen(page, "[role=combobox]:visible", chance).click(timeout=_SOON)
        page.wait_for_timeout(300)
        options = page.locator("li[role=option]:visible")
        if count := options.count():
            options.nth(chance.randrange(count)).click(timeout=_SOON)
    elif kind == "button":
        there = [name for name in _BUTTONS if page.get_by_role("button", name=name, exact=True).count()]
        page.get_by_role("button", name=chance.choice(there), exact=True).first.click(timeout=_SOON)
    elif kind == "slider":
        chosen(page, "input[type=range]:visible", chance).focus(timeout=_SOON)
        for _ in range(chance.randint(1, 12)):
            page.keyboard.press(chance.choice(_KEYS[:6]))
    else:
        selector = {"switch": "input[type=checkbox]:visible", "step": "button[aria-label^='Increase']:visible"}[kind]
        chosen(page, selector, chance).click(timeout=_SOON)


def somewhere(chance: random.Random) -> tuple[int, int]:
    """A place among the pictures."""
    return chance.randint(320, 1270), chance.randint(230, 790)


def chosen(page: Page, selector: str, chance: random.Random):
    """One of the elements that match."""
    found = page.locator(selector)
    return found.nth(chance.randrange(max(1, found.count())))


def wander(minutes: float, seed: int) -> list[str]:
    """Use the page at random; what the browser and the server complain of."""
    chance, done, missed = random.Random(seed), Counter[str](), Counter[str]()
    with opened("resolution=9&draws=8") as (server, page, complaints):
        end, told, in_vain = time.monotonic() + 60 * minutes, time.monotonic(), 0
        while time.monotonic() < end and not complaints and in_vain < _DEAD:
            kind = chance.choice(_KINDS)
            in_vain += 1
            try:
                act(page, kind, chance)
                in_vain = 0
            except Error:  # what was chosen has gone, or something lies over it
                missed[kind] += 1
                page.keyboard.press("Escape")
            done[kind] += 1
            page.wait_for_timeout(chance.choice([0, 20, 200, 1000]))
            if time.monotonic() - told > 60:
                told = time.monotonic()
                held, _ = heap(page)
                words = f"{done.total()} actions, {missed.total()} missed"
                print(f"{words}, server {resident(server):.0f}, page {held:.0f} MiB", flush=True)
        print(f"actions {dict(done)}, of which missed {dict(missed)}", flush=True)
        if in_vain == _DEAD:
            complaints.append(f"{_DEAD} actions in a row met nothing")
        try:
            page.wait_for_function(f"() => {{{DEEP} return {_COMPLETE}}}", timeout=_PATIENCE)
        except Error as error:
            complaints.append(f"not complete at the end: {error}")
        return [*complaints, *server.troubles()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    troubles = wander(given.minutes, given.seed) if given.minutes else move(given.moves)
    print(json.dumps({"troubles": troubles}, indent=2, ensure_ascii=False))
    sys.exit(bool(troubles))


if __name__ == "__main__":
    main()
