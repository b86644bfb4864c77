"""Named points of one run: those that two networks suggest, and the best and the worst draw of a law."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from modecomb_viz.alignment import Alignment
from modecomb_viz.data import Split
from modecomb_viz.executor import Progress
from modecomb_viz.hypercube import (
    Coefficients,
    Combinations,
    averaged,
    check_granularity,
    fisher_point,
    magnitude_point,
    sign_point,
)
from modecomb_viz.permutation import Params, apply_permutation
from modecomb_viz.sweep.gradients import diagonal_fisher, train_losses, training_part
from modecomb_viz.sweep.measurement import Measurement
from modecomb_viz.sweep.settings import LawSettings, check_count

__all__ = ["EXTREMES", "LABELS", "Chosen", "NamedPoints", "NamedSettings"]

#: The draws that are named.
EXTREMES = ("best", "worst")

#: How a point is written in a result, where that is not its name.
LABELS = {"fisher": "Fisher"}


@dataclass(frozen=True, kw_only=True)
class NamedSettings(LawSettings):
    """Settings of named points; distribution, parameters and granularity are those of the draws.

    Attributes:
        n: draws of the law among which the best and the worst are found.
        train_examples: training examples (a stratified part) whose loss says which draw is the best.
        fisher_examples: training examples (a stratified part) that give the Fisher information.
        named_granularity: Fisher, magnitude and sign are found weight by weight; their coefficients are averaged over
            what shares one here: model, layer, unit or weight.
    """

    n: int = 64
    train_examples: int = 2000
    fisher_examples: int = 256
    named_granularity: str = "weight"

    def __post_init__(self):
        super().__post_init__()
        check_count("n", self.n, 1, 100_000)
        for name in ("train_examples", "fisher_examples"):
            check_count(name, getattr(self, name), 1, 10_000_000)
        check_granularity(self.named_granularity)


class Chosen(NamedTuple):
    """A draw that was chosen by its loss.

    Attributes:
        draw: its number.
        loss: of the training examples, in nats per example; NaN where no draw has one that is a number.
    """

    draw: int
    loss: float


class NamedPoints:
    """The named points between A and any π(B).

    The Fisher information is computed once: that of π(B) is the permuted one of B. Of a run that goes on from a journal
    it is computed again; the losses of the draws are in the journal.

    Args:
        known: extremes that a result has; they are not sought again.
    """

    def __init__(self, run: Measurement, sweep: NamedSettings, known: Mapping[str, Chosen] | None = None):
        self._run, self._sweep, self._known = run, sweep, dict(known or {})
        self._fisher: tuple[Params, Params] | None = None

    @cached_property
    def _part(self) -> Split:
        return training_part(self._run, self._sweep.train_examples)

    def coefficients(self, name: str, alignment: Alignment) -> Generator[Progress, None, Coefficients]:
        """Λ of a point of :data:`~modecomb_viz.hypercube.NAMED`, averaged to the granularity of named points."""
        if name == "fisher":
            of_a, of_b = yield from self._informations(alignment.params_b)
            found = fisher_point(of_a, apply_permutation(alignment.spec, alignment.permutation, of_b))
        else:
            rule = {"magnitude": magnitude_point, "sign": sign_point}[name]
            found = rule(self._run.modes.mode(self._run.sweep.a), alignment.params)
        return averaged(alignment.spec, found, self._sweep.named_granularity)

    def _informations(self, params_b: Params) -> Generator[Progress, None, tuple[Params, Params]]:
        """The Fisher information of A and of B as it came."""
        if self._fisher is None:
            part = training_part(self._run, self._sweep.fisher_examples)
            of_a = yield from diagonal_fisher(self._run, self._run.params_a, part)
            of_b = yield from diagonal_fisher(self._run, self._run.placed(params_b), part)
            self._fisher = of_a, of_b
        return self._fisher

    def draws(self, aligned: Params) -> Combinations:
        """The draws of the law by their number; ``aligned`` is π(B) on the device."""
        return self._sweep.draws(self._run.modes.spec, self._run.params_a, aligned)

    def extremes(self, draws: Combinations) -> Generator[Progress, None, dict[str, Chosen]]:
        """The best and the worst of the n draws, by their loss on training examples.

        A draw whose loss is not a number is neither; where no loss is one, draw 0 stands for both.
        """
        if self._known:
            return self._known
        index = torch.arange(self._sweep.n)
        found = yield from train_losses(self._run, draws, index, self._part, counts=True)
        losses = found.numpy()
        if np.isnan(losses).all():
            return {name: Chosen(0, float("nan")) for name in EXTREMES}
        numbers = {"best": int(np.nanargmin(losses)), "worst": int(np.nanargmax(losses))}
        return {name: Chosen(draw, float(losses[draw])) for name, draw in numbers.items()}
