"""Statistics of results: Dataset in, Dataset out.

Barriers along a segment with ends L_A = L(t₀) and L_B = L(t₁), all from one curve; p is the position from 0 to 1:

* **D1** max L − ½(L_A + L_B): Ainsworth et al., "Git Re-Basin", 2023.
* **D2** max [L − ((1 − p)·L_A + p·L_B)]: Entezari et al., "The Role of Permutation Invariance in Linear Mode
  Connectivity", 2022. The default.
* **D3** L(½) − ½(L_A + L_B): Jordan et al., "REPAIR", 2023.
* **D4** max L − max(L_A, L_B).

Intervals are 95 % expanded percentile bootstrap intervals (Hesterberg, "What Teachers Should Know About the Bootstrap",
2015): of n values the levels are Φ(∓√(n/(n − 1))·t), t the 97.5 % quantile of Student's distribution with n − 1 degrees
of freedom, as plain percentiles are too narrow for few values. For the mean of nearly normal values they cover 92 to
97 % from six values on in simulation, 87 % of four; less of skewed ones. Fewer than four values have no interval.

Intervals of quantiles over draws are those of order statistics, which cover at least 95 % whatever the law (Conover,
"Practical Nonparametric Statistics", 1999, section 3.2): a bootstrap never leaves the sample.
"""

from modecomb_viz.statistics.barriers import BARRIER_OF, BARRIERS, barrier_values, barriers, d2_barrier, tolerance
from modecomb_viz.statistics.claims import CLAIMS, RULES, VERDICTS, verdict, verdict_of_all
from modecomb_viz.statistics.draws import diversity, embedding, is_draw, low_loss_share, summary
from modecomb_viz.statistics.intervals import expanded_level
from modecomb_viz.statistics.routes import route_kind, transitivity

__all__ = [
    "BARRIERS",
    "BARRIER_OF",
    "CLAIMS",
    "RULES",
    "VERDICTS",
    "barrier_values",
    "barriers",
    "d2_barrier",
    "diversity",
    "embedding",
    "expanded_level",
    "is_draw",
    "low_loss_share",
    "route_kind",
    "summary",
    "tolerance",
    "transitivity",
    "verdict",
    "verdict_of_all",
]
