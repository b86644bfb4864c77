"""The commands on stored results: table, picture, show, compute again, export a point."""

from pathlib import Path
from typing import Annotated

import typer

from modecomb_viz.cli.options import ROOT, TRUST
from modecomb_viz.cli.progress import run_steps

__all__ = ["picture", "point", "rerun", "show", "table"]

_RESULT = typer.Argument(help="Result of a sweep, .nc.")


def table(
    result: Annotated[Path, _RESULT],
    out: Annotated[Path, typer.Option(help="The table to write; ends in .csv or .parquet.")],
    of: Annotated[
        str,
        typer.Option(help="Which table: points, reference, barriers …; the error for another lists those there are."),
    ] = "points",
    units: Annotated[bool, typer.Option(help="Units in the names of the columns of a CSV.")] = True,
):
    """Write the values of a result, or a statistic of it, as a tidy table.

    Example: modecomb table segment.nc --of barriers --out barriers.csv
    """
    from modecomb_viz.export.tables import save_table
    from modecomb_viz.results import open as open_result

    typer.echo(f"wrote {save_table(open_result(result), out, of=of, units=units)}")


def picture(
    result: Annotated[Path, _RESULT],
    out: Annotated[Path, typer.Option(help="The picture to write; ends in .png or .svg.")],
    quantity: Annotated[str | None, typer.Option(help="loss or accuracy; default: what the plot shows.")] = None,
    split: Annotated[str, typer.Option(help="test or train.")] = "test",
    strength: Annotated[float | None, typer.Option(help="Which, of a result with many strengths.")] = None,
    scale: Annotated[float | None, typer.Option(help="Pixels of a PNG per pixel of the figure; default: 2.")] = None,
    width: Annotated[int | None, typer.Option(help="Of a single figure, in pixels; default: that of the plot.")] = None,
    height: Annotated[
        int | None, typer.Option(help="Of a single figure, in pixels; default: that of the plot.")
    ] = None,
    option: Annotated[
        list[str], typer.Option(help="Of the plot: NAME=VALUE, such as measure=jensen_shannon. May be repeated.")
    ] = [],  # noqa: B006
):
    """Draw a result as PNG or SVG; Chromium or Chrome must be installed, MODECOMB_CHROMIUM may name it.

    Example: modecomb picture plane.nc --quantity accuracy --out plane.png
    """
    from modecomb_viz.export.pictures import save_picture
    from modecomb_viz.results import open as open_result

    sides = {"scale": scale, "width": width, "height": height}
    chosen = {"quantity": quantity, "split": split, "strength": strength, **sides}
    options = dict(map(_plot_option, option))
    if twice := chosen.keys() & options.keys():
        raise ValueError(f"--option {', '.join(sorted(twice))} has an option of its own: give --{min(twice)}.")
    typer.echo(f"wrote {save_picture(open_result(result), out, **chosen, **options)}")


def _plot_option(text: str) -> tuple[str, str | float]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"an option of the plot is given as NAME=VALUE, such as definition=D1; got '{text}'.")
    try:
        return name, float(value)
    except ValueError:
        return name, value


def show(
    results: Annotated[list[Path], typer.Argument(help="Results of sweeps, .nc.")],
):
    """Print what results hold: variables with units and ranges, recipe, seeds, hashes, versions.

    Example: modecomb show plane.nc
    """
    from modecomb_viz.results import described
    from modecomb_viz.results import open as open_result

    for path in results:
        typer.echo(f"{path}\n{described(open_result(path))}\n")


def rerun(
    results: Annotated[list[Path], typer.Argument(help="Results of sweeps, .nc.")],
    modes: Annotated[str | None, typer.Option(help="The mode set; default: the name that the recipe gives.")] = None,
    tolerance: Annotated[float, typer.Option(help="Largest difference, relative to the largest value.")] = 1e-6,
    root: Annotated[Path | None, ROOT] = None,
    trust_code: Annotated[bool, TRUST] = False,
):
    """Compute results again from their recipes and compare; exit code 1 when one differs.

    Example: modecomb rerun plane.nc
    """
    from modecomb_viz.checkpoints import open_modes
    from modecomb_viz.results import open as open_result
    from modecomb_viz.results import recipe
    from modecomb_viz.sweep import differences, replayed, steps_again

    failed = False
    for path in results:
        dataset = open_result(path)
        opened = open_modes(modes or recipe(dataset)["modes"], root, trust_code=trust_code or None)
        sweep = replayed(dataset)
        again = run_steps(sweep.name, steps_again(dataset, sweep, opened))
        found = differences(dataset, again)
        largest = max(found, key=found.__getitem__)
        failed |= found[largest] > tolerance
        verdict = "differs" if found[largest] > tolerance else "agrees"
        typer.echo(f"{path} {verdict}: largest relative difference {found[largest]:.2g}, in {largest}")
    raise typer.Exit(int(failed))


def point(
    result: Annotated[Path, _RESULT],
    out: Annotated[Path, typer.Option(help="The checkpoint to write; ends in .safetensors.")],
    at: Annotated[
        list[str], typer.Option(help="Where: NAME=VALUE, such as u=0.5, for every dimension. May be repeated.")
    ] = [],  # noqa: B006
    modes: Annotated[str | None, typer.Option(help="The mode set; default: the name that the recipe gives.")] = None,
    root: Annotated[Path | None, ROOT] = None,
    trust_code: Annotated[bool, TRUST] = False,
):
    """Write the network at one point of a result as a checkpoint, with its recipe in the metadata.

    Example: modecomb point plane.nc --at u=0.5 --at v=0.25 --out point.safetensors
    """
    from modecomb_viz.checkpoints import open_modes
    from modecomb_viz.results import open as open_result
    from modecomb_viz.results import recipe
    from modecomb_viz.sweep import export_point

    where = dict(map(_place, at))
    dataset = open_result(result)
    opened = open_modes(modes or recipe(dataset)["modes"], root, trust_code=trust_code or None)
    typer.echo(f"wrote {export_point(dataset, opened, out, **where)}")


def _place(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"a coordinate of the point is given as NAME=VALUE, such as u=0.5; got '{text}'.")
    return name, value
