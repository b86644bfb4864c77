"""What the results of a page say to each of the four claims: a verdict by a stated rule, and a sentence of numbers."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from modecomb_viz.figures.looks import number, spread
from modecomb_viz.figures.perturbation import all_groups
from modecomb_viz.figures.words import law_words
from modecomb_viz.results import recipe
from modecomb_viz.statistics import (
    CLAIMS,
    RULES,
    barriers,
    diversity,
    is_draw,
    low_loss_share,
    summary,
    tolerance,
    transitivity,
    verdict,
    verdict_of_all,
)

__all__ = ["MEANING", "Finding", "findings_of"]

#: The claims in words, in the order of the page.
MEANING = {
    "Combinability": "Broad regions of the hypercube and its vicinity have a low loss.",
    "Transitivity": "Two networks aligned to a third one are linearly mode connected to each other.",
    "Robustness": "Combinations stand a perturbed matching.",
    "Non-vacuity": "Combinations differ from their parents, in function and in weights.",
}


_FIRST = next(iter(MEANING))


class Finding(NamedTuple):
    """What was found of a claim, for one mode set.

    Attributes:
        claim, modes: of what.
        verdict: by the rule; empty where no result is judged by one.
        sentence: with the numbers that it follows from.
        rule: the rule.
        where: the data and the perturbation strength that the sentence is of.
        numbers: the main ones, by what they are.
    """

    claim: str
    modes: str
    verdict: str
    sentence: str
    rule: str
    where: str
    numbers: dict[str, str]


#: A verdict, sentences, the main numbers.
_Found = tuple[str, list[str], dict[str, str]]


def findings_of(datasets: Sequence[xr.Dataset], split: str) -> list[Finding]:
    """What was found of every claim that a result speaks to, at the lowest perturbation strength."""
    of_claim: dict[str, Callable[[list[xr.Dataset], str], _Found]] = {
        "Combinability": _combinability, "Transitivity": _transitivity, "Robustness": _robustness,
        "Non-vacuity": _non_vacuity,
    }  # fmt: skip
    found = []
    for claim, told in of_claim.items():
        for modes in dict.fromkeys(recipe(dataset)["modes"] for dataset in datasets):
            own = [dataset for dataset in datasets if recipe(dataset)["modes"] == modes]
            judgement, sentences, numbers = told(own, split)
            if sentences:
                rule = RULES[claim] if judgement else ""
                where = f"{split} data, perturbation strength {_strength(own, claim)}"
                found.append(Finding(claim, modes, judgement, " ".join(sentences), rule, where, numbers))
    return found


def _strength(datasets: Sequence[xr.Dataset], claim: str) -> str:
    """The strengths that a claim is judged at."""
    own = [d for d in datasets if recipe(d)["sweep"] in (CLAIMS[claim], *(["segment"] if claim == _FIRST else []))]
    strengths = [np.atleast_1d(recipe(dataset)["strength"]).astype(float) for dataset in own]
    if claim == "Robustness":
        return f"{min(map(min, strengths)):g} to {max(map(max, strengths)):g}"
    return " and ".join(dict.fromkeys(f"{values.min():g}" for values in strengths))


def _of(datasets: list[xr.Dataset], sweep: str) -> list[xr.Dataset]:
    """The results of a sweep, at the lowest strength where they have several."""
    own = [dataset for dataset in datasets if recipe(dataset)["sweep"] == sweep]
    if sweep == "perturbation":
        return own
    return [d.isel(strength=int(d.strength.values.argmin()), drop=True) if "strength" in d.dims else d for d in own]


def _judged(datasets: list[xr.Dataset], split: str) -> str:
    return verdict_of_all([verdict(dataset, split) for dataset in datasets])


def _percent(share: float, digits: int = 0) -> str:
    return "not a number" if np.isnan(share) else f"{share:.{digits}%}"


def _combinability(datasets: list[xr.Dataset], split: str) -> _Found:
    draws = _of(datasets, CLAIMS["Combinability"])
    sentences, numbers = _segments(datasets, split)
    if not draws:
        return "", sentences, numbers
    fewest = min(draws, key=lambda dataset: low_loss_share(dataset).sel(split=split).item())
    stats = summary(fewest).sel(split=split)
    low, high = stats.share_interval.values
    share = f"{_percent(stats.low_loss_share.item())} (95 % interval {low:.0%} to {high:.0%})"
    which = f"{fewest.sizes['sample']} draws of {law_words(fewest)}, one per {recipe(fewest)['granularity']}"
    low_loss = f"a {split} loss within {stats.attrs['epsilon']:g} nat of the worse of A and B"
    if len(draws) == 1:
        text = f"{share} of {which} have {low_loss}."
    else:
        count = sum(verdict(dataset, split) == "holds" for dataset in draws)
        text = (
            f"The rule holds for {count} of {len(draws)} laws. Of the law with the fewest, {share} of {which} have "
            f"{low_loss}."
        )
    numbers |= {f"draws of low loss{', fewest' * (len(draws) > 1)}": _percent(stats.low_loss_share.item())}
    return _judged(draws, split), [text, *sentences], numbers


def _segments(datasets: list[xr.Dataset], split: str) -> tuple[list[str], dict[str, str]]:
    """The naive and the aligned barrier, as far as they are there."""
    found = {}
    for dataset in _of(datasets, "segment"):
        name = recipe(dataset)["alignment"]
        found.setdefault("naive" if name == "identity" else "aligned", dataset)
    values = {k: barriers(d).barrier.sel(split=split, definition="D2").item() for k, d in found.items()}
    numbers = {f"{name} barrier": f"{number(values[name])} nats" for name in ("naive", "aligned") if name in values}
    if len(values) == 2:
        told = (
            f"The barrier D2 from A to B is {number(values['naive'])} nats naive, {number(values['aligned'])} aligned."
        )
    else:
        told = "".join(f"The {name} barrier D2 from A to B is {number(value)} nats." for name, value in values.items())
    return [told] * bool(told), numbers


def _transitivity(datasets: list[xr.Dataset], split: str) -> _Found:
    results = _of(datasets, CLAIMS["Transitivity"])
    if not results:
        return "", [], {}
    stats = transitivity(results[0]).sel(split=split)
    naive, direct, through = (
        number(stats.route_barrier.sel(kind=kind).item()) for kind in ("naive", "direct", "through")
    )
    kept = _percent(stats.share_kept.item())
    text = (
        f"The mean barrier D2 is {naive} nats naive, {direct} aligned to each other, {through} through a third network:"
        f" {kept} of what alignment gains is kept."
    )
    return _judged(results, split), [text], {"gain kept through a third": kept}


def _robustness(datasets: list[xr.Dataset], split: str) -> _Found:
    results = [all_groups(dataset).sortby("strength") for dataset in _of(datasets, CLAIMS["Robustness"])]
    texts, numbers = [], {}
    for dataset in results:
        stats, kind = tolerance(dataset).sel(split=split), recipe(dataset)["perturbation"]
        strength, bounds = stats.tolerated_strength.item(), stats.tolerated_interval.values
        if np.isinf(strength):
            told = f"at all strengths up to {dataset.strength.values.max():g}"
            numbers[f"{kind} tolerated"] = "all strengths"
        elif np.isnan(strength):
            told, numbers[f"{kind} tolerated"] = (
                "at no strength that can be told: a loss is not a number",
                "not a number",
            )
        else:
            interval = "" if not np.isfinite(bounds).all() else f" (95 % {number(bounds[0])} to {number(bounds[1])})"
            moved = _percent(stats.tolerated_churn.item())
            told = f"up to strength {number(strength)}{interval}, where {moved} of the units are moved"
            numbers[f"{kind} tolerated"] = f"strength {number(strength)}"
        texts.append(f"Under {kind} the loss stays within 0.1 nat of the mean of A and B {told}.")
    return (_judged(results, split) if results else ""), texts, numbers


def _non_vacuity(datasets: list[xr.Dataset], split: str) -> _Found:
    results = _of(datasets, CLAIMS["Non-vacuity"])
    if not results:
        return "", [], {}
    stats = [diversity(dataset).sel(split=split) for dataset in results]
    parents = stats[0].parents_disagreement.item()
    texts, values = [], []
    for dataset, found in zip(results, stats, strict=True):
        accuracy = (
            dataset.accuracy.sel(split=split, model=dataset.model.values[is_draw(dataset)]).mean(skipna=False).item()
        )
        value = spread(found.diversity.item(), *found.diversity_interval.values)
        per = f" per {recipe(dataset)['granularity']}"
        nearest = _percent(found.nearest_disagreement.item(), 1)
        texts.append(f"{nearest}{per} (accuracy {number(accuracy)}, diversity {value})")
        values.append(found.diversity.item())
    text = (
        f"On {split} examples A and B disagree by {_percent(parents, 1)}; draws disagree with their nearer parent by "
        f"{'; '.join(texts)}."
    )
    shown = number(min(values)) + (f" to {number(max(values))}" if len(values) > 1 else "")
    return _judged(results, split), [text], {"diversity of draws": shown}
