"""One evaluation queue per device: fair between owners, newest request first, cancellation between steps.

A job is a generator. The queue calls ``next`` on the generators of all owners in turn, one step each, so that
every view gets its coarse picture before any gets its finest, and a job is stopped by not being called
again. A request replaces the older one of the same owner and topic.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

__all__ = ["Executor", "InlineExecutor", "Job", "Queue", "shared_executor"]

Steps = Generator[Any, None, Any]


@dataclass
class Job:
    """A running generator and who hears of it.

    ``on_step`` gets every yielded value, ``on_end`` is called once with None, or with the exception that ended
    the job. Neither is called after the job was cancelled.
    """

    steps: Callable[[], Steps]
    on_step: Callable[[Any], None]
    on_end: Callable[[Exception | None], None]
    running: Steps | None = None
    cancelled: bool = False

    def advance(self) -> bool:
        """One step; False when the job has ended."""
        try:
            if self.running is None:
                self.running = self.steps()
            value = next(self.running)
        except StopIteration:
            self._tell(self.on_end, None)
            return False
        except Exception as error:  # any failure of a job belongs to its owner, not to the queue
            self._tell(self.on_end, error)
            return False
        self._tell(self.on_step, value)
        return True

    def _tell(self, listener: Callable[[Any], None], value: Any):
        if not self.cancelled:
            listener(value)


class Queue(Protocol):
    """What a state needs of an executor."""

    def submit(self, owner: Hashable, topic: str, job: Job) -> None:
        """Start a job; the older one of the same owner and topic is cancelled."""

    def cancel(self, owner: Hashable, topic: str | None = None) -> None:
        """Cancel the owner's job of a topic, or all of them."""


class InlineExecutor:
    """Runs a job to its end where it is submitted: for tests and scripts."""

    def submit(self, owner: Hashable, topic: str, job: Job) -> None:
        while job.advance():
            pass

    def cancel(self, owner: Hashable, topic: str | None = None) -> None:
        pass


@dataclass
class Executor:
    """A worker thread for one device.

    Owners take turns; within an owner its topics take turns, the newest request first. ``threads`` is set as
    torch's number of CPU threads when the worker starts: one core is left to the server.
    """

    threads: int = field(default_factory=lambda: max(1, (os.cpu_count() or 2) - 1))
    _jobs: OrderedDict[Hashable, OrderedDict[str, Job]] = field(default_factory=OrderedDict, repr=False)
    _changed: threading.Condition = field(default_factory=threading.Condition, repr=False)
    _thread: threading.Thread | None = field(default=None, repr=False)

    def submit(self, owner: Hashable, topic: str, job: Job) -> None:
        with self._changed:
            topics = self._jobs.setdefault(owner, OrderedDict())
            self._drop(topics, topic)
            topics[topic] = job
            topics.move_to_end(topic, last=False)
            self._start()
            self._changed.notify()

    def cancel(self, owner: Hashable, topic: str | None = None) -> None:
        with self._changed:
            topics = self._jobs.get(owner, OrderedDict())
            for name in [topic] if topic else list(topics):
                self._drop(topics, name)
            if not topics:
                self._jobs.pop(owner, None)

    @staticmethod
    def _drop(topics: OrderedDict[str, Job], topic: str):
        if job := topics.pop(topic, None):
            job.cancelled = True

    def _start(self):
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="modecomb-executor", daemon=True)
            self._thread.start()

    def _work(self):
        torch.set_num_threads(self.threads)
        while True:
            owner, topic, job = self._take()
            alive = job.advance()
            with self._changed:
                self._put_back(owner, topic, job, alive)

    def _take(self) -> tuple[Hashable, str, Job]:
        """The next job in turn; waits while there is none."""
        with self._changed:
            while not self._jobs:
                self._changed.wait()
            owner, topics = next(iter(self._jobs.items()))
            topic, job = next(iter(topics.items()))
            return owner, topic, job

    def _put_back(self, owner: Hashable, topic: str, job: Job, alive: bool):
        """The owner, and its topic if it goes on, to the end of the line."""
        topics = self._jobs.get(owner)
        if topics is None:
            return
        if topics.get(topic) is job:
            if alive:
                topics.move_to_end(topic)
            else:
                del topics[topic]
        if topics:
            self._jobs.move_to_end(owner)
        else:
            del self._jobs[owner]


_SHARED: dict[str, Executor] = {}
_SHARED_LOCK = threading.Lock()


def shared_executor(device: torch.device | str) -> Executor:
    """The one executor of a device in this process, started on first use."""
    with _SHARED_LOCK:
        return _SHARED.setdefault(str(device), Executor())
