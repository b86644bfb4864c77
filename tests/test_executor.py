"""The queue: newest first, fair, cancellable. Nothing sleeps; every wait has a deadline."""

import threading
from queue import Queue as Mailbox

import pytest

from modecomb_viz import executor as queues
from modecomb_viz.executor import Cancelled, Executor, InlineExecutor, Job, Progress, checkpoint

DEADLINE = 20


class Recorder:
    """Collects what jobs tell, from any thread."""

    def __init__(self):
        self.heard = Mailbox()

    def job(self, name, steps):
        return Job(
            steps, lambda value: self.heard.put((name, value)), lambda error: self.heard.put((name, error or "end"))
        )

    def next(self):
        return self.heard.get(timeout=DEADLINE)

    def until(self, item):
        seen = []
        while not seen or seen[-1] != item:
            seen.append(self.next())
        return seen


def counting(n, gate=None):
    def steps():
        for i in range(n):
            if gate:
                assert gate.wait(DEADLINE)
            yield i

    return steps


def coarse_then_fine():
    """Two results, each after three reports of progress."""
    for level in range(2):
        for done in range(3):
            yield Progress(done, 3)
        yield level


def largest_lead(order):
    """How many steps one of two owners was ever ahead of the other."""
    return max(abs(order[:k].count("one") - order[:k].count("two")) for k in range(len(order)))


@pytest.fixture
def executor():
    return Executor(threads=1)


def held(executor, recorder):
    """Keep the worker busy until the returned event is set, so that what is submitted meanwhile queues up."""
    gate, started = threading.Event(), threading.Event()

    def steps():
        started.set()
        assert gate.wait(DEADLINE)
        yield "held"

    executor.submit("holder", "hold", recorder.job("hold", steps))
    assert started.wait(DEADLINE)
    return gate


def test_runs_to_the_end(executor):
    recorder = Recorder()
    executor.submit("me", "map", recorder.job("map", counting(3)))
    assert recorder.until(("map", "end")) == [("map", 0), ("map", 1), ("map", 2), ("map", "end")]


def test_a_newer_request_replaces_the_older(executor):
    recorder = Recorder()
    gate = held(executor, recorder)
    for k in range(10):
        executor.submit("me", "map", recorder.job(k, counting(1)))
    gate.set()
    seen = recorder.until((9, "end"))
    assert {name for name, _ in seen} <= {"hold", 9}


def test_the_newest_topic_goes_first(executor):
    recorder = Recorder()
    gate = held(executor, recorder)
    for topic in ("old", "new"):
        executor.submit("me", topic, recorder.job(topic, counting(1)))
    gate.set()
    seen = [item for item in recorder.until(("old", "end")) if item[0] != "hold"]
    assert seen.index(("new", 0)) < seen.index(("old", 0))


def test_a_topic_keeps_its_turn_until_it_has_a_result(executor):
    recorder = Recorder()
    gate = held(executor, recorder)

    for topic in ("b", "a"):
        executor.submit("me", topic, recorder.job(topic, coarse_then_fine))
    gate.set()
    seen = recorder.until(("b", "end"))
    results = [item for item in seen if item[0] != "hold" and not isinstance(item[1], Progress)]
    assert results[:4] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]


def test_owners_take_turns(executor):
    recorder = Recorder()
    gate = held(executor, recorder)
    for owner in ("one", "two"):
        executor.submit(owner, "map", recorder.job(owner, counting(50)))
    gate.set()
    order = [name for name, _ in recorder.until(("two", "end")) if name != "hold"]
    assert largest_lead(order) <= 2


def test_what_has_no_result_yet_goes_on_until_it_has_one_and_then_takes_turns(executor):
    recorder = Recorder()
    gate = held(executor, recorder)

    for owner in ("one", "two"):
        executor.submit(owner, "map", recorder.job(owner, coarse_then_fine))
    gate.set()
    order = [name for name, _ in recorder.until(("two", "end")) if name != "hold"]
    assert order[:8] == 4 * ["one"] + 4 * ["two"]
    assert order[8:16] == 4 * ["one", "two"]


def test_a_long_way_to_the_first_result_does_not_hold_up_the_others(executor, monkeypatch):
    monkeypatch.setattr("modecomb_viz.executor.TURN", -1.0)
    recorder = Recorder()
    gate = held(executor, recorder)

    def steps():
        for done in range(10):
            yield Progress(done, 10)
        yield "found"

    for owner in ("one", "two"):
        executor.submit(owner, "map", recorder.job(owner, steps))
    gate.set()
    order = [name for name, _ in recorder.until(("two", "end")) if name != "hold"]
    assert largest_lead(order) <= 1


def test_cancelled_work_is_not_heard_of_again(executor):
    recorder = Recorder()
    first = threading.Event()

    def endless():
        while True:
            first.set()
            yield "more"

    executor.submit("me", "map", recorder.job("endless", endless))
    assert first.wait(DEADLINE)
    executor.cancel("me")
    executor.submit("other", "map", recorder.job("other", counting(1)))
    recorder.until(("other", "end"))
    assert recorder.heard.empty()


def test_an_error_ends_its_job_alone(executor):
    recorder = Recorder()
    fault = ValueError("no")

    def failing():
        yield 1
        raise fault

    executor.submit("me", "map", recorder.job("failing", failing))
    assert recorder.until(("failing", fault)) == [("failing", 1), ("failing", fault)]
    executor.submit("me", "map", recorder.job("next", counting(1)))
    recorder.until(("next", "end"))


def test_inline_runs_where_it_is_submitted():
    recorder = Recorder()
    InlineExecutor().submit("me", "map", recorder.job("map", counting(2)))
    assert [recorder.heard.get_nowait() for _ in range(3)] == [("map", 0), ("map", 1), ("map", "end")]


def test_a_long_step_ends_at_its_checkpoint_when_its_job_is_cancelled(executor):
    recorder, started, ended = Recorder(), threading.Event(), threading.Event()

    def endless():
        started.set()
        try:
            while True:
                checkpoint()
        except Cancelled:
            ended.set()
            raise
        yield

    executor.submit("me", "map", recorder.job("long", endless))
    assert started.wait(DEADLINE)
    executor.submit("me", "map", recorder.job("new", counting(1)))
    assert ended.wait(DEADLINE)
    assert recorder.until(("new", "end")) == [("new", 0), ("new", "end")]


def test_outside_a_job_a_checkpoint_does_nothing():
    checkpoint()


def test_an_idle_executor_gives_memory_back(executor, monkeypatch):
    given_back, recorder = threading.Event(), Recorder()
    monkeypatch.setattr(queues, "_malloc_trim", lambda: lambda padding: given_back.set())
    gate = held(executor, recorder)
    assert not given_back.is_set(), "not while there is work"
    gate.set()
    assert given_back.wait(DEADLINE)


def test_what_a_listener_raises_ends_its_job_alone(executor, caplog):
    recorder, told = Recorder(), Mailbox()

    def fail(value):
        raise RuntimeError("cannot draw")

    executor.submit("one", "map", Job(counting(5), fail, told.put))
    assert str(told.get(timeout=DEADLINE)) == "cannot draw"
    executor.submit("one", "map", Job(counting(1), lambda value: None, fail))
    executor.submit("two", "map", recorder.job("map", counting(2)))
    assert recorder.until(("map", "end"))[:2] == [("map", 0), ("map", 1)]
    assert "a listener to map failed" in caplog.text


def test_a_paused_job_goes_on_from_there(executor):
    recorder, gate = Recorder(), threading.Semaphore(0)

    def steps():
        for i in range(6):
            assert gate.acquire(timeout=DEADLINE)
            yield i

    job = recorder.job("map", steps)
    executor.submit("one", "map", job)
    gate.release(2)
    assert [recorder.next(), recorder.next()] == [("map", 0), ("map", 1)]
    gate.release()  # the step that it is at when it is paused is told
    assert executor.pause("one", "map") is job
    assert recorder.next() == ("map", 2)
    assert executor.pause("one", "map") is None
    executor.submit("one", "map", job)
    gate.release(3)
    assert recorder.until(("map", "end")) == [("map", 3), ("map", 4), ("map", 5), ("map", "end")]
