"""Train the networks of ``recipes/`` with ``modecomb train``, measure them, and write ``docs/reproductions.md``.

    MODECOMB_DATA=… python docs/reproductions/run.py --out FOLDER

Networks that are in FOLDER already are not trained again. MNIST is read from MODECOMB_DATA in torchvision's layout,
``cifar10-part.npz`` (x_train, y_train, x_test, y_test, uint8) from the same folder.
"""

import argparse
import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import modecomb_viz as mc

HERE = Path(__file__).parent

#: Midpoint test loss, naive and aligned, in stanislavfort/dissect-git-re-basin.
PUBLISHED = {
    "sgd-1e-3": (1.688, 1.193),
    "sgd-1e-2": (1.493, 0.549),
    "sgd-0.1": (0.742, 0.088),
    "adam-5e-3": (2.163, 0.096),
    "adam-2e-2": (2.078, 1.178),
}
METHODS = ("identity", "weight_matching", "activation_matching", "sinkhorn", "universe")


def trained(name: str, out: Path) -> mc.ModeSet:
    """The networks of a recipe, trained where they are missing."""
    folder = out / name
    if not list(folder.glob("*.safetensors")):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / "recipes" / f"{name}.toml", folder / "recipe.toml")
        command = Path(sys.executable).with_name("modecomb")
        subprocess.run([command, "train", folder / "recipe.toml"], check=True)
    return mc.open_modes(folder)


def mnist(out: Path) -> list[str]:
    """One row per recipe: ends, and per alignment the midpoint's loss and the D1 barrier of 25 points."""
    rows = [
        "| recipe | published: naive ½, aligned ½ | ends | "
        + " | ".join(f"{m.replace('_', ' ')}: ½, D1" for m in METHODS[:4])
        + " |",
        "|---" * 7 + "|",
    ]
    for key, published in PUBLISHED.items():
        modes = trained(f"mnist-mlp-{key}", out)
        cells = []
        for method in METHODS[:4]:
            curve = mc.sweep_segment(modes, points=25, alignment=method)
            loss = curve.loss.sel(split="test")
            barrier = mc.barriers(curve).barrier.sel(split="test", definition="D1").item()
            cells.append(f"{loss.sel(t=0.5).item():.3f}, {barrier:.3f}")
            ends = f"{loss[0].item():.3f}, {loss[-1].item():.3f}"
        rows.append(f"| {key} | {published[0]}, {published[1]} | {ends} | {' | '.join(cells)} |")
        print(rows[-1], flush=True)
    return rows


def cifar(out: Path) -> list[str]:
    """The midpoints of three pairs of BatchNorm convnets: mean and range of loss and accuracy."""
    modes = trained("cifar10-convnet", out)
    rows = ["| alignment | repair | midpoint test accuracy | midpoint test loss |", "|---|---|---|---|"]
    for method in METHODS:
        for repair in ("none", "batchnorm", "repair"):
            found = [
                mc.sweep_segment(modes, points=3, a=a, b=b, alignment=method, repair=repair).sel(split="test")
                for a, b in itertools.combinations(modes.params, 2)
            ]
            accuracy, loss = ([one[q].sel(t=0.5).item() for one in found] for q in ("accuracy", "loss"))
            rows.append(f"| {method} | {repair} | {spread(accuracy)} | {spread(loss)} |")
            print(rows[-1], flush=True)
    ends = ", ".join(f"{one.accuracy[0].item():.3f} and {one.accuracy[-1].item():.3f}" for one in found[::2])
    return [*rows, "", f"Ends after `repair`, which leaves them as they are: accuracy {ends}."]


def spread(values: list[float]) -> str:
    """Mean and range."""
    return f"{sum(values) / len(values):.3f} ({min(values):.3f} … {max(values):.3f})"


def main():
    """Write the tables into the page, between the marks that name them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of trained networks")
    parser.add_argument("--only", choices=["mnist", "cifar"], help="compute one table alone")
    arguments = parser.parse_args()
    page = HERE.parent / "reproductions.md"
    for name, table in {"mnist": mnist, "cifar": cifar}.items():
        if arguments.only in (None, name):
            rows = table(arguments.out)
            before, _, rest = page.read_text(encoding="utf-8").partition(f"<!-- {name} -->\n")
            after = rest.partition(f"<!-- end of {name} -->")[2]
            text = "\n".join([f"{before}<!-- {name} -->", *rows, f"<!-- end of {name} -->{after}"])
            page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
