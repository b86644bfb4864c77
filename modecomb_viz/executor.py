"""One evaluation queue per device: fair between owners, newest request first, cancellation between steps.

A job is a generator that yields :class:`Progress` while it works and a result whenever it has one. Owners take
turns step by step, but a job that has no result yet goes on until it has one or :data:`TURN` seconds have passed:
of many sessions that move at once, each in turn sees something, instead of all at the end. Within an owner a topic
keeps its turn as long, so that every view gets its coarse picture before any gets its finest. A job is stopped by
not being called again; a request replaces the older one of the same owner and topic. Work between two steps that takes
long calls :func:`checkpoint`, which ends it when its job has been cancelled. What a listener raises ends its job alone.
"""

import ctypes
import logging
import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch

__all__ = [
    "SWITCH",
    "TURN",
    "Cancelled",
    "Executor",
    "InlineExecutor",
    "Job",
    "Progress",
    "Queue",
    "checkpoint",
    "shared_executor",
]

#: Seconds after which a busy thread makes way for another. A step is many short operations, each of which waits so long
#: while a server draws.
SWITCH = 0.0005

#: Seconds for which one topic may keep its owner's turn without a result.
TURN = 0.25

#: Seconds between two times that an idle executor gives memory back.
_TRIM_EVERY = 5.0


_RUNNING = threading.local()


class Cancelled(Exception):
    """The job whose step is running has been cancelled."""


def checkpoint():
    """Go on, unless the job that this thread is working on has been cancelled.

    Raises:
        Cancelled: when it has.
    """
    job = getattr(_RUNNING, "job", None)
    if job is not None and job.cancelled:
        raise Cancelled


@dataclass(frozen=True)
class Progress:
    """How much of a job is done: points evaluated, and points in all."""

    done: int
    total: int


Steps = Generator[Any, None, Any]


@dataclass
class Job:
    """A running generator and who hears of it.

    ``on_step`` gets every yielded value, ``on_end`` is called once with None, or with the exception that ended
    the job. Neither is called after the job was cancelled. ``seen`` says whether there was a result yet.
    """

    steps: Callable[[], Steps]
    on_step: Callable[[Any], None]
    on_end: Callable[[Exception | None], None]
    running: Steps | None = None
    cancelled: bool = False
    ended: bool = False
    seen: bool = False

    def advance(self) -> Any:
        """One step; gives what it yielded, or None when the job has ended."""
        _RUNNING.job = self
        try:
            if self.running is None:
                self.running = self.steps()
            value = next(self.running)
        except StopIteration:
            return self._finish(None)
        except Exception as error:  # any failure of a job belongs to its owner, not to the queue
            return self._finish(error)
        finally:
            _RUNNING.job = None
        self.seen = self.seen or not isinstance(value, Progress)
        try:
            self._tell(self.on_step, value)
        except Exception as error:  # nor does what its listener raises
            return self._finish(error)
        return value

    def _finish(self, error: Exception | None):
        self.ended = True
        self._tell(self.on_end, error)

    def _tell(self, listener: Callable[[Any], None], value: Any):
        if not self.cancelled:
            listener(value)


@runtime_checkable
class Queue(Protocol):
    """What a state needs of an executor."""

    def submit(self, owner: Hashable, topic: str, job: Job) -> None:
        """Start a job; the older one of the same owner and topic is cancelled."""

    def cancel(self, owner: Hashable, topic: str | None = None) -> None:
        """Cancel the owner's job of a topic, or all of them."""

    def pause(self, owner: Hashable, topic: str) -> Job | None:
        """Take a job out of the line, after the step that it is at; submitted again, it goes on from there."""


class InlineExecutor:
    """Runs a job to its end where it is submitted: for tests and scripts."""

    def submit(self, owner: Hashable, topic: str, job: Job) -> None:
        while not job.ended:
            job.advance()

    def cancel(self, owner: Hashable, topic: str | None = None) -> None:
        pass

    def pause(self, owner: Hashable, topic: str) -> Job | None:
        return None


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
    _trimmed: float = field(default=0.0, repr=False)

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

    def pause(self, owner: Hashable, topic: str) -> Job | None:
        with self._changed:
            topics = self._jobs.get(owner, OrderedDict())
            job = topics.pop(topic, None)
            if not topics:
                self._jobs.pop(owner, None)
            return job

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
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH))
        turn_of, began = None, 0.0
        while True:
            self._trim()
            owner, topic, job = self._take()
            if job is not turn_of:
                turn_of, began = job, time.monotonic()
            try:
                value = job.advance()
            except Exception:  # of a listener to its end: the job is over, the queue goes on
                logging.getLogger(__name__).exception("a listener to %s failed", topic)
                value = None
            over = not isinstance(value, Progress) or time.monotonic() - began > TURN
            with self._changed:
                self._put_back(owner, topic, job, over)
            if over:
                turn_of = None

    def _trim(self):
        """While there is nothing to do, give memory back that glibc keeps in pieces: a server would grow with use."""
        if not self._jobs and time.monotonic() - self._trimmed > _TRIM_EVERY and (trim := _malloc_trim()):
            trim(0)
            self._trimmed = time.monotonic()

    def _take(self) -> tuple[Hashable, str, Job]:
        """The next job in turn; waits while there is none."""
        with self._changed:
            while not self._jobs:
                self._changed.wait()
            owner, topics = next(iter(self._jobs.items()))
            topic, job = next(iter(topics.items()))
            return owner, topic, job

    def _put_back(self, owner: Hashable, topic: str, job: Job, over: bool):
        """The owner to the end of the line, unless it still waits for something to see in its turn; its topic too when
        that turn is over, or out when the job has ended."""
        topics = self._jobs.get(owner)
        if topics is None:
            return
        if topics.get(topic) is job:
            if job.ended:
                del topics[topic]
            elif over:
                topics.move_to_end(topic)
        if not topics:
            del self._jobs[owner]
        elif over or job.seen:
            self._jobs.move_to_end(owner)


def _malloc_trim() -> Callable[[int], int] | None:
    """What gives free memory back to the system, where the C library has it."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


_SHARED: dict[str, Executor] = {}
_SHARED_LOCK = threading.Lock()


def shared_executor(device: torch.device | str) -> Executor:
    """The one executor of a device in this process, started on first use."""
    with _SHARED_LOCK:
        return _SHARED.setdefault(str(device), Executor())
