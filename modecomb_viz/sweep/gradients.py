"""Derivatives of the loss: with respect to weights, for the Fisher information, and to coefficients, for a search."""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from modecomb_viz.data import Split, stratified
from modecomb_viz.evaluation import near
from modecomb_viz.evaluation.settings import arithmetic
from modecomb_viz.executor import Progress
from modecomb_viz.hypercube import Combinations
from modecomb_viz.permutation import Params
from modecomb_viz.sweep.measurement import Measurement

__all__ = ["diagonal_fisher", "loss_and_gradient", "train_losses", "training_part"]

#: Examples whose activations are kept at once for a gradient.
_AT_ONCE = 256


def training_part(run: Measurement, examples: int) -> Split:
    """A stratified part of the train split, with seed 0; all of it where it has no more examples."""
    train = run.modes.train
    index = stratified(train.y, min(examples, len(train.y)))
    x, y = Split(train.x[index], train.y[index]).to(run.device, run.dtype)
    return Split(near(x), y)


def train_losses(
    run: Measurement, family: Combinations, coordinates: Tensor, part: Split, *, counts: bool = False
) -> Generator[Progress, None, Float[Tensor, " point"]]:
    """The loss of points on a part of the train split, repaired and kept in a journal as any evaluation.

    ``counts``: they are among the points that the run has announced.
    """
    found = yield from run.of_splits(family, coordinates, ("loss",), {"train": part}, counts=counts)
    return torch.as_tensor(found["train"]["loss"])


@contextmanager
def _differentiating(run: Measurement) -> Iterator[None]:
    """Autograd is on, whatever the caller has off; the time counts as computing."""
    start = time.perf_counter()
    try:
        with torch.inference_mode(False), torch.enable_grad(), arithmetic(run.sweep.precision):
            yield
    finally:
        run.seconds += time.perf_counter() - start


class _BatchNormByFormula(TorchFunctionMode):
    """While it lasts, a BatchNorm in eval mode is (x − mean) / √(var + eps) · scale + shift.

    PyTorch's own kernel has no derivative with respect to the running statistics, which are mixed as all weights are.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        call = _eval_batch_norm if function is F.batch_norm else function
        return call(*args, **(kwargs or {}))


def _eval_batch_norm(x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    if training:
        return F.batch_norm(x, mean, var, weight, bias, training, momentum, eps)
    shape = (1, -1, *[1] * (x.ndim - 2))
    scale = (var + eps).rsqrt() * (1 if weight is None else weight)
    made = (x - mean.reshape(shape)) * scale.reshape(shape)
    return made if bias is None else made + bias.reshape(shape)


def diagonal_fisher(run: Measurement, params: Params, part: Split) -> Generator[Progress, None, dict[str, Tensor]]:
    """F = 1/n Σ_i (∂ log p(y_i | x_i) / ∂Θ)², per tensor of its shape, float64 on the CPU; in nats per squared weight.

    The empirical Fisher information: the expectation is over the training examples with their own labels (Matena &
    Raffel take it over labels drawn from the network, as many times the work), the network in eval mode. 0 for
    running statistics, which are not trained. Tied tensors have the derivative of what they share.

    Args:
        params: of the network, on the device.
        part: the n examples; gradients are those of one at a time.
    """
    spec = run.modes.spec
    first = {name: spec.tied.get(name, name) for name in params}
    leaves = {
        name: tensor.detach().clone().requires_grad_()
        for name, tensor in params.items()
        if name == first[name] and name not in spec.statistics
    }
    weights = {name: leaves.get(first[name], tensor) for name, tensor in params.items()}
    totals = {name: torch.zeros_like(params[name], dtype=torch.float64) for name in leaves}
    for x, y in zip(part.x.split(1), part.y.split(1), strict=True):
        with _differentiating(run):
            loss = F.cross_entropy(functional_call(run.model, weights, (x,), tie_weights=False), y)
            gradients = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
            for total, gradient in zip(totals.values(), gradients, strict=True):
                total.addcmul_(gradient.double(), gradient.double(), value=1 / len(part.y))
        yield Progress(run.done, run.total)
    zeros = {name: torch.zeros(tensor.shape, dtype=torch.float64) for name, tensor in params.items()}
    return {name: totals[first[name]].cpu() if first[name] in totals else zero for name, zero in zeros.items()}


def loss_and_gradient(
    run: Measurement, family: Combinations, at: Float[Tensor, " slot"], part: Split
) -> Generator[Progress, None, tuple[float, Float[Tensor, " slot"]]]:
    """The loss of one point of a family, in nats per example, and its exact gradient ∂L/∂Λ by its coordinates.

    By the chain rule through Θ(Λ) = (1 − Λ) ⊙ Θ_A + Λ ⊙ π(Θ_B) and the network in eval mode, running statistics
    included.

    Args:
        at: the coordinates of the point, float64 on the CPU.
        part: the examples.
    """
    total, slope = 0.0, torch.zeros_like(at)
    for x, y in zip(part.x.split(_AT_ONCE), part.y.split(_AT_ONCE), strict=True):
        with _differentiating(run):
            leaf = at.detach().clone().requires_grad_()
            weights = family.points(leaf[None]).weights(0)
            with _BatchNormByFormula():
                logits = functional_call(run.model, weights, (x,), tie_weights=False)
            loss = F.cross_entropy(logits, y, reduction="sum") / len(part.y)
            total += loss.item()
            slope += torch.autograd.grad(loss, leaf)[0]
        yield Progress(run.done, run.total)
    return total, slope
