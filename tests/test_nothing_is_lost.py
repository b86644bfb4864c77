"""Ways through the explorer on which a choice, a picture or a message could be lost, or stay too long."""

import asyncio
from dataclasses import replace

import panel as pn
import pytest
from alerts import said
from bokeh.document import Document
from bokeh.events import RangesUpdate

import modecomb_viz as mc
from modecomb_viz.executor import InlineExecutor
from modecomb_viz.figures.maps import seen
from modecomb_viz.state import PAGES


@pytest.fixture
def explorer():
    return mc.Explorer("digits-mlp", executor=InlineExecutor(), resolution=9, draws=8)


@pytest.fixture
def busy(explorer, monkeypatch):
    """An explorer that has its first pictures, and gets no others."""
    monkeypatch.setattr(explorer.results._executor, "submit", lambda owner, topic, job: None)
    return explorer


@pytest.mark.parametrize("names", [("B", "C"), ("C", "A"), ("one", "two")])
def test_networks_of_other_names_are_two_at_any_moment(explorer, names):
    """A rendered widget chooses for itself when what it shows is not offered any more."""
    pn.panel(explorer.controls).get_root(Document())
    modes = mc.open_modes("digits-mlp")
    params = dict(zip(names, (modes.params["A"], modes.params["B"]), strict=True))
    pairs = []
    explorer.state.param.watch(lambda *events: pairs.append((explorer.state.a, explorer.state.b)), ["a", "b"])
    explorer.state.offer(replace(modes, name="own", params=params))
    assert (explorer.state.a, explorer.state.b) == names
    assert list(explorer.controls.widgets["b"].options) == list(names)
    assert not [pair for pair in pairs if pair[0] == pair[1]]
    assert not explorer.alert.visible
    explorer.keeping.undo.clicks += 1
    assert (explorer.state.modes_name, explorer.state.a, explorer.state.b) == ("digits-mlp", "A", "B")


def test_the_same_point_of_another_plane_does_not_lose_that_which_comes_back(explorer):
    state = explorer.state
    state.inspected = (0.0, 0.0)
    choices = state.choices
    state.plane = "three_modes"
    state.inspected = (0.0, 0.0)
    state.restore(choices)
    assert (state.plane, state.inspected) == ("split", (0.0, 0.0))


def test_the_axes_come_back_with_the_plane_before_the_part_has_arrived(busy):
    plot, dataset = busy.map.figure.figure, busy.results.datasets["plane"]
    plot.x_range.update(start=0.2, end=0.4)  # as the browser does
    plot._trigger_event(RangesUpdate(plot, x0=0.2, x1=0.4, y0=0.2, y1=0.4))
    assert busy.state.region is not None
    assert plot.x_range.start == 0.2, "it stays where the reader is, until the part comes"
    busy.keeping.undo.clicks += 1
    assert busy.state.region is None
    assert (plot.x_range.start, plot.x_range.end) == seen(dataset)[0]


def test_a_picture_of_earlier_choices_is_not_kept_under_the_present_ones(busy):
    before = busy.visited.visits.visits
    busy.state.strength = 0.5
    busy.results.stop(list(busy.results.progress))
    busy.visited._note()
    assert busy.visited.visits.visits == before


def test_a_map_keeps_the_heading_of_its_comparison(busy):
    busy.results._executor.submit = InlineExecutor().submit
    busy.state.against = "alignment"
    busy.results._executor.submit = lambda owner, topic, job: None
    assert "alignment identity" in busy.other._heading.object
    busy.state.against = "kept view"
    assert "alignment identity" in busy.other._heading.object


def test_a_map_keeps_its_heading_until_another_is_there(busy):
    busy.results._executor.submit = InlineExecutor().submit
    busy.state.param.update(against="strength", other_strength=0.25)
    busy.results._executor.submit = lambda owner, topic, job: None
    busy.state.other_strength = 0.75
    assert "strength 0.25" in busy.other._heading.object


def test_a_point_is_there_whatever_is_compared_with_nothing(explorer):
    explorer.state.inspected = (0.5, 0.5)
    explorer.state.against = "kept view"
    assert explorer.results.error
    assert explorer.selected_params is not None
    assert asyncio.run(explorer.views["inspection"].checkpoint.callback()).getbuffer().nbytes > 1000
    explorer.state.b = "A"
    assert explorer.selected_params is None
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(explorer.views["inspection"].checkpoint.callback())
    assert "still being computed" not in said(explorer.alert)


def test_a_page_that_is_turned_to_while_nothing_can_be_computed_is_there(explorer):
    explorer.state.inspected = (0.5, 0.5)
    explorer.state.b = "A"
    assert explorer.views["inspection"].layout.visible, "what was shown stays"
    explorer.state.page = "Modes"
    (place,) = explorer._pages["Modes"]
    assert place.visible
    assert explorer.modes.layout.visible
    explorer.state.b = "B"
    assert "A: test loss" in explorer.modes.status.object


def test_the_bars_come_back_with_their_networks(explorer):
    explorer.state.page = "Layers"
    bars = [bar.object for bar in explorer.mixer._bars]
    assert all(bars)
    explorer.state.modes_name = "digits-convnet"
    explorer.state.modes_name = "digits-mlp"
    assert [bar.object for bar in explorer.mixer._bars] == bars


def test_losses_stand_beside_the_networks_that_have_them(explorer):
    explorer.state.page = "Modes"
    told = explorer.modes.status.object
    assert "A: test loss" in told
    explorer.state.a = "B"
    assert "Choose two different networks" in said(explorer.alert)
    assert explorer.modes.status.object == told


def test_only_what_is_shown_takes_room(explorer):
    explorer.state.param.update(page="Distribution", distribution="constant")
    places = dict(zip(PAGES["Distribution"], explorer._pages["Distribution"], strict=True))
    assert [name for name, place in places.items() if place.visible] == ["distribution"]
    explorer.state.distribution = "bernoulli"
    assert [name for name, place in places.items() if place.visible] == list(places)


def test_messages_go_with_their_cause(explorer):
    explorer.map.typed.card.collapsed = False
    field = explorer.map.typed.fields["cut"]
    field.value = "0, 1"
    assert "cut must be 4 numbers" in said(explorer.alert)
    field.value = ""
    assert not explorer.alert.visible
    explorer.choose({"strength": "5"})
    assert "strength must be a number from 0 to 1" in said(explorer.alert)
    explorer.state.modes_name = "digits-convnet"
    assert not explorer.alert.visible
    explorer.state.inspected = (0.5, 0.5)
    explorer.state.refusal = "the point is still being computed"
    asyncio.run(explorer.views["inspection"].checkpoint.callback())
    assert not explorer.alert.visible


@pytest.mark.parametrize("typed", [12345, -1, None])
def test_a_seed_that_is_none_is_refused_in_words(explorer, typed):
    field = explorer.controls.widgets["seed"]
    field.value = 7
    assert explorer.state.seed == 7
    field.value = typed
    came = "" if typed is None else typed
    assert f"seed must be a whole number from 0 to 9999, got '{came}'. It stays at 7." in said(explorer.alert)
    assert (field.value, explorer.state.seed) == (7, 7)
    explorer.state.seed = 3
    assert field.value == 3
    assert not explorer.alert.visible


def test_numbers_of_the_mixer_that_are_none_are_refused_in_words(explorer):
    explorer.state.page = "Layers"
    mixer = explorer.mixer
    press = {button.label: button for button in mixer._buttons() if hasattr(button, "clicks")}
    mixer._amount.value = None
    press["Add"].clicks += 1
    assert "Amount must be a number, got nothing. The layers stay as they are." in said(explorer.alert)
    for seed in (-1, 10000, None):
        mixer._seed.value = seed
        press["Randomise"].clicks += 1
        assert "Seed must be a number from 0 to 9999, got" in said(explorer.alert)
    assert explorer.state.mix == []
    mixer._seed.value = 1
    press["Randomise"].clicks += 1
    assert len(explorer.state.mix) == 3
    assert not explorer.alert.visible
    mixer._amount.value = None
    press["Multiply"].clicks += 1
    assert explorer.alert.visible
    mixer._amount.value = 1.0
    press["Multiply"].clicks += 1
    assert not explorer.alert.visible, "also where nothing changes"


def test_an_emptied_name_leaves_its_row_alive(explorer):
    explorer.visited._note()
    explorer.visited.card.collapsed = False
    ((_, (name, buttons)),) = explorer.visited._list
    kept = name.value
    for text in ("", "  ", f"{kept} "):
        name.value = text
        assert name.value == kept
    name.value = "mine"
    ((_, (name, buttons)),) = explorer.visited._list
    assert name.value == "mine"
    buttons[2].clicks += 1
    assert explorer.visited.visits.visits == []
