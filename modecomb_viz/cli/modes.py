"""The commands on networks: list and add mode sets, show a symmetry, train, align."""

import sys
from pathlib import Path
from typing import Annotated, Any, no_type_check

import typer
from rich.console import Console
from rich.table import Table

from modecomb_viz.cli.options import MODES, ROOT, TRUST
from modecomb_viz.cli.progress import bar

__all__ = ["align", "modes_app", "spec", "train"]

modes_app = typer.Typer(help="List the mode sets of the catalogue, or add one.", invoke_without_command=True)

_ARCHITECTURE = typer.Option(help="mlp, convnet, resnet …, torchvision:resnet18, or package.module:factory.")
_OPTION = typer.Option(help="Of the architecture: NAME=VALUE as in TOML, such as num_classes=10. May be repeated.")
_DATA = typer.Option(help="A data set by name, or a .npz or .pt file with x_train, y_train, x_test, y_test.")
_SCALE = typer.Option(
    help="Normalisation of a data file: of pixel/255 for uint8; floats are used as they are. Repeated per channel."
)


@modes_app.callback()
@no_type_check
def listed(context: typer.Context):
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
    root: Annotated[Path | None, ROOT] = None,
    trust_code: Annotated[bool, TRUST] = False,
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


def spec(
    modes: Annotated[str, MODES],
    root: Annotated[Path | None, ROOT] = None,
    trust_code: Annotated[bool, TRUST] = False,
):
    """Print the permutation symmetry of a network: which axes move together, which stay, and why.

    Example: modecomb spec --modes digits-resnet
    """
    from modecomb_viz.checkpoints import open_modes

    typer.echo(str(open_modes(modes, root, trust_code=trust_code or None).spec))


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe.toml; those of the embedded modes are examples.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write; default: that of the recipe.")] = None,
    root: Annotated[Path | None, ROOT] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:0; default: the GPU if there is one.")] = None,
    trust_code: Annotated[bool, TRUST] = False,
):
    """Train every mode of a recipe and write it with its measured accuracies.

    Example: modecomb train recipe.toml --out my-modes
    """
    from modecomb_viz.training import train_modes

    with bar("train") as report:
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


def align(
    modes: Annotated[str, MODES],
    a: Annotated[str, typer.Option("--a", "-a", help="The mode that stays.")] = "A",
    b: Annotated[str, typer.Option("--b", "-b", help="The mode whose units are permuted.")] = "B",
    method: Annotated[
        str,
        typer.Option(help="weight_matching, activation_matching, sinkhorn, universe (of all modes), identity, random."),
    ] = "weight_matching",
    seed: Annotated[int, typer.Option(help="Order of the groups and random starts.")] = 0,
    restarts: Annotated[int, typer.Option(help="Starts of weight or universe matching; the best is taken.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Where to save the aligned B; ends in .safetensors.")] = None,
    root: Annotated[Path | None, ROOT] = None,
    trust_code: Annotated[bool, TRUST] = False,
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
