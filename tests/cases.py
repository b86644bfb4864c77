"""The architectures that every law is tested on: one row each."""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from modecomb_viz.architectures import build, params_of
from modecomb_viz.permutation import PermutationSpec
from modecomb_viz.tracing import trace_permutation_spec


class Case(NamedTuple):
    """An architecture with the shape of one input."""

    name: str
    architecture: dict
    shape: tuple[int, ...]

    def model(self) -> nn.Module:
        return build(**self.architecture)

    def spec(self) -> PermutationSpec:
        return _spec(self.name)

    def params(self, seed: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
        """Random weights; norms and running statistics are random too, so that a wrong table changes the function."""
        generator = torch.Generator().manual_seed(1000 + seed)
        params = params_of(build(seed=seed, **self.architecture))
        for name, tensor in params.items():
            if "norm" in name:
                noise = torch.rand(tensor.shape, generator=generator)
                params[name] = noise + 0.5 if name.endswith(("weight", "running_var")) else noise - 0.5
        return {name: tensor.to(dtype) for name, tensor in params.items()}

    def inputs(self, n: int = 6, dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.randn(n, *self.shape, generator=torch.Generator().manual_seed(7), dtype=dtype)


@cache
def _spec(name: str) -> PermutationSpec:
    case = next(case for case in CASES if case.name == name)
    return trace_permutation_spec(case.model(), case.inputs(2, torch.float32))


CASES = [
    Case("mlp", {"name": "mlp", "widths": [16, 24, 20, 5]}, (1, 4, 4)),
    Case("convnet-batch", {"name": "convnet", "channels": [6, "M", 8, 10], "inputs": 2}, (2, 8, 8)),
    Case(
        "convnet-flatten",
        {"name": "convnet", "channels": [6, "M", 8], "norm": "none", "inputs": 2, "side": 4},
        (2, 8, 8),
    ),
    Case("convnet-layer", {"name": "convnet", "channels": [6, 8, "M"], "norm": "layer", "inputs": 1}, (1, 8, 8)),
    Case("resnet8-layer", {"name": "resnet", "depth": 8, "base": 6, "inputs": 1}, (1, 8, 8)),
    Case("resnet8-batch", {"name": "resnet", "depth": 8, "base": 6, "norm": "batch"}, (3, 8, 8)),
    Case("resnet20", {"name": "resnet", "depth": 20}, (3, 16, 16)),
    Case("resnet20x2", {"name": "resnet", "depth": 20, "width": 2, "norm": "batch"}, (3, 8, 8)),
    Case("vgg11", {"name": "vgg11"}, (3, 32, 32)),
    Case(
        "convnet-one-channel",
        {"name": "convnet", "channels": [6, "M"], "norm": "none", "inputs": 1, "side": 4},
        (1, 8, 8),
    ),
    Case("mlp-wide-input", {"name": "mlp", "widths": [1024, 2, 3, 5]}, (1, 32, 32)),
]

SMALL = CASES[:6]

#: One example is larger than all that the network makes of it.
WIDE = CASES[-1]
