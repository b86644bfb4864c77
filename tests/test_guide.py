"""The guided start, without a browser."""

import pytest

import modecomb_viz as mc
from modecomb_viz.executor import InlineExecutor
from modecomb_viz.explorer.guide import STEPS, Guide


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


def test_a_step_is_one_to_undo_from_other_networks_too(explorer):
    explorer.state.modes_name = "digits-convnet"
    explorer.state.param.update(repair="batchnorm", strength=0.3)
    before = explorer.state.choices
    explorer.guide.show.clicks += 1
    assert (explorer.state.modes_name, explorer.state.strength) == ("digits-mlp", 0.0)
    assert explorer.results.error == ""
    explorer.keeping.history.undo()
    assert explorer.state.choices == before


def test_it_is_closed_and_comes_when_it_is_asked_for(explorer):
    guide = explorer.guide
    assert not guide.card.visible
    guide._known.value = "new"
    assert guide.card.visible
    guide.next.clicks += 1
    guide.close.clicks += 1
    assert not guide.card.visible
    assert guide._asked.value == "remember"
    guide.opener.clicks += 1
    assert guide.card.visible
    assert "1 of" in guide._words.object


def test_who_closed_it_before_does_not_see_it(explorer):
    guide = Guide(explorer.state)
    guide._known.value = "closed"
    assert not guide.card.visible
