"""Any network to its permutation symmetry, with a proof.

The network runs once on stand-ins for tensors (:mod:`.trace`), and every tensor operation is read by its rule
(:mod:`.shapes`, :mod:`.layers`): which axes move together, which are cut, which must stay (:mod:`.layout`). What is
still free at the end is the spec. It is returned only when random permutations leave the function of the network
unchanged in float64 (:mod:`.proof`).
"""

from torch import Tensor, nn

from modecomb_viz.permutation import PermutationSpec
from modecomb_viz.tracing.activations import Activations, Tap
from modecomb_viz.tracing.proof import prove
from modecomb_viz.tracing.recording import record, tied_names
from modecomb_viz.tracing.trace import read_symmetry

__all__ = ["Activations", "Tap", "prove", "record", "tied_names", "trace_permutation_spec"]


def trace_permutation_spec(
    model: nn.Module, example_input: Tensor | tuple[Tensor, ...], *, seed: int = 0
) -> PermutationSpec:
    """The permutation symmetry of a network, read from one run and proven on it.

    Every axis of every floating-point tensor of the state dict is permuted by a group, made of pieces, or fixed.
    Units of linear layers, channels of convolutions, features of embeddings and norms, whole heads of attention and
    whole groups of grouped convolutions are permuted; a residual stream is one group. The scale, shift and statistics
    of a norm belong to the layer that feeds it when exactly one does.

    Args:
        model: any module in eval mode whose output is a tensor or a container of tensors.
        example_input: a batch as the network gets it, or a tuple of several; random or real values, not a constant.
        seed: of the permutations and weights of the proof.

    Returns:
        The table of all axes. What could not be permuted although nothing but our rules forbids it is in ``notes``.

    Raises:
        ValueError: for a model in training mode, one that cannot be run on the example or whose outputs are
            random, or a spec that would change its function, naming the layers where it does.

    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
        >>> trace_permutation_spec(network, torch.rand(5, 3)).axes_to_perm
        {'0.weight': ('P_0', None), '0.bias': ('P_0',), '2.weight': (None, 'P_0'), '2.bias': (None,)}
    """
    inputs = example_input if isinstance(example_input, tuple) else (example_input,)
    if model.training:
        raise ValueError(f"{type(model).__name__} is in training mode. Call model.eval() first.")
    if not all(isinstance(x, Tensor) for x in inputs) or not inputs:
        kinds = ", ".join(type(x).__name__ for x in inputs) or "nothing"
        raise ValueError(f"example_input must be a tensor or a tuple of tensors, got {kinds}.")
    floats = [x for x in inputs if x.is_floating_point()]
    if floats and not any(x.numel() > 1 and bool((x != x.flatten()[0]).any()) for x in floats):
        shapes = ", ".join(str(tuple(x.shape)) for x in floats)
        raise ValueError(
            f"the example input of shape {shapes} is constant, which would prove little. Give real or random values."
        )
    spec = read_symmetry(model, inputs)
    prove(spec, model, inputs, seed=seed)
    return spec
