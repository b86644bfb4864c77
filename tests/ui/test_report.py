"""A report opens from a file, without a network, and its slider works."""

import pytest
import synthetic

import modecomb_viz as mc


@pytest.fixture
def offline(browser):
    """A page without a network, the requests it made, and its complaints."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 800})
    page, requests, complaints = context.new_page(), [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page, requests, complaints
    context.close()


CANVASES = """() => {
  const shown = 'canvas.bk-layer:not(.bk-glyph)'
  const deep = (root) => [...root.querySelectorAll('*')].flatMap(
    (e) => [...(e.matches(shown) ? [e] : []), ...(e.shadowRoot ? deep(e.shadowRoot) : [])])
  return deep(document).filter((_, i) => i % 2 === 0).map((c) => c.toDataURL())
}"""


def canvases(page):
    """The pixels of every figure; its second canvas is for tools."""
    return page.evaluate(CANVASES)


def said(values):
    """The line of numbers under a map."""
    return f"lowest {values.min().item():.3g} · highest {values.max().item():.3g}"


def test_slider_drives_pictures_and_numbers_without_a_network(offline, tmp_path):
    page, requests, complaints = offline
    path = mc.save_report(synthetic.everything(), tmp_path / "report.html", title="A <script>title</script>")
    page.goto(path.as_uri())
    page.locator(".noUi-handle").wait_for()
    page.wait_for_function(f"() => ({CANVASES})().length === 4")
    assert page.locator("h1").inner_text() == "A <script>title</script>"
    before = canvases(page)
    plane = synthetic.plane().sel(split="test")
    numbers = page.locator("#map").get_by_text("lowest")
    assert numbers.inner_text() == said(plane.loss.sel(strength=0.0))

    page.locator(".noUi-handle").focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    page.get_by_text("Perturbation strength: 1").wait_for()
    page.get_by_text(said(plane.loss.sel(strength=1.0))).wait_for()
    page.wait_for_function(f"(old) => ({CANVASES})().every((picture, i) => picture !== old[i])", arg=before)

    page.get_by_text("accuracy", exact=True).click()
    page.get_by_text(said(plane.accuracy.sel(strength=1.0))).wait_for()
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert complaints == []


def test_the_pictures_of_all_sweeps_follow_the_controls(offline, tmp_path):
    page, requests, complaints = offline
    path = mc.save_report(synthetic.all_sweeps(), tmp_path / "report.html")
    page.goto(path.as_uri())
    page.locator(".noUi-handle").wait_for()
    page.wait_for_function(f"() => ({CANVASES})().length === 18")
    page.locator("#transitivity").get_by_text("naive 1 · direct 0.02 · through a third network 0.05").wait_for()
    before = canvases(page)
    page.locator(".noUi-handle").focus()
    page.keyboard.press("ArrowRight")
    page.locator("#transitivity").get_by_text("naive 1 · direct 0.52 · through a third network 0.55").wait_for()
    page.locator("#layers").get_by_text("block.7.conv +1.2").wait_for()
    page.locator("#points").get_by_text("highest loss: worst 1.8").wait_for()
    page.locator("#search").get_by_text("loss 0.6 after 10 steps").wait_for()
    page.locator("#laws").get_by_text("0 of 15 laws have a mean excess of at most 0.1 nat").wait_for()
    after = canvases(page)
    changed = {i for i, (old, new) in enumerate(zip(before, after, strict=True)) if old != new}
    assert {*range(8), 9, 14, 16} <= changed  # slopes, cycle errors, distances, coefficients: as at all strengths
    assert not changed & {11, 12, 13}  # similarity was computed at one strength

    page.get_by_text("accuracy", exact=True).click()
    page.locator("#similarity").get_by_text("accuracy of one draw").wait_for()
    table = page.locator("#laws").get_by_text("95 % over draws").first
    assert not table.is_visible()
    page.locator("#laws").get_by_text("Table of the numbers").click()
    table.wait_for(state="visible")
    page.keyboard.press("ArrowRight")
    assert table.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert complaints == []
