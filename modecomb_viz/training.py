"""A small seeded trainer: whole data set in memory, cosine schedule, one recipe for all modes of a set."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modecomb_viz.architectures import params_of
from modecomb_viz.checkpoints import ModeSet, Recipe, read_recipe, save_params
from modecomb_viz.data import Split, load_dataset
from modecomb_viz.evaluation import evaluate, near, resolve_device
from modecomb_viz.permutation import Params

__all__ = ["OPTIMIZERS", "Training", "cautions", "measure", "train_mode", "train_modes"]

#: Optimisers by name; called with parameters, ``lr`` and ``weight_decay``.
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda params, **options: torch.optim.SGD(params, momentum=0.9, **options),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


@dataclass(frozen=True)
class Training:
    """The training part of a recipe.

    Attributes:
        epochs, batch_size: passes over the train split, examples per step (the last, smaller batch is left out).
        optimizer: "sgd" (momentum 0.9), "adam" or "adamw".
        learning_rate: its peak; a linear warm-up over ``warmup`` (a share of all steps) comes before the cosine to 0.
        weight_decay: as the optimiser defines it.
        shift: random translation of every image by up to so many pixels, filled with zeros.
    """

    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float
    weight_decay: float = 0.0
    warmup: float = 0.1
    shift: int = 0

    def __post_init__(self):
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}.")
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"epochs and batch_size must be ≥ 1, got {self.epochs} and {self.batch_size}.")


#: A share of the weights on permuted axes below which it is said.
_MOST = 0.95

#: Peak learning rates between one at which an MNIST MLP aligned and one at which it did not: SGD 0.1 and 0.01, Adam
#: 0.005 and 0.02; AdamW is taken to be like Adam.
_GOOD_RATES: dict[str, tuple[float, float]] = {"sgd": (0.03, math.inf), "adam": (0.0, 0.01), "adamw": (0.0, 0.01)}


def cautions(modes: ModeSet) -> list[str]:
    """What in the making of a mode set bears on whether its networks can be aligned, one sentence each; never empty."""
    recipe, found = modes.recipe, []
    if recipe is None or not recipe.training:
        found.append(
            "How these networks were trained is not recorded, and the training decides whether alignment works: a low "
            "learning rate, narrow layers or no weight decay leave a barrier that no matching removes."
        )
    else:
        training = _training(recipe)
        low, high = _GOOD_RATES[training.optimizer]
        if not low <= training.learning_rate <= high:
            side = "low" if training.learning_rate < low else "high"
            found.append(
                f"The peak learning rate {training.learning_rate:g} is {side} for {training.optimizer}: networks so "
                "trained were seen to keep a barrier after alignment (docs/reproductions.md)."
            )
        if not training.weight_decay:
            found.append("Trained without weight decay, with which all embedded networks were trained.")
    seeds = dict(recipe.seeds) if recipe else {}
    if len(set(map(str, seeds.values()))) < len(seeds):
        found.append("Two networks have the same seed: they are no independent modes.")
    if modes.spec.permuted_share < _MOST:
        found.append(
            f"{1 - modes.spec.permuted_share:.1%} of the weights lie on no permuted axis: no alignment moves them."
        )
    return found or ["Nothing in the recipe speaks against alignment."]


def _training(recipe: Recipe) -> Training:
    try:
        return Training(**recipe.training)
    except TypeError as error:
        known = ", ".join(f.name for f in fields(Training))
        raise ValueError(f"[training] has {', '.join(recipe.training)}; it takes {known}.") from error


def _batches(split: Split, training: Training, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    for _ in range(training.epochs):
        order = torch.randperm(len(split.y), generator=generator).to(split.y.device)
        for index in order.split(training.batch_size):
            if len(index) == training.batch_size:
                yield _shifted(split.x[index], training.shift, generator), split.y[index]


def _shifted(x: Tensor, shift: int, generator: torch.Generator) -> Tensor:
    """Every image of the batch moved by its own offset of at most ``shift`` pixels."""
    if not shift:
        return x
    height, width = x.shape[-2:]
    dy, dx = torch.randint(0, 2 * shift + 1, (2, len(x), 1), generator=generator).to(x.device)
    rows = (dy + torch.arange(height, device=x.device))[:, None, :, None]
    columns = (dx + torch.arange(width, device=x.device))[:, None, None, :]
    batch = torch.arange(len(x), device=x.device)[:, None, None, None]
    channel = torch.arange(x.shape[1], device=x.device)[None, :, None, None]
    return F.pad(x, [shift] * 4)[batch, channel, rows, columns]


def train_mode(
    recipe: Recipe,
    seed: int,
    train: Split,
    *,
    device: str | torch.device | None = None,
    on_step: Callable[[int, int], None] | None = None,
    trust_code: bool = False,
) -> nn.Module:
    """Train one network of the recipe; ``seed`` gives its initial weights and the order of the data.

    ``on_step(done, total)`` is called after every step; ``trust_code`` allows an architecture in code of your own. The
    same seed gives the same weights on the same
    machine and number of threads.

    Raises:
        ValueError: for a recipe with unknown entries, or a batch larger than the data.
    """
    training, target = _training(recipe), resolve_device(device)
    steps = len(train.y) // training.batch_size * training.epochs
    if not steps:
        raise ValueError(f"batch_size = {training.batch_size} exceeds the {len(train.y)} training examples.")
    model = recipe.build(seed, trust_code=trust_code).to(target, memory_format=torch.channels_last).train()
    optimizer = OPTIMIZERS[training.optimizer](
        model.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        training.learning_rate,
        total_steps=steps,
        pct_start=training.warmup,
        cycle_momentum=False,
        final_div_factor=1e8,
    )
    generator = torch.Generator().manual_seed(seed)
    for done, (x, y) in enumerate(_batches(train.to(target), training, generator), start=1):
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(near(x)), y).backward()
        optimizer.step()
        schedule.step()
        if on_step:
            on_step(done, steps)
    return model.eval()


def measure(
    model: nn.Module,
    splits: dict[str, Split],
    device: str | torch.device | None = None,
    *,
    params: Params | None = None,
) -> dict[str, float]:
    """``{"train_loss", "train_accuracy", "test_loss", "test_accuracy"}`` of weights, by default the network's own."""
    stacked = {name: tensor[None] for name, tensor in (params or params_of(model)).items()}
    return {
        f"{split}_{quantity}": value.item()
        for split in ("train", "test")
        for quantity, value in evaluate(model, stacked, splits[split], device=device).items()
    }


def train_modes(
    recipe_path: str | Path,
    *,
    out: str | Path | None = None,
    root: str | Path | None = None,
    device: str | torch.device | None = None,
    on_step: Callable[[str, int, int], None] | None = None,
    trust_code: bool = False,
) -> dict[str, dict[str, Any]]:
    """Train every mode of a recipe and write it as ``MODE.safetensors`` beside the recipe, or into ``out``.

    Returns the metadata written with each mode: seed and measured losses and accuracies.

    Raises:
        ValueError: for a bad recipe, missing data, or a folder that cannot be written.
    """
    recipe, folder = read_recipe(recipe_path), Path(out or Path(recipe_path).parent)
    splits, written = load_dataset(recipe.data, root, Path(recipe_path).parent), {}
    for mode, seed in recipe.seeds.items():
        listener = (lambda done, total, mode=mode: on_step(mode, done, total)) if on_step else None
        model = train_mode(recipe, seed, splits["train"], device=device, on_step=listener, trust_code=trust_code)
        written[mode] = {"seed": seed, **measure(model, splits, device)}
        save_params(params_of(model), folder / f"{mode}.safetensors", written[mode])
    _copy_recipe(Path(recipe_path), folder)
    return written


def _copy_recipe(source: Path, folder: Path):
    target = folder / "recipe.toml"
    if not (target.exists() and target.samefile(source)):
        target.write_bytes(source.read_bytes())
