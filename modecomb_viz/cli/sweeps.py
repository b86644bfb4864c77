"""The commands of the sweeps: their options are the settings of the sweep, by the same names and defaults."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from modecomb_viz.cli.options import CONFIG, MODES, ROOT, SPECIAL, TRUST, attribute_help, from_file, option
from modecomb_viz.cli.progress import run

__all__ = ["sweep_command"]


def _shared(name: str, annotation: Any, **default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, **default)


#: What the command of every sweep takes before the settings of the sweep.
_SHARED = (
    _shared("context", typer.Context),
    _shared("modes", Annotated[str, MODES]),
    _shared("out", Annotated[Path, typer.Option(help="Result; ends in .nc.")]),
    _shared("root", Annotated[Path | None, ROOT], default=None),
    _shared("config", Annotated[Path | None, CONFIG], default=None),
    _shared("trust_code", Annotated[bool, TRUST], default=False),
)


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
        root: Path | None,
        trust_code: bool,
        config: Path | None,
        **settings: Any,
    ):
        from modecomb_viz.checkpoints import open_modes
        from modecomb_viz.results import check_path, save

        check_path(out, ".nc")
        chosen = {key: SPECIAL[key][1](value) if key in SPECIAL else value for key, value in settings.items()}
        made = sweep(**{**chosen, **(from_file(config, sweep, context) if config else {})})
        dataset = run(made, open_modes(modes, root, trust_code=trust_code or None))
        typer.echo(f"wrote {save(dataset, out)} in {dataset.attrs['wall_time']:.3g} s of computing")

    command.__signature__ = inspect.Signature([*_SHARED, *options])
    command.__annotations__ = {p.name: p.annotation for p in (*_SHARED, *options)}
    summary = inspect.cleandoc(sweep.__doc__).partition("\n")[0].replace("``", "")
    command.__doc__ = f"{summary}\n\nExample: modecomb {name} --modes digits-mlp --out {name}.nc"
    return command
