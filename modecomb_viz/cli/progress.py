"""Progress bars on stderr, and sweeps that show one while they run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["bar", "compute", "resumable", "run_steps"]


@contextmanager
def bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr; yields ``report(done, total)``."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(text)
        yield lambda done, total: progress.update(task, completed=done, total=total)


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


def compute(planned: Any, modes: Any):
    """One sweep of a study: computed unless its result is there, with progress, and said."""
    from modecomb_viz.executor import Progress as Points
    from modecomb_viz.study import run_planned

    there = planned.path.exists()
    with bar(f"{planned.modes} {planned.name}") as report:
        for step in run_planned(planned, modes):
            if isinstance(step, Points):
                report(step.done, step.total)
    typer.echo(f"{'kept' if there else 'wrote'} {planned.path}")


@contextmanager
def resumable() -> Iterator[None]:
    """Ctrl-C while computing: exit code 130, and what to do then."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("stopped; what is done is kept, and the same command goes on", err=True)
        raise typer.Exit(130) from None
