"""The command that measures this machine."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

__all__ = ["measure"]


def measure(
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the figures as JSON.")] = None,
    resolution: Annotated[
        int | None, typer.Option(help="Points per side of the maps and number of draws, for a quick look.")
    ] = None,
    only: Annotated[str, typer.Option(help="Part of the names of what to measure, such as MNIST.")] = "",
):
    """Measure this machine: matrix multiply, the plain loop, the same through a DataLoader, and our engine.

    Example: modecomb bench --json bench.json
    """
    from modecomb_viz.bench import as_table, run_bench
    from modecomb_viz.results import check_path, write_whole

    if json_path is not None:
        check_path(json_path, ".json")
    console = Console(stderr=True)
    with console.status("") as status:
        figures = run_bench(resolution, only=only, on_work=lambda name: status.update(f"measuring {name}"))
    Console(width=None if sys.stdout.isatty() else 160).print(as_table(figures))
    if json_path is not None:
        text = json.dumps(figures, indent=2) + "\n"
        write_whole(json_path, lambda file: file.write_text(text, encoding="utf-8"))
