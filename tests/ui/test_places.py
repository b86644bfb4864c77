"""The map under a mouse, the layer mixer and what was looked at, in a real browser."""

import re

import pytest
from PIL import Image

import modecomb_viz as mc

#: How many settings are listed as looked at.
VISITS = "deep(document, 'button').filter((b) => b.textContent === 'Compare').length"

#: How many controls the guide marks.
MARKED = "deep(document, '*').filter((e) => getComputedStyle(e).boxShadow.startsWith('rgb(0, 114, 178) -5px')).length"


#: What stands beside the pointer on a map: u, v and the value.
TOLD = "deep(document, '.bk-tooltip-row-value').map((e) => e.textContent)"


class Map:
    """The first map of a page: places on it, and what is done there."""

    def __init__(self, page):
        self._page = page
        box = page.locator("canvas.bk-layer").first.bounding_box()
        self._corner, self._size = (box["x"], box["y"]), (box["width"], box["height"])

    def at(self, across, down):
        """Pixels of a place, as shares of the figure."""
        return self._corner[0] + across * self._size[0], self._corner[1] + down * self._size[1]

    def tap(self, across, down):
        self._page.mouse.click(*self.at(across, down))

    def drag(self, start, end):
        self._page.mouse.move(*self.at(*start))
        self._page.mouse.down()
        for step in range(1, 11):
            way = [a + (b - a) * step / 10 for a, b in zip(start, end, strict=True)]
            self._page.mouse.move(*self.at(*way))
        self._page.mouse.up()


def chosen(page, name):
    """The numbers of a choice in the URL, once they are there."""
    page.wait_for_url(f"**{name}=**")
    return [float(word) for word in re.search(rf"[?&]{name}=([^&]*)", page.url)[1].split("%2C")]


def test_a_point_is_tapped_and_saved_as_a_checkpoint(explorer_server, page, deep, complaints, tmp_path):
    page.goto(f"{explorer_server.url}?resolution=9&strength=0.5")
    deep.wait_until_complete(2)
    shown = Map(page)
    shown.tap(0.5, 0.4)
    deep.wait_until_complete(3)
    u, v = chosen(page, "inspected")
    assert {u * 8 % 1, v * 8 % 1} == {0}, "a point of the grid"
    texts = " ".join(deep.texts("div"))
    assert f"The point (u, v) = ({u:g}, {v:g})" in texts
    assert "disagreement" in deep.texts(".numbers")[2]
    with page.expect_download() as awaited:
        page.get_by_text("Save as checkpoint").click()
    awaited.value.save_as(tmp_path / "point.safetensors")
    modes = mc.open_modes("digits-mlp")
    weights = mc.load_params(tmp_path / "point.safetensors", modes.model)
    plane = mc.sweep_plane(modes, resolution=9, strength=0.5)
    expected = mc.point_params(plane, modes, u=u, v=v)
    assert all((weights[name] == expected[name]).all() for name in expected)
    page.get_by_text("Use as centre").click()
    low, high = chosen(page, "region")[:2]
    assert (low + high) / 2 == u
    deep.wait_until_complete(3)
    page.get_by_text("Whole plane").click()
    page.wait_for_function("!location.search.includes('region')")
    page.get_by_text("Close", exact=True).click()
    deep.wait_until_complete(2)
    assert complaints == []
    assert explorer_server.troubles() == []


def test_the_keyboard_does_what_a_mouse_does(explorer_server, page, deep, complaints):
    page.goto(f"{explorer_server.url}?resolution=9")
    deep.wait_until_complete(2)
    assert page.get_by_role("button", name="Fit colours").get_attribute("title").startswith("Span the colours")
    assert (
        page.get_by_role("button", name="Cut", exact=True)
        .get_attribute("title")
        .startswith("What a drag on the map does")
    )
    page.get_by_role("button", name="Point, cut and part by numbers").focus()
    page.keyboard.press("Enter")
    page.get_by_role("textbox", name="Point").wait_for()
    page.get_by_role("textbox", name="Point").focus()
    page.keyboard.type("0.5, 0.25")
    page.keyboard.press("Enter")
    deep.wait_until_complete(3)
    assert "The point (u, v) = (0.5, 0.25)" in " ".join(deep.texts("div"))
    assert deep.read("deep(document, 'input:focus').map((e) => e.value)") == ["0.5, 0.25"], "still there"
    page.get_by_role("textbox", name="Cut").fill("0, 1, 1, 0")
    page.get_by_role("textbox", name="Cut").press("Enter")
    assert chosen(page, "cut") == [0, 1, 1, 0]
    deep.wait_until_complete(4)
    assert complaints == []
    assert explorer_server.troubles() == []


def test_what_has_just_come_is_pressed(explorer_server, page, deep, complaints):
    page.goto(f"{explorer_server.url}?resolution=9")
    deep.wait_until_complete(2)
    page.get_by_text("Looked at before").click(force=True)
    deep.wait(f"{VISITS} >= 1")
    page.get_by_role("button", name="Compare").press("Enter")
    deep.wait_until_complete(4)
    assert complaints == []
    assert explorer_server.troubles() == []


def test_a_drag_zooms_or_cuts(explorer_server, page, deep, complaints):
    page.goto(f"{explorer_server.url}?resolution=9")
    deep.wait_until_complete(2)
    shown = Map(page)
    before = deep.pictures()
    shown.drag((0.3, 0.3), (0.5, 0.6))
    u0, u1, v0, v1 = chosen(page, "region")
    assert 0 < u0 < u1 < 1
    assert 0 < v0 < v1 < 1
    deep.wait_until_complete(2)
    assert deep.texts(".numbers")[0].startswith("81 of 81 points")
    deep.wait("pictures()[0] !== arg", before[0])
    page.get_by_text("Cut", exact=True).click()
    page.mouse.move(0, 0)
    shown.drag((0.25, 0.25), (0.55, 0.65))
    deep.wait_until_complete(3)
    cut = chosen(page, "cut")
    assert u0 <= cut[0] < cut[2] <= u1
    assert "D2 barrier" in deep.texts(".numbers")[2]
    page.get_by_text("Undo", exact=True).click()
    deep.wait_until_complete(2)
    page.get_by_text("Undo", exact=True).click()
    page.wait_for_function("!location.search.includes('region')")
    assert complaints == []
    assert explorer_server.troubles() == []


@pytest.mark.slow
def test_layers_are_mixed_compared_and_found_again(explorer_server, page, deep, complaints):
    page.goto(f"{explorer_server.url}?resolution=9&page=Layers")
    deep.wait_until_complete(2)
    page.get_by_title("Coefficient of fc1: 0 is A, 1 is π(B).").first.wait_for()
    numbers = deep.texts(".numbers")[0]
    page.get_by_text("Randomise", exact=True).click()
    assert len(chosen(page, "mix")) == 3
    deep.wait("deep(document, '.numbers')[0].textContent !== arg", numbers)
    deep.wait_until_complete(2)
    page.get_by_text("Looked at before").click(force=True)
    deep.wait(f"{VISITS} >= 1")
    page.get_by_role("tab", name="Slice").click()
    deep.wait_until_complete(2)
    page.locator("input[type=range]").first.focus()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    deep.wait_until_complete(2)
    deep.wait(f"{VISITS} >= 2")
    page.get_by_title("What this view is called; type another name.").first.wait_for()
    page.get_by_text("Compare", exact=True).nth(1).click()
    deep.wait_until_complete(4)
    assert "mean" in deep.texts(".numbers")[2]
    page.get_by_text("Open", exact=True).last.click()
    page.wait_for_function("location.search.includes('Layers')")
    page.reload()
    deep.wait_until_complete(2)
    page.get_by_text("Looked at before").click(force=True)
    deep.wait(f"{VISITS} >= 2")
    assert complaints == []
    assert explorer_server.troubles() == []


@pytest.mark.slow
def test_a_figure_tells_its_values_and_is_saved_and_a_cell_is_copied(explorer_server, page, deep, complaints, tmp_path):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{explorer_server.url}?resolution=9&contours=true")
    deep.wait_until_complete(2)
    page.mouse.move(*Map(page).at(0.4, 0.4))
    deep.wait(f"{TOLD}.length >= 3")
    u, v, loss = map(float, deep.read(TOLD)[:3])
    plane = mc.sweep_plane(mc.open_modes("digits-mlp"), resolution=9).loss.sel(split="test")
    assert loss == pytest.approx(plane.sel(u=u, v=v, method="nearest").item(), abs=1e-4)
    for title, name in {"Save as SVG": "map.svg", "Save as PNG": "map.png"}.items():
        with page.expect_download() as awaited:
            page.get_by_title(title, exact=True).first.click()
        awaited.value.save_as(tmp_path / name)
    svg = (tmp_path / "map.svg").read_text()
    assert svg.startswith("<svg")
    assert "test loss [nats per example]" in svg
    with Image.open(tmp_path / "map.png") as picture:
        assert min(picture.size) > 750
        assert len(picture.convert("RGB").getcolors(2**16)) > 100
    page.get_by_text("Cell for a notebook").click(force=True)
    page.get_by_text("Copy", exact=True).click()
    page.wait_for_function("navigator.clipboard.readText().then((text) => text.includes('contours=True'))")
    assert complaints == []
    assert explorer_server.troubles() == []


@pytest.mark.slow
def test_the_guide_is_for_the_first_visit(explorer_server, page, deep, complaints):
    page.goto(explorer_server.url)
    page.get_by_text("1 of 5: A plane between two networks").wait_for()
    deep.wait_until_complete(2)
    page.get_by_text("Next", exact=True).click()
    page.get_by_text("2 of 5").wait_for()
    page.get_by_text("Show it", exact=True).click()
    page.wait_for_url("**alignment=identity**")
    deep.wait(f"{MARKED} === 1")
    page.get_by_text("Next", exact=True).click()
    page.get_by_text("3 of 5").wait_for()
    deep.wait(f"{MARKED} === 1")
    page.get_by_text("Close the guide", exact=True).click()
    deep.wait(f"{MARKED} === 0")
    page.get_by_text("3 of 5").wait_for(state="hidden")
    page.wait_for_function("localStorage.getItem('modecomb-guide') === 'closed'")
    page.goto(explorer_server.url)
    deep.wait_until_complete(2)
    page.get_by_text("Guide", exact=True).click()
    page.get_by_text("1 of 5").wait_for()
    assert complaints == []
    assert explorer_server.troubles() == []
