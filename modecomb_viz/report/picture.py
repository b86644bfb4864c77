"""What a section of the report shows: a figure, a line of numbers, a table; for every setting of the controls."""

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import xarray as xr
from bokeh.models import Div
from markupsafe import Markup, escape

from modecomb_viz.figures import Figure, Frame, Property
from modecomb_viz.figures.looks import HEIGHT
from modecomb_viz.report.families import Family
from modecomb_viz.results import recipe

__all__ = ["TABLE_STYLE", "Choice", "Picture", "Shown", "Table", "at"]

#: What one setting of the controls chooses: strength, quantity, split.
Choice = tuple[float, str, str]


class Table(NamedTuple):
    """Words in rows under a head."""

    head: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def html(self) -> Markup:
        """The table as HTML; every cell is escaped."""

        def line(tag: str, cells: Sequence[str]) -> Markup:
            return Markup("<tr>{}</tr>").format(
                Markup("").join(Markup("<{0}>{1}</{0}>").format(Markup(tag), escape(cell)) for cell in cells)
            )

        body = Markup("").join(line("td", row) for row in self.rows)
        return Markup("<table><thead>{}</thead><tbody>{}</tbody></table>").format(line("th", self.head), body)


class Shown(NamedTuple):
    """A picture at one choice; its table is made for those who look at it."""

    frame: Frame
    numbers: str
    table: Callable[[], Table] | None = None


#: Bokeh draws the table where the style of the page does not reach.
TABLE_STYLE = """
:host { overflow: auto; max-height: 420px; }
table { border-collapse: collapse; font-size: 13px; }
th, td { text-align: left; padding: 2px 14px 2px 0; border-bottom: 1px solid #8884; vertical-align: top; }
td { white-space: nowrap; }
th { font-weight: 600; }
td { font-variant-numeric: tabular-nums; }
"""


class Picture:
    """A section of the report.

    Attributes:
        name, heading, sentence: of the sweep; ``sentence`` says what the figure shows and how to read it.
        claim: which of the four claims it speaks to.
        wide: whether it takes the whole width of the page.
        panel: pixels that each part of the figure needs; where there is less they stand below each other.
        figure: drawn once, then shown frame by frame.
        height: of the figure, where it is not the usual one.
        datasets: what it shows.
        family: the results that the controls of law and granularity choose from.
        members: a picture for each of these, on the same figure.
        numbers: the line of numbers.
        table: more numbers, with intervals; empty where there are none.
    """

    name: ClassVar[str]
    heading: ClassVar[str]
    sentence: ClassVar[str]
    claim: ClassVar[str] = "Combinability"
    wide: ClassVar[bool] = False
    panel: ClassVar[int] = 350
    height: ClassVar[int] = HEIGHT

    def __init__(self, figure: Figure, datasets: list[xr.Dataset]):
        self.figure, self.datasets = figure, datasets
        self.family, self.members = Family(datasets[:1]), [self]
        style = {"font-size": "13px"}
        self.numbers = Div(text=" ", render_as_text=True, disable_math=True, sizing_mode="stretch_width", styles=style)
        self.table = Div(text=" ", disable_math=True, sizing_mode="stretch_width", stylesheets=[TABLE_STYLE])

    @classmethod
    def of(cls, figure: Figure, family: Family) -> "Picture":
        """The picture of a family: its first member, which knows the others."""
        members = [cls(figure, [dataset]) for dataset in family.members]
        law, granularity = family.start
        lead = members[law * max(1, len(family.granularities)) + granularity]
        for member in members:
            member.family, member.members = family, members
            member.numbers, member.table = lead.numbers, lead.table
        return lead

    @property
    def kin(self) -> list[xr.Dataset]:
        """All that the figure may show: one axis and one scale of colours hold it."""
        return self.family.members if len(self.members) > 1 else self.datasets

    @property
    def granularity(self) -> str:
        """What shares one coefficient in the members, in words."""
        *others, last = dict.fromkeys(recipe(dataset)["granularity"] for dataset in self.kin)
        return f"{', '.join(others)} or {last}" if others else last

    @property
    def follows(self) -> bool:
        """Whether the slider over strengths moves it."""
        return any("strength" in dataset.dims for dataset in self.datasets)

    @property
    def has_table(self) -> bool:
        """Whether there is a table; known once a frame was applied."""
        return bool(self.table.text.strip())

    def shown(self, choice: Choice) -> Shown:
        """Figure, numbers and table for one choice."""
        raise NotImplementedError

    def frame(self, choice: Choice) -> Frame:
        """Columns and properties for one choice, the numbers and the table included."""
        frame, numbers, table = self.shown(choice)
        html = str(table().html()) if table else " "
        words = Property(self.numbers, "text", numbers), Property(self.table, "text", html)
        return frame._replace(properties=(*frame.properties, *words))


def at(dataset: xr.Dataset, strength: float) -> xr.Dataset:
    """The Dataset at one strength; one that was computed at a single strength is shown at all of them."""
    return dataset.sel(strength=strength, method="nearest", drop=True) if "strength" in dataset.dims else dataset
