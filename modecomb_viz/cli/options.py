"""Options of the command line: those that many commands share, and how a field of a sweep becomes one."""

import inspect
import re
import tomllib
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["CONFIG", "MODES", "ROOT", "SPECIAL", "TRUST", "attribute_help", "from_file", "is_given", "option"]

MODES = typer.Option(help="Name in the catalogue (see `modecomb modes`), or a folder made by `modecomb train`.")
ROOT = typer.Option(help="Folder of data sets in torchvision's layout; default: MODECOMB_DATA.")
CONFIG = typer.Option(help="Settings in TOML, by the names of the options; what the command line gives goes before.")
TRUST = typer.Option("--trust-code", help="Allow an architecture package.module:factory, which runs that code.")


def attribute_help(sweep: type) -> dict[str, str]:
    """What the docstrings of a sweep and its bases say about their attributes."""
    texts = {}
    for cls in reversed(sweep.__mro__):
        section = re.search(r"Attributes:\n(.*?)(?:\n\s*\n|\Z)", inspect.cleandoc(cls.__doc__ or ""), re.DOTALL)
        for entry in re.split(r"\n    (?! )", "\n" + section[1] if section else ""):
            names, _, text = " ".join(entry.split()).replace("``", "").partition(": ")
            texts.update({name.strip(): re.sub(r":\w+:`[~.\w]*?(\w+)`", r"\1", text) for name in names.split(",")})
    return texts


#: How a field that is no plain value is given on the command line: type, and what becomes of it.
SPECIAL: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "strength": (list[float], lambda values: values[0] if len(values) == 1 else tuple(values)),
    "base": (list[float], lambda values: values[0] if len(values) == 1 else tuple(values)),
    "splits": (list[str], tuple),
    "members": (list[str], tuple),
    "means": (list[float], tuple),
    "deviations": (list[float], tuple),
    "parameters": (list[str], lambda texts: dict(map(_parameter, texts))),
    "plan": (list[str], lambda texts: dict(map(_plan_entry, texts))),
    "z": (str, lambda text: int(text) if text.isdigit() else _point_or_layers(text)),
}


def _parameter(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise ValueError(f"a parameter of the law is given as NAME=NUMBER, such as p=0.3; got '{text}'.") from None


def _plan_entry(text: str) -> tuple[str, str | int | bool]:
    name, _, value = text.partition("=")
    if name == "share":
        return name, value.lower() in ("true", "1")
    return name, int(value) if value.isdigit() else value


def _point_or_layers(text: str) -> str | tuple[str, ...]:
    from modecomb_viz.sweep.plane import Z_POINTS

    return text if text in Z_POINTS else tuple(text.split(","))


def option(field: Field, help_text: str) -> inspect.Parameter:
    """The command-line option of one field: the same name, the same default."""
    kind = SPECIAL[field.name][0] if field.name in SPECIAL else field.type
    default = field.default_factory() if field.default is MISSING else field.default
    if field.name in ("strength", "base", "splits", "members", "means", "deviations"):
        default = list(default) if isinstance(default, tuple) else [default]
    flags = [f"--{field.name.replace('_', '-')}", *([f"-{field.name}"] if len(field.name) == 1 else [])]
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=[] if isinstance(default, dict) else default,
        annotation=Annotated[kind, typer.Option(*flags, help=help_text)],
    )


def from_file(path: Path, sweep: type, context: Any) -> dict[str, Any]:
    """The settings of a TOML file that the command line does not give itself.

    Raises:
        ValueError: for a file that cannot be read, or a setting that the sweep has not.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"--config '{path}' cannot be read as TOML: {error}") from error
    known = [field.name for field in fields(sweep)]
    if unknown := table.keys() - set(known):
        raise ValueError(f"--config '{path}' has {', '.join(sorted(unknown))}; the settings are {', '.join(known)}.")
    return {key: value for key, value in table.items() if not is_given(key, context)}


def is_given(key: str, context: Any) -> bool:
    """Whether the command line gives this option itself."""
    source = context.get_parameter_source(key)
    return source is not None and source.name != "DEFAULT"
