"""A report opens from a file, without a network, and its slider works."""

import re

import numpy as np
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


def wait_until_painted(page):
    """Wait until every picture of a report is there."""
    page.wait_for_function("document.documentElement.dataset.painted")


def said(values):
    """The line of numbers under a map."""
    return f"lowest {values.min().item():.3g} · highest {values.max().item():.3g}"


def test_slider_drives_pictures_and_numbers_without_a_network(offline, tmp_path):
    page, requests, complaints = offline
    path = mc.save_report(synthetic.everything(), tmp_path / "report.html", title="A <script>title</script>")
    page.goto(path.as_uri())
    wait_until_painted(page)
    assert len(canvases(page)) == 4
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
    wait_until_painted(page)
    assert len(canvases(page)) == 22
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
    # Slopes, distances, coefficients and cycle errors are as at all strengths.
    assert {*range(7), 8, 10, 12, 16, 18} <= changed
    assert not changed & {13, 14, 15, 19, 20, 21}  # a point and similarity were computed at one strength

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


@pytest.fixture
def families(offline, tmp_path):
    """A page of a map and of draws over laws and granularities; its requests and complaints are checked at the end."""
    page, requests, complaints = offline
    page.goto(mc.save_report([*synthetic.families(), synthetic.perturbation()], tmp_path / "x.html").as_uri())
    wait_until_painted(page)
    yield page
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert complaints == []


def test_law_and_granularity_choose_what_is_shown(families):
    page, draws = families, families.locator("#distribution")
    strength, law = page.locator(".noUi-handle").nth(0), page.locator(".noUi-handle").nth(1)
    page.get_by_text("Bernoulli law, p: 0.5").wait_for()
    excess = "worst excess {:.3g} nats"
    highest = synthetic.samples(8).loss.sel(split="test", strength=0.0).max().item() - 0.3
    draws.get_by_text(excess.format(highest + 0.5)).wait_for()
    before = canvases(page)
    law.focus()
    page.keyboard.press("ArrowRight")
    draws.get_by_text(excess.format(highest + 0.9)).wait_for()
    page.wait_for_function(f"(old) => ({CANVASES})()[1] !== old[1]", arg=before)
    assert canvases(page)[0] == before[0], "the map was computed for one law"
    page.locator(".controls").get_by_text("weight", exact=True).click()
    draws.get_by_text(excess.format(highest + 10.9)).wait_for()
    page.locator("#map").get_by_text("lowest 10.").wait_for()
    strength.focus()
    page.keyboard.press("ArrowRight")
    draws.get_by_text(excess.format(highest + 11.4)).wait_for()


def test_the_inspector_tells_of_a_point_of_the_map(families):
    page, told = families, families.locator("#map-inspector")
    told.get_by_text("u = 0.5, v = 0.5").wait_for()
    page.locator("[data-map]").focus()
    for key in ("ArrowRight", "ArrowUp", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
    told.get_by_text("u = 0.75, v = 1").wait_for()
    plane = synthetic.plane(5).sel(split="test")
    here = plane.sel(strength=0.0, u=0.75, v=1.0)
    cells = told.locator("td").all_inner_texts()
    worse = max(plane.loss.sel(strength=0.0, u=end, v=end).item() for end in (0.0, 1.0))
    assert cells[0] == f"{here.loss.item():.3g}"
    assert cells[2] == f"{here.loss.item() - worse:+.3g}".replace("-", "−")
    assert cells[4] == f"{here.accuracy.item():.3g}"
    text = told.inner_text()
    assert "Λ = 0.75 where z = 1 and 1 where z = 0" in text
    assert "a draw of bernoulli, p 0.5, one per unit (seed 0)" in text
    assert "Nearest named point: π(B), 0.25 away" in text
    assert "modecomb point plane.nc --at u=0.75 --at v=1 --at strength=0 --out point.safetensors" in text

    page.locator(".noUi-handle").nth(0).focus()
    page.keyboard.press("ArrowRight")
    page.locator(".controls").get_by_text("weight", exact=True).click()
    told.get_by_text("--at strength=0.5").wait_for()
    raised = plane.loss.sel(strength=0.5, u=0.75, v=1.0).item() + 10
    assert told.locator("td").first.inner_text() == f"{raised:.3g}"
    assert "one per weight" in told.inner_text()

    box = page.locator("[data-map]").bounding_box()
    page.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + 0.75 * box["height"])
    told.get_by_text("u = 0.25, v = 0").or_(told.get_by_text("u = 0, v = 0")).first.wait_for()


def test_the_inspector_of_an_estimate_says_its_errors_and_names_are_text(offline, tmp_path):
    page, _, complaints = offline
    plane = synthetic.plane(5).sel(strength=0.0, drop=True)
    error = plane.loss.dims, 0.01 * (plane.u.values > 0.5) * np.ones(plane.loss.shape)
    errors = {"loss_error": error, "accuracy_error": error}
    evil = "<img src=x onerror=alert(1)>"
    marked = plane.assign(errors).assign_coords(mark=["A", "π(B)", evil])
    page.goto(mc.save_report([marked], tmp_path / "x.html").as_uri())
    wait_until_painted(page)
    told = page.locator("#map-inspector")
    told.get_by_text("u = 0.5, v = 0.5").wait_for()
    assert "±" not in told.locator("table").inner_text()
    page.locator("[data-map]").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    told.get_by_text("u = 1, v = 0", exact=True).wait_for()
    assert told.locator("td").first.inner_text().endswith(" ± 0.02")
    told.get_by_text(f"Nearest named point: {evil}").wait_for()
    assert "--at strength" not in told.inner_text(), "there is one strength"
    assert complaints == []


def test_a_view_is_chosen_and_all_are_printed(families):
    page = families
    shown = {name: page.locator(f"#{name}") for name in ("map", "distribution", "perturbation")}

    def visible():
        return [name for name, section in shown.items() if "away" not in (section.get_attribute("class") or "")]

    assert visible() == list(shown)
    page.get_by_role("button", name="Robustness").click()
    assert visible() == ["perturbation"]
    assert page.url.endswith("#robustness")
    assert shown["map"].bounding_box()["height"] == 0
    page.get_by_label("One picture").select_option("distribution")
    assert visible() == ["distribution"]
    page.reload()
    wait_until_painted(page)
    assert visible() == ["distribution"]
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert visible() == list(shown)
    sizes = page.evaluate(f"() => ({CANVASES.replace('c.toDataURL()', 'c.clientWidth')})()")
    assert len(sizes) == 3
    assert min(sizes) > 300, "what was never looked at is printed too"
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert visible() == ["distribution"]
    assert len(re.findall(rb"/Type ?/Page\b", page.pdf())) > 2, "three pictures, with their tables, are no single sheet"
    assert visible() == ["distribution"]
    page.get_by_role("button", name="All").click()
    assert visible() == list(shown)
    assert "#" not in page.url
