"""Pictures of what is looked at on a plane: one of its points, a cut through it."""

import xarray as xr

from modecomb_viz.figures import Figure
from modecomb_viz.figures.cuts import place_words
from modecomb_viz.figures.inspection import coefficient_words
from modecomb_viz.figures.looks import UNITS, number
from modecomb_viz.report.picture import Choice, Picture, Shown, Table, at
from modecomb_viz.statistics import d2_barrier

__all__ = ["CutPicture", "InspectionPicture"]


class InspectionPicture(Picture):
    """One point of a plane, looked at closely."""

    name, heading, claim, wide, panel = "inspection", "One point", "Combinability", True, 380

    def __init__(self, figure: Figure, datasets: list[xr.Dataset]):
        super().__init__(figure, datasets)
        (dataset,) = datasets
        self.heading = f"The point (u, v) = ({dataset.u.item():.4g}, {dataset.v.item():.4g})"
        self.sentence = (
            f"{coefficient_words(dataset)} Left: which labels it gives for which; a combination that works has its "
            "counts on the diagonal. Middle: how much of π(B) each layer has. Right: what it answers otherwise than "
            "its parents, those first on which it stands alone."
        )

    def shown(self, choice: Choice) -> Shown:
        """Loss, accuracy and disagreement of the point; all networks in a table."""
        _, quantity, split = choice
        (dataset,) = self.datasets
        here = dataset.sel(split=split)
        point = here.isel(model=-1)
        parents = [str(name) for name in here.model.values[:-1]]
        differs = ", ".join(f"{here.disagreement.sel(model=name).item():.1%} with {name}" for name in parents)
        text = f"loss {number(point.loss.item())} · accuracy {number(point.accuracy.item())} · disagreement: {differs}"
        head = (
            "network", f"loss [{UNITS['loss']}]", "accuracy [fraction]", "disagreement with the point",
            f"Jensen–Shannon divergence [{here.jensen_shannon.units}]", f"distance [{here.weight_distance.units}]",
        )  # fmt: skip
        columns = "loss", "accuracy", "disagreement", "jensen_shannon", "weight_distance"
        rows = [
            (str(name), *(number(here[column].sel(model=name).item()) for column in columns))
            for name in here.model.values
        ]
        return Shown(self.figure.frame(dataset, quantity=quantity, split=split), text, lambda: Table(head, rows))


class CutPicture(Picture):
    """A straight cut through a plane."""

    name, heading, claim = "cut", "Cut through the map", "Combinability"
    sentence = (
        "The straight line between two points of the plane, point by point; dotted, what it would be if the value "
        "changed evenly from one end to the other. D2: the highest rise above the dotted line."
    )

    def shown(self, choice: Choice) -> Shown:
        """The curve and its barriers."""
        strength, quantity, split = choice
        here = at(self.datasets[0], strength)
        values = here[quantity].sel(split=split).values
        found = d2_barrier(here, quantity, split)
        unit = "nats" if quantity == "loss" else "of the error"
        text = (
            f"{place_words(here, 0)} {number(values[0])} · {place_words(here, -1)} {number(values[-1])} · D2 barrier "
            f"{number(found)} {unit}"
        )
        return Shown(self.figure.frame(here, quantity=quantity, split=split), text)
