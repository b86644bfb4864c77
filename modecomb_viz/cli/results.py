"""The commands on stored results: report, show, compute again."""

from pathlib import Path
from typing import Annotated

import typer

from modecomb_viz.cli.options import ROOT, TRUST
from modecomb_viz.cli.progress import run, run_steps

__all__ = ["report", "rerun", "show"]

_OUT_REPORT = typer.Option(help="The page to write; ends in .html.")


def report(
    results: Annotated[list[Path] | None, typer.Argument(help="Results of sweeps, .nc.")] = None,
    out: Annotated[Path, _OUT_REPORT] = Path("report.html"),
    standard: Annotated[
        str | None, typer.Option(help="Compute all that a standard report of these modes needs.")
    ] = None,
    splits: Annotated[list[str], typer.Option(help="For --standard: test, train or both.")] = ["test"],  # noqa: B006
    resolution: Annotated[int, typer.Option(help="For --standard: points per side of the map.")] = 33,
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    root: Annotated[Path | None, ROOT] = None,
    trust_code: Annotated[bool, TRUST] = False,
):
    """Write one HTML page that opens without a network and keeps its sliders.

    Example: modecomb report --standard digits-mlp --out report.html
    """
    from modecomb_viz.report import save_report
    from modecomb_viz.results import check_path
    from modecomb_viz.results import open as open_result

    check_path(out, ".html")
    if bool(results) == bool(standard):
        raise ValueError(
            "give either results to show, or --standard with a mode set to compute; not both, not neither."
        )
    datasets = [open_result(path) for path in results or []]
    if standard:
        from modecomb_viz.checkpoints import open_modes
        from modecomb_viz.sweep import standard_sweeps

        opened = open_modes(standard, root, trust_code=trust_code or None)
        datasets = [run(sweep, opened) for sweep in standard_sweeps(splits, resolution)]
    save_report(datasets, out, title=title or f"Mode combinability of {standard or 'stored results'}")
    typer.echo(f"wrote {out} ({out.stat().st_size / 2**20:.1f} MiB)")


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
    from modecomb_viz.sweep import SWEEPS, differences, replayed, steps_again

    failed = False
    for path in results:
        dataset = open_result(path)
        opened = open_modes(modes or recipe(dataset)["modes"], root, trust_code=trust_code or None)
        sweep = replayed(dataset, SWEEPS)
        again = run_steps(sweep.name, steps_again(dataset, sweep, opened))
        found = differences(dataset, again)
        largest = max(found, key=found.__getitem__)
        failed |= found[largest] > tolerance
        verdict = "differs" if found[largest] > tolerance else "agrees"
        typer.echo(f"{path} {verdict}: largest relative difference {found[largest]:.2g}, in {largest}")
    raise typer.Exit(int(failed))
