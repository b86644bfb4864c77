"""The write-up of a study: the four claims, with numbers, intervals, figures and the cost.

What is said of a claim follows from the numbers by :data:`RULES`; the page states them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from modecomb_viz.export.pictures import save_picture
from modecomb_viz.figures.perturbation import all_groups
from modecomb_viz.results import check_path, recipe, write_whole
from modecomb_viz.statistics import (
    RULES,
    barriers,
    diversity,
    is_draw,
    route_kind,
    summary,
    tolerance,
    transitivity,
    verdict,
)

__all__ = ["RULES", "write_findings"]

_INTRODUCTIONS = {
    "Combinability": "Broad regions of the hypercube and its vicinity have a low loss. Excess loss is L − max(L_A, "
    "L_B) in nats per example; intervals are 95 %, over draws and over test examples (the same "
    "draws on other examples).",
    "Transitivity": "Two networks aligned to a third are linearly connected to each other. D2 barriers in nats per "
    "example, mean and range over all pairs (and third networks).",
    "Robustness": "Combinations stand a perturbed matching. The barrier is the loss less the mean of the ends'. "
    "Under shuffle the strength is the share of units that are re-assigned. The interval is 95 %, "
    "over repeats, of which it takes four or more.",
    "Non-vacuity": "Combinations differ in function and in weights. Disagreement is the share of test examples "
    "with different labels; diversity is the disagreement of a draw with its nearer parent, of that"
    " of the parents with each other; its interval is 95 %, over draws, and takes the parents' "
    "disagreement as it is. The weight distance is relative to that of A and π(B). Networks that "
    "fail disagree as well: read the diversity beside the accuracy.",
}

#: A mode set, the name of a result, and the result.
_Result = tuple[str, str, xr.Dataset]


class _Row(NamedTuple):
    """What a result says to a claim."""

    cells: tuple[str, ...]
    verdict: str = ""


class _Claim(NamedTuple):
    """One of the four claims: which sweeps speak to it, the head of its table, and a row of it."""

    sweeps: tuple[str, ...]
    head: tuple[str, ...]
    row: Callable[[xr.Dataset], _Row]


def _number(value: float) -> str:
    if np.isinf(value):
        return "never" if value > 0 else "−∞"
    return "–" if np.isnan(value) else f"{value:.3g}"


def _interval(bounds: xr.DataArray) -> str:
    low, high = bounds.values.tolist()
    return f"{_number(low)} … {_number(high)}"


def _law(settings: dict) -> str:
    values = ", ".join(f"{name} = {value:g}" for name, value in settings["parameters"].items())
    return f"{settings['distribution']} ({values}), one per {settings['granularity']}"


def _samples_row(dataset: xr.Dataset) -> _Row:
    found, settings = summary(dataset).isel(split=0), recipe(dataset)
    over_examples = _interval(found.mean_interval_examples) if "mean_interval_examples" in found else "–"
    share, interval = found.low_loss_share.item(), found.share_interval
    cells = (
        f"{_law(settings)}, {dataset.sizes['sample']} draws",
        _number(found.mean_excess.item()),
        _interval(found.mean_interval),
        over_examples,
        _number(found.worst_excess.item()),
        f"{share:.0%} ({interval.values[0]:.0%} … {interval.values[1]:.0%})",
    )
    return _Row(cells, verdict(dataset))


def _segment_row(dataset: xr.Dataset) -> _Row:
    barrier = barriers(dataset).isel(split=0)
    loss, accuracy = (barrier[name].sel(definition="D2").item() for name in ("barrier", "error_barrier"))
    middle = dataset.accuracy.isel(split=0).sel(t=0.5, method="nearest").item()
    ends = dataset.accuracy.isel(split=0, t=[0, -1]).values
    cells = (
        recipe(dataset)["alignment"],
        _number(loss),
        _number(accuracy),
        f"{middle:.3f}",
        f"{ends[0]:.3f}, {ends[1]:.3f}",
    )
    return _Row(cells)


def _span(barrier: xr.Dataset) -> str:
    mean, low, high = (barrier[f"{name}_barrier"].item() for name in ("route", "lowest", "highest"))
    return f"{_number(mean)} ({_number(low)} … {_number(high)})"


def _transitivity_row(dataset: xr.Dataset) -> _Row:
    found = transitivity(dataset).isel(split=0)
    spans = [_span(found.sel(kind=kind)) for kind in found.kind.values]
    kept, cost = found.share_kept.item(), found.cost_of_third.item()
    third = dataset.cycle_error.sel(route=[r for r in dataset.route.values if route_kind(str(r)) == "through"])
    shown = "–" if np.isnan(kept) else f"{kept:.0%}"
    cells = (*spans, _number(cost), shown, f"{third.mean().item():.0%}")
    return _Row(cells, verdict(dataset))


def _perturbation_row(dataset: xr.Dataset) -> _Row:
    dataset = all_groups(dataset).sortby("strength")
    found = tolerance(dataset).isel(split=0)
    strength, interval, moved = found.tolerated_strength.item(), found.tolerated_interval, found.tolerated_churn.item()
    last = found.barrier_at.mean("repeat").values
    cells = (
        f"{recipe(dataset)['perturbation']}, {dataset.sizes['repeat']} repeats",
        _number(last[0]),
        _number(strength),
        _interval(interval),
        "–" if np.isnan(moved) else f"{moved:.0%}",
        _number(last[-1]),
    )
    return _Row(cells, verdict(dataset))


def _similarity_row(dataset: xr.Dataset) -> _Row:
    found = diversity(dataset).isel(split=0)
    names = dataset.model.values[is_draw(dataset)]
    of_split = dataset.isel(split=0)
    distance = dataset.weight_distance.sel(model=names, other=["A", "B"]).mean().item()
    one, together = of_split.accuracy.sel(model=names).mean().item(), of_split.ensemble_accuracy[-1].item()
    of_both = of_split.accuracy.sel(model="ensemble of A and B").item()
    cells = (
        f"{_law(recipe(dataset))}, {len(names)} draws",
        f"{found.parents_disagreement.item():.1%}",
        f"{found.nearest_disagreement.item():.1%}",
        f"{found.draws_disagreement.item():.1%}",
        f"{found.diversity.item():.2f} ({_interval(found.diversity_interval)})",
        f"{distance:.2f}",
        f"{one:.3f} → {together:.3f}; {of_both:.3f}",
    )
    return _Row(cells, verdict(dataset))


_CLAIMS = {
    "Combinability": _Claim(
        ("samples",),
        ("law", "mean excess", "over draws", "over examples", "worst", "share of low loss"),
        _samples_row,
    ),
    "Transitivity": _Claim(
        ("transitivity",),
        ("naive", "direct", "through a third", "universe", "cost of the third", "gain kept", "units elsewhere"),
        _transitivity_row,
    ),
    "Robustness": _Claim(
        ("perturbation",),
        ("kind", "barrier at the lowest strength", "strength at 0.1 nat", "interval", "units moved", "at the highest"),
        _perturbation_row,
    ),
    "Non-vacuity": _Claim(
        ("similarity",),
        (
            "law",
            "A against B",
            "draw against nearer parent",
            "draw against draw",
            "diversity",
            "weight distance to A, B",
            "accuracy: draw → ensemble of draws; of A and B",
        ),
        _similarity_row,
    ),
}

_SEGMENTS = ("alignment", "D2 loss barrier", "D2 error barrier", "midpoint accuracy", "ends")


def write_findings(title: str, results: Sequence[_Result], out: str | Path, *, command: str = "") -> Path:
    """Write a Markdown page of the four claims, with a picture of the first result that speaks to one per mode set.

    Args:
        title: its heading.
        results: names of mode sets, names of results and these; the first split of each is written up.
        out: ends in ``.md``; pictures go into a folder of its name beside it.
        command: how the page was made, for the page.

    Raises:
        ValueError: when none speaks to any claim, or one has many strengths and is no perturbation.
    """
    out = check_path(out, ".md")
    for modes, name, dataset in results:
        if "strength" in dataset.dims and recipe(dataset)["sweep"] != "perturbation":
            raise ValueError(f"'{name}' of {modes} has {dataset.sizes['strength']} strengths; a study gives it one.")
    kinds = {recipe(dataset)["sweep"] for _, _, dataset in results}
    if not kinds & {kind for claim in _CLAIMS.values() for kind in claim.sweeps}:
        raise ValueError(
            "there is nothing to write up: no result of samples, transitivity, perturbation or similarity."
        )
    pictures = out.with_suffix("")
    lines = [f"# {title}", "", *_head(command)]
    for name, claim in _CLAIMS.items():
        lines += ["", f"## {name}", "", _INTRODUCTIONS[name], "", f"*{RULES[name]}*", ""]
        if name == "Combinability":
            lines += [*_table(_SEGMENTS, _rows(results, ("segment",), _segment_row)), ""]
        rows = _rows(results, claim.sweeps, claim.row)
        lines += _table((*claim.head, "claim"), [(modes, _Row((*row.cells, row.verdict))) for modes, row in rows])
        lines += ["", *_pictures([of for of in results if recipe(of[2])["sweep"] in claim.sweeps], pictures, out)]
    lines += ["", "## Networks and cost", "", *_cost(results)]
    return write_whole(out, lambda part: part.write_text("\n".join(lines) + "\n", encoding="utf-8"))


def _head(command: str) -> list[str]:
    text = (
        "Every number comes from a stored result that carries its recipe; `modecomb rerun` computes it again, with "
        "`--modes` where the study trained the networks."
    )
    return (
        [f"{text} This page is written by", "", *(f"    {line}" for line in command.splitlines())]
        if command
        else [text]
    )


def _rows(results: Sequence[_Result], sweeps: tuple[str, ...], row: Callable) -> list[tuple[str, _Row]]:
    return [(modes, row(dataset)) for modes, _, dataset in results if recipe(dataset)["sweep"] in sweeps]


def _table(head: Sequence[str], rows: list[tuple[str, _Row]]) -> list[str]:
    """A Markdown table; the names of mode sets come from a study and hold no mark-up."""
    if not rows:
        return ["No result of the study speaks to this."]
    lines = [f"| networks | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    return lines + [f"| {modes} | {' | '.join(row.cells)} |" for modes, row in rows]


def _pictures(results: Sequence[_Result], folder: Path, out: Path) -> list[str]:
    """One picture per mode set, of its first result."""
    lines, seen = [], set()
    for modes, name, dataset in results:
        if modes in seen:
            continue
        seen.add(modes)
        picture = save_picture(dataset, folder / f"{modes}-{name}.png", split=str(dataset.split.values[0]), scale=1)
        lines += [
            f"![{name} of {modes}]({picture.relative_to(out.parent).as_posix()})",
            "",
            f"*{modes}, {name}*",
            "",
        ]
    return lines


def _cost(results: Sequence[_Result]) -> list[str]:
    """Per mode set: repair, device, seconds of computing of all its results."""
    lines = ["| networks | results | repair | device | computing |", "|---|---|---|---|---|"]
    for modes in dict.fromkeys(modes for modes, _, _ in results):
        own = [dataset for of, _, dataset in results if of == modes]
        seconds = sum(float(dataset.attrs["wall_time"]) for dataset in own)
        repairs = ", ".join(sorted({recipe(dataset)["repair"] for dataset in own}))
        devices = ", ".join(sorted({str(dataset.attrs["device"]) for dataset in own}))
        lines.append(f"| {modes} | {len(own)} | {repairs} | {devices} | {seconds:.0f} s |")
    return lines
