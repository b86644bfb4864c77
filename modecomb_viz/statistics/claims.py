"""What a result says to a claim, by a rule that is stated."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from modecomb_viz.results import recipe
from modecomb_viz.statistics.barriers import tolerance
from modecomb_viz.statistics.draws import diversity, low_loss_share
from modecomb_viz.statistics.intervals import wilson_interval
from modecomb_viz.statistics.routes import transitivity

__all__ = ["CLAIMS", "RULES", "VERDICTS", "verdict", "verdict_of_all"]

#: When a claim is said to hold, and to hold in part; otherwise it does not.
RULES: Mapping[str, str] = {
    "Combinability": "holds: the 95 % interval of the share of draws of low loss (excess at most 0.1 nat) lies above"
    " ¾; in part: the share is above ½.",
    "Transitivity": "holds: through a third network at least 90 % of what alignment gains is kept (naive less "
    "direct barrier); in part: at least half.",
    "Robustness": "holds: the barrier passes 0.1 nat no earlier than when a fifth of the units is moved, by the "
    "lower end of the interval, which needs four repeats or more; in part: when a tenth is moved.",
    "Non-vacuity": "holds: draws disagree with their nearer parent at least half as often as the parents with each"
    " other, by the lower end of the interval; in part: a quarter.",
}

#: From the best to the worst.
VERDICTS = ("holds", "in part", "does not hold")

#: The sweep that a claim is judged by.
CLAIMS = {
    "Combinability": "samples", "Transitivity": "transitivity", "Robustness": "perturbation",
    "Non-vacuity": "similarity",
}  # fmt: skip


def verdict(dataset: xr.Dataset, split: str | None = None) -> str:
    """One of :data:`VERDICTS`, by the :data:`RULES` of the claim that the sweep speaks to.

    Args:
        dataset: at one perturbation strength, unless it is of the perturbation sweep.
        split: by default the first.

    Raises:
        ValueError: for a dataset of another sweep.
    """
    rules = {
        "samples": _combinability, "transitivity": _transitivity, "perturbation": _robustness,
        "similarity": _non_vacuity,
    }  # fmt: skip
    sweep = recipe(dataset)["sweep"]
    if sweep not in rules:
        raise ValueError(f"no claim is judged by the result of sweep_{sweep}; it takes {', '.join(rules)}.")
    holds, in_part = rules[sweep](dataset, dataset.split.values[0] if split is None else split)
    return VERDICTS[0 if holds else 1 if in_part else 2]


def verdict_of_all(verdicts: list[str]) -> str:
    """What several results say together: the verdict that all share, else in part."""
    return verdicts[0] if len(set(verdicts)) == 1 else "in part"


def _combinability(dataset: xr.Dataset, split: str) -> tuple[bool, bool]:
    share, n = low_loss_share(dataset).sel(split=split).item(), dataset.sizes["sample"]
    return bool(wilson_interval(round(share * n), n)[0] > 0.75), share > 0.5


def _transitivity(dataset: xr.Dataset, split: str) -> tuple[bool, bool]:
    kept = transitivity(dataset).sel(split=split).share_kept.item()
    return kept >= 0.9, kept >= 0.5


def _robustness(dataset: xr.Dataset, split: str) -> tuple[bool, bool]:
    dataset = (dataset.isel(group=0, drop=True) if "group" in dataset.dims else dataset).sortby("strength")
    found = tolerance(dataset).sel(split=split)
    low = float(found.tolerated_interval.values[0])
    moved = np.nan if np.isnan(low) else float(np.interp(low, dataset.strength.values, dataset.churn.mean("repeat")))
    begins_low = bool(found.barrier_at.mean("repeat").values[0] <= 0.1)
    return begins_low and moved >= 0.2, begins_low and moved >= 0.1


def _non_vacuity(dataset: xr.Dataset, split: str) -> tuple[bool, bool]:
    low = float(diversity(dataset).sel(split=split).diversity_interval.values[0])
    return 0.5 <= low < np.inf, 0.25 <= low < np.inf
