"""Architectures and the tables of their permutation symmetry.

Each class states its own table in ``permutation_rows``: one row per tensor, built from :func:`dense`,
:func:`conv` and :func:`norm`. A network of your own may do the same; :func:`permutation_spec` asks for nothing
else.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modecomb_viz.permutation import Axis, PermutationSpec

__all__ = [
    "ARCHITECTURES",
    "MLP",
    "ChannelNorm",
    "ConvNet",
    "HasPermutationRows",
    "ResNet",
    "Row",
    "build",
    "conv",
    "dense",
    "norm",
    "params_of",
    "permutation_spec",
]


class Row(NamedTuple):
    """One line of the table: which groups permute the axes of a tensor, and which layer owns it."""

    tensor: str
    axes: tuple[Axis, ...]
    layer: str


@runtime_checkable
class HasPermutationRows(Protocol):
    """A module that knows its permutation symmetry."""

    def permutation_rows(self) -> Iterator[Row]:
        """One row per floating-point entry of ``state_dict()``; rows of absent tensors are ignored."""


def dense(name: str, inputs: Axis, outputs: Axis) -> Iterator[Row]:
    """Rows of a linear layer: weight (out, in) and bias (out)."""
    yield Row(f"{name}.weight", (outputs, inputs), name)
    yield Row(f"{name}.bias", (outputs,), name)


def conv(name: str, inputs: Axis, outputs: Axis) -> Iterator[Row]:
    """Rows of a 2-D convolution: weight (out, in, height, width) and bias (out)."""
    yield Row(f"{name}.weight", (outputs, inputs, None, None), name)
    yield Row(f"{name}.bias", (outputs,), name)


def norm(name: str, units: Axis, layer: str) -> Iterator[Row]:
    """Rows of a norm over ``units``, which belong to the ``layer`` that feeds it."""
    for tensor in ("weight", "bias", "running_mean", "running_var"):
        yield Row(f"{name}.{tensor}", (units,), layer)


def params_of(model: nn.Module) -> dict[str, Tensor]:
    """Every floating-point entry of the state dict, buffers included, detached."""
    return {name: tensor.detach() for name, tensor in model.state_dict().items() if tensor.is_floating_point()}


def permutation_spec(model: nn.Module) -> PermutationSpec:
    """The spec of a network that states its own table.

    Raises:
        ValueError: when the network has no ``permutation_rows`` or they miss a tensor.
    """
    if not isinstance(model, HasPermutationRows):
        raise ValueError(
            f"{type(model).__name__} states no permutation table. Use one of the architectures "
            f"{', '.join(ARCHITECTURES)}, give the class a method permutation_rows(), or pass spec=PermutationSpec(…)."
        )
    shapes = {name: tuple(tensor.shape) for name, tensor in params_of(model).items()}
    rows = [row for row in model.permutation_rows() if row.tensor in shapes]
    statistics = (name for name in shapes if name.endswith((".running_mean", ".running_var")))
    return PermutationSpec(
        axes_to_perm={row.tensor: row.axes for row in rows},
        shapes=shapes,
        layers={row.tensor: row.layer for row in rows},
        statistics=frozenset(statistics),
    )


class MLP(nn.Sequential):
    """Flatten, then linear layers of the given widths with ReLU between them.

    ``widths`` counts input and output: ``(784, 512, 512, 512, 10)`` has three hidden layers.
    """

    def __init__(self, widths: Sequence[int] = (784, 512, 512, 512, 10)):
        super().__init__()
        self.depth = len(widths) - 1
        self.append_named("flatten", nn.Flatten())
        for i in range(1, self.depth + 1):
            self.append_named(f"fc{i}", nn.Linear(widths[i - 1], widths[i]))
            if i < self.depth:
                self.append_named(f"relu{i}", nn.ReLU())

    append_named = nn.Module.add_module

    def permutation_rows(self) -> Iterator[Row]:
        groups = [None, *(f"P_{i}" for i in range(1, self.depth)), None]
        for i in range(1, self.depth + 1):
            yield from dense(f"fc{i}", groups[i - 1], groups[i])


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of an image at each position, as in Git Re-Basin's ResNet-20."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "layer": ChannelNorm,
    "none": lambda channels: nn.Identity(),
}


def _make_norm(kind: str, channels: int) -> nn.Module:
    if kind not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {kind!r}.")
    return NORMS[kind](channels)


def _conv3x3(inputs: int, outputs: int, kind: str, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=kind == "none")


class ConvNet(nn.Module):
    """A plain convnet as VGG: 3×3 convolutions with norm and ReLU, max pooling at every ``"M"``, one linear layer.

    Args:
        channels: output channels in order, with ``"M"`` for a pooling by 2.
        norm: "batch", "layer" (over channels) or "none".
        inputs, classes: channels of the image, number of outputs.
        side: side length of the last feature map when it is flattened into the linear layer; 0 takes
            the mean over space instead.
    """

    def __init__(
        self,
        channels: Sequence[int | str] = (16, "M", 32, "M", 64),
        norm: str = "batch",
        inputs: int = 3,
        classes: int = 10,
        side: int = 0,
    ):
        super().__init__()
        self.plan, self.side, width = [], side, inputs
        for i, entry in enumerate(channels, start=1):
            if entry == "M":
                self.plan.append("pool")
                continue
            self.plan.append(str(i))
            self.add_module(f"conv{i}", _conv3x3(width, entry, norm))
            self.add_module(f"norm{i}", _make_norm(norm, entry))
            width = entry
        self.fc = nn.Linear(width * max(1, side**2), classes)

    def forward(self, x: Tensor) -> Tensor:
        for step in self.plan:
            x = F.max_pool2d(x, 2) if step == "pool" else self._layer(step, x)
        return self.fc(x.flatten(1) if self.side else x.mean((2, 3)))

    def _layer(self, i: str, x: Tensor) -> Tensor:
        return F.relu(self.get_submodule(f"norm{i}")(self.get_submodule(f"conv{i}")(x)))

    def permutation_rows(self) -> Iterator[Row]:
        group = None
        for i in (step for step in self.plan if step != "pool"):
            yield from conv(f"conv{i}", group, f"P_{i}")
            yield from norm(f"norm{i}", group := f"P_{i}", f"conv{i}")
        yield from dense("fc", ((group, self.side**2),) if self.side else group, None)


class Block(nn.Module):
    """Two 3×3 convolutions with norms beside a shortcut, which is a 1×1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, kind: str):
        super().__init__()
        self.conv1 = _conv3x3(inputs, outputs, kind, stride)
        self.norm1 = _make_norm(kind, outputs)
        self.conv2 = _conv3x3(outputs, outputs, kind)
        self.norm2 = _make_norm(kind, outputs)
        self.shortcut = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=kind == "none")
            self.shortcut_norm = _make_norm(kind, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + (x if self.shortcut is None else self.shortcut_norm(self.shortcut(x))))

    def permutation_rows(self, name: str, inputs: str, outputs: str) -> Iterator[Row]:
        """Rows of the block called ``name``: the hidden group is its own, the output group its stage's."""
        yield from conv(f"{name}.conv1", inputs, f"P_{name}")
        yield from norm(f"{name}.norm1", f"P_{name}", f"{name}.conv1")
        yield from conv(f"{name}.conv2", f"P_{name}", outputs)
        yield from norm(f"{name}.norm2", outputs, f"{name}.conv2")
        if self.shortcut is not None:
            yield from conv(f"{name}.shortcut", inputs, outputs)
            yield from norm(f"{name}.shortcut_norm", outputs, f"{name}.shortcut")


class ResNet(nn.Module):
    """The CIFAR residual network of He et al.: three stages of (depth − 2)/6 blocks, 16·width channels at first.

    ``ResNet(depth=20, width=4, norm="layer")`` is Git Re-Basin's ResNet-20 × 4. The residual stream of a
    stage is one group; a stage that changes the shape starts a new one.

    Raises:
        ValueError: when depth is not 6n + 2.
    """

    def __init__(
        self,
        depth: int = 20,
        width: float = 1,
        norm: str = "layer",
        inputs: int = 3,
        classes: int = 10,
        base: int = 16,
    ):
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth must be 6n + 2 with n ≥ 1 (8, 14, 20, 32, 44, 56, 110 …), got {depth}.")
        first = round(base * width)
        self.conv1 = _conv3x3(inputs, first, norm)
        self.norm1 = _make_norm(norm, first)
        self.blocks = nn.ModuleDict()
        channels = first
        for stage in range(3):
            for i in range((depth - 2) // 6):
                stride = 2 if stage and not i else 1
                self.blocks[f"s{stage + 1}b{i + 1}"] = Block(channels, first * 2**stage, stride, norm)
                channels = first * 2**stage
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.conv1(x)))
        for block in self.blocks.values():
            x = block(x)
        return self.fc(x.mean((2, 3)))

    def permutation_rows(self) -> Iterator[Row]:
        stream = "P_stream"
        yield from conv("conv1", None, stream)
        yield from norm("norm1", stream, "conv1")
        for name, block in self.blocks.items():
            inputs = stream
            if block.shortcut is not None:
                stream = f"P_stream_{name}"
            yield from block.permutation_rows(f"blocks.{name}", inputs, stream)
        yield from dense("fc", stream, None)


def _vgg(*stages: Sequence[int]) -> tuple[int | str, ...]:
    return tuple(entry for stage in stages for entry in (*stage, "M"))


#: Every architecture by name; its options are the keyword arguments.
ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "convnet": ConvNet,
    "resnet": ResNet,
    "vgg11": partial(ConvNet, channels=_vgg([64], [128], [256] * 2, [512] * 2, [512] * 2)),
    "vgg16": partial(ConvNet, channels=_vgg([64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3)),
}


def build(name: str, seed: int = 0, **options: Any) -> nn.Module:
    """A freshly initialised network in eval mode; ``seed`` gives its weights and leaves torch's generator alone.

    Raises:
        ValueError: for an unknown name, or options that the architecture does not take.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"there is no architecture {name!r}. Choose one of {', '.join(ARCHITECTURES)}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return ARCHITECTURES[name](**options).eval()
        except TypeError as error:
            raise ValueError(f"architecture '{name}' does not take these options: {error}") from error
