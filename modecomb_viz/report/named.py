"""Pictures of named points and of searches."""

from functools import partial

import numpy as np
import pandas as pd
import xarray as xr

from modecomb_viz.figures.looks import UNITS, lost_text, number, signed
from modecomb_viz.figures.points import point_table
from modecomb_viz.figures.scales import span
from modecomb_viz.figures.search import trace_span
from modecomb_viz.report.picture import Choice, Picture, Shown, Table, at
from modecomb_viz.results import recipe

__all__ = ["PointsPicture", "SearchPicture"]


class PointsPicture(Picture):
    """The named points of the cube."""

    name, heading, wide, panel = "points", "Named points", True, 700
    sentence = (
        "Points of the cube that have a name, each against the worse of A and π(B): the midpoint; the larger weight of "
        "two (magnitude), the sign on which they agree (sign), the mean weighted by Fisher information; the best and "
        "the worst draw, chosen on training examples; A with one layer of π(B). Right: how far the weights are from "
        "the midpoint, where A and π(B) are at ½."
    )

    def shown(self, choice: Choice) -> Shown:
        """Rows; the lowest and the highest; everything that is known of the points."""
        strength, quantity, split = choice
        here = at(self.datasets[0], strength)
        table = point_table(here, quantity, split)
        between = table[~table.point.isin(["A", "π(B)"]) & np.isfinite(table.value)]
        words = []
        for which, place in (("lowest", "idxmin"), ("highest", "idxmax")) if len(between) else ():
            one = between.loc[getattr(between.value, place)()]
            words.append(f"{which} {quantity}: {one.point} {number(one.value)}")
        ends = table.set_index("point").value
        words += [f"A {number(ends['A'])}, π(B) {number(ends['π(B)'])}"]
        if missing := lost_text(int((~np.isfinite(table.value)).sum()), "point"):
            words.append(missing)
        within = span(np.concatenate([one[quantity].sel(split=split).values.ravel() for one in self.kin]), quantity)
        frame = self.figure.frame(here, quantity=quantity, split=split, within=within)
        return Shown(frame, " · ".join(words), partial(_points, table, quantity, here.midpoint_distance.units))


def _points(table: pd.DataFrame, quantity: str, distance: str) -> Table:
    units = UNITS[quantity]
    head = (
        "point", f"{quantity} [{units}]", f"over the worse end [{units}]", "mean coefficient",
        f"from the midpoint [{distance}]", "draw", "its training loss [nats per example]",
    )  # fmt: skip
    chosen = [("", "") if np.isnan(draw) else (f"{draw:g}", number(loss)) for draw, loss in table[_CHOSEN].values]
    rows = [
        (str(one.point), number(one.value), signed(one.excess), number(one.mean_coefficient),
         number(one.midpoint_distance), *drawn)
        for one, drawn in zip(table.itertuples(), chosen, strict=True)
    ]  # fmt: skip
    return Table(head, rows)


_CHOSEN = ["draw", "chosen_loss"]


class SearchPicture(Picture):
    """A search through the cube."""

    name, heading, wide, panel = "search", "Search through the cube", True, 560

    @property
    def sentence(self) -> str:
        """What was searched, and how to read it."""
        settings = recipe(self.datasets[0])
        low, high = settings["bounds"]
        return (
            f"The {settings['goal']} coefficients that {_METHODS[settings['method']]} finds from the midpoint, one per "
            f"{self.granularity}, between {low:g} and {high:g}. It sees training examples alone (dotted): where "
            "the curve of the test examples leaves the dotted one, the search has learnt these by heart. Right: the "
            "coefficients on the way, blue where A's weights, orange where π(B)'s prevail."
        )

    def shown(self, choice: Choice) -> Shown:
        """The trace; what was found; the coefficients of the last step."""
        strength, quantity, split = choice
        here = at(self.datasets[0], strength)
        values = here[quantity].sel(split=split).values
        text = (
            f"{quantity} {number(values[-1])} after {here.sizes['step'] - 1} steps, {number(values[0])} at the midpoint"
        )
        if quantity == "loss":
            better, worse = here.excess.sel(split=split, end=["better", "worse"]).values
            text += f" · {signed(better)} nats over the better, {signed(worse)} over the worse of A and B"
        else:
            ends = here.reference_accuracy.sel(split=split)
            text += " · " + ", ".join(f"{name} {number(ends.sel(reference=name).item())}" for name in ("A", "B"))
        spans = [trace_span(one, quantity, split) for one in self.kin]
        within = min(low for low, _ in spans), max(high for _, high in spans)
        frame = self.figure.frame(here, quantity=quantity, split=split, within=within)
        return Shown(frame, text, partial(_coefficients, here))


_METHODS = {"gradient": "Adam along the gradient", "evolution": "an evolution (CMA-ES)"}


def _coefficients(dataset: xr.Dataset) -> Table:
    """The coefficients of the last step; of a search of units, mean and range over each layer."""
    last = dataset.coefficient.isel(step=-1).values
    names = dataset.slot.values.tolist()
    if "unit" not in dataset.dims:
        return Table(("layer", "coefficient found"), [(n, number(c)) for n, c in zip(names, last, strict=True)])
    layers = [unit if unit in names else unit.rpartition(" ")[0] for unit in dataset.unit.values.tolist()]
    units = dataset.unit_coefficient.to_series().groupby(layers)
    rows = [
        (name, number(mean), f"{number(own.min())} to {number(own.max())}", str(len(own)))
        for name, mean in zip(names, last, strict=True)
        for own in [units.get_group(name)]
    ]
    return Table(("layer", "mean coefficient", "range", "coefficients"), rows)
