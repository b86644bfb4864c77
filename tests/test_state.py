"""The state and its results, without a widget and without a browser."""

import shutil
import threading
from json import dumps, loads
from queue import Queue as Mailbox

import pytest
import xarray as xr
from explained import explains

import modecomb_viz as mc
from modecomb_viz.checkpoints import catalogue
from modecomb_viz.data import Split
from modecomb_viz.executor import Executor, InlineExecutor, Progress
from modecomb_viz.hypercube import LAWS
from modecomb_viz.state import PAGES, TOPICS, ExplorerState, History, Results, law_parameter

QUICK = {"resolution": 9, "draws": 8}


@pytest.fixture
def state():
    return ExplorerState("digits-mlp", **QUICK)


@pytest.fixture
def results(state):
    return Results(state, InlineExecutor())


def test_everything_on_the_page_is_there_at_once(results):
    assert set(results.datasets) == {"plane", "naive", "aligned"}
    assert (results.progress, results.error) == ({}, "")


@pytest.mark.parametrize("page", [page for page in PAGES if page != "Transitivity"])
def test_every_page_is_computed_when_it_is_opened(state, results, page):
    before = dict(results.datasets)
    state.page = page
    assert results.error == ""
    unasked = {"perturbed", "other", "cut", "inspection"}
    assert results.topics == list(dict.fromkeys(t for view in PAGES[page] for t in TOPICS[view] if t not in unasked))
    assert set(results.topics) <= set(results.datasets)
    assert all(results.datasets[topic] is dataset for topic, dataset in before.items()), "what was there stays"


def test_a_page_that_is_opened_again_is_brought_up_to_date(state, results):
    state.page = "Distribution"
    before = results.datasets["plane"]
    state.strength = 0.5
    assert results.datasets["plane"] is before, "what is not on the page is not computed"
    state.page = "Slice"
    assert mc.recipe(results.datasets["plane"])["strength"] == 0.5


def test_a_constant_law_has_no_family(state, results):
    state.param.update(page="Distribution", distribution="constant")
    assert results.topics == ["samples"]


def test_a_picture_shown_by_itself_is_computed_on_every_page(state, results):
    state.show("distribution")
    state.page = "Modes"
    state.strength = 0.5
    assert mc.recipe(results.datasets["samples"])["strength"] == 0.5


def test_the_results_are_those_of_the_sweeps(state, results, digits):
    state.param.update(strength=0.4, perturbation_seed=3, distribution="normal", normal_std=0.5, granularity="layer")
    expected = mc.sweep_plane(
        digits, resolution=9, strength=0.4, perturbation_seed=3, distribution="normal", std=0.5, granularity="layer"
    )
    xr.testing.assert_equal(results.datasets["plane"], expected)
    xr.testing.assert_equal(
        results.datasets["perturbed"], mc.sweep_segment(digits, points=33, strength=0.4, perturbation_seed=3)
    )


def test_strength_changes_only_what_depends_on_it(state, results):
    before = dict(results.datasets)
    state.strength = 0.5
    after = results.datasets
    assert all(after[topic] is before[topic] for topic in ("naive", "aligned"))
    assert after["plane"] is not before["plane"]
    state.strength = 0.0
    assert "perturbed" not in results.datasets


@pytest.mark.parametrize("law", list(LAWS))
def test_sliders_of_the_distribution_move_the_map(state, results, law):
    state.distribution = law
    before = results.datasets["plane"]
    name = next(iter(LAWS[law].parameters))
    setattr(state, law_parameter(law, name), 0.3)
    assert results.error == ""
    assert not results.datasets["plane"].loss.equals(before.loss)


def test_what_was_computed_is_shown_again_at_once(state, results):
    first = results.datasets["plane"]
    state.strength = 0.5
    state.strength = 0.0
    assert results.datasets["plane"] is first


def test_quantity_computes_nothing(state, results):
    before = dict(results.datasets)
    state.quantity = "accuracy"
    assert all(results.datasets[topic] is dataset for topic, dataset in before.items())


def test_an_error_is_said_and_nothing_is_lost(state, results):
    before = results.datasets
    state.b = "A"
    assert results.error == "A and B are both network 'A'. Choose two different networks."
    assert results.datasets is before
    state.b = "B"
    assert results.error == ""


def test_an_error_of_the_computation_is_said_too(state, results):
    state.param.update(alignment="identity", perturbation="noise", strength=0.5)
    assert "kind 'noise' perturbs the similarities" in results.error
    assert "plane" in results.datasets
    state.perturbation = "shuffle"
    assert results.error == ""
    assert results.progress == {}


def test_bounds_are_enforced(state):
    with pytest.raises(ValueError, match="strength"):
        state.strength = 1.5
    state.param.update(distribution="uniform", uniform_low=0.9, uniform_high=0.1)
    with explains("uniform needs low ≤ high", "low=0.9", "high=0.1"):
        state.sweeps()


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"modes_name": "digits"}, ["modes_name must be one of", "digits-mlp", "'digits'", "stays at digits-mlp"]),
        ({"strength": "1.5"}, ["strength must be a number from 0 to 1", "'1.5'", "stays at 0"]),
        ({"bernoulli_p": "-1"}, ["bernoulli_p must be a number from 0 to 1", "'-1'"]),
        ({"resolution": "0"}, ["resolution must be one of 9, 17, 33", "'0'"]),
        ({"resolution": "10000"}, ["resolution must be one of 9, 17, 33", "'10000'"]),
        ({"draws": "many"}, ["draws must be a whole number from 8 to 512", "'many'"]),
        ({"log_scale": "maybe"}, ["log_scale must be one of true, false", "'maybe'"]),
        ({"colour": "red"}, ["there is no choice 'colour'", "strength"]),
    ],
)
def test_choices_from_text_are_explained(state, choices, words):
    (fault,) = state.choose({**choices, "seed": "7"})
    assert all(word in fault for word in words), fault
    assert state.seed == 7


def test_choices_from_text_are_taken(state):
    choices = {
        "modes_name": "digits-resnet",
        "strength": "0.25",
        "alignment": "identity",
        "resolution": "33",
        "draws": "16",
    }
    assert state.choose(choices) == []
    assert {name: str(getattr(state, name)).lower() for name in choices} == choices


def test_own_modes_stand_beside_the_catalogue(digits):
    params = {"left": digits.params["A"], "right": digits.params["C"]}
    split = Split(digits.test.x[:50], digits.test.y[:50])
    own = mc.ModeSet(name="mine", model=digits.model, params=params, test=split, train=split)
    state = ExplorerState(own, **QUICK)
    assert (state.a, state.b) == ("left", "right")
    results = Results(state, InlineExecutor())
    assert results.error == ""
    assert set(state.param.modes_name.objects) == {"mine", "digits-mlp", "digits-resnet", "digits-convnet"}
    state.modes_name = "digits-mlp"
    assert (state.a, state.b, state.c) == ("A", "B", "C")
    assert results.error == ""


def test_unknown_modes_are_explained():
    with explains("no modes called 'nope'", "digits-mlp", "folder of checkpoints"):
        ExplorerState("nope")


def test_a_folder_of_modes_is_opened(tmp_path):
    folder = shutil.copytree(catalogue()["digits-convnet"], tmp_path / "mine")
    state = ExplorerState(str(folder), **QUICK)
    assert state.modes_name == "mine"
    assert Results(state, InlineExecutor()).error == ""


@pytest.mark.parametrize("plane", ["split", "random", "three_modes"])
@pytest.mark.parametrize("name", ["digits-mlp", "digits-convnet"])
def test_every_plane_of_every_kind(name, plane):
    state = ExplorerState(name, plane=plane, z_kind="layers", coordinates="orthonormal", margin=0.3, **QUICK)
    results = Results(state, InlineExecutor())
    assert results.error == ""
    assert mc.recipe(results.datasets["plane"])["plane"] == plane


def test_choices_go_into_a_query_and_come_back(state):
    assert state.query == {"resolution": "9", "draws": "8"}
    state.param.update(modes_name="digits-resnet", b="C", strength=0.25, normal_clip=False, page="Layers")
    other = ExplorerState("digits-mlp")
    assert other.choose(state.query) == []
    assert other.choices == state.choices
    assert next(iter(state.query)) == "modes_name"
    assert other.choose(other.defaults) == []
    assert other.choices == ExplorerState("digits-mlp").choices


def moves(state):
    """A history whose clock the test moves."""
    now = [0.0]
    return History(state, clock=lambda: now[0]), now


def test_undo_and_redo(state):
    history, now = moves(state)
    first = state.choices
    assert (history.can_undo, history.can_redo) == (False, False)
    state.strength = 0.3
    now[0] = 5
    state.plane = "random"
    history.undo()
    assert (state.strength, state.plane) == (0.3, "split")
    assert (history.can_undo, history.can_redo) == (True, True)
    history.undo()
    history.undo()
    assert state.choices == first
    history.redo()
    history.redo()
    assert (state.strength, state.plane, history.can_redo) == (0.3, "random", False)
    history.undo()
    state.seed = 3
    assert not history.can_redo, "a new choice ends what was undone"


def test_what_was_before_the_beginning_is_no_step(state):
    history, now = moves(state)
    state.choose({"strength": "0.3", "plane": "random"})
    history.begin()
    assert (history.can_undo, history.can_redo) == (False, False)
    history.undo()
    assert (state.strength, state.plane) == (0.3, "random")
    now[0] = 5
    state.strength = 0.6
    history.undo()
    assert (state.strength, history.can_undo, history.can_redo) == (0.3, False, True)


def test_moves_of_one_slider_are_one_step(state):
    history, now = moves(state)
    for i in range(10):
        now[0] += 0.1
        state.strength = i / 10
    now[0] += 2
    state.strength = 1.0
    history.undo()
    assert state.strength == 0.9
    history.undo()
    assert state.strength == 0.0
    assert not history.can_undo


def test_modes_are_undone_with_their_networks(digits):
    params = {"left": digits.params["A"], "right": digits.params["C"]}
    own = mc.ModeSet(name="mine", model=digits.model, params=params, test=digits.test, train=digits.train)
    state = ExplorerState(own, **QUICK)
    history, _ = moves(state)
    before = state.choices
    state.modes_name = "digits-mlp"
    assert (state.a, state.b) == ("A", "B")
    history.undo()
    assert state.choices == before
    history.redo()
    assert (state.modes_name, state.a, state.b) == ("digits-mlp", "A", "B")


def test_modes_that_are_refused_are_no_step(state, tmp_path, monkeypatch):
    monkeypatch.setenv("MODECOMB_MODES", str(tmp_path))
    (shutil.copytree(catalogue()["digits-mlp"], tmp_path / "broken") / "A.safetensors").write_bytes(b"no")
    state = ExplorerState("digits-mlp")
    history, _ = moves(state)
    state.modes_name = "broken"
    assert state.modes_name == "digits-mlp"
    assert state.refusal
    assert not history.can_undo


class Live:
    """Results whose publications are applied by the test, one at a time."""

    def __init__(self, **choices):
        self.calls = Mailbox()
        self.state = ExplorerState("digits-mlp", draws=8, **choices)
        self.results = Results(self.state, Executor(threads=1), self.calls.put)

    def until(self, condition):
        while not condition():
            self.calls.get(timeout=30)()


def evaluated(plane):
    """How many points of a map are no estimates."""
    return int((plane.loss_error == 0).sum()) if "loss_error" in plane else plane.loss.size


def test_an_estimate_first_then_better_then_exact():
    live, counts = Live(resolution=33), []
    live.results.param.watch(
        lambda event: counts.append(evaluated(event.new["plane"])) if "plane" in event.new else None, "datasets"
    )
    live.until(lambda: not live.results.progress)
    assert list(dict.fromkeys(counts))[:2] == [0, 25]
    assert counts == sorted(counts)
    assert counts[-1] == 33**2


def test_the_first_picture_and_the_end_are_shown_however_busy_the_others_are(monkeypatch):
    monkeypatch.setattr("modecomb_viz.state.results._Pace.resting", lambda *arguments: True)
    live, counts = Live(resolution=33), []
    live.results.param.watch(
        lambda event: counts.append(evaluated(event.new["plane"])) if "plane" in event.new else None, "datasets"
    )
    live.until(lambda: not live.results.progress)
    assert counts[0] == 0
    assert counts[-1] == 33**2


def test_a_newer_move_cancels_the_older_work():
    live = Live(resolution=33)
    for strength in (0.1, 0.2, 0.3, 0.4, 0.5):
        live.state.strength = strength
    shown = set()
    live.results.param.watch(
        lambda event: shown.add(mc.recipe(event.new["plane"])["strength"]) if "plane" in event.new else None, "datasets"
    )
    live.until(lambda: not live.results.progress)
    assert shown == {0.5}


def test_progress_is_reported():
    live, reports = Live(resolution=33), []
    live.results.param.watch(lambda event: reports.append(event.new.get("plane")), "progress")
    live.until(lambda: not live.results.progress)
    done = [report.done for report in reports if isinstance(report, Progress)]
    assert len(set(done)) > 2
    assert done == sorted(done)


def test_a_cancelled_session_hears_nothing_more():
    live = Live(resolution=65)
    live.until(lambda: "plane" in live.results.datasets)
    live.results.cancel()
    barrier = threading.Event()
    live.results._executor.submit("probe", "probe", _signal(barrier))
    assert barrier.wait(30)
    while not live.calls.empty():
        live.calls.get()()
    assert evaluated(live.results.datasets["plane"]) < 65**2


def _signal(event):
    from modecomb_viz.executor import Job

    def steps():
        event.set()
        yield 1

    return Job(steps, lambda value: None, lambda error: None)


def test_stopped_work_stays_as_it_is_until_it_goes_on():
    live = Live(resolution=65)
    live.until(lambda: "plane" in live.results.datasets)
    live.results.stop(["plane"])
    assert live.results.stopped == ["plane"]
    live.until(lambda: not live.results.progress)
    stopped = live.results.datasets["plane"]
    assert evaluated(stopped) < 65**2
    live.results.stop(["plane"])
    live.state.draws = 16
    live.state.page = "Distribution"
    live.state.page = "Slice"
    assert live.results.datasets["plane"] is stopped, "what else changes does not start it again"
    live.until(lambda: not live.results.progress)
    assert live.results.stopped == ["plane"]
    assert live.results.datasets["plane"] is stopped
    live.state.page = "Distribution"
    live.results.resume(["plane"])
    assert live.results.stopped == ["plane"], "it goes on where it is shown"
    live.state.page = "Slice"
    live.results.resume(["plane"])
    assert live.results.stopped == []
    live.state.resolution = 17
    live.until(lambda: not live.results.progress)
    assert evaluated(live.results.datasets["plane"]) == 17**2
    assert live.results.stopped == []


def test_stopped_work_goes_on_where_it_was_left():
    live, counts = Live(resolution=33), []
    live.until(lambda: "plane" in live.results.datasets and evaluated(live.results.datasets["plane"]) >= 25)
    live.results.stop(["plane"])
    before = evaluated(live.results.datasets["plane"])
    live.results.param.watch(lambda event: counts.append(evaluated(event.new["plane"])), "datasets")
    live.results.resume(["plane"])
    assert live.results.stopped == []
    live.until(lambda: not live.results.progress)
    assert counts[-1] == 33**2
    assert min(counts) >= before, "no picture falls back behind that which was stopped"


def test_results_without_a_page_take_requests_while_others_arrive():
    """In a notebook results are shown in the executor's thread, while the kernel's asks for others."""
    state = ExplorerState("digits-mlp", draws=8, resolution=9)
    results = Results(state, Executor(threads=1))
    for k in range(200):
        state.strength = round(0.001 * (k % 7), 3)
        state.quantity = ("loss", "accuracy")[k % 2]
    done = threading.Event()
    results.param.watch(lambda event: event.new or done.set(), ["progress"])
    assert not results.progress or done.wait(60)
    wanted = {topic: loads(dumps(sweep.recipe(state.modes))) for topic, sweep in state.sweeps().items()}
    assert {topic: loads(results.datasets[topic].attrs["recipe"]) for topic in wanted} == wanted
