"""The straight-through estimator of Git Re-Basin, which Sinkhorn's matching was measured against.

    python docs/reproductions/straight_through.py digits-mlp digits-convnet digits-resnet [FOLDER …]

prints the loss of the midpoint on training and test examples (BatchNorm with the statistics of the batch) after weight
matching, after 150 steps of either, and the time that each took.
"""

import sys
import time

import torch
import torch.nn.functional as F
from torch.func import functional_call

import modecomb_viz as mc
from modecomb_viz.alignment.base import matched_names
from modecomb_viz.alignment.sinkhorn import _with_batch_statistics
from modecomb_viz.alignment.weights import coordinate_ascent, weight_matching
from modecomb_viz.permutation import apply_permutation, restrict


def midpoint_loss(network, params_a, params_b, x, y):
    """Cross-entropy of ½(A + B), in nats."""
    with torch.no_grad():
        middle = {name: torch.lerp(a, params_b[name], 0.5) for name, a in params_a.items()}
        return F.cross_entropy(functional_call(network, middle, (x,), tie_weights=False), y).item()


def straight_through(spec, params_a, params_b, *, model, x, y, seed=0, steps=150, learning_rate=1e-3, batch=256):
    """Train a shadow of A by the loss of ½(A + π(B)), π the matching of B to the shadow, as if π(B) were the shadow."""
    network, names = _with_batch_statistics(model), matched_names(spec)
    generator = torch.Generator().manual_seed(seed)
    shadow = {name: params_a[name].clone().requires_grad_() for name in names}
    optimizer = torch.optim.Adam(shadow.values(), lr=learning_rate)
    part, of_b = restrict(spec, names), {name: params_b[name] for name in names}
    permutation = weight_matching(spec, params_a, params_b, seed=seed).permutation
    judged = torch.randperm(len(y), generator=generator)[:2048]
    best = (float("inf"), permutation)
    for step in range(steps):
        detached = {name: tensor.detach() for name, tensor in shadow.items()}
        permutation = coordinate_ascent(part, detached, of_b, permutation, generator, 1).permutation
        aligned = apply_permutation(spec, permutation, params_b)
        middle = {name: torch.lerp(a, aligned[name], 0.5) for name, a in params_a.items()}
        middle |= {name: middle[name] + 0.5 * (shadow[name] - detached[name]) for name in names}
        index = torch.randint(len(y), (batch,), generator=generator)
        loss = F.cross_entropy(functional_call(network, middle, (x[index],), tie_weights=False), y[index])
        if step % 10 == 0:
            best = min(best, (midpoint_loss(network, params_a, aligned, x[judged], y[judged]), permutation), key=first)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return best[1]


def first(pair):
    """The first of a pair."""
    return pair[0]


def main():
    """One line per network and method."""
    for name in sys.argv[1:]:
        modes = mc.open_modes(name)
        spec, a, b = modes.spec, modes.params["A"], modes.params["B"]
        data = {"model": modes.model, "x": modes.train.x, "y": modes.train.y}
        network = _with_batch_statistics(modes.model)
        methods = {
            "weight matching": lambda spec=spec, a=a, b=b: weight_matching(spec, a, b).permutation,
            "straight-through, 1e-2": lambda spec=spec, a=a, b=b, data=data: straight_through(
                spec, a, b, **data, learning_rate=1e-2
            ),
            "straight-through, 1e-3": lambda spec=spec, a=a, b=b, data=data: straight_through(spec, a, b, **data),
            "sinkhorn": lambda spec=spec, a=a, b=b, data=data: mc.align(spec, a, b, "sinkhorn", **data).permutation,
        }
        for method, run in methods.items():
            start = time.perf_counter()
            aligned = apply_permutation(spec, run(), b)
            seconds = time.perf_counter() - start
            losses = [midpoint_loss(network, a, aligned, s.x[:5000], s.y[:5000]) for s in (modes.train, modes.test)]
            print(f"{modes.name}: {method}: train {losses[0]:.4f}, test {losses[1]:.4f}, {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
