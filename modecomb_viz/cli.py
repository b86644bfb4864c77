"""The command line: ``modecomb …``. Every sweep takes the settings of its class, under the same names and defaults."""

import inspect
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, Any, no_type_check

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

__all__ = ["app", "main"]

app = typer.Typer(
    help="Explore the hypercube between two trained, permutation-aligned networks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)

_MODES = typer.Option(help="Name in the catalogue (see `modecomb modes`), or a folder made by `modecomb train`.")
_ROOT = typer.Option(help="Folder of data sets in torchvision's layout; default: MODECOMB_DATA.")
_CONFIG = typer.Option(help="Settings in TOML, by the names of the options; what the command line gives goes before.")
_OUT_REPORT = typer.Option(help="The page to write; ends in .html.")


@contextmanager
def _progress(text: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr; yields ``report(done, total)``."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(text)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _run(sweep: Any, modes: Any):
    """The final Dataset of a sweep, with progress on the way."""
    return _run_steps(sweep.name, sweep.steps(modes))


def _run_steps(name: str, steps: Iterator[Any]):
    """The last Dataset of the steps of a sweep, with progress on the way."""
    from modecomb_viz.executor import Progress as Points
    from modecomb_viz.sweep import last_dataset

    def reported(report):
        for step in steps:
            if isinstance(step, Points):
                report(step.done, step.total)
            yield step

    with _progress(name) as report:
        return last_dataset(reported(report))


modes_app = typer.Typer(help="List the mode sets of the catalogue, or add one.", invoke_without_command=True)
app.add_typer(modes_app, name="modes")

_ARCHITECTURE = typer.Option(help="mlp, convnet, resnet …, torchvision:resnet18, or package.module:factory.")
_OPTION = typer.Option(help="Of the architecture: NAME=VALUE as in TOML, such as num_classes=10. May be repeated.")
_DATA = typer.Option(help="A data set by name, or a .npz or .pt file with x_train, y_train, x_test, y_test.")
_SCALE = typer.Option(
    help="Normalisation of a data file: of pixel/255 for uint8; floats are used as they are. Repeated per channel."
)
_TRUST = typer.Option("--trust-code", help="Allow an architecture package.module:factory, which runs that code.")


@modes_app.callback()
@no_type_check
def modes(context: typer.Context):
    """List the mode sets of the catalogue: architecture, size, data, accuracies.

    Example: modecomb modes
    """
    if context.invoked_subcommand:
        return
    from modecomb_viz.checkpoints import catalogue, read_recipe

    table = Table("name", "architecture", "parameters", "data", "test accuracy", title="Mode sets", box=None)
    for name, folder in catalogue().items():
        try:
            recipe = read_recipe(folder / "recipe.toml")
            table.add_row(name, recipe.architecture_text, *_size_and_accuracies(folder, recipe))
        except ValueError as error:
            table.add_row(name, f"cannot be opened: {error}")
    Console(width=None if sys.stdout.isatty() else 160).print(table, markup=False)


def _size_and_accuracies(folder: Path, recipe: Any) -> tuple[str, str, str]:
    """Number of trained and running values of one mode, its data, and the accuracy of every mode as it was measured."""
    from modecomb_viz.checkpoints import mode_files, mode_metadata

    size, accuracies = 0, []
    for mode, path in mode_files(folder, recipe).items():
        metadata = mode_metadata(path)
        size = metadata.size
        accuracy = metadata.values.get("test_accuracy")
        accuracies.append(f"{mode} {accuracy:.3f}" if isinstance(accuracy, float) else mode)
    return f"{size:,}", recipe.data_text, ", ".join(accuracies)


@modes_app.command("add")
def modes_add(
    name: Annotated[str, typer.Argument(help="The name in the catalogue.")],
    checkpoints: Annotated[
        list[str], typer.Argument(help="Two or more MODE=FILE (.safetensors, .pt, .pth), or one folder of them.")
    ],
    architecture: Annotated[str, _ARCHITECTURE] = "",
    option: Annotated[list[str], _OPTION] = [],  # noqa: B006
    data: Annotated[str, _DATA] = "",
    mean: Annotated[list[float], _SCALE] = [],  # noqa: B006
    std: Annotated[list[float], _SCALE] = [],  # noqa: B006
    root: Annotated[Path | None, _ROOT] = None,
    trust_code: Annotated[bool, _TRUST] = False,
):
    """Register networks of your own: traced, proven, measured, and copied into your catalogue.

    Example: modecomb modes add my-nets A=run1/last.pt B=run2/last.pt --architecture torchvision:resnet18
    --option num_classes=10 --data cifar10
    """
    from modecomb_viz.checkpoints import add_modes, described, open_checkpoints, open_modes
    from modecomb_viz.training import measure

    given = described(architecture, option, data, mean, std)
    if len(checkpoints) == 1 and "=" not in checkpoints[0]:
        opened = open_modes(checkpoints[0], root, **given, trust_code=trust_code)
    else:
        files = _mode_files(checkpoints)
        if len(given) < 2:
            raise ValueError("--architecture and --data must be given, such as torchvision:resnet18 and cifar10.")
        opened = open_checkpoints(name, files, **given, root=root, trust_code=trust_code)
    splits = {"train": opened.train, "test": opened.test}
    measured = {mode: measure(opened.model, splits, params=params) for mode, params in opened.params.items()}
    folder = add_modes(name, opened, measured)
    for mode, values in measured.items():
        typer.echo(f"{mode}: " + ", ".join(f"{key} {value:.4g}" for key, value in values.items()))
    spec = opened.spec
    typer.echo(f"{spec.permuted_share:.1%} of the weights lie on a permuted axis, in {len(spec.sizes)} groups")
    for note in spec.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"wrote {folder}")


def _mode_files(texts: list[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for text in texts:
        mode, equals, path = text.partition("=")
        if not mode or not equals or not path:
            raise ValueError(f"a checkpoint is given as MODE=FILE, such as A=run1/last.pt, got '{text}'.")
        if mode in files:
            raise ValueError(f"mode {mode} is given twice, '{files[mode]}' and '{path}'. Give every mode its own name.")
        files[mode] = Path(path)
    return files


@app.command()
def spec(
    modes: Annotated[str, _MODES],
    root: Annotated[Path | None, _ROOT] = None,
    trust_code: Annotated[bool, _TRUST] = False,
):
    """Print the permutation symmetry of a network: which axes move together, which stay, and why.

    Example: modecomb spec --modes digits-resnet
    """
    from modecomb_viz.checkpoints import open_modes

    typer.echo(str(open_modes(modes, root, trust_code=trust_code or None).spec))


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe.toml; those of the embedded modes are examples.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write; default: that of the recipe.")] = None,
    root: Annotated[Path | None, _ROOT] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:0; default: the GPU if there is one.")] = None,
    trust_code: Annotated[bool, _TRUST] = False,
):
    """Train every mode of a recipe and write it with its measured accuracies.

    Example: modecomb train recipe.toml --out my-modes
    """
    from modecomb_viz.training import train_modes

    with _progress("train") as report:
        written = train_modes(
            recipe,
            out=out,
            root=root,
            device=device,
            on_step=lambda _, done, all_: report(done, all_),
            trust_code=trust_code,
        )
    for mode, measured in written.items():
        typer.echo(f"{mode}: " + ", ".join(f"{key} {value:.4g}" for key, value in measured.items()))


@app.command()
def align(
    modes: Annotated[str, _MODES],
    a: Annotated[str, typer.Option("--a", "-a", help="The mode that stays.")] = "A",
    b: Annotated[str, typer.Option("--b", "-b", help="The mode whose units are permuted.")] = "B",
    method: Annotated[
        str,
        typer.Option(help="weight_matching, activation_matching, sinkhorn, universe (of all modes), identity, random."),
    ] = "weight_matching",
    seed: Annotated[int, typer.Option(help="Order of the groups and random starts.")] = 0,
    restarts: Annotated[int, typer.Option(help="Starts of weight or universe matching; the best is taken.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Where to save the aligned B; ends in .safetensors.")] = None,
    root: Annotated[Path | None, _ROOT] = None,
    trust_code: Annotated[bool, _TRUST] = False,
):
    """Permute the units of one mode onto those of another, and say what the matching reached.

    Example: modecomb align --modes digits-mlp --restarts 4 --out aligned-B.safetensors
    """
    from modecomb_viz.alignment import align_modes, matching_objective, takes
    from modecomb_viz.checkpoints import open_modes, save_params
    from modecomb_viz.results import check_path

    if out is not None:
        check_path(out, ".safetensors")
    opened = open_modes(modes, root, trust_code=trust_code or None)
    if restarts != 1 and "restarts" not in takes(method):
        raise ValueError(f"--restarts is for weight_matching and universe; {method} has none.")
    options = {"restarts": restarts} if "restarts" in takes(method) else {}
    alignment = align_modes(opened, a, b, method, seed, **options)
    before, after = (
        matching_objective(opened.spec, opened.mode(a), params) for params in (opened.mode(b), alignment.params)
    )
    typer.echo(f"⟨A, B⟩ before: {before:.6g}, after: {after:.6g}")
    typer.echo(
        f"objective of {method}: {alignment.objective[0]:.6g} → {alignment.objective[-1]:.6g} in "
        f"{len(alignment.objective) - 1} steps"
    )
    if len(alignment.restarts) > 1:
        typer.echo("restarts:         " + ", ".join(f"{value:.6g}" for value in alignment.restarts))
    if out is not None:
        metadata = {
            "modes": modes,
            "a": a,
            "b": b,
            "method": method,
            "seed": seed,
            "objective": alignment.objective[-1],
        }
        typer.echo(f"wrote {save_params(alignment.params, out, metadata)}")


def _attribute_help(sweep: type) -> dict[str, str]:
    """What the docstrings of a sweep and its bases say about their attributes."""
    texts = {}
    for cls in reversed(sweep.__mro__):
        section = re.search(r"Attributes:\n(.*?)(?:\n\s*\n|\Z)", inspect.cleandoc(cls.__doc__ or ""), re.DOTALL)
        for entry in re.split(r"\n    (?! )", "\n" + section[1] if section else ""):
            names, _, text = " ".join(entry.split()).replace("``", "").partition(": ")
            texts.update({name.strip(): re.sub(r":\w+:`[~.\w]*?(\w+)`", r"\1", text) for name in names.split(",")})
    return texts


#: How a field that is no plain value is given on the command line: type, and what becomes of it.
_SPECIAL: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "strength": (list[float], lambda values: values[0] if len(values) == 1 else tuple(values)),
    "splits": (list[str], tuple),
    "members": (list[str], tuple),
    "means": (list[float], tuple),
    "deviations": (list[float], tuple),
    "parameters": (list[str], lambda texts: dict(map(_parameter, texts))),
    "plan": (list[str], lambda texts: dict(map(_plan_entry, texts))),
    "z": (str, lambda text: int(text) if text.isdigit() else text if text == "draw" else tuple(text.split(","))),
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


def _option(field: Field, help_text: str) -> inspect.Parameter:
    """The command-line option of one field: the same name, the same default."""
    kind = _SPECIAL[field.name][0] if field.name in _SPECIAL else field.type
    default = field.default_factory() if field.default is MISSING else field.default
    if field.name in ("strength", "splits", "members", "means", "deviations"):
        default = list(default) if isinstance(default, tuple) else [default]
    flags = [f"--{field.name.replace('_', '-')}", *([f"-{field.name}"] if len(field.name) == 1 else [])]
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=[] if isinstance(default, dict) else default,
        annotation=Annotated[kind, typer.Option(*flags, help=help_text)],
    )


def _from_file(path: Path, sweep: type, context: Any) -> dict[str, Any]:
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
    given = {key for key in table if (source := context.get_parameter_source(key)) and source.name != "DEFAULT"}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items() if key not in given}


def _sweep_command(name: str) -> Callable[..., None]:
    """The command of a sweep: its options are the fields of the sweep's class."""
    from modecomb_viz.alignment import METHODS
    from modecomb_viz.sweep import SWEEPS

    sweep = SWEEPS[name]
    texts = _attribute_help(sweep)
    texts["alignment"] = f"{texts.get('alignment', '').rstrip('.')}: {', '.join(METHODS)}."
    options = [_option(field, texts.get(field.name, "")) for field in fields(sweep)]

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
        chosen = {key: _SPECIAL[key][1](value) if key in _SPECIAL else value for key, value in settings.items()}
        made = sweep(**{**chosen, **(_from_file(config, sweep, context) if config else {})})
        dataset = _run(made, open_modes(modes, root, trust_code=trust_code or None))
        typer.echo(f"wrote {save(dataset, out)} in {dataset.attrs['wall_time']:.3g} s of computing")

    required = [
        inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context),
        inspect.Parameter("modes", inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[str, _MODES]),
        inspect.Parameter(
            "out", inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[Path, typer.Option(help="Result; ends in .nc.")]
        ),
        inspect.Parameter(
            "root", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[Path | None, _ROOT]
        ),
        inspect.Parameter(
            "config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[Path | None, _CONFIG]
        ),
        inspect.Parameter(
            "trust_code", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, _TRUST]
        ),
    ]
    command.__signature__ = inspect.Signature([*required, *options])
    command.__annotations__ = {p.name: p.annotation for p in (*required, *options)}
    summary = inspect.cleandoc(sweep.__doc__).partition("\n")[0].replace("``", "")
    command.__doc__ = f"{summary}\n\nExample: modecomb {name} --modes digits-mlp --out {name}.nc"
    return command


for _name in ("segment", "plane", "samples", "perturbation", "layers", "laws", "transitivity", "similarity"):
    app.command(_name)(_sweep_command(_name))


@app.command()
def report(
    results: Annotated[list[Path] | None, typer.Argument(help="Results of sweeps, .nc.")] = None,
    out: Annotated[Path, _OUT_REPORT] = Path("report.html"),
    standard: Annotated[
        str | None, typer.Option(help="Compute all that a standard report of these modes needs.")
    ] = None,
    splits: Annotated[list[str], typer.Option(help="For --standard: test, train or both.")] = ["test"],  # noqa: B006
    resolution: Annotated[int, typer.Option(help="For --standard: points per side of the map.")] = 33,
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    root: Annotated[Path | None, _ROOT] = None,
    trust_code: Annotated[bool, _TRUST] = False,
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
        datasets = [_run(sweep, opened) for sweep in standard_sweeps(splits, resolution)]
    save_report(datasets, out, title=title or f"Mode combinability of {standard or 'stored results'}")
    typer.echo(f"wrote {out} ({out.stat().st_size / 2**20:.1f} MiB)")


@app.command()
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


@app.command()
def rerun(
    results: Annotated[list[Path], typer.Argument(help="Results of sweeps, .nc.")],
    modes: Annotated[str | None, typer.Option(help="The mode set; default: the name that the recipe gives.")] = None,
    tolerance: Annotated[float, typer.Option(help="Largest difference, relative to the largest value.")] = 1e-6,
    root: Annotated[Path | None, _ROOT] = None,
    trust_code: Annotated[bool, _TRUST] = False,
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
        again = _run_steps(sweep.name, steps_again(dataset, sweep, opened))
        found = differences(dataset, again)
        largest = max(found, key=found.__getitem__)
        failed |= found[largest] > tolerance
        verdict = "differs" if found[largest] > tolerance else "agrees"
        typer.echo(f"{path} {verdict}: largest relative difference {found[largest]:.2g}, in {largest}")
    raise typer.Exit(int(failed))


@app.command()
def bench(
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
    from modecomb_viz.results import check_path

    if json_path is not None:
        check_path(json_path, ".json")
    console = Console(stderr=True)
    with console.status("") as status:
        figures = run_bench(resolution, only=only, on_work=lambda name: status.update(f"measuring {name}"))
    Console(width=None if sys.stdout.isatty() else 160).print(as_table(figures))
    if json_path is not None:
        json_path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def main():
    """Run the command line: a ValueError becomes one line on stderr and exit code 2."""
    try:
        app()
    except ValueError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
