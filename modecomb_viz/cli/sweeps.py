"""The commands of the sweeps: their options are the settings of the sweep, by the same names and defaults."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from modecomb_viz.cli.options import CONFIG, MODES, ROOT, SPECIAL, TRUST, attribute_help, from_file, is_given, option
from modecomb_viz.cli.progress import run_steps

__all__ = ["sweep_command"]


def _shared(name: str, annotation: Any, **default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, **default)


#: What the command of every sweep takes before the settings of the sweep.
_SHARED = (
    _shared("context", typer.Context),
    _shared("modes", Annotated[str, MODES]),
    _shared("out", Annotated[Path, typer.Option(help="Result; ends in .nc (NetCDF) or .zarr.")]),
    _shared(
        "resume",
        Annotated[
            bool, typer.Option("--resume", help="Go on with an interrupted run to the same result, with its settings.")
        ],
        default=False,
    ),
    _shared("root", Annotated[Path | None, ROOT], default=None),
    _shared("config", Annotated[Path | None, CONFIG], default=None),
    _shared("trust_code", Annotated[bool, TRUST], default=False),
)


def _journal_of(out: Path, resume: bool) -> Path:
    """Where a run keeps what it has evaluated until its result is written."""
    journal = out.with_name(f"{out.name}.journal")
    if journal.exists() and not resume:
        raise ValueError(
            f"'{journal}' holds an unfinished run. Go on with it by --resume, or delete it to begin again."
        )
    if resume and not journal.exists():
        raise ValueError(f"there is no unfinished run at '{journal}' to go on with. Leave out --resume to begin one.")
    return journal


def _settings_of(journal: Path, name: str) -> dict[str, Any]:
    """The settings that an unfinished run began with."""
    from modecomb_viz.sweep import journal_header

    settings = journal_header(journal)["recipe"]
    if settings["sweep"] != name:
        raise ValueError(
            f"'{journal}' is the unfinished run of `modecomb {settings['sweep']}`, not of `modecomb {name}`."
        )
    del settings["sweep"], settings["modes"]
    return settings


def _tell_what_is_kept(journal: Path):
    if journal.exists():
        typer.echo(f"stopped; what is done is kept in '{journal}', and --resume goes on with it", err=True)
    else:
        typer.echo("stopped before anything was evaluated", err=True)


def sweep_command(name: str) -> Callable[..., None]:
    """The command of a sweep: its options are the fields of the sweep's class."""
    from modecomb_viz.alignment import METHODS
    from modecomb_viz.sweep import SWEEPS

    sweep = SWEEPS[name]
    texts = attribute_help(sweep)
    texts["alignment"] = f"{texts.get('alignment', '').rstrip('.')}: {', '.join(METHODS)}."
    options = [option(field, texts.get(field.name, "")) for field in fields(sweep)]

    def command(
        context: Any,
        modes: str,
        out: Path,
        resume: bool,
        root: Path | None,
        trust_code: bool,
        config: Path | None,
        **settings: Any,
    ):
        from modecomb_viz.checkpoints import open_modes
        from modecomb_viz.results import FORMATS, check_path, save
        from modecomb_viz.sweep import make_sweep

        check_path(out, *FORMATS)
        kept = _journal_of(out, resume)
        chosen = {key: SPECIAL[key][1](value) if key in SPECIAL else value for key, value in settings.items()}
        of_file = from_file(config, sweep, context) if config else {}
        if resume:
            given = {key: value for key, value in chosen.items() if is_given(key, context)}
            chosen = _settings_of(kept, name) | given
        chosen |= of_file
        opened = open_modes(modes, root, trust_code=trust_code or None)
        try:
            dataset = run_steps(name, make_sweep(name, chosen).steps(opened, kept))
        except KeyboardInterrupt:
            _tell_what_is_kept(kept)
            raise typer.Exit(130) from None
        typer.echo(f"wrote {save(dataset, out)} in {dataset.attrs['wall_time']:.3g} s of computing")
        kept.unlink()

    command.__signature__ = inspect.Signature([*_SHARED, *options])
    command.__annotations__ = {p.name: p.annotation for p in (*_SHARED, *options)}
    summary = inspect.cleandoc(sweep.__doc__).partition("\n")[0].replace("``", "")
    command.__doc__ = f"{summary}\n\nExample: modecomb {name} --modes digits-mlp --out {name}.nc"
    return command
