"""The guided start, without a browser."""

import pytest

import modecomb_viz as mc
from modecomb_viz.executor import InlineExecutor
from modecomb_viz.explorer.guide import STEPS


@pytest.fixture
def explorer():
    return mc.Explorer("digits-mlp", executor=InlineExecutor(), resolution=9, draws=8)


def test_every_step_can_be_shown_and_undone(explorer):
    guide = explorer.guide
    assert guide.back.disabled
    for number, step in enumerate(STEPS, start=1):
        assert f"{number} of {len(STEPS)}: {step.title}" in guide._words.object
        before = explorer.state.choices
        guide.show.clicks += 1
        assert {name: explorer.state.choices[name] for name in step.choices} == dict(step.choices)
        assert (explorer.results.error, explorer.state.refusal) == ("", "")
        if before != explorer.state.choices:
            explorer.keeping.history.undo()
            assert explorer.state.choices == before, "a step is one step to undo"
            explorer.keeping.history.redo()
        guide.next.clicks += 1
    assert guide.next.disabled


@pytest.mark.slow
def test_a_step_is_one_to_undo_from_other_networks_too(explorer):
    explorer.state.modes_name = "digits-convnet"
    explorer.state.param.update(repair="batchnorm", strength=0.3)
    before = explorer.state.choices
    explorer.guide.show.clicks += 1
    assert (explorer.state.modes_name, explorer.state.strength) == ("digits-mlp", 0.0)
    assert explorer.results.error == ""
    explorer.keeping.history.undo()
    assert explorer.state.choices == before


def test_it_is_closed_and_comes_when_it_is_asked_for(explorer, monkeypatch):
    guide = explorer.guide
    assert not guide.card.visible
    guide.offer()
    guide.memory._handle_msg({"text": None})
    assert guide.card.visible
    guide.next.clicks += 1
    kept = []
    monkeypatch.setattr(guide.memory, "keep", kept.append)
    guide.close.clicks += 1
    guide.memory._handle_msg({"text": None})
    assert not guide.card.visible, "a page that is drawn anew tells again"
    assert kept == ["closed"]
    guide.opener.clicks += 1
    assert guide.card.visible
    assert "1 of" in guide._words.object


def test_it_stays_away_where_it_is_not_offered(explorer):
    explorer.guide.memory._handle_msg({"text": None})
    assert not explorer.guide.card.visible


def test_who_closed_it_before_does_not_see_it(explorer):
    guide = explorer.guide
    guide.offer()
    guide.memory._handle_msg({"text": "closed"})
    assert not guide.card.visible


def test_the_control_that_a_step_speaks_of_is_marked(explorer):
    guide, widgets = explorer.guide, explorer.controls.widgets

    def marks():
        return [name for name, widget in widgets.items() if widget.styles.get("box-shadow", "none") != "none"]

    assert marks() == []
    guide.opener.clicks += 1
    for step in STEPS:
        marked = marks()
        assert marked == ([step.control] if step.control else [])
        guide.show.clicks += 1
        assert all(widgets[name].visible for name in marked), "what is marked is there to be used"
        guide.next.clicks += 1
    guide.back.clicks += 1
    assert marks() == ["distribution"]
    guide.close.clicks += 1
    assert marks() == []
