"""Pictures of every page of the explorer: ``make screenshots``, or ``python tests/benchmarks/screenshots.py FOLDER``.

Writes ``PAGE-SIZE-THEME.png`` for a 13-inch and a 27-inch screen, light and dark, each once its pictures are complete.
"""

import sys
import tempfile
from pathlib import Path

from explorer_latency import start_server
from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "ui"))
from conftest import Deep

from modecomb_viz.export.browser import FLAGS, find_chromium
from modecomb_viz.state import ON_DEMAND, PAGES

SIZES = {"1280x800": {"width": 1280, "height": 800}, "2560x1440": {"width": 2560, "height": 1440}}

#: Every surface has taken the dark theme.
DARK = "deep(document, '.MuiPaper-root').every((e) => getComputedStyle(e).backgroundColor !== 'rgb(255, 255, 255)')"

#: Nothing moves, and no picture has changed for half a second.
AT_REST = """(() => {
  const now = JSON.stringify(pictures()), time = performance.now()
  if (now !== window.seen || document.getAnimations().length) { window.seen = now; window.since = time }
  return time - window.since > 500
})()"""


def photograph(browser: Browser, url: str, page_name: str, size: str, folder: Path):
    """One page in both themes."""
    page = browser.new_page(viewport=SIZES[size])
    deep = Deep(page)
    page.goto(f"{url}?page={page_name}&strength=0.2", wait_until="domcontentloaded")
    views = [view for view in PAGES[page_name] if view not in ON_DEMAND]
    deep.wait_until_complete(len(views), timeout=120_000)
    for theme in ("light", "dark"):
        if theme == "dark":
            page.get_by_label("Toggle theme").first.click()
            page.mouse.move(0, 0)
            deep.wait(DARK)
        deep.wait(AT_REST)
        page.screenshot(path=folder / f"{page_name}-{size}-{theme}.png")
    page.close()


def main(folder: Path):
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as logs, sync_playwright() as playwright:
        server = start_server(Path(logs) / "log")
        try:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", *FLAGS])
            for page_name in PAGES:
                for size in SIZES:
                    photograph(browser, server.url, page_name, size, folder)
            browser.close()
        finally:
            server.process.terminate()
            server.process.wait(20)
    print(f"wrote {2 * len(PAGES) * len(SIZES)} pictures into {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "screenshots"))
