"""A learned matching: doubly stochastic matrices that minimise the loss of the midpoint."""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from modecomb_viz.alignment.base import Matching
from modecomb_viz.alignment.soft import apply_matrices, harden, matrix_of
from modecomb_viz.alignment.weights import weight_matching
from modecomb_viz.executor import checkpoint
from modecomb_viz.permutation import Params, Permutation, PermutationSpec, apply_permutation

__all__ = ["sinkhorn"]

#: How sure a unit of the start is of its partner: the entry of its matrix.
_CONFIDENCE = 0.8

#: Row and column normalisations per step, examples on which a rounded matching is judged, steps between two judgements.
_NORMALISATIONS, _JUDGED, _EVERY = 20, 2048, 10


def sinkhorn(
    spec: PermutationSpec,
    params_a: Params,
    params_b: Params,
    *,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    seed: int = 0,
    steps: int = 150,
    learning_rate: float = 0.1,
    batch: int = 256,
) -> Matching:
    """Learn the permutation by the cross-entropy of the midpoint ½(Θ_A + π(Θ_B)) on training examples.

    Every group has a matrix of scores; Sinkhorn's normalisation of their exponentials is doubly stochastic and stands
    in for the permutation, so the loss has a gradient in the scores (Adam). The start is weight matching. Every few
    steps the matrices are rounded to permutations, and the best of those, judged by the loss of their midpoint, is
    taken; the objective is that loss, in nats, whenever it fell. BatchNorm uses the statistics of the batch meanwhile.

    Chosen over the straight-through estimator of Git Re-Basin by measurement: see ``docs/reproductions.md``.

    Source: Peña, Medeiros, Dubail, Aminbeidokhti, Granger, Pedersoli, "Re-basin via implicit Sinkhorn
    differentiation", CVPR 2023; here the normalisation is differentiated step by step.
    """
    if len(x) != len(y) or not len(y) or batch < 1:
        raise ValueError(
            f"sinkhorn needs a label for every example and batches of at least 1; got {len(x)} examples, {len(y)} "
            f"labels and batch {batch}."
        )
    network, generator = _with_batch_statistics(model), torch.Generator().manual_seed(seed)
    params_a, params_b = ({name: t.to(x) for name, t in params.items()} for params in (params_a, params_b))
    start = weight_matching(spec, params_a, params_b, seed=seed).permutation
    scores = {group: _scores(p).to(x).requires_grad_() for group, p in start.items()}
    optimizer = torch.optim.Adam(scores.values(), lr=learning_rate) if scores else None
    judged = torch.randperm(len(y), generator=generator)[:_JUDGED]

    def loss_of(aligned: Params, index: Tensor) -> Tensor:
        middle = {name: torch.lerp(a, aligned[name], 0.5) for name, a in params_a.items()}
        index = index.to(x.device)
        return F.cross_entropy(functional_call(network, middle, (x[index],), tie_weights=False), y[index])

    def judge(permutation: Permutation) -> float:
        with torch.no_grad():
            return loss_of(apply_permutation(spec, permutation, params_b), judged).item()

    best, trace = start, [judge(start)]
    for step in range(1, steps + 1 if scores else 1):
        checkpoint()
        aligned = apply_matrices(spec, {group: _normalised(s) for group, s in scores.items()}, params_b)
        aligned |= {name: aligned[name].detach() for name in spec.statistics}
        loss = loss_of(aligned, torch.randint(len(y), (batch,), generator=generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % _EVERY == 0:
            candidate = harden({group: _normalised(s) for group, s in scores.items()})
            reached = judge(candidate)
            if reached < trace[-1]:
                best, trace = candidate, [*trace, reached]
    return Matching(best, tuple(trace))


def _with_batch_statistics(model: nn.Module) -> nn.Module:
    """A copy whose BatchNorms use the batch and leave their running statistics alone."""
    network = copy.deepcopy(model)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
            module.momentum = 0.0
    return network


def _scores(permutation: Tensor) -> Tensor:
    """Scores whose normalised exponentials hold :data:`_CONFIDENCE` at the partner and share the rest."""
    others = max(len(permutation) - 1, 1)
    return (math.log(others) + math.log(_CONFIDENCE / (1 - _CONFIDENCE))) * matrix_of(permutation)


def _normalised(scores: Tensor) -> Tensor:
    """Doubly stochastic: rows and columns divided by their sums in turn, in logarithms."""
    for _ in range(_NORMALISATIONS):
        scores = scores - scores.logsumexp(1, keepdim=True)
        scores = scores - scores.logsumexp(0, keepdim=True)
    return scores.exp()
