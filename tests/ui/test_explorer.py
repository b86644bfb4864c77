"""The explorer in a real browser."""

import re
import shutil
import zipfile

import pytest

import modecomb_viz as mc
from modecomb_viz.checkpoints import catalogue
from modecomb_viz.state import ON_DEMAND, PAGES

STRENGTH = "input[type=range]"


def computed_elsewhere(modes, **settings):
    """Lowest and highest loss of the map and the D2 barrier, as this process has them."""
    plane = mc.sweep_plane(modes, resolution=17, **settings)
    segment = mc.sweep_segment(modes, points=33, **settings)
    barrier = mc.barriers(segment).barrier.sel(definition="D2").item()
    return [plane.loss.min().item(), plane.loss.max().item(), barrier]


def shown(deep):
    """The numbers of the status lines of the map and the segment."""
    numbers = deep.texts(".numbers")
    low, high = re.search(r"lowest (\S+) · highest (\S+)", numbers[0]).groups()
    barrier = re.search(r"(?:perturbed|aligned) (\S+)$", numbers[1])[1]
    return [float(low), float(high), float(barrier)]


def drag(page, steps):
    slider = page.locator(STRENGTH).first
    slider.focus()
    for _ in range(steps):
        page.keyboard.press("ArrowRight")


def choose(page, shown, wanted):
    """Open the menu that shows one option and take another."""
    page.locator("[role=combobox]", has_text=shown).first.click()
    page.locator("li", has_text=wanted).click()


def test_the_perturbation_slider_moves_map_and_numbers(explorer_server, page, deep, complaints, digits):
    page.goto(explorer_server.url, wait_until="domcontentloaded")
    deep.wait_until_complete()
    before, pictures = shown(deep), deep.pictures()
    assert before == pytest.approx(computed_elsewhere(digits), rel=1e-3)

    drag(page, 50)
    deep.wait("deep(document, '.numbers')[1].textContent.includes('perturbed')")
    deep.wait_until_complete()
    after = shown(deep)
    assert deep.texts(".numbers")[0].startswith("289 of 289 points")
    assert after == pytest.approx(computed_elsewhere(digits, strength=0.5), rel=1e-3)
    assert all(abs(a - b) > 1e-3 for a, b in zip(after[1:], before[1:], strict=True))
    assert len(pictures) == 2
    deep.wait("pictures().every((picture, i) => picture !== arg[i])", pictures)
    assert complaints == []
    assert explorer_server.troubles() == []


def test_every_tab_shows_its_pictures_and_none_is_lost(explorer_server, page, deep, complaints):
    page.goto(f"{explorer_server.url}?resolution=9&draws=8&page=Layers")
    for name, all_views in PAGES.items():
        views = [view for view in all_views if view not in ON_DEMAND]
        deep.turn(name, len(views))
        deep.wait("pictures().length >= arg", len(views) - (name == "Modes"))
    page.get_by_role("tab", name="Slice").click()
    deep.wait_until_complete(2)
    drag(page, 3)
    deep.wait("deep(document, '.numbers')[1].textContent.includes('perturbed')")
    assert complaints == []
    assert explorer_server.troubles() == []


def test_nothing_glides_while_it_follows(explorer_server, page, deep):
    page.goto(explorer_server.url)
    for part in (".MuiSlider-thumb", ".MuiSlider-track", ".MuiButton-text"):
        deep.wait("deep(document, arg).length > 0", part)
        found = f"deep(document, '{part}')"
        lasting = deep.read(f"{found}.flatMap((e) => getComputedStyle(e).transitionDuration.split(', '))")
        assert set(lasting) == {"0s"}, part


def test_pictures_grow_with_the_window(explorer_server, page, deep, complaints):
    heights = "deep(document, '.bk-Figure').map((e) => e.offsetHeight)"
    page.set_viewport_size({"width": 2560, "height": 1440})
    page.goto(f"{explorer_server.url}?page=Similarity&draws=4")
    deep.wait_until_complete(1)
    deep.wait(f"{heights}.length === 3 && {heights}.every((height) => height > 550)")
    square = """(() => {
      const plots = [...Bokeh.documents[0]._all_models.values()].filter((m) => m.type === 'Figure' && m.frame_width)
      return plots.length === 1 && plots[0].inner_width === plots[0].inner_height && plots[0].inner_width > 450
    })()"""
    deep.wait(square)
    page.set_viewport_size({"width": 1280, "height": 800})
    deep.wait(f"{heights}.every((height) => height < 450)")
    assert complaints == []
    assert explorer_server.troubles() == []


def test_the_url_follows_and_gives_the_same_view_again(explorer_server, page, deep, complaints):
    page.goto(f"{explorer_server.url}?resolution=9&draws=8")
    deep.wait_until_complete()
    drag(page, 4)
    page.wait_for_url("**strength=0.04**")
    page.get_by_role("tab", name="Layers").click()
    page.wait_for_url("**page=Layers**")
    deep.wait_until_complete(2)
    page.reload()
    deep.wait_until_complete(2)
    assert "Which layers matter" in " ".join(deep.texts("div"))
    assert page.get_by_role("button", name="Undo").is_disabled(), "what the address says is no step of the user"
    page.get_by_role("tab", name="Slice").click()
    deep.wait_until_complete(2)
    page.wait_for_function("!location.search.includes('Layers') && location.search.includes('0.04')")
    assert page.locator(STRENGTH).first.input_value() == "0.04"
    page.get_by_text("Undo", exact=True).click()
    deep.wait_until_complete(2)
    page.wait_for_url("**page=Layers**")
    light = deep.pictures()
    page.get_by_label("Toggle theme").first.click()
    deep.wait("pictures().every((picture, i) => picture !== arg[i])", light)
    assert complaints == []
    assert explorer_server.troubles() == []


def test_what_is_shown_is_downloaded(explorer_server, page, deep, complaints, tmp_path):
    page.goto(f"{explorer_server.url}?resolution=9&page=Layers")
    deep.wait_until_complete(2)
    for label, name in {"Data": "modecomb.zip", "Report": "modecomb.html"}.items():
        with page.expect_download(timeout=60_000) as awaited:
            page.get_by_text(label, exact=True).click()
        assert awaited.value.suggested_filename == name
        awaited.value.save_as(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "modecomb.zip") as packed:
        assert "layers.nc" in packed.namelist()
    assert "Which layers matter" in (tmp_path / "modecomb.html").read_text()
    assert complaints == []
    assert explorer_server.troubles() == []


def test_a_map_is_an_estimate_until_it_is_exact_or_stopped(explorer_server, page, deep, complaints):
    page.goto(f"{explorer_server.url}?modes_name=digits-resnet&resolution=129&draws=8")
    deep.wait("/^computing .* points/.test(deep(document, '.state')[0]?.parentElement.textContent)")
    page.get_by_text("Stop", exact=True).first.click()
    deep.wait("deep(document, '.state')[0].textContent === 'stopped'")
    evaluated, whole = (int(word) for word in deep.texts(".numbers")[0].split(" points")[0].split(" of "))
    assert evaluated < whole == 129**2
    page.get_by_text("Go on", exact=True).click()
    deep.wait("deep(document, '.state')[0].textContent.startsWith('computing')")
    page.get_by_text("Stop", exact=True).first.click()  # for those who come to this server next
    deep.wait("deep(document, '.state')[0].textContent === 'stopped'")
    assert complaints == []
    assert explorer_server.troubles() == []


def test_a_url_chooses_and_its_faults_are_said_in_the_page(explorer_server, page, deep, complaints):
    page.goto(
        f"{explorer_server.url}?modes_name=digits-convnet&strength=1.5&resolution=10000&bernoulli_p=0.25&resolution=9"
    )
    deep.wait_until_complete()
    said = " ".join(deep.texts(".MuiAlert-message, p"))
    assert "strength must be a number from 0 to 1, got '1.5'" in said
    assert "resolution must be one of 9, 17, 33" in said
    assert "digits-convnet" in " ".join(deep.texts("[role=combobox]"))
    assert complaints == []
    assert explorer_server.troubles() == []


def test_choices_that_exclude_each_other_are_explained_and_nothing_is_lost(explorer_server, page, deep, complaints):
    page.goto(f"{explorer_server.url}?resolution=9&perturbation=noise&strength=0.4&draws=8")
    deep.wait_until_complete()
    numbers = deep.texts(".numbers")
    choose(page, "weight_matching", "identity")
    deep.wait("deep(document, '.MuiAlert-message, p').some((e) => e.textContent.includes(\"kind 'noise' perturbs\"))")
    assert deep.texts(".numbers")[0] == numbers[0]
    choose(page, "identity", "weight_matching")
    deep.wait("deep(document, '.numbers').every((e, i) => e.textContent === arg[i])", numbers)
    deep.wait_until_complete()
    deep.wait("!deep(document, '.MuiAlert-message, p').some((e) => e.textContent.includes('noise'))")
    assert complaints == []
    assert explorer_server.troubles() == []


def test_unknown_modes_are_said_in_the_page(serve, page, deep):
    server = serve("apps/explorer.py", "--modes", "<b>nope</b>")
    page.goto(server.url)
    deep.wait("deep(document, '.MuiAlert-message, p').some((e) => e.textContent.includes('no modes called'))")
    assert "'<b>nope</b>'" in " ".join(deep.texts(".MuiAlert-message, p"))
    assert deep.texts("p b") == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--mean", "half"],
        pytest.param(["--magic"], marks=pytest.mark.slow),
        pytest.param(["--architecture", "mlp", "--option", "a"], marks=pytest.mark.slow),
    ],
)
def test_wrong_arguments_are_said_in_the_page_and_the_server_stays(serve, page, deep, arguments):
    server = serve("apps/explorer.py", *arguments)
    for _ in range(2):
        page.goto(server.url)
        deep.wait("deep(document, '.MuiAlert-message, p').length > 0")
    said = " ".join(deep.texts(".MuiAlert-message, p"))
    assert "after --args" in said or "NAME=VALUE" in said
    assert server.troubles() == []


@pytest.mark.slow
def test_modes_that_need_trust_are_refused_and_the_others_stay(serve, page, deep, tmp_path, monkeypatch):
    monkeypatch.setenv("MODECOMB_MODES", str(tmp_path))
    folder = shutil.copytree(catalogue()["digits-mlp"], tmp_path / "own")
    text = (folder / "recipe.toml").read_text()
    (folder / "recipe.toml").write_text(text.replace('name = "mlp"', 'name = "mynets:make"'))
    server = serve("apps/explorer.py")
    page.goto(f"{server.url}?modes_name=own&resolution=9&draws=8")
    deep.wait_until_complete()
    deep.wait("deep(document, '.MuiAlert-message, p').some((e) => e.textContent.includes('would run the code of'))")
    assert deep.texts("[role=combobox]")[0] == "digits-mlp"
    page.goto(f"{server.url}?resolution=9&draws=8")
    deep.wait_until_complete()
    page.locator("[role=combobox]").first.click()
    page.locator("li", has_text="own").click(timeout=10_000)
    deep.wait("deep(document, '.MuiAlert-message, p').some((e) => e.textContent.includes('would run the code of'))")
    deep.wait("deep(document, '[role=combobox]')[0].textContent === 'digits-mlp'")
    assert server.troubles() == []


def test_weights_of_another_architecture_are_said_in_the_page(serve, page, deep, tmp_path):
    folder = shutil.copytree(catalogue()["digits-mlp"], tmp_path / "mixed")
    shutil.copy(catalogue()["digits-convnet"] / "B.safetensors", folder)
    server = serve("apps/explorer.py", "--modes", str(folder))
    page.goto(server.url)
    deep.wait("deep(document, '.MuiAlert-message, p').some((e) => e.textContent.includes(\"is missing 'fc1.bias'\"))")
    assert server.troubles() == []


@pytest.mark.parametrize("name", [pytest.param("digits-resnet", marks=pytest.mark.slow), "digits-convnet"])
def test_the_other_modes_are_served(serve, page, deep, complaints, name):
    server = serve("apps/explorer.py", "--modes", name)
    page.goto(f"{server.url}?resolution=9&plane=three_modes&margin=0.2&draws=8")
    deep.wait_until_complete()
    assert complaints == []
    assert server.troubles() == []
