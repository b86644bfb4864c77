"""Doubly stochastic matrices in the place of permutations, so that a matching can be followed by its gradient."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from modecomb_viz.alignment.base import assign
from modecomb_viz.permutation import Params, PermutationSpec, pieces_of

__all__ = ["Matrices", "apply_matrices", "harden", "matrix_of"]

#: One matrix ``[unit, unit]`` per group; a permutation p is the matrix with P[i, p[i]] = 1.
Matrices = Mapping[str, Tensor]


def matrix_of(permutation: Tensor, dtype: torch.dtype = torch.float64) -> Float[Tensor, "unit unit"]:
    """The matrix P with P·x = x[p]."""
    return torch.eye(len(permutation), dtype=dtype)[permutation.cpu()]


def harden(matrices: Matrices) -> dict[str, Tensor]:
    """The permutation nearest to each matrix."""
    return {group: assign(matrix.detach().double().cpu()) for group, matrix in matrices.items()}


def apply_matrices(spec: PermutationSpec, matrices: Matrices, params: Params) -> dict[str, Tensor]:
    """Every axis of every tensor multiplied by the matrix of its group; differentiable in the matrices."""
    mixed = {}
    for name, tensor in params.items():
        for axis in range(tensor.ndim):
            tensor = _along(spec, matrices, tensor, name, axis)
        mixed[name] = tensor
    return mixed


def _along(spec: PermutationSpec, matrices: Matrices, tensor: Tensor, name: str, axis: int) -> Tensor:
    pieces = pieces_of(spec, name, axis)
    if all(group not in matrices for group, _, _ in pieces):
        return tensor
    moved = tensor.movedim(axis, 0)
    parts = moved.split([length for _, _, length in pieces])
    mixed = [
        (matrices[group] @ part.reshape(len(matrices[group]), -1)).reshape(part.shape) if group in matrices else part
        for part, (group, _, _) in zip(parts, pieces, strict=True)
    ]
    return torch.cat(mixed).movedim(0, axis)
