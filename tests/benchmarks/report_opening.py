"""How long a report takes to open: ``python tests/benchmarks/report_opening.py REPORT.html [TIMES]``.

Headless Chromium without a network; from navigation to the first picture painted and to the last, and from one step of
the first slider to all pictures painted anew.
"""

import statistics
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from modecomb_viz.export.browser import FLAGS, find_chromium

#: Resolves to the milliseconds from the event until all pictures are at rest.
_STEP = """async () => {
  const start = performance.now(), resting = () => Bokeh.documents.every((document) => document.is_idle)
  const slider = Bokeh.documents[0].get_model_by_name("control-0")
  slider.value = (slider.value + 1) % (slider.end + 1)
  do { await new Promise(requestAnimationFrame) } while (!resting())
  await new Promise((then) => requestAnimationFrame(() => setTimeout(then, 0)))
  return performance.now() - start
}"""


def opened(browser: Browser, path: Path) -> tuple[float, float, float]:
    """Milliseconds to the first picture, to the last, and of one step of the slider."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(path.resolve().as_uri())
    page.wait_for_function("document.documentElement.dataset.painted")
    marks = page.evaluate("({...document.documentElement.dataset})")
    page.evaluate(_STEP)  # the first step decodes what all need
    step = page.evaluate(_STEP)
    context.close()
    return float(marks["opened"]), float(marks["painted"]), step


def main(path: Path, times: int):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", *FLAGS])
        rows = list(zip(*(opened(browser, path) for _ in range(times)), strict=True))
        browser.close()
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    for name, values in zip(("first picture", "all pictures", "step of the slider"), rows, strict=True):
        print(f"{name}: median {statistics.median(values):.0f} ms, worst {max(values):.0f} ms")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5)
