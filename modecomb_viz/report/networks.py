"""Pictures that compare networks, layers and laws."""

from functools import partial

import numpy as np
import pandas as pd
import xarray as xr

from modecomb_viz.figures import Figure, color_range
from modecomb_viz.figures.laws import is_map, law_statistics, law_table, shown_values
from modecomb_viz.figures.layers import base_words, layer_table, most_moving
from modecomb_viz.figures.looks import UNITS, interval, number, signed, spread
from modecomb_viz.figures.similarity import compared
from modecomb_viz.figures.transitivity import kind_label, routes
from modecomb_viz.report.picture import Choice, Picture, Shown, Table, at
from modecomb_viz.results import recipe
from modecomb_viz.statistics import is_draw, transitivity

__all__ = ["LawsPicture", "LayersPicture", "SimilarityPicture", "TransitivityPicture"]


class TransitivityPicture(Picture):
    """Every route between all networks."""

    name, heading, wide, claim = "transitivity", "Routes between all networks", True, "Transitivity"
    sentence = (
        "The barrier between every two networks: as they are (naive), aligned to each other (direct), both aligned to "
        "a third network (one mark for each), both aligned to one common universe. Marks of a third network near the "
        "direct ones, far left of the naive ones, mean that alignment is transitive. Right: the share of units that a "
        "route brings elsewhere than the direct one; a low barrier with a large share means that many matchings do."
    )

    def shown(self, choice: Choice) -> Shown:
        """Marks; barriers of all kinds of routes and what a third network keeps of the gain."""
        strength, quantity, split = choice
        (dataset,) = self.datasets
        here = at(dataset, strength)
        table = routes(here, quantity, split).groupby("kind", sort=False)
        measured = here if quantity == "loss" else here.assign(loss=1 - here.accuracy)
        stats = transitivity(measured).sel(split=split)
        units = "nats" if quantity == "loss" else "of the error"
        head = ("route", f"D2 barrier [{_UNITS[quantity]}]: mean (range)", "units brought elsewhere: mean", "routes")
        rows, words = [], []
        for kind, found in table:
            mean, low, high = (
                stats[name].sel(kind=kind).item() for name in ("route_barrier", "lowest_barrier", "highest_barrier")
            )
            called = kind_label(str(kind))
            rows.append((called, spread(mean, low, high), f"{found.cycle_error.mean():.1%}", str(len(found))))
            words.append(f"{called} {number(mean)}")
        cost, kept = stats.cost_of_third.item(), stats.share_kept.item()
        text = (
            f"D2 barrier, mean over pairs: {' · '.join(words)} {units} · a third network on the way costs "
            f"{number(cost)} more and keeps {_percent(kept)} of what alignment gains"
        )
        return Shown(self.figure.frame(here, quantity=quantity, split=split), text, lambda: Table(head, rows))


_UNITS = {"loss": "nats per example", "accuracy": "fraction of error"}


def _percent(share: float) -> str:
    """A share in percent; what is no number says so."""
    return "not a number" if share != share else f"{share:.0%}"


class SimilarityPicture(Picture):
    """Networks compared with each other."""

    name, heading, wide, claim = "similarity", "How different the combinations are", True, "Non-vacuity"
    sentence = (
        "Left: how often a network answers otherwise than A, against how good it is. Draws at the far left would be "
        "copies of A; draws as far right as B, C and others that were trained apart are networks of their own. The "
        "grey wedge, for accuracy, is what the two error rates allow. Middle: the networks as points whose distances "
        "are their disagreement. Right: what averaging the answers of k draws is worth."
    )

    def shown(self, choice: Choice) -> Shown:
        """Three panels; all measures between groups of networks."""
        _, quantity, split = choice
        (dataset,) = self.datasets
        table = compared(dataset, split)
        apart, ours = (
            table[(table.measure == "disagreement") & (table.networks == name)].iloc[0]
            for name in ("trained apart", "draws – A")
        )
        ensemble = dataset[f"ensemble_{quantity}"].sel(split=split).values[-1]
        single = dataset[quantity].sel(split=split).values[is_draw(dataset)].mean()
        text = (
            f"disagreement with A: draws {spread(ours['mean'], ours.lowest, ours.highest)} · networks trained apart "
            f"disagree by {spread(apart['mean'], apart.lowest, apart.highest)} · {quantity} of one draw, mean "
            f"{number(single)}, of the ensemble of {dataset.sizes['k']} {number(ensemble)}"
        )
        return Shown(
            self.figure.frame(dataset, quantity=quantity, split=split), text, partial(_measures, dataset, table)
        )


def _measures(dataset: xr.Dataset, table: pd.DataFrame) -> Table:
    """Measures in rows, groups of networks in columns: mean (range)."""
    groups = table.groupby("networks", sort=False).pairs.max()
    head = ("mean (range) over pairs", *(f"{name} ({pairs})" for name, pairs in groups.items()))
    rows = []
    for measure, own in table.groupby("measure", sort=False):
        attributes, found = dataset[str(measure)].attrs, own.set_index("networks")
        cells = [
            spread(*found.loc[name, ["mean", "lowest", "highest"]]) if name in found.index else "–"
            for name in groups.index
        ]
        rows.append((f"{attributes['long_name']} [{attributes['units']}]", *cells))
    return Table(head, rows)


class LayersPicture(Picture):
    """One layer at a time."""

    name, heading, wide, panel = "layers", "Which layers matter", True, 560

    def __init__(self, figure: Figure, datasets: list[xr.Dataset]):
        super().__init__(figure, datasets)
        base = base_words(datasets[0])
        where = {"0": "in A", "1": "in π(B)"}.get(base, f"at {base}")
        self.sentence = (
            f"One layer goes from A (t = 0) to π(B) (t = 1) while all others stay {where}. Flat curves: the layers are "
            "exchangeable. Right, from the first layer to the last: what the layer's swap changes, how far its curve "
            "goes, its barrier above the straight line; and the slope, how the loss reacts to a first small step."
        )

    def shown(self, choice: Choice) -> Shown:
        """Curves and rows; the layers that move most."""
        strength, quantity, split = choice
        (dataset,) = self.datasets
        here = at(dataset, strength)
        table = layer_table(here, quantity, split)
        most = table.reindex(table.change.abs().sort_values(ascending=False).index)[:3]
        steep = table.reindex(table.slope.abs().sort_values(ascending=False).index).iloc[0]
        swaps = " · ".join(f"{layer} {signed(change)}" for layer, change in zip(most.layer, most.change, strict=True))
        text = (
            f"largest changes by a swap: {swaps} ({UNITS[quantity]}) · steepest slope: {steep.layer} "
            f"{signed(steep.slope)} nats per coefficient"
        )
        head = (
            "layer", f"change [{UNITS[quantity]}]", "range of the curve", "barrier D2",
            "slope [nats per coefficient]",
        )  # fmt: skip
        rows = [
            (str(one.layer), signed(one.change), f"{signed(one.lowest)} to {signed(one.highest)}",
             number(one.barrier), signed(one.slope))
            for one in table.itertuples()
        ]  # fmt: skip
        frame = self.figure.frame(
            here, quantity=quantity, split=split, highlighted=most_moving(dataset, quantity, split)
        )
        return Shown(frame, text, lambda: Table(head, rows))


class LawsPicture(Picture):
    """A family of laws."""

    name, heading, wide, panel = "laws", "Combinability of a family of laws", True, 420

    def __init__(self, figure: Figure, datasets: list[xr.Dataset]):
        super().__init__(figure, datasets)
        self._statistics = law_statistics(datasets[0])

    @property
    def sentence(self) -> str:
        """The family, and how to read its figure."""
        distribution = recipe(self.datasets[0])["distribution"]
        family = f"{distribution.capitalize()} laws, one coefficient per {self.granularity}"
        reading = (
            "Every cell is one law: the mean and the standard deviation of its coefficients. The dashed arch are laws "
            "that draw 0 and 1 alone; what lies above it must leave the hypercube. A wide dark region left, a wide "
            "yellow one right, mean that the networks combine whatever the law."
            if is_map(self.datasets[0])
            else "The curve goes over the means of the laws. Where it stays under ε, and the share at 1, the networks "
            "combine whatever the mean."
        )
        return (
            f"{family}: mean excess loss over the worse of A and B (or mean accuracy), and the share of draws whose "
            f"excess is at most 0.1 nat. {reading}"
        )

    def shown(self, choice: Choice) -> Shown:
        """Both statistics of all laws."""
        strength, quantity, split = choice
        (dataset,) = self.datasets
        shared = [shown_values(one._statistics, "mean", quantity, split).values.ravel() for one in self.members]
        colors = color_range(np.concatenate(shared))
        stats = at(self._statistics, strength)
        frame = self.figure.frame(
            at(dataset, strength), quantity=quantity, split=split, statistics=stats, colors=colors
        )
        laws = law_table(stats, split).dropna(subset="share")
        low, worst = (laws.excess <= 0.1).sum(), laws.loc[laws.excess.fillna(float("inf")).idxmax()]
        text = (
            f"{low} of {len(laws)} laws have a mean excess of at most 0.1 nat · the highest, {number(worst.excess)} "
            f"nats, at {_law(worst)} · share of draws of low loss from {laws.share.min():.0%} to {laws.share.max():.0%}"
        )
        return Shown(frame, text, partial(_laws, laws))


def _law(one: pd.Series) -> str:
    """The moments of a law; Bernoulli's deviation follows from its mean."""
    return f"mean {one['mean']:g}" + ("" if np.isnan(one.deviation) else f", deviation {one.deviation:g}")


def _laws(laws: pd.DataFrame) -> Table:
    """One row per law."""
    head = (
        "mean", "deviation", "mean excess [nats per example]", "95 % over draws", "draws of low loss [fraction]",
        "95 % over draws", "worst excess [nats per example]",
    )  # fmt: skip
    rows = [
        (f"{one.mean:g}", "of its mean" if np.isnan(one.deviation) else f"{one.deviation:g}", number(one.excess),
         interval(one.low, one.high), number(one.share), interval(one.share_low, one.share_high), number(one.worst))
        for one in laws.itertuples()
    ]  # fmt: skip
    return Table(head, rows)
