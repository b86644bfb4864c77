"""What has been computed for the choices of the explorer."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from json import dumps
from threading import Lock, RLock
from typing import Any

import param
import xarray as xr

from modecomb_viz.checkpoints import ModeSet
from modecomb_viz.executor import Job, Progress, Queue
from modecomb_viz.results import recipe
from modecomb_viz.state.choices import TOPICS, ExplorerState
from modecomb_viz.sweep import Sweep

__all__ = ["Results"]

#: Seconds between two reports of progress at least, and how many times as long as its last update took a page rests
#: from progress alone: what only counts must not take the time of what is drawn.
_REPORT_EVERY = 0.25
_REST_OF_COUNTING = 10.0

#: Between two pictures on the way, all sessions of a server rest so many times as long as the last one took from its
#: arrival until it was shown: where there are many sessions each of them shows fewer steps, and all get on.
_REST = 4.0

#: Seconds of rest at most, whatever took long.
_LONGEST_REST = 1.0

#: How many final results are kept to be shown again at once.
_KEPT = 64


@dataclass
class _Pace:
    """When something was last shown, and how many seconds that took from its arrival on."""

    shown_at: float = 0.0
    took: float = 0.0

    def note(self, asked_at: float):
        """It was asked for then, and is shown now."""
        self.shown_at = time.monotonic()
        self.took = self.shown_at - asked_at

    def resting(self, times: float, least: float = 0.0) -> bool:
        """Whether it is too early for more."""
        rest = min(_LONGEST_REST, max(least, times * self.took))
        return time.monotonic() - self.shown_at < rest


#: Of the pictures of all sessions, which one thread shows.
_OF_PICTURES = _Pace()


def _at_once(call: Callable[[], None]):
    call()


def _key(made_by: Mapping[str, Any]) -> str:
    return dumps(made_by, sort_keys=True)


class Results(param.Parameterized):
    """What has been computed for a state, growing from coarse to fine.

    A change of the state starts only the sweeps that it changes; a newer request replaces the older one of its
    topic. What was shown stays until something newer has arrived, also after an error. What is on another page stays
    as it was, and is brought up to date when that page is opened.

    Args:
        state: the choices.
        executor: where jobs run.
        publish: brings a call from the executor's thread to the thread that owns the pictures.
    """

    datasets = param.Dict(default={}, doc="The newest Dataset by topic.")
    progress = param.Dict(default={}, doc="Progress by topic, of those that are being computed.")
    stopped = param.List(default=[], doc="Topics whose computation was stopped before its end.")
    topics = param.List(default=[], doc="What the choices ask for on the page.")
    error = param.String("", doc="Why the last request could not be computed, in words; empty when it could.")

    def __init__(self, state: ExplorerState, executor: Queue, publish: Callable[[Callable[[], None]], None] = _at_once):
        super().__init__()
        self.state, self._executor, self._publish = state, executor, publish
        self._changing = RLock()  # without a page, what arrives is shown in the executor's thread
        self._wanted: dict[str, str] = {}
        self._paused: dict[str, Job] = {}
        self._finished: OrderedDict[str, xr.Dataset] = OrderedDict()
        self._lock, self._asked = Lock(), False
        self._asked_at, self._pace = 0.0, _Pace()
        self._pictured: dict[str, str] = {}
        self._arrived: dict[str, dict[str, Any]] = {}
        state.param.watch(lambda *events: self.request(), list(state.param))
        self.request()

    def current(self, topic: str) -> xr.Dataset | None:
        """The newest Dataset of a topic, unless it is one of earlier choices."""
        dataset = self.datasets.get(topic)
        return dataset if dataset is not None and _key(recipe(dataset)) == self._asked_for(topic) else None

    def _asked_for(self, topic: str) -> str | None:
        """What the present choices ask for in a topic, on whatever page; None where they cannot be computed."""
        try:
            sweep = self.state.sweeps([topic]).get(topic)
        except ValueError:
            return None
        return None if sweep is None else _key(sweep.recipe(self.state.modes))

    @property
    def complete(self) -> dict[str, xr.Dataset]:
        """What has been computed to its end for the present choices, on whatever page, by topic."""
        everywhere = dict.fromkeys(topic for topics in TOPICS.values() for topic in topics)
        keys = {topic: self._asked_for(topic) for topic in everywhere}
        return {topic: self._finished[key] for topic, key in keys.items() if key in self._finished}

    def request(self):
        """Start what the state asks for and is neither there nor under way; end what is on another page."""
        with self._changing:
            try:
                modes, sweeps = self.state.modes, self.state.sweeps()
            except ValueError as error:
                here = [topic for topic in self.topics if topic in self.state.topics]
                self.param.update(error=str(error), topics=here)
                return
            self._ask(modes, sweeps)

    def _ask(self, modes: ModeSet, sweeps: Mapping[str, Sweep]):
        datasets, progress, jobs, stopped = dict(self.datasets), dict(self.progress), [], list(self.stopped)
        here = set(self.state.topics)
        for topic in self._wanted.keys() - sweeps.keys():
            if topic in here or topic not in stopped:  # what was stopped on another page stays as it is
                self._drop(topic)
                progress.pop(topic, None)
        for topic in here - sweeps.keys():
            datasets.pop(topic, None)
        for topic, sweep in reversed(sweeps.items()):
            key = _key(sweep.recipe(modes))
            if self._wanted.get(topic) != key:
                self._wanted[topic] = key
                progress.pop(topic, None)
                stopped = [other for other in stopped if other != topic]
                if key in self._finished:
                    self._executor.cancel(id(self), topic)
                    self._finished.move_to_end(key)
                    datasets[topic] = self._finished[key]
                else:
                    progress[topic] = Progress(0, 1)
                    jobs.append((topic, key, modes, sweep))
        stopped = [topic for topic in stopped if topic in self._wanted]
        self._paused = {topic: job for topic, job in self._paused.items() if topic in stopped}
        self.param.update(datasets=datasets, progress=progress, stopped=stopped, topics=list(sweeps), error="")
        for job in jobs:
            self._start(*job)

    def stop(self, topics: Iterable[str]):
        """End the work on topics as it stands; what has arrived stays shown."""
        with self._changing:
            ended = [topic for topic in topics if topic in self.progress]
            for topic in ended:
                if (job := self._executor.pause(id(self), topic)) is None:
                    continue
                if job.seen:
                    self._paused[topic] = job
                else:
                    job.cancelled = True  # it may be at something that takes long, before there is anything to keep
            progress = {topic: value for topic, value in self.progress.items() if topic not in ended}
            self.param.update(progress=progress, stopped=sorted({*self.stopped, *ended}))

    def resume(self, topics: Iterable[str]):
        """Go on with stopped topics where they were left; with what had shown nothing yet, from its start."""
        with self._changing:
            again = [topic for topic in topics if topic in self.stopped and topic in self.topics]
            going_on = {topic: self._paused.pop(topic) for topic in again if topic in self._paused}
            for topic in set(again) - going_on.keys():
                self._wanted.pop(topic, None)
            self.stopped = [topic for topic in self.stopped if topic not in going_on]
            self.progress = {**self.progress, **dict.fromkeys(going_on, Progress(0, 1))}
            for topic, job in going_on.items():
                self._executor.submit(id(self), topic, job)
            self.request()

    def cancel(self):
        """Stop all work; for the end of a session."""
        with self._changing:
            self._wanted.clear()
        self._executor.cancel(id(self))

    def _drop(self, topic: str):
        del self._wanted[topic]
        self._executor.cancel(id(self), topic)

    def _start(self, topic: str, key: str, modes: ModeSet, sweep: Sweep):
        job = Job(
            lambda: sweep.steps(modes),
            on_step=lambda step: self._on_step(topic, key, step),
            on_end=lambda error: self._arrive(topic, key, ended=error),
        )
        self._executor.submit(id(self), topic, job)

    def _arrive(self, topic: str, key: str, **news: Any):
        """In the executor's thread: note what is newest of a topic, and ask for it to be shown, once at a time.

        A page that is slow to draw skips intermediate pictures instead of falling behind. The first picture of a
        request and its end are never put off; what is put off is shown with whatever comes next.
        """
        with self._lock:
            noted = self._arrived.get(topic, {})
            self._arrived[topic] = {**(noted if noted.get("key") == key else {}), "key": key, **news}
            first = "dataset" in news and self._pictured.get(topic) != key
            if first:
                self._pictured[topic] = key
            if "dataset" in news:
                resting = _OF_PICTURES.resting(_REST)
            else:
                resting = self._pace.resting(_REST_OF_COUNTING, _REPORT_EVERY)
            if self._asked or (resting and not first and "ended" not in news):
                return
            self._asked, self._asked_at = True, time.monotonic()
        self._publish(self._show)

    def _on_step(self, topic: str, key: str, step: Progress | xr.Dataset):
        """In the executor's thread: pass on Datasets and progress."""
        self._arrive(topic, key, **({"dataset": step} if isinstance(step, xr.Dataset) else {"progress": step}))

    def _show(self):
        """Show everything that has arrived and is still wanted, in one update."""
        with self._changing:
            self._update()

    def _update(self):
        with self._lock:
            arrived, self._arrived, self._asked = self._arrived, {}, False
            asked_at = self._asked_at
        datasets, progress, stopped, error = dict(self.datasets), dict(self.progress), list(self.stopped), self.error
        for topic, news in arrived.items():
            if self._wanted.get(topic) != news["key"]:
                continue
            if "dataset" in news:
                datasets[topic] = news["dataset"]
            if "progress" in news and topic not in stopped:
                progress[topic] = news["progress"]
            if "ended" in news:
                progress.pop(topic, None)
                stopped = [other for other in stopped if other != topic]
                error = self._end(topic, news["key"], news["ended"], datasets) or error
        self.param.update(datasets=datasets, progress=progress, stopped=stopped, error=error)
        self._pace.note(asked_at)
        if any("dataset" in news for news in arrived.values()):
            _OF_PICTURES.note(asked_at)

    def _end(self, topic: str, key: str, fault: Exception | None, datasets: Mapping[str, xr.Dataset]) -> str:
        """Keep a final result, or give the words for a failure."""
        if fault is not None:
            del self._wanted[topic]
            return str(fault) if isinstance(fault, ValueError) else f"{type(fault).__name__}: {fault}"
        if _key(recipe(datasets[topic])) == key:  # not what came back for other choices before this end was shown
            self._finished[key] = datasets[topic]
        while len(self._finished) > _KEPT:
            self._finished.popitem(last=False)
        return ""
