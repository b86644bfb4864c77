"""The command line: ``modecomb …``. Every sweep takes the settings of its class, under the same names and defaults."""

import sys

import typer

from modecomb_viz.cli import bench, modes, reports, results, studies, sweeps
from modecomb_viz.sweep import SWEEPS

__all__ = ["app", "main"]

app = typer.Typer(
    help="Explore the hypercube between two trained, permutation-aligned networks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)

app.add_typer(modes.modes_app, name="modes")
for _command in (modes.spec, modes.train, modes.align):
    app.command()(_command)
for _name in SWEEPS:
    app.command(_name)(sweeps.sweep_command(_name))
for _command in (
    reports.report,
    reports.gallery,
    results.table,
    results.picture,
    results.show,
    results.rerun,
    results.point,
):
    app.command()(_command)
for _command in (studies.study, studies.findings):
    app.command()(_command)
app.command("bench")(bench.measure)


def main():
    """Run the command line: a ValueError becomes one line on stderr and exit code 2."""
    try:
        app()
    except ValueError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
