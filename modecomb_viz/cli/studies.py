"""The commands on studies: many sweeps over many mode sets, and their write-up."""

from pathlib import Path
from typing import Annotated

import typer

from modecomb_viz.cli.options import ROOT
from modecomb_viz.cli.progress import bar, compute, resumable

__all__ = ["findings", "study"]

_STUDY = typer.Argument(help="A study file, .toml.")
_FOLDER = typer.Option(help="Folder of its results; default: beside the study, in results.")


def study(
    path: Annotated[Path, _STUDY],
    out: Annotated[Path | None, _FOLDER] = None,
    root: Annotated[Path | None, ROOT] = None,
):
    """Compute all sweeps of a study; what is there is kept, what was interrupted goes on.

    Example: modecomb study docs/findings/study.toml --out results
    """
    from modecomb_viz.study import read_study

    read = read_study(path, out or path.parent / "results")
    opened = {}
    with resumable():
        for planned in read.planned:
            if planned.modes not in opened:
                with bar(f"train {planned.modes}") as report:
                    opened[planned.modes] = read.open_modes(
                        planned.modes, root, lambda _, done, of, report=report: report(done, of)
                    )
            compute(planned, opened[planned.modes])


def findings(
    path: Annotated[Path, _STUDY],
    results: Annotated[Path | None, _FOLDER] = None,
    out: Annotated[Path, typer.Option(help="The page to write; ends in .md.")] = Path("findings.md"),
):
    """Write up what a study found on the four claims: tables with intervals, figures, the cost.

    Example: modecomb findings docs/findings/study.toml --results results --out findings.md
    """
    from modecomb_viz.findings import write_findings
    from modecomb_viz.study import planned_result, read_study

    folder = results or path.parent / "results"
    read = read_study(path, folder)
    if missing := [str(planned.path) for planned in read.planned if not planned.path.exists()]:
        raise ValueError(f"the study is not computed: {', '.join(missing)} missing. Run `modecomb study {path}` first.")
    command = f"modecomb study {path} --out {folder}\nmodecomb findings {path} --results {folder} --out {out}"
    results_of = [(planned.modes, planned.name, planned_result(planned)) for planned in read.planned]
    write_findings(read.title, results_of, out, command=command)
    typer.echo(f"wrote {out}")
