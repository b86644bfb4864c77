"""One run of a network, recorded as a graph of tensor operations; the network stays as it was."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, functionalize
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves

__all__ = ["POINTWISE", "left_as_it_was", "record", "run_network", "tied_names"]

#: The tag of operations that compute entry by entry.
POINTWISE = torch.Tag.pointwise

#: What a module holds its tensors and parts in.
_TABLES = ("_parameters", "_buffers", "_modules")


def record(
    model: nn.Module, inputs: Sequence[Tensor], *, functional: bool = False
) -> tuple[GraphModule, dict[str, Tensor]]:
    """Run a network once on stand-ins for tensors.

    Args:
        model: in eval mode; left as it was, whatever its forward pass sets.
        functional: leave no operation that changes a tensor in place.

    Returns:
        The tensor operations of the run, whose first placeholders are the tensors of the state in order and whose
        output is the list of all tensors that the network gives; and that state: the floating-point tensors of the
        state dict, each under its first name.

    Raises:
        ValueError: when it cannot be run so.
    """
    tied = tied_names(model)
    state = {
        name: tensor.detach()
        for name, tensor in model.state_dict(keep_vars=True).items()
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and name not in tied
    }

    def run(*tensors: Tensor) -> list[Tensor]:
        params = dict(zip(state, tensors, strict=False))
        return run_network(model, params, tensors[len(state) :])

    traced = make_fx(
        functionalize(run, remove="mutations") if functional else run,
        tracing_mode="fake",
        _allow_non_fake_inputs=True,
    )
    try:
        with _fast_paths_off(model), _quiet(), left_as_it_was(model), torch.no_grad():
            return traced(*state.values(), *inputs), state
    except Exception as error:  # the forward pass is anybody's code and may raise anything
        shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
        raise ValueError(
            f"{type(model).__name__} cannot be traced on an input of shape {shapes}: {_sentence(error)} Does the input "
            "fit the network, and does its forward pass branch on values? Give another example, or state the table "
            "yourself as PermutationSpec(…)."
        ) from error


def _sentence(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    return text if text.endswith((".", "!", "?")) else f"{text}."


@contextmanager
def _fast_paths_off(model: nn.Module) -> Iterator[None]:
    """Without the fused paths that hide layers behind one operation: attention's, and oneDNN's recurrent layers."""
    attention, onednn = torch.backends.mha.get_fastpath_enabled(), torch._C._get_mkldnn_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    if any(isinstance(module, nn.RNNBase) for module in model.modules()):
        torch._C._set_mkldnn_enabled(False)  # torch.backends.mkldnn.flags warns about the TF32 of GPUs
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(attention)
        torch._C._set_mkldnn_enabled(onednn)


@contextmanager
def _quiet() -> Iterator[None]:
    """torch logs the traceback of an operation that fails on stand-ins; the error itself says enough."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Undo whatever the forward pass sets on the network and its parts."""
    modules = [module for module in model.modules() if not isinstance(module, torch.jit.ScriptModule)]
    kept = [(dict(module.__dict__), {t: dict(module.__dict__[t]) for t in _TABLES}) for module in modules]
    try:
        yield
    finally:
        for module, (attributes, tables) in zip(modules, kept, strict=True):
            module.__dict__.clear()
            module.__dict__.update(attributes)
            for name, table in tables.items():
                module.__dict__[name].clear()
                module.__dict__[name].update(table)


def run_network(model: nn.Module, params: Mapping[str, Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    """All tensors that a network gives with these weights; each weight under its first name.

    A tensor that the network has in several places gets its weight in all of them; whole numbers that the network
    counts are counted in copies.

    Raises:
        TypeError: when it gives no tensor.
    """
    tied, given = tied_names(model), {}
    for path, module in model.named_modules():
        for table in (module._parameters, module._buffers):
            for leaf, tensor in table.items():
                name = f"{path}.{leaf}".lstrip(".")
                if tensor is not None and (first := tied.get(name, name)) in params:
                    given[name] = params[first]
                elif tensor is not None and not tensor.is_floating_point():
                    given[name] = tensor.clone()
    made = list(_leaves(functional_call(model, given, tuple(inputs), tie_weights=False)))
    if not any(tensor.numel() for tensor in made):
        raise TypeError("it gives no tensor.")
    return made


def _leaves(made: Any) -> Iterator[Tensor]:
    """The tensors in what a network gives: containers and dataclasses, one in another."""
    for leaf in tree_leaves(made):
        if isinstance(leaf, Tensor):
            yield leaf
        elif is_dataclass(leaf) and not isinstance(leaf, type):
            for field in fields(leaf):
                yield from _leaves(getattr(leaf, field.name))


def tied_names(model: nn.Module) -> dict[str, str]:
    """Every further name of a tensor, and its first name."""
    first: dict[int, str] = {}
    tied = {}
    for named in (model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)):
        for name, tensor in named:
            seen = first.setdefault(id(tensor), name)
            if seen != name:
                tied[name] = seen
    return tied
