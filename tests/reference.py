"""Slow and plain versions of the fast paths, in float64, to compare them with."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch.func import functional_call


def permute(params, axes_to_perm, permutation):
    """Every axis one index at a time: apply(p, W)[i] = W[p[i]]; a block moves with its unit."""
    permuted = {}
    for name, tensor in params.items():
        array = tensor.numpy().copy()
        for axis, entry in enumerate(axes_to_perm[name]):
            if entry is None:
                continue
            ((group, block),) = [(entry, 1)] if isinstance(entry, str) else entry
            source = np.moveaxis(array, axis, 0)
            target = np.empty_like(source)
            for i, j in enumerate(permutation[group].tolist()):
                for k in range(block):
                    target[i * block + k] = source[j * block + k]
            array = np.moveaxis(target, 0, axis)
        permuted[name] = torch.tensor(array)
    return permuted


def combine(params_a, params_b, coefficients, point):
    """(1 − Λ)·A + Λ·B by the formula, one point."""
    mixed = {}
    for name, a in params_a.items():
        lam = coefficients[name][point].double()
        mixed[name] = (1 - lam) * a.double() + lam * params_b[name].double()
    return mixed


def loss_and_accuracy(model, params, x, y):
    """Mean cross-entropy in nats and accuracy of one network, example by example."""
    losses, hits = [], []
    for example, label in zip(x, y.tolist(), strict=True):
        with torch.no_grad():
            logits = functional_call(model, params, (example[None],))[0].double().numpy()
        top = logits.max()
        losses.append(np.log(np.exp(logits - top).sum()) + top - logits[label])
        hits.append(logits.argmax() == label)
    return np.mean(losses), np.mean(hits)


def objective(params_a, params_b, names):
    return sum(float((params_a[n].double() * params_b[n].double()).sum()) for n in names)


def weight_matching(spec, params_a, params_b, seed=0):
    """Git Re-Basin's algorithm 1, written plainly; gives the objective it reaches. Axes are whole groups or blocks."""
    names = [name for name in params_a if name not in spec.statistics]
    permutation = {group: torch.arange(n) for group, n in spec.sizes.items()}
    groups, rng, best = list(spec.sizes), np.random.default_rng(seed), -np.inf
    while True:
        for group in rng.permutation(groups):
            current = permute(params_b, spec.axes_to_perm, permutation)
            similarity = np.zeros((spec.sizes[group],) * 2)
            for name in names:
                for axis, entry in enumerate(spec.axes_to_perm[name]):
                    if entry == group or (isinstance(entry, tuple) and entry[0][0] == group):
                        a, b = (
                            np.moveaxis(p[name].double().numpy(), axis, 0).reshape(spec.sizes[group], -1)
                            for p in (params_a, current)
                        )
                        similarity += a @ b.T
            step = linear_sum_assignment(similarity, maximize=True)[1]
            permutation[group] = permutation[group][torch.as_tensor(step)]
        reached = objective(params_a, permute(params_b, spec.axes_to_perm, permutation), names)
        if reached <= best + 1e-9:
            return best
        best = reached
