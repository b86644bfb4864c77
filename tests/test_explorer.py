"""The explorer without a server: set the state, read the views and the figures."""

import asyncio
import json
import threading
import zipfile
from html import unescape

import panel as pn
import pytest
import xarray as xr
from alerts import said
from bokeh.document import Document
from explained import explains
from panel.io.state import set_curdoc
from panel.util import edit_readonly
from panel_material_ui.widgets.base import MaterialWidget

import modecomb_viz as mc
from modecomb_viz.executor import InlineExecutor, Progress
from modecomb_viz.explorer import Controls, error_page
from modecomb_viz.explorer.page import _Publisher
from modecomb_viz.export.archive import archive
from modecomb_viz.state import PAGES, TOPICS


@pytest.fixture
def explorer():
    return mc.Explorer("digits-mlp", executor=InlineExecutor(), resolution=9, draws=8)


def test_every_view_is_complete_and_agrees_with_its_results(explorer):
    plane = explorer.results.datasets["plane"].loss.sel(split="test")
    numbers = explorer.map.status.object
    assert '<span class="state">complete</span>' in numbers
    assert f"lowest {plane.min().item():.4g} · highest {plane.max().item():.4g}" in numbers
    assert "naive" in explorer.segment.status.object
    (image,) = explorer.map.figure.sources["image"].data["image"]
    assert image.shape == (9, 9)


def test_setting_the_state_moves_widget_and_pictures(explorer):
    before = explorer.map.figure.sources["image"].data["image"][0]
    explorer.state.strength = 0.7
    assert explorer.controls.widgets["strength"].value == 0.7
    after = explorer.map.figure.sources["image"].data["image"][0]
    assert (before != after).any()
    assert "perturbed" in explorer.segment.status.object


def test_moving_a_widget_sets_the_state(explorer):
    explorer.controls.widgets["bernoulli_p"].value = 0.2
    assert explorer.state.bernoulli_p == 0.2
    assert mc.recipe(explorer.results.datasets["plane"])["parameters"] == {"p": 0.2}


def test_quantity_and_split_are_shown(explorer):
    explorer.state.param.update(quantity="accuracy", split="train")
    assert explorer.map.figure._bar.title == "train accuracy [fraction]"
    assert explorer.segment.figure.figure.yaxis[0].axis_label == "train accuracy [fraction]"


def test_only_controls_with_an_effect_are_shown(explorer):
    visible = lambda: {name for name, w in explorer.controls.widgets.items() if w.visible}  # noqa: E731
    assert {"bernoulli_p", "z_kind", "log_scale"} <= visible()
    assert not {"normal_mean", "z_layers", "coordinates", "c"} & visible()
    explorer.state.param.update(distribution="normal")
    assert {"normal_mean", "normal_std", "normal_clip"} <= visible()
    explorer.state.param.update(plane="three_modes", quantity="accuracy")
    assert {"coordinates", "c"} <= visible()
    assert not {"normal_mean", "bernoulli_p", "z_kind", "log_scale"} & visible()
    explorer.state.param.update(plane="split", z_kind="layers")
    assert "z_layers" in visible()
    explorer.state.page = "Modes"
    assert visible() == {"modes_name", "a", "b", "alignment", "split"}
    assert [title for title, section in explorer.controls.sections.items() if section.visible] == ["Networks", "Shown"]


def test_controls_of_a_picture_shown_by_itself_are_there(explorer):
    assert not explorer.controls.widgets["draws"].visible
    pn.panel(explorer.distribution)
    assert explorer.controls.widgets["draws"].visible
    assert "8 of 8 draws" in explorer.distribution.status.object


def test_every_choice_has_a_control_with_help(explorer):
    by_gestures = {"page", "region", "inspected", "cut", "mix", "kept"}
    assert set(explorer.controls.widgets) == set(explorer.state.choices) - by_gestures
    assert all(widget.description for widget in explorer.controls.widgets.values())


def test_every_control_says_what_it_does(explorer):
    for page in PAGES:
        explorer.state.page = page
    explorer.state.param.update(page="Slice", inspected=(0.5, 0.25), cut=(0, 0, 1, 1), against="alignment")
    explorer.visited._note()
    for card in (explorer.map.typed.card, explorer.visited.card):
        card.collapsed = False
    parts = [*explorer.sidebar, explorer.guide, explorer.guide.opener, explorer.main]
    controls = [control for part in parts for control in pn.panel(part).select(MaterialWidget)]
    labels = {control.label for control in controls}
    assert labels >= {"Undo", "Report", "Forget", "Copy", "Show it", "Guide", "Fit colours", "Use as centre", "Point"}
    assert labels >= {"Randomise", "Network A", "Architecture", "Stop", "Strength"}
    assert [control for control in controls if not getattr(control, "explanation", control.description)] == []


def test_every_view_says_what_it_shows_and_by_what_formula(explorer):
    for name in TOPICS:
        view = explorer.views[name]
        assert view.sentence, name
        assert view.formula, name
        assert view.formula in unescape(view._words.object), name


def test_a_tab_turns_the_page_and_a_page_the_tab(explorer):
    explorer.state.page = "Layers"
    assert explorer.tabs.active == list(PAGES).index("Layers")
    explorer.tabs.active = list(PAGES).index("Perturbation")
    assert explorer.state.page == "Perturbation"


#: A word of the line of numbers of every picture.
WORDS = {
    "distribution": "8 of 8 draws", "laws": "laws have a mean excess", "perturbation": "of the units moved",
    "mixer": "at this mix", "similarity": "disagreement with A", "layers": "largest changes by a swap",
    "modes": "objective",
}  # fmt: skip


@pytest.mark.parametrize("page", ["Distribution", "Perturbation", "Similarity", "Layers", "Modes"])
def test_every_page_shows_its_pictures(explorer, page):
    explorer.state.page = page
    for name in PAGES[page]:
        view = explorer.views[name]
        assert '<span class="state">complete</span>' in view.status.object
        assert WORDS[name] in view.status.object
        assert view.layout.visible


def test_what_is_drawn_follows_the_state_without_computing(explorer):
    explorer.state.page = "Perturbation"
    explorer.state.strength = 0.4
    assert "at strength 0.4" in explorer.perturbation.status.object
    explorer.state.quantity = "accuracy"
    assert explorer.perturbation.table.object == "", "nobody has unfolded it"
    explorer.perturbation._folded.collapsed = False
    table = explorer.perturbation.table.object
    assert "test accuracy: mean (range) over repeats" in table
    assert table.count("<tr>") == 1 + 11


@pytest.mark.parametrize("name", ["digits-mlp", "digits-convnet"])
def test_the_modes_are_described(name):
    explorer = mc.Explorer(name, executor=InlineExecutor(), page="Modes")
    modes = mc.open_modes(name)
    about = unescape(explorer.modes.about.object)
    assert all(word in about for word in [*modes.hashes.values(), modes.recipe.architecture_text, "1,437, 360"])
    assert modes.spec.axes_to_perm.keys() <= set(explorer.modes.symmetry.object.replace("<pre>", "").split())
    found = mc.align_modes(modes, "A", "B").matched
    assert f"{found[0]:.3g} before, {found[1]:.3g} after" in explorer.modes.status.object
    explorer.state.modes_name = "digits-resnet"
    assert "ResNet-8" in explorer.modes.about.object


def test_an_error_appears_in_words_and_is_escaped(explorer):
    explorer.state.b = "A"
    assert explorer.alert.visible
    assert "Choose two different networks" in said(explorer.alert)
    explorer.state.b = "B"
    assert not explorer.alert.visible
    explorer.choose({"plane": "<img src=x>"})
    assert "&lt;img src=x&gt;" in said(explorer.alert)
    assert "<img" not in said(explorer.alert)


def test_a_choice_from_the_url_is_taken(explorer):
    explorer.choose({"strength": "0.5", "modes_name": "digits-convnet"})
    assert (explorer.state.strength, explorer.state.modes_name) == (0.5, "digits-convnet")
    assert not explorer.alert.visible


@pytest.mark.parametrize("part", ["whole", "page", "map", "segment", "distribution", "layers", "modes", "controls"])
def test_everything_serialises_into_a_document(explorer, part):
    shown = {"whole": explorer, "page": explorer.page()}.get(part) or getattr(explorer, part)
    document = Document()
    document.add_root(pn.panel(shown).get_root(document))
    assert document.to_json().content["roots"]


def test_a_notebook_is_drawn_into_once_it_has_laid_out_the_view(explorer):
    pn.panel(explorer.map).get_root(Document())
    before = explorer.map.figure.sources["image"].data["image"][0]
    explorer.state.strength = 0.7
    assert explorer.map.figure.sources["image"].data["image"][0] is before
    explorer.map.figure.figure.trigger("inner_width", None, 400)
    assert (explorer.map.figure.sources["image"].data["image"][0] != before).any()
    explorer.state.strength = 0.2
    assert "complete" in explorer.map.status.object


def test_points_that_are_no_numbers_are_counted():
    explorer = mc.Explorer("digits-convnet", executor=InlineExecutor(), resolution=9, draws=8, plane="three_modes")
    explorer.state.margin = 0.5
    assert "not finite" in explorer.map.status.object
    assert "grey: NaN" in explorer.map.figure.figure.title.text


def test_what_is_shown_is_saved_with_all_that_makes_it_again(explorer):
    explorer.state.strength = 0.2
    packed = zipfile.ZipFile(asyncio.run(explorer.keeping.data.callback()))
    names = packed.namelist()
    assert {"plane.nc", "plane.points.csv", "plane.json", "perturbed.barriers.csv", "again.py"} <= set(names)
    assert json.loads(packed.read("plane.json"))["strength"] == 0.2
    made: dict[str, object] = {}
    exec(compile(packed.read("again.py"), "again.py", "exec"), made)
    xr.testing.assert_equal(made["plane"], explorer.results.datasets["plane"])


def test_a_report_has_what_is_complete_for_the_same_choices_on_other_pages(explorer):
    explorer.state.page = "Distribution"
    explorer.state.page = "Modes"
    explorer.state.page = "Slice"
    assert {"plane", "naive", "aligned", "samples", "laws", "matched"} == explorer.results.complete.keys()
    page = asyncio.run(explorer.keeping.report.callback()).read().decode()
    assert all(heading in page for heading in ("Loss map", "Distribution over draws"))
    explorer.state.strength = 0.4
    assert "samples" not in explorer.results.complete, "that was another strength"


def test_nothing_is_saved_before_there_is_something():
    explorer = mc.Explorer("digits-mlp", executor=InlineExecutor(), b="A")
    assert explorer.keeping.data.disabled
    assert explorer.keeping.report.disabled
    with explains("nothing to save yet"):
        archive({})


def test_undo_moves_widgets_and_pictures(explorer):
    before = explorer.map.figure.sources["image"].data["image"][0]
    explorer.state.strength = 0.7
    assert not explorer.keeping.undo.disabled
    explorer.keeping.undo.clicks += 1
    assert explorer.controls.widgets["strength"].value == 0
    assert (before == explorer.map.figure.sources["image"].data["image"][0]).all()
    assert explorer.keeping.undo.disabled
    explorer.keeping.redo.clicks += 1
    assert explorer.state.strength == 0.7


def test_the_time_left_follows_from_the_rate(explorer, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("modecomb_viz.explorer.views.time.monotonic", lambda: now[0])
    said = []
    for done in (0, 10, 20, 990):
        explorer.results.progress = {"plane": Progress(done, 1000)}
        said.append(explorer.map.status.object.split("</span>")[0].split(">")[1])
        now[0] += 1
    assert said == [
        "computing 0 %",
        "computing 1 %, about 99 s left",
        "computing 2 %, about 98 s left",
        "computing 99 %",
    ]
    explorer.results.progress = {"plane": Progress(0, 1000)}
    assert "left" not in explorer.map.status.object
    explorer.results.progress = {}
    assert "complete" in explorer.map.status.object


def test_colours_stay_until_they_are_asked_to_fit(explorer):
    def colors():
        return explorer.map.figure._linear.low, explorer.map.figure._linear.high

    first = colors()
    explorer.state.strength = 0.9
    assert colors() == first
    assert f"last colour: ≥ {first[1]:.3g}" in explorer.map.figure.figure.title.text
    explorer.map.fit.clicks += 1
    fitting = colors()
    assert fitting[1] > first[1]
    explorer.state.strength = 0.0
    assert colors() == fitting
    explorer.state.keep_colors = False
    assert colors() == first
    explorer.state.keep_colors = True
    explorer.state.against = "alignment"
    other = explorer.views["other"].figure._linear
    assert colors() == (other.low, other.high)
    assert colors()[1] > first[1], "another map beside it is another subject"
    together = colors()
    explorer.state.strength = 0.9
    assert colors() == together == (other.low, other.high)
    explorer.state.quantity = "accuracy"
    assert colors() != together


def test_no_mark_of_an_error_means_anything(explorer):
    explorer.choose({"![x](//host/p.png)": "1", "[a](https://host)": "1"})
    assert "there is no choice '![x](//host/p.png)'" in said(explorer.alert)
    assert "<img" not in said(explorer.alert)
    assert "<a" not in said(explorer.alert)


def test_error_page_is_escaped():
    (alert,) = error_page(ValueError("no <b>modes</b>")).main
    assert "&lt;b&gt;modes" in said(alert)


def test_controls_stand_alone(explorer):
    assert len(Controls(explorer.state).widgets) == len(explorer.controls.widgets)


def test_a_page_that_is_left_stays_hidden(explorer):
    for page in ("Layers", "Slice", "Layers"):
        explorer.state.page = page
    slice_page, layers_page = explorer._shown.objects
    assert (slice_page.visible, layers_page.visible) == (False, True)
    assert [place.objects for place in layers_page] == [[explorer.views[name].layout] for name in PAGES["Layers"]]


def test_a_document_is_touched_in_its_own_thread_alone(monkeypatch):
    document, touched = Document(), []
    monkeypatch.setattr(document, "add_next_tick_callback", lambda call: touched.append(threading.get_ident()))

    async def served():
        with set_curdoc(document):
            publisher = _Publisher(document)
        publisher._open()
        await asyncio.to_thread(publisher, lambda: None)
        await asyncio.sleep(0)

    asyncio.run(served())
    assert touched == [threading.get_ident()]


def test_the_page_does_not_follow_how_busy_the_server_is(explorer):
    page = explorer.page()
    try:
        with edit_readonly(pn.state):
            pn.state.busy = True
        assert not page.busy
    finally:
        with edit_readonly(pn.state):
            pn.state.busy = False
