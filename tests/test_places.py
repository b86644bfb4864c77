"""What is done on the map and in the mixer, and what was looked at before: without a browser."""

import asyncio
import io
import shutil

import numpy as np
import panel as pn
import pytest
from alerts import said
from bokeh.events import PanEnd, PanStart, RangesUpdate, Reset, Tap
from explained import explains
from PIL import Image

import modecomb_viz as mc
from modecomb_viz.checkpoints import catalogue
from modecomb_viz.executor import InlineExecutor
from modecomb_viz.export.archive import archive
from modecomb_viz.figures.maps import seen
from modecomb_viz.figures.thumbnails import thumbnail
from modecomb_viz.state import MIX_BOUNDS, ExplorerState, Results, open_shared


@pytest.fixture
def explorer():
    return mc.Explorer("digits-mlp", executor=InlineExecutor(), resolution=9, draws=8)


def happen(explorer, kind, **at):
    plot = explorer.map.figure.figure
    plot._trigger_event(kind(plot, **at))


def zoom(explorer, u0, u1, v0, v1):
    happen(explorer, RangesUpdate, x0=u0, x1=u1, y0=v0, y1=v1)


def test_a_tapped_point_is_looked_at(explorer):
    assert not explorer.views["inspection"].layout.visible
    happen(explorer, Tap, x=0.36, y=0.77)
    assert explorer.state.inspected == (0.375, 0.75)
    view, found = explorer.views["inspection"], explorer.results.datasets["inspection"]
    assert view.layout.visible
    plane = explorer.results.datasets["plane"].sel(u=0.375, v=0.75, split="test")
    assert found.loss.sel(model="point", split="test").item() == pytest.approx(plane.loss.item(), rel=1e-5)
    assert "(0.375, 0.75)" in view._heading.object
    happen(explorer, Tap, x=0.9, y=0.02)
    assert explorer.state.inspected == (1.0, 0.0), "a named point within a cell is meant"
    happen(explorer, Tap, x=1.4, y=0.5)
    assert explorer.state.inspected == (1.0, 0.0), "beside the map is no point"
    explorer.state.strength = 0.5
    assert mc.recipe(explorer.results.datasets["inspection"])["strength"] == 0.5


def test_the_weights_of_the_point_are_given_and_saved(explorer, tmp_path):
    assert explorer.selected_params is None
    explorer.state.inspected = (0.5, 0.25)
    params = explorer.selected_params
    expected = mc.point_params(explorer.results.datasets["plane"], explorer.state.modes, u=0.5, v=0.25)
    assert all((params[name] == expected[name]).all() for name in expected)
    view = explorer.views["inspection"]
    assert not view.checkpoint.disabled
    path = tmp_path / "point.safetensors"
    path.write_bytes(asyncio.run(view.checkpoint.callback()).getvalue())
    loaded = mc.load_params(path, explorer.state.modes.model)
    assert all((loaded[name] == expected[name]).all() for name in expected)
    assert explorer.dataset is explorer.results.datasets["plane"]


def test_the_weights_are_those_of_the_present_point_or_none(tmp_path):
    class Later(InlineExecutor):
        """Computes nothing while it is told to wait."""

        waits = False

        def submit(self, owner, topic, job):
            if not self.waits:
                super().submit(owner, topic, job)

    executor = Later()
    explorer = mc.Explorer("digits-mlp", executor=executor, resolution=9, draws=8, inspected=(0.5, 0.5))
    assert explorer.selected_params is not None
    executor.waits = True
    explorer.state.inspected = (0.0, 0.0)
    assert explorer.selected_params is None
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(explorer.views["inspection"].checkpoint.callback())
    assert "the point is still being computed for these choices" in said(explorer.alert)
    explorer.state.inspected = (0.5, 0.5)
    assert explorer.selected_params is not None
    assert not explorer.alert.visible, "what was refused is no matter any more"


def test_what_a_mouse_does_is_typed_too(explorer):
    typed = explorer.map.typed
    assert not typed.fields, "none is made before somebody looks"
    explorer.state.inspected = (0.5, 0.25)
    typed.card.collapsed = False
    assert [field.value for field in typed.fields.values()] == ["0.5, 0.25", "", ""]
    typed.fields["inspected"].value = "0.25, 1"
    typed.fields["cut"].value = "0,0, 1, 0.5"
    typed.fields["region"].value = "0,0.5, 0,0.5"
    assert explorer.state.inspected == (0.25, 1.0)
    assert explorer.state.cut == (0.0, 0.0, 1.0, 0.5)
    assert explorer.state.region == (0.0, 0.5, 0.0, 0.5)
    typed.fields["cut"].value = "0, 1"
    assert "cut must be 4 numbers with commas between them" in said(explorer.alert)
    assert explorer.state.cut == (0.0, 0.0, 1.0, 0.5)
    typed.fields["cut"].value = ""
    assert explorer.state.cut is None
    assert not explorer.alert.visible
    explorer.state.inspected = None
    assert typed.fields["inspected"].value == ""


def test_a_point_becomes_the_centre_and_the_whole_plane_comes_back(explorer):
    explorer.state.inspected = (0.75, 0.25)
    explorer.views["inspection"]._centre(None)
    assert explorer.state.region == (0.25, 1.25, -0.25, 0.75)
    plane = explorer.results.datasets["plane"]
    assert (plane.u.values[4], plane.v.values[4]) == (0.75, 0.25)
    assert explorer.map._whole.visible
    happen(explorer, Reset)
    assert explorer.state.region is None
    assert explorer.results.datasets["plane"].u.attrs["high"] == 1.0


def test_what_is_zoomed_into_is_computed_at_full_resolution(explorer):
    before = explorer.results.datasets["plane"]
    (u0, u1), (v0, v1) = seen(before)
    zoom(explorer, u0, u1, v0, v1)
    assert explorer.results.datasets["plane"] is before, "the ranges as they are ask for nothing"
    zoom(explorer, 0.2, 0.6, 0.3, 0.9)
    plane = explorer.results.datasets["plane"]
    assert plane.sizes["u"] == 9
    assert np.allclose(seen(plane), ((0.2, 0.6), (0.3, 0.9)))
    figure = explorer.map.figure.figure
    assert (figure.x_range.start, figure.x_range.end) == pytest.approx((0.2, 0.6), abs=1e-5)
    zoom(explorer, *(at for axis in seen(plane) for at in axis))
    assert explorer.results.datasets["plane"] is plane


def test_a_cut_is_drawn_when_dragging_cuts(explorer):
    happen(explorer, PanStart, x=0.1, y=0.9)
    happen(explorer, PanEnd, x=0.9, y=0.1)
    assert explorer.state.cut is None, "a drag zooms at first"
    explorer.map.drag.value = "Cut"
    assert explorer.map.figure.figure.toolbar.active_drag is None
    happen(explorer, PanStart, x=0.26, y=0.74)
    happen(explorer, PanEnd, x=0.74, y=0.26)
    assert explorer.state.cut == (0.25, 0.75, 0.75, 0.25)
    view = explorer.views["cut"]
    assert view.layout.visible
    assert "D2 barrier" in view.status.object
    assert mc.recipe(explorer.results.datasets["cut"])["start"] == [0.25, 0.75]
    happen(explorer, PanStart, x=0.3, y=0.3)
    happen(explorer, PanEnd, x=0.3, y=0.3)
    assert explorer.state.cut == (0.25, 0.75, 0.75, 0.25), "no way is no cut"
    view._close(None)
    assert not view.layout.visible
    assert explorer.map.gestures._cut.data == {"u": [], "v": []}


def test_places_go_with_their_plane_unless_they_come_along():
    state = ExplorerState("digits-mlp", inspected=(0.5, 0.5), cut=(0.0, 0.0, 1.0, 1.0), region=(0.0, 0.5, 0.0, 0.5))
    choices = state.choices
    state.plane = "random"
    assert (state.inspected, state.cut, state.region) == (None, None, None)
    state.restore(choices)
    assert (state.plane, state.inspected, state.region) == ("split", (0.5, 0.5), (0.0, 0.5, 0.0, 0.5))
    other = ExplorerState("digits-mlp")
    assert other.choose({"region": "0,0.5,0,0.5", "inspected": "0.5,0.5", "plane": "random"}) == []
    assert (other.region, other.inspected, other.plane) == ((0.0, 0.5, 0.0, 0.5), (0.5, 0.5), "random")
    assert ExplorerState("digits-mlp").choose(other.query) == []


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("region", "1,2,3", "region must be 4 numbers with commas between them, or nothing, got '1,2,3'"),
        ("inspected", "a,b", "inspected must be 2 numbers"),
        ("cut", "0,0,nan,1", "cut must be 4 numbers"),
        ("mix", "0,x", "mix must be one number from -1 to 2 for every layer"),
    ],
)
def test_numbers_that_are_none_are_explained(name, text, words):
    state = ExplorerState("digits-mlp")
    before = getattr(state, name)
    (fault,) = state.choose({name: text})
    assert words in fault
    assert getattr(state, name) == before


def test_a_mix_of_too_few_layers_is_said_in_the_page(explorer):
    explorer.choose({"page": "Layers", "mix": "0,1"})
    assert "mix must be one number from -1 to 2 for every layer" in said(explorer.alert)
    assert explorer.state.mix == []
    assert explorer.views["mixer"].layout.visible
    explorer.state.strength = 0.3
    assert not explorer.alert.visible, "what was wrong in the text is no matter any more"


def test_a_mix_of_other_networks_is_refused(explorer):
    explorer.state.mix = [0.0, 0.5, 1.0]
    for mix in ([0.1], [0.0, 0.5, 2.5]):
        with explains("mix must be one number from -1 to 2 for every layer", "3, fc1, fc2, fc3", str(mix)):
            explorer.state.mix = mix
        assert explorer.state.mix == [0.0, 0.5, 1.0]
    with explains("mix must be"):
        mc.Explorer("digits-mlp", executor=InlineExecutor(), mix=[0.1])


@pytest.mark.parametrize(
    ("choices", "setting"),
    [
        ({"against": "alignment"}, {"alignment": "identity"}),
        ({"against": "strength", "strength": 0.5, "other_strength": 0.25}, {"strength": 0.25}),
        ({"against": "repair", "repair": "repair"}, {"repair": "none"}),
    ],
)
def test_two_maps_are_compared(explorer, choices, setting):
    assert not explorer.views["difference"].layout.visible
    explorer.state.param.update(choices)
    plane, other = (explorer.results.datasets[topic] for topic in ("plane", "other"))
    ours, theirs = mc.recipe(plane), mc.recipe(other)
    assert {name: value for name, value in theirs.items() if value != ours[name]} == setting
    view = explorer.views["difference"]
    assert view.layout.visible
    assert f"mean {(plane.loss - other.loss).mean().item():.4g}" in view.status.object
    first, second = explorer.map.figure, explorer.views["other"].figure
    assert (first._linear.low, first._linear.high) == (second._linear.low, second._linear.high)
    explorer.state.against = "nothing"
    assert not view.layout.visible
    assert "other" not in explorer.results.datasets


def test_maps_without_common_axes_have_no_difference_and_say_so(explorer):
    choices = {"plane": "three_modes", "coordinates": "orthonormal", "against": "alignment"}
    explorer.state.param.update(choices)
    assert "different axes" in explorer.views["difference"].status.object


def test_views_that_were_looked_at_come_back_and_are_compared(explorer):
    explorer.state.strength = 0.5
    explorer.state.strength = 0.8
    visits = explorer.visited.visits
    assert [visit.query["strength"] for visit in visits.visits] == ["0.8", "0.5"]
    assert Image.open(io.BytesIO(visits.visits[0].picture)).size == (96, 64)
    assert "strength 0.5" in visits.visits[1].name
    visits.rename(visits.visits[1], "half <b>")
    assert visits.visits[1].name == "half <b>"
    visits.open(visits.visits[1])
    assert explorer.state.strength == 0.5
    assert visits.visits[0].name == "half <b>", "it keeps its name"
    visits.compare(visits.visits[1])
    assert mc.recipe(explorer.results.datasets["other"])["strength"] == 0.8
    assert "strength 0.8" in explorer.views["other"]._heading.object
    count, rows = len(visits.visits), explorer.visited._list
    assert list(rows) == [], "none is made before somebody looks"
    explorer.visited.card.collapsed = False
    assert len(rows) == count
    visits.drop(visits.visits[0])
    assert len(visits.visits) == len(rows) == count - 1
    explorer.state.modes_name = "digits-convnet"
    assert explorer.state.against == "nothing", "the view that was kept is one of other networks"
    assert mc.recipe(explorer.results.datasets["plane"])["modes"] == "digits-convnet"
    explorer.keeping.history.undo()
    assert (explorer.state.modes_name, explorer.state.against) == ("digits-mlp", "kept view")


def test_without_a_kept_view_there_is_nothing_to_compare_with(explorer):
    explorer.state.against = "kept view"
    assert "no view has been chosen" in said(explorer.alert)


def test_what_was_looked_at_is_there_when_the_page_is_loaded_again(explorer, monkeypatch):
    kept = []
    visited = explorer.visited
    monkeypatch.setattr(visited.memory, "keep", kept.append)
    visited.memory._handle_msg({"text": None})
    explorer.state.strength = 0.5
    explorer.state.strength = 0.8
    visited.visits.rename(visited.visits.visits[1], "half")

    again = mc.Explorer("digits-mlp", executor=InlineExecutor(), strength=0.8, page="Modes").visited
    again.memory._handle_msg({"text": kept[-1]})
    assert again.visits.visits == visited.visits.visits
    again.visits.open(again.visits.visits[1])
    assert (again._state.strength, again._state.page, again._state.refusal) == (0.5, "Slice", "")


def test_networks_that_are_there_no_more_are_said_to_be(explorer):
    visits = explorer.visited.visits
    explorer.state.strength = 0.5
    sent = visits.visits[0]._replace(query={"modes_name": "uploaded-1"}, name="mine")
    visits.open(sent)
    assert "'mine' cannot be opened" in explorer.state.refusal
    assert "Send them again" in said(explorer.alert)
    assert explorer.state.modes_name == "digits-mlp"
    visits.open(visits.visits[0])
    assert not explorer.alert.visible


@pytest.mark.parametrize(
    "text",
    [
        "[", "3", "[3]", '[{"query": {}}]', '[{"query": [], "name": "n", "picture": ""}]',
        '[{"query": {"a": 1}, "name": "n", "picture": ""}]', '[{"query": {}, "name": "n", "picture": "no base64"}]',
        '[{"query": {}, "name": "n", "picture": "PHN2Zy8+"}]',
    ],
)  # fmt: skip
def test_what_no_explorer_kept_is_refused(explorer, text):
    explorer.visited.memory._handle_msg({"text": text})
    assert "what was kept of earlier visits cannot be read" in said(explorer.alert)
    assert [visit.name for visit in explorer.visited.visits.visits] == ["Slice: resolution 9, draws 8"], "its own"


def test_a_thumbnail_of_every_kind_of_result(explorer):
    for page in ("Slice", "Distribution", "Perturbation", "Similarity", "Layers"):
        explorer.state.page = page
        picture = Image.open(io.BytesIO(thumbnail(explorer.dataset))).convert("RGB")
        assert picture.size == (96, 64)
        assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 1


def test_a_cell_shows_the_same_view(explorer):
    explorer.state.param.update(strength=0.3, inspected=(0.5, 0.25), page="Slice")
    names: dict = {}
    exec(explorer.state.code, names)
    assert names["explorer"].state.choices == explorer.state.choices
    explorer.cell._write()
    assert "inspected=(0.5, 0.25)" in explorer.cell._code.object


@pytest.mark.parametrize("given", ["digits-mlp", "folder"])
def test_a_cell_of_a_served_page_runs_as_it_is(explorer, tmp_path, given):
    if given == "folder":
        given = str(shutil.copytree(catalogue()["digits-mlp"], tmp_path / "it's mine"))
    served = mc.Explorer(open_shared(given), executor=InlineExecutor(), resolution=9, draws=8, strength=0.3)
    names: dict = {}
    exec(served.state.code, names)
    assert names["explorer"].state.choices == served.state.choices


def test_layers_are_mixed_by_sliders_and_together(explorer):
    explorer.state.page = "Layers"
    mixer = explorer.views["mixer"]
    assert [slider.label for slider in mixer.sliders] == ["fc1", "fc2", "fc3"]
    mixer.sliders[1].value = 0.5
    assert explorer.state.mix == [0.0, 0.5, 0.0]
    assert mc.recipe(explorer.results.datasets["layers"])["base"] == [0.0, 0.5, 0.0]
    press = {button.label: button for button in mixer.layout.select(lambda one: type(one).__name__ == "Button")}
    press["Add"].clicks += 1
    assert explorer.state.mix == pytest.approx([0.1, 0.6, 0.1])
    mixer._amount.value = 0.5
    press["Multiply"].clicks += 1
    assert explorer.state.mix == pytest.approx([0.05, 0.3, 0.05])
    press["Set all"].clicks += 1
    assert explorer.state.mix == [0.5] * 3
    assert [slider.value for slider in mixer.sliders] == [0.5] * 3
    press["Randomise"].clicks += 1
    drawn = explorer.state.mix
    assert len(set(drawn)) == 3
    explorer.keeping.history.undo()
    explorer.keeping.history.redo()
    press["Randomise"].clicks += 1
    assert explorer.state.mix == drawn, "one seed, one mix"
    mixer._amount.value = 10
    press["Add"].clicks += 1
    assert explorer.state.mix == [MIX_BOUNDS[1]] * 3
    press["Reset"].clicks += 1
    assert explorer.state.mix == [0.0] * 3
    explorer.state.modes_name = "digits-convnet"
    assert len(mixer.sliders) == 5
    assert explorer.state.mix == []


def test_bars_say_how_the_loss_reacts(explorer):
    explorer.state.page = "Layers"
    slopes = explorer.results.datasets["layers"].slope.sel(split="test").values
    mixer = explorer.views["mixer"]
    for bar, slope in zip(mixer._bars, slopes, strict=True):
        assert f"{slope:+.3g}".replace("-", "−", 1) in bar.object
    assert "at this mix" in mixer.status.object


def test_the_data_of_places_are_packed():
    state = ExplorerState("digits-mlp", inspected=(0.5, 0.25), cut=(0.0, 1.0, 1.0, 0.0), resolution=9)
    results = Results(state, InlineExecutor())
    assert len(archive(results.datasets)) > 1000
    with explains("nothing to save yet"):
        archive({})


def test_views_of_places_stand_alone():
    explorer = mc.Explorer("digits-mlp", executor=InlineExecutor(), page="Modes", inspected=(0.5, 0.5), resolution=9)
    assert "inspection" not in explorer.results.datasets
    pn.panel(explorer.views["inspection"])
    assert "inspection" in explorer.results.datasets
