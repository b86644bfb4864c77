"""The commands that write pages: a report of results or of a mode set, a gallery of reports."""

from pathlib import Path
from typing import Annotated

import typer

from modecomb_viz.cli.options import ROOT, TRUST
from modecomb_viz.cli.progress import compute, resumable

__all__ = ["gallery", "report"]


def report(
    results: Annotated[list[Path] | None, typer.Argument(help="Results of sweeps, .nc.")] = None,
    out: Annotated[Path, typer.Option(help="The page to write; ends in .html.")] = Path("report.html"),
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    standard: Annotated[
        str | None, typer.Option(help="Compute all that a standard report of these modes needs; a name or a folder.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="For --standard: where its results are kept; default: beside the page, under its name."),
    ] = None,
    splits: Annotated[list[str], typer.Option(help="For --standard: test, train or both.")] = ["test"],  # noqa: B006
    resolution: Annotated[int, typer.Option(help="For --standard: points per side of the maps.")] = 33,
    n: Annotated[int, typer.Option("--n", "-n", help="For --standard: draws per law.")] = 64,
    alignment: Annotated[str, typer.Option(help="For --standard: the method.")] = "weight_matching",
    perturbation: Annotated[str, typer.Option(help="For --standard: shuffle or noise.")] = "shuffle",
    repair: Annotated[str, typer.Option(help="For --standard: none, batchnorm, repair or temperature.")] = "none",
    seed: Annotated[int, typer.Option(help="For --standard: of the draws.")] = 0,
    device: Annotated[str | None, typer.Option(help="For --standard; default: the GPU if there is one.")] = None,
    root: Annotated[Path | None, ROOT] = None,
    trust_code: Annotated[bool, TRUST] = False,
):
    """Write one HTML page that opens without a network and keeps its sliders.

    With --standard it computes what the page needs; what is there is kept, what was interrupted goes on.

    Example: modecomb report --standard digits-mlp --out report.html
    """
    from modecomb_viz.report import SIZE_BUDGET, save_report
    from modecomb_viz.results import check_path
    from modecomb_viz.results import open as open_result

    check_path(out, ".html")
    if bool(results) == bool(standard):
        raise ValueError(
            "give either results to show, or --standard with a mode set to compute; not both, not neither."
        )
    paths = results or []
    if standard:
        from modecomb_viz.checkpoints import open_modes

        common = {
            "splits": tuple(splits), "alignment": alignment, "perturbation": perturbation, "repair": repair,
            "seed": seed, "device": device,
        }  # fmt: skip
        opened = open_modes(standard, root, trust_code=trust_code or None)
        paths = _computed(opened, folder or out.with_suffix(""), resolution=resolution, n=n, **common)
    datasets = [open_result(path) for path in paths]
    save_report(datasets, out, title=title or f"Mode combinability of {opened.name if standard else 'stored results'}")
    size = out.stat().st_size
    typer.echo(f"wrote {out} ({size / 1e6:.1f} MB)")
    if size > SIZE_BUDGET:
        typer.echo(f"that is more than the {SIZE_BUDGET / 1e6:g} MB of a standard report; the page says so", err=True)


def _computed(modes, folder: Path, **settings) -> list[Path]:
    """The results of a standard report, computed unless they are there."""
    from modecomb_viz.study import Planned
    from modecomb_viz.sweep import standard_sweeps

    sweeps = standard_sweeps(len(modes.params), **settings)
    planned = [Planned(modes.name, name, sweep, folder / f"{name}.nc") for name, sweep in sweeps.items()]
    with resumable():
        for one in planned:
            compute(one, modes)
    if len(modes.params) < 3:
        typer.echo(f"no transitivity: {modes.name} has {len(modes.params)} networks, it takes three", err=True)
    return [one.path for one in planned]


def gallery(
    reports: Annotated[list[Path], typer.Argument(help="Reports, .html, or folders of them.")],
    out: Annotated[Path, typer.Option(help="The index to write; ends in .html.")] = Path("index.html"),
    title: Annotated[str, typer.Option(help="Heading of the index.")] = "Gallery of reports",
):
    """Write one HTML page over many reports: their main numbers, a small picture of each, links to them.

    Example: modecomb gallery reports/ --out reports/index.html
    """
    from modecomb_viz.report.gallery import save_gallery

    typer.echo(f"wrote {save_gallery(reports, out, title=title)}")
