"""Architectures by name: our own, torchvision's, and factories in the user's code.

None of them says anything of its permutation symmetry; that is traced (:mod:`modecomb_viz.tracing`).
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib.machinery import PathFinder
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modecomb_viz.untrusted import import_torchvision

__all__ = [
    "ARCHITECTURES",
    "MLP",
    "ChannelNorm",
    "ConvNet",
    "ResNet",
    "build",
    "build_from",
    "is_own_code",
    "params_of",
]


def params_of(model: nn.Module) -> dict[str, Tensor]:
    """Every floating-point entry of the state dict, buffers included, detached."""
    return {name: tensor.detach() for name, tensor in model.state_dict().items() if tensor.is_floating_point()}


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


def build(name: str, seed: int = 0, *, trust_code: bool = False, **options: Any) -> nn.Module:
    """A freshly initialised network in eval mode; ``seed`` gives its weights and leaves torch's generator alone.

    Args:
        name: one of :data:`ARCHITECTURES`; ``torchvision:resnet18`` for one of torchvision's classification models;
            or ``package.module:factory``, a callable in code of your own that gives a module.
        seed: of the initial weights.
        trust_code: allows ``package.module:factory``, which runs that code. Never set it for a name out of a file that
            is not yours.
        options: keyword arguments of the architecture.

    Raises:
        ValueError: for an unknown name, code that is not trusted, not there or fails, or options that the architecture
            does not take.
    """
    return build_from({"name": name, **options}, seed, trust_code=trust_code)


def build_from(
    architecture: Mapping[str, Any], seed: int = 0, *, trust_code: bool = False, code: str | Path = ""
) -> nn.Module:
    """The network of a table ``{"name": …, **options}``, as :func:`build`; weights of half precision become float32.

    ``code`` is the folder from which code of your own is imported, by default the working directory.
    """
    name, options = architecture["name"], {key: value for key, value in architecture.items() if key != "name"}
    with _on_path(Path(code or Path.cwd()).resolve()) if trust_code and is_own_code(name) else nullcontext():
        factory = _factory(name, trust_code)
        _check_options(name, factory, options)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = _called(name, factory, options)
    if not isinstance(model, nn.Module):
        raise ValueError(f"architecture '{name}' gives a {type(model).__name__}; it must give a torch.nn.Module.")
    if any(tensor.dtype != torch.float32 for tensor in params_of(model).values()):
        model = model.float()
    return model.eval()


def _check_options(name: str, factory: Callable[..., nn.Module], options: Mapping[str, Any]):
    try:
        signature = inspect.signature(factory)
    except ValueError:  # it does not say what it takes
        return
    try:
        signature.bind(**options)
    except TypeError as error:
        raise ValueError(f"architecture '{name}' does not take these options: {error}.") from error


def _called(name: str, factory: Callable[..., nn.Module], options: Mapping[str, Any]) -> Any:
    try:
        return factory(**options)
    except ValueError:
        raise
    except (Exception, SystemExit) as error:  # a factory is anybody's code and may raise anything
        given = ", ".join(f"{key}={str(value)[:60]}" for key, value in options.items()) or "no options"
        raise ValueError(f"architecture '{name}' cannot be built with {given}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}".strip().partition("\n")[0][:300]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def is_own_code(name: str) -> bool:
    """Whether an architecture of this name is imported from code of the user."""
    return ":" in name and not name.startswith("torchvision:")


def _factory(name: str, trust_code: bool) -> Callable[..., nn.Module]:
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    package, colon, attribute = name.partition(":")
    if not colon:
        raise ValueError(
            f"there is no architecture {name!r}. Choose one of {', '.join(ARCHITECTURES)}, one of torchvision's as "
            "torchvision:resnet18, or your own as package.module:factory."
        )
    if package == "torchvision":
        return _torchvision_factory(attribute)
    if not trust_code:
        raise ValueError(
            f"architecture '{name}' would run the code of {package}. Where you trust it, say so: --trust-code on the "
            "command line, trust_code=True in Python. A web page cannot."
        )
    return _own_factory(package, attribute)


def _torchvision_factory(name: str) -> Callable[..., nn.Module]:
    models = import_torchvision().models
    known = models.list_models(module=models)
    if name not in known:
        raise ValueError(f"torchvision has no classification model '{name}'; it has {', '.join(known)}.")

    def make(**options: Any) -> nn.Module:
        if refused := [option for option in options if option.startswith("weights")]:
            raise ValueError(f"{', '.join(refused)} would download weights; give checkpoints of your own instead.")
        return models.get_model(name, weights=None, **options)

    return make


def _own_factory(package: str, attribute: str) -> Callable[..., nn.Module]:
    """A function, class or method of a module that can be imported from the first folder of the path."""
    importlib.invalidate_caches()
    try:
        _check_same(package.partition(".")[0])
        factory = attrgetter(attribute)(importlib.import_module(package))
    except (Exception, SystemExit) as error:  # a module is anybody's code and may raise anything
        raise ValueError(
            f"there is no '{attribute}' in '{package}': {_first_line(error)} Give package.module:factory, importable "
            f"from here ('{sys.path[0]}')."
        ) from error
    if not callable(factory):
        raise ValueError(f"'{package}:{attribute}' is a {type(factory).__name__}; it must be callable.")
    return factory


def _check_same(package: str):
    """Raise an ImportError when a package of this name is imported already, but from elsewhere."""
    loaded, found = sys.modules.get(package), PathFinder.find_spec(package)
    origin = getattr(getattr(loaded, "__spec__", None), "origin", None)
    if loaded and found and origin != found.origin:
        raise ImportError(f"another '{package}' is in use already, from '{origin}'; start Python anew or rename it.")


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    """Import from a folder first, as ``python -m`` does from the working directory."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
