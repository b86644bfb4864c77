"""Operations that are captured and replayed, on the CPU through the interface that a GPU has."""

import pytest
import torch
from explained import explains
from torch import nn
from torch.fx import symbolic_trace

from modecomb_viz.evaluation import Plan, finish, make_engine, replays
from modecomb_viz.evaluation.program import program_of
from modecomb_viz.evaluation.replays import Replays, Uncapturable
from modecomb_viz.hypercube import segment


def scaled(x, count, unread):
    made = torch.add(x, x)
    return torch.relu(made), torch.t(made), count


@pytest.fixture
def captures(monkeypatch):
    """How often something was captured."""
    heard, capture = [], replays._run_again
    monkeypatch.setattr(replays, "_run_again", lambda *args: heard.append(1) or capture(*args))
    return heard


def test_a_replay_gives_what_the_operations_give_and_leaves_what_was_given(captures):
    replay, graph = Replays(), symbolic_trace(scaled)
    given = [torch.randn(2, 3) for _ in range(4)]
    results = [replay(graph, x, 7, object()) for x in given]
    for x, found in zip(given, results, strict=True):
        for got, expected in zip(found[:2], scaled(x, 7, None), strict=False):
            torch.testing.assert_close(got, expected, rtol=0, atol=0)
        assert found[2] == 7
    assert len(captures) == 1


def test_other_forms_are_captured_anew(captures):
    replay, graph = Replays(), symbolic_trace(scaled)
    x = torch.randn(2, 3)
    for given in ((x, 7), (x[:1], 7), (x.double(), 7), (x.t(), 7), (x, 8), (x + 1, 7)):
        found = replay(graph, *given, None)
        torch.testing.assert_close(found[0], (2 * given[0]).relu(), rtol=0, atol=0)
        assert found[2] == given[1]
    assert len(captures) == 5
    replay.clear()
    replay(graph, x, 7, None)
    assert len(captures) == 6


def test_what_runs_seldom_is_not_captured(captures, monkeypatch):
    monkeypatch.setattr(replays, "_PATIENCE", 3)
    replay, graph = Replays(), symbolic_trace(scaled)
    counts = []
    for _ in range(5):
        x = torch.randn(2, 3)
        torch.testing.assert_close(replay(graph, x, 7, None)[0], (2 * x).relu(), rtol=0, atol=0)
        counts.append(len(captures))
    assert counts == [0, 0, 0, 1, 1]


def test_views_are_not_captured(captures):
    graph = symbolic_trace(lambda x: (torch.ops.aten.t.default(x),))
    x = torch.randn(2, 3)
    assert Replays()(graph, x)[0].data_ptr() == x.data_ptr()
    assert not captures


def test_a_sweep_captures_every_group_once_per_form_of_its_chunks(digits, captures):
    a, b = digits.params["A"], digits.params["B"]
    split = digits.test._replace(x=digits.test.x[:110], y=digits.test.y[:110])
    found = {}
    for strategy in ("loop", "graphs"):
        engine = make_engine(digits.model, segment(a, b), split, Plan(strategy, 1, 50, 2**28, share=False))
        found[strategy] = finish(engine.steps(torch.linspace(0, 1, 9), ("logits",)))["logits"]
    assert torch.equal(found["graphs"], found["loop"])
    assert len(captures) == 2, "three chunks for each of nine points, in two sizes"


def test_what_cannot_be_captured_is_said(monkeypatch):
    def capture(run, pool):
        raise Uncapturable("its operations cannot be captured as a CUDA graph: it waits for the GPU")

    monkeypatch.setattr(replays, "_run_again", capture)
    with explains("cannot be captured as a CUDA graph", "it waits for the GPU"):
        Replays()(symbolic_trace(scaled), torch.zeros(2, 3), 7, None)


@pytest.mark.gpu
def test_a_gpu_captures(digits):
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.LayerNorm(32), nn.Linear(32, 10)).cuda().eval()
    x = torch.randn(40, 64, device="cuda")
    program = program_of(model, x)
    graph = torch.fx.GraphModule(program.module, program.graph)
    replay = Replays()
    with torch.inference_mode():
        for seed in range(3):
            torch.manual_seed(seed)
            weights = [torch.randn_like(model.state_dict()[name]) for name in program.state]
            torch.testing.assert_close(replay(graph, *weights, x, len(x)), graph(*weights, x, len(x)))
