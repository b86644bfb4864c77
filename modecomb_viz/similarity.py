"""How alike networks are, in function and in weights.

Functional similarity is between the answers of two networks on the same examples, weight similarity between their
weights as they stand, so aligned networks are compared after their alignment.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from modecomb_viz.permutation import Params

__all__ = [
    "FUNCTIONAL",
    "WEIGHTS",
    "disagreement",
    "disagreement_bounds",
    "disagreement_share",
    "error_overlap",
    "jensen_shannon",
    "linear_cka",
    "weight_angle",
    "weight_cosine",
    "weight_distance",
]

Logits = Float[Tensor, "example label"]
Labels = Int[Tensor, " example"]


def _errors(logits: Logits, y: Labels) -> Bool[Tensor, " example"]:
    return logits.argmax(-1) != y


def _number(value: Tensor, *logits: Logits) -> float:
    """The value, or NaN where a network gave something that is no number."""
    return math.nan if any(one.isnan().any() for one in logits) else value.item()


def disagreement(p: Logits, q: Logits, y: Labels | None = None) -> float:
    """Share of the examples on which two networks give different labels, in [0, 1]."""
    return _number((p.argmax(-1) != q.argmax(-1)).double().mean(), p, q)


def disagreement_share(p: Logits, q: Logits, y: Labels) -> float:
    """The disagreement divided by the most that the two error rates allow, in [0, 1]; NaN where neither errs."""
    _, most = disagreement_bounds(p, q, y)
    return disagreement(p, q) / most if most else math.nan


def disagreement_bounds(p: Logits, q: Logits, y: Labels) -> tuple[float, float]:
    """The least and the most disagreement of two networks with these error rates.

    Where two networks differ one of them is wrong, so with error rates e and f it is from |e − f| to min(1, e + f).
    """
    e, f = (_errors(logits, y).double().mean().item() for logits in (p, q))
    return abs(e - f), min(1.0, e + f)


def jensen_shannon(p: Logits, q: Logits, y: Labels | None = None) -> float:
    """Mean over examples of the Jensen–Shannon divergence of the two predicted distributions, nats in [0, ln 2].

    JS(P, Q) = ½ KL(P ‖ M) + ½ KL(Q ‖ M), M = ½ (P + Q). Source: Lin, 1991.
    """
    log_p, log_q = (F.log_softmax(logits.double(), -1) for logits in (p, q))
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    parts = [F.kl_div(log_m, log, reduction="none", log_target=True).sum(-1) for log in (log_p, log_q)]
    return _number((sum(parts) / 2).mean().clamp(min=0), p, q)


def error_overlap(p: Logits, q: Logits, y: Labels) -> float:
    """Jaccard index of the two sets of errors, |E ∩ F| / |E ∪ F|, in [0, 1]; NaN where neither errs."""
    e, f = _errors(p, y), _errors(q, y)
    either = (e | f).sum()
    return _number((e & f).sum().double() / either, p, q) if either else math.nan


def linear_cka(x: Float[Tensor, "example *f"], z: Float[Tensor, "example *g"], y: Labels | None = None) -> float:
    """Linear centred kernel alignment of two representations of the same examples, in [0, 1].

    ‖XᵀZ‖² / (‖XᵀX‖ ‖ZᵀZ‖) with centred columns and Frobenius norms; invariant to rotations and scales of either. NaN
    where a representation is constant. Source: Kornblith et al., "Similarity of Neural Network Representations
    Revisited", 2019.
    """
    x, z = (one.double().flatten(1) - one.double().flatten(1).mean(0) for one in (x, z))
    scale = (x.T @ x).norm() * (z.T @ z).norm()
    return ((x.T @ z).norm().square() / scale).item() if scale > 0 else math.nan


#: Measures of function, by name: two networks' logits and the labels to a number.
FUNCTIONAL: dict[str, Callable[..., float]] = {
    "disagreement": disagreement,
    "disagreement_share": disagreement_share,
    "jensen_shannon": jensen_shannon,
    "error_overlap": error_overlap,
    "cka": linear_cka,
}


def _dot(p: Params, q: Params, names: Sequence[str]) -> float:
    return sum((p[name].double() * q[name].double()).sum().item() for name in names)


def _difference(p: Params, q: Params, names: Sequence[str]) -> dict[str, Tensor]:
    return {name: p[name].double() - q[name].double() for name in names}


def weight_distance(p: Params, q: Params, a: Params, b: Params, names: Sequence[str]) -> float:
    """‖Θ_p − Θ_q‖ / ‖Θ_A − π(Θ_B)‖ over the named tensors; NaN where A and B are one network."""
    between, whole = (_difference(*pair, names) for pair in ((p, q), (a, b)))
    scale = math.sqrt(_dot(whole, whole, names))
    return math.sqrt(_dot(between, between, names)) / scale if scale else math.nan


def weight_cosine(p: Params, q: Params, a: Params, b: Params, names: Sequence[str]) -> float:
    """⟨Θ_p, Θ_q⟩ / (‖Θ_p‖ ‖Θ_q‖) over the named tensors, in [−1, 1]."""
    scale = math.sqrt(_dot(p, p, names) * _dot(q, q, names))
    return _dot(p, q, names) / scale if scale else math.nan


def weight_angle(p: Params, q: Params, a: Params, b: Params, names: Sequence[str]) -> float:
    """The angle at A between the directions to p and to q, in degrees; NaN where one of them is A."""
    u, v = _difference(p, a, names), _difference(q, a, names)
    scale = math.sqrt(_dot(u, u, names) * _dot(v, v, names))
    return math.degrees(math.acos(max(-1.0, min(1.0, _dot(u, v, names) / scale)))) if scale else math.nan


#: Measures of weights, by name: two networks, Θ_A, π(Θ_B) and the tensors that count, to a number.
WEIGHTS: dict[str, Callable[..., float]] = {
    "weight_distance": weight_distance,
    "weight_cosine": weight_cosine,
    "weight_angle": weight_angle,
}
