"""Progress bars on stderr, and sweeps that show one while they run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["bar", "run", "run_steps"]


@contextmanager
def bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr; yields ``report(done, total)``."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(text)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def run(sweep: Any, modes: Any):
    """The final Dataset of a sweep, with progress on the way."""
    return run_steps(sweep.name, sweep.steps(modes))


def run_steps(name: str, steps: Iterator[Any]):
    """The last Dataset of the steps of a sweep, with progress on the way."""
    from modecomb_viz.executor import Progress as Points
    from modecomb_viz.sweep import last_dataset

    def reported(report):
        for step in steps:
            if isinstance(step, Points):
                report(step.done, step.total)
            yield step

    with bar(name) as report:
        return last_dataset(reported(report))
