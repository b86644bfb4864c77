"""How alike networks are, in function and in weights.

Functional similarity is between the answers of two networks on the same examples, weight similarity between their
weights as they stand, so aligned networks are compared after their alignment.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from modecomb_viz.permutation import Params

__all__ = [
    "FUNCTIONAL",
    "WEIGHTS",
    "InnerProducts",
    "disagreement",
    "disagreement_bounds",
    "disagreement_share",
    "error_overlap",
    "flat_weights",
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


def flat_weights(params: Params, names: Sequence[str]) -> Float[Tensor, " weight"]:
    """The named tensors one after the other."""
    return torch.cat([params[name].flatten() for name in names])


@dataclass
class InnerProducts:
    """All pairs of networks by their weights, from inner products, which take one look at every weight.

    With u = Θ − Θ_A, measures of weights follow from ⟨u, u'⟩ and ⟨u, Θ_A⟩, in float64.

    Attributes:
        a, b: Θ_A and π(Θ_B), flat.
        weights: of the networks, flat.
        products: ``[1 + network, 1 + network]``; first Θ_A itself, then every u.
    """

    a: Float[Tensor, " weight"]
    b: Float[Tensor, " weight"]
    weights: list[Float[Tensor, " weight"]] = field(default_factory=list)
    products: Float[Tensor, "one_and_network one_and_network"] = field(
        default_factory=lambda: torch.zeros(1, 1, dtype=torch.float64)
    )

    def add(self, weights: Sequence[Float[Tensor, " weight"]]) -> Iterator[float]:
        """Take in more networks; yields the share that is done after every chunk of work."""
        known = len(self.weights)
        self.weights.extend(weights)
        size = 1 + len(self.weights)
        found = torch.zeros(size - known, size, dtype=torch.float64, device=self.a.device)
        columns = max(1, _AT_ONCE // size)
        for start in range(0, len(self.a), columns):
            a = self.a[start : start + columns].double()
            u = torch.stack([one[start : start + columns] for one in self.weights]).double() - a
            rows = torch.cat([a[None], u])
            found += torch.cat([a[None], u[known:]]) @ rows.T
            yield min(1.0, (start + columns) / len(self.a))
        products = torch.zeros(size, size, dtype=torch.float64)
        products[: 1 + known, : 1 + known] = self.products
        new = [0, *range(1 + known, size)]
        products[new] = found.cpu()
        products[:, new] = found.cpu().T
        self.products = products

    def squared_distances(self) -> Float[Tensor, "network network"]:
        """‖Θ − Θ'‖²; where rounding would show in the difference of products, measured directly."""
        u = self.products[1:, 1:]
        sums = u.diagonal()[:, None] + u.diagonal()
        found = sums - 2 * u
        for i, j in (found < _ROUNDED * sums).triu(1).nonzero().tolist():
            p, q = self.weights[i], self.weights[j]
            same = torch.equal(p, q)
            found[i, j] = found[j, i] = 0.0 if same else (p.double() - q.double()).square().sum().item()
        return found


#: Numbers that are multiplied at once.
_AT_ONCE = 2**18

#: Squared distances below this share of the squared lengths are measured directly.
_ROUNDED = 1e-8


def _distances(products: InnerProducts) -> Float[Tensor, "network network"]:
    scale = (products.a.double() - products.b.double()).norm().item()
    return products.squared_distances().sqrt() / (scale or math.nan)


def _cosines(products: InnerProducts) -> Float[Tensor, "network network"]:
    table = products.products
    with_a = table[0, 1:]
    return _normalized(table[1:, 1:] + with_a[:, None] + with_a + table[0, 0])


def _angles(products: InnerProducts) -> Float[Tensor, "network network"]:
    return _normalized(products.products[1:, 1:]).clamp(-1, 1).acos().rad2deg()


def _normalized(products: Float[Tensor, "network network"]) -> Float[Tensor, "network network"]:
    """Cosines; NaN where one of the two is zero."""
    squares = products.diagonal()
    return products / (squares[:, None] * squares).sqrt()


#: The measures of weights of all pairs of networks, by name.
WEIGHTS: dict[str, Callable[[InnerProducts], Tensor]] = {
    "weight_distance": _distances,
    "weight_cosine": _cosines,
    "weight_angle": _angles,
}
