"""Pictures of points of the hypercube: planes, segments, draws of a law, a perturbed matching."""

from functools import partial

import numpy as np
import xarray as xr

from modecomb_viz.figures import Figure, color_range
from modecomb_viz.figures.looks import CURVES, interval, lost_text, number, spread
from modecomb_viz.figures.perturbation import all_groups, combination, of_repeats, single_groups
from modecomb_viz.figures.samples import axis_span
from modecomb_viz.figures.segments import curve_name
from modecomb_viz.figures.words import law_words
from modecomb_viz.report.picture import Choice, Picture, Shown, Table, at
from modecomb_viz.statistics import BARRIER_OF, barriers, summary, tolerance

__all__ = [
    "MapPicture",
    "PerturbationPicture",
    "SamplesPicture",
    "SegmentPicture",
    "curves_of",
    "kinds_of",
]


class MapPicture(Picture):
    """A plane."""

    name, heading, wide, panel, height = "map", "Loss map", True, 420, 430
    sentence = (
        "A plane of combinations. One basin that holds all marked points means that the networks combine; "
        "walls between them mean that they do not."
    )

    def shown(self, choice: Choice) -> Shown:
        """Map; its lowest and highest point."""
        strength, quantity, split = choice
        (dataset,) = self.datasets
        colors = color_range(np.concatenate([one[quantity].sel(split=split).values.ravel() for one in self.kin]))
        here = at(dataset, strength)
        values = here[quantity].sel(split=split).values
        finite, missing = values[np.isfinite(values)], int((~np.isfinite(values)).sum())
        text = f"lowest {number(finite.min())} · highest {number(finite.max())}" if finite.size else "no finite value"
        frame = self.figure.frame(here, quantity=quantity, split=split, colors=colors)
        return Shown(frame, text + f" · {lost_text(missing, 'point')}" * bool(missing))


class SegmentPicture(Picture):
    """The naive, the aligned and the perturbed segment of two networks, as far as there are any."""

    name, heading = "segment", "Segment from A to B"
    sentence = (
        "Loss or accuracy along (1 − t)·A + t·π(B). A flat aligned curve beside the hump of the naive one is linear "
        "mode connectivity. Barriers: D1 Git Re-Basin, D2 above the straight line between the ends, D3 midpoint, "
        "D4 above the worse end."
    )

    def shown(self, choice: Choice) -> Shown:
        """Curves and their four barriers."""
        strength, quantity, split = choice
        curves: dict[str, xr.Dataset] = {}
        for dataset in self.datasets:
            curves |= curves_of(dataset, strength)
        of_curves = {name: barriers(curves[name])[BARRIER_OF[quantity]] for name in CURVES if name in curves}
        texts = [
            name + " " + ", ".join(f"{which}\u00a0{number(v)}" for which, v in of.sel(split=split).to_series().items())
            for name, of in of_curves.items()
        ]
        return Shown(self.figure.frame(curves, quantity=quantity, split=split), " · ".join(texts))


def curves_of(dataset: xr.Dataset, strength: float) -> dict[str, xr.Dataset]:
    """What a segment contributes: naive, perturbed or aligned; one with many strengths is both of the latter."""
    if "strength" not in dataset.dims or curve_name(dataset) == "naive":
        return {curve_name(dataset): at(dataset, strength)}
    curves = {"aligned": dataset.sel(strength=0.0, drop=True)} if 0.0 in dataset.strength.values else {}
    return curves | ({"perturbed": at(dataset, strength)} if strength else {})


def kinds_of(dataset: xr.Dataset) -> set[str]:
    """The curves that a segment contributes at any strength."""
    strengths = dataset.strength.values.tolist() if "strength" in dataset.dims else [0.0]
    return {kind for strength in strengths for kind in curves_of(dataset, strength)}


class SamplesPicture(Picture):
    """Draws of a law."""

    name, heading = "distribution", "Distribution over draws"
    sentence = (
        "Every dot is one draw of the coefficients, beside both networks and two midpoints. Draws near A and B mean "
        "that the law stays in the basin."
    )

    def __init__(self, figure: Figure, datasets: list[xr.Dataset]):
        super().__init__(figure, datasets)
        self._summary = summary(datasets[0])
        self._spans: dict[tuple[str, str], tuple[float, float]] = {}

    def shown(self, choice: Choice) -> Shown:
        """Draws, and how combinable the law is, with intervals over draws and, where there are any, over examples."""
        strength, quantity, split = choice
        (dataset,) = self.datasets
        here, span = at(dataset, strength), self._span(quantity, split)
        stats = at(self._summary, strength).sel(split=split)
        low, high = stats.share_interval.values
        text = (
            f"{stats.low_loss_share.item():.0%} of the draws have a loss within 0.1 nat of the worse end "
            f"(95 % interval {low:.0%} to {high:.0%}) · worst excess {number(stats.worst_excess.item())} nats"
        )
        return Shown(
            self.figure.frame(here, quantity=quantity, split=split, within=span), text, partial(_of_law, stats)
        )

    def _span(self, quantity: str, split: str) -> tuple[float, float]:
        """Positions between which the draws of all members lie; found once."""
        if (quantity, split) not in self._spans:
            spans = [axis_span(one, quantity, split) for one in self.kin]
            self._spans[quantity, split] = min(low for low, _ in spans), max(high for _, high in spans)
        return self._spans[quantity, split]


def _of_law(stats: xr.Dataset) -> Table:
    """Statistics of the excess loss of one law."""
    names = [name for name in ("", "_examples") if f"mean_interval{name}" in stats]
    head = ("excess loss over the worse end", "nats", *("95 % over draws", "95 % over examples")[: len(names)])

    def intervals(variable: str, **where: float) -> list[str]:
        return [interval(*stats[variable + name].sel(where).values) for name in names]

    rows = [("mean", number(stats.mean_excess.item()), *intervals("mean_interval"))]
    for level, value in stats.excess_quantile.to_series().items():
        rows.append((f"{level:.0%} quantile", number(value), *intervals("quantile_interval", quantile=level)))
    rows.append(("worst draw", number(stats.worst_excess.item()), *[""] * len(names)))
    share = [f"{stats.low_loss_share.item():.3g}", *intervals("share_interval")]
    rows.append((f"share of draws ≤ {stats.attrs['epsilon']:g} nat [fraction]", *share))
    return Table(head, rows)


class PerturbationPicture(Picture):
    """The midpoint, or draws of a law, against the strength."""

    name, claim = "perturbation", "Robustness"

    def __init__(self, figure: Figure, datasets: list[xr.Dataset]):
        super().__init__(figure, datasets)
        (dataset,) = datasets
        self._tolerance = tolerance(dataset)

    @property
    def heading(self) -> str:
        """What is combined."""
        words = {combination(dataset) for dataset in self.kin}
        return f"The {words.pop() if len(words) == 1 else 'combination'} under a perturbed matching"

    @property
    def sentence(self) -> str:
        """What is combined, and how."""
        dataset, what = self.datasets[0], self.heading.partition(" under")[0].removeprefix("The ")
        laws = "; ".join(map(law_words, self.kin))
        law = f" (mean of {dataset.sizes['sample']}, {laws})" if "sample" in dataset.dims else ""
        groups = " Grey: one group of units perturbed, all others matched." if "group" in dataset.dims else ""
        return (
            f"How much of the matching may be wrong: the {what}{law} against the strength of the perturbation, beside "
            f"the unperturbed networks.{groups} Tolerated is the strength at which the loss is 0.1 nat above the mean "
            "of A and B."
        )

    def shown(self, choice: Choice) -> Shown:
        """Curve with a cursor at the strength; mean, range, units moved, objective lost at all strengths."""
        strength, quantity, split = choice
        (dataset,) = self.datasets
        whole = all_groups(dataset)
        here = whole.sel(strength=strength, method="nearest")
        mean = of_repeats(here, quantity, split).mean(skipna=False).item()
        tolerated = self._tolerance.sel(split=split)
        most = _tolerated(all_groups(tolerated))
        text = (
            f"at strength {here.strength.item():g}: mean {number(mean)} · "
            f"{here.churn.mean().item():.0%} of the units moved · "
            f"{here.objective_lost.mean().item():.0%} of the objective lost · tolerated: {most}"
        )
        frame = self.figure.frame(dataset, quantity=quantity, split=split, strength=strength)
        head = ("strength", f"{split} {quantity}: mean (range) over repeats", "units moved", "objective lost")
        measured = of_repeats(whole, quantity, split).transpose("strength", "repeat").values
        moved, lost = (whole[name].mean("repeat").values for name in ("churn", "objective_lost"))
        rows = [
            (f"{level:g}", spread(own.mean(), own.min(), own.max()), f"{m:.1%}", f"{o:.1%}")
            for level, own, m, o in zip(whole.strength.values, measured, moved, lost, strict=True)
        ]
        if (alone := single_groups(tolerated)) is not None:
            rows += [
                (f"{group} alone", f"tolerated: {_tolerated(alone.sel(group=group))}", "", "")
                for group in alone.group.values
            ]
        return Shown(frame, text, lambda: Table(head, rows))


def _tolerated(found: xr.Dataset) -> str:
    """The strength that is tolerated and its interval over repeats."""
    value, bounds = found.tolerated_strength.item(), found.tolerated_interval.values
    if np.isinf(value):
        return "all strengths"
    return f"strength {number(value)}" + ("" if np.isnan(bounds).any() else f" (95 % {_bounds(bounds)})")


def _bounds(bounds: np.ndarray) -> str:
    """An interval of strengths; its upper bound is infinite where some repeats never pass the threshold."""
    low, high = ("beyond all" if np.isinf(bound) else number(bound) for bound in bounds)
    return f"{low} to {high}"
