"""Weights in files: saved as safetensors, loaded from whatever other people's tools wrote.

A checkpoint is untrusted: only tensors are read, and only those that the architecture expects.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from modecomb_viz.architectures import params_of
from modecomb_viz.checkpoints.naming import guess, named_as, share_tied, shown, tables_in
from modecomb_viz.permutation import Params, check_params
from modecomb_viz.results import check_path, write_whole
from modecomb_viz.tracing import tied_names
from modecomb_viz.untrusted import is_file, read_torch

__all__ = [
    "SUFFIXES",
    "Metadata",
    "diverged",
    "load_params",
    "mode_metadata",
    "mode_stem",
    "params_hash",
    "save_params",
]

#: A file larger than its tensors could be, plus this many bytes, is not read.
_SLACK = 2**20

_CONVERT = (
    "Where you trust it, convert it: content = torch.load(path, weights_only=False), then "
    "torch.save(content.state_dict(), 'weights.pt') where that is a module, torch.save(content['state_dict'], "
    "'weights.pt') where it is a table; or save it as safetensors."
)


def params_hash(params: Params) -> str:
    """SHA-256 of the names, types, shapes and bytes of all tensors (first 16 hex digits)."""
    digest = hashlib.sha256()
    for name in sorted(params):
        tensor = params[name].detach().cpu().contiguous()
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def save_params(params: Params, path: str | Path, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write tensors as safetensors; metadata values become JSON strings.

    Raises:
        ValueError: when the path does not end in ``.safetensors`` or cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in params.items()}
    texts = {key: json.dumps(value) for key, value in (metadata or {}).items()}
    return write_whole(check_path(path, ".safetensors"), lambda part: save_file(tensors, part, texts))


def load_params(path: str | Path, model: nn.Module) -> dict[str, Tensor]:
    """The weights in a checkpoint, checked against the architecture, on the CPU.

    Reads ``.safetensors``, and what ``torch.save`` wrote, in the zip and the legacy format, with
    ``weights_only=True``, saved on any device: a state dict, or one inside ``{"state_dict": …}`` and the like. What
    DataParallel (``module.``), torch.compile (``_orig_mod.``) and trainers (``model.``) put into the names is taken
    out. A tied tensor may be there under one of its names. Integer entries, such as BatchNorm's counter, are left out.

    Raises:
        ValueError: for a missing file, another format, a file too large for the architecture, one that is damaged or
            holds more than data, weights that are no dense floats or not finite, or tensors that do not fit, with a
            guess why.
    """
    path, expected, tied = Path(path), params_of(model), tied_names(model)
    if not expected:
        raise ValueError(f"{type(model).__name__} has no weights, so there is nothing to load into it.")
    largest = _check_file(path, expected)
    found = _best_table(path, expected, _READERS[_suffix(path)](path, largest), tied)
    _check_kinds(path, expected, found)
    params = share_tied({name: t for name, t in found.items() if t.is_floating_point()}, expected, tied)
    try:
        check_params({name: tuple(tensor.shape) for name, tensor in expected.items()}, params, f"'{path}'")
    except ValueError as error:
        raise ValueError(f"{error} {guess(expected, params)}".strip()) from error
    if broken := diverged(params, model):
        raise ValueError(
            f"'{path}' has values that are not finite in {', '.join(map(repr, broken[:5]))}"
            f"{' …' * (len(broken) > 5)}. Did its training diverge, or is the file damaged?"
        )
    return {name: params[name] for name in expected}


def _suffix(path: Path) -> str:
    """The ending of a checkpoint's name, the longest that is known; empty for another."""
    return max((suffix for suffix in _READERS if path.name.lower().endswith(suffix)), key=len, default="")


def mode_stem(path: Path) -> str:
    """The name of a checkpoint without its ending; empty where it does not end as one."""
    ending = _suffix(path)
    return path.name[: -len(ending)] if ending else ""


def _check_file(path: Path, expected: Params) -> int:
    """The bytes that the file may unpack to."""
    if not _suffix(path):
        raise ValueError(f"a checkpoint must end in {', '.join(_READERS)}, got '{path}'. Rename it if it is one.")
    if not is_file(path):
        raise ValueError(f"there is no checkpoint at '{path}'.")
    largest = 4 * sum(tensor.numel() * 8 for tensor in expected.values()) + _SLACK
    if path.stat().st_size > largest:
        raise ValueError(
            f"'{path}' has {path.stat().st_size:,} bytes, more than float64 weights of this architecture with the "
            f"state of an optimiser need ({largest:,} bytes). Does it hold another network? Save the state dict alone."
        )
    return largest


def _best_table(
    path: Path, expected: Params, tables: list[dict[str, Tensor]], tied: Mapping[str, str]
) -> dict[str, Tensor]:
    """Of all tables in the file, the first in which most names are those of the architecture."""
    try:
        named = [named_as(expected, table, tied) for table in tables]
    except ValueError as error:
        raise ValueError(f"'{path}' is not read: {error}") from error
    return max(named, key=lambda table: len(expected.keys() & table.keys()))


def _check_kinds(path: Path, expected: Params, found: Params):
    """Refuse weights that are no dense floating-point numbers, by name."""
    for name in expected.keys() & found.keys():
        tensor = found[name]
        kind = "without data (meta)" if tensor.is_meta else str(tensor.dtype).removeprefix("torch.")
        if tensor.layout != torch.strided:
            kind = str(tensor.layout).removeprefix("torch.")
        if tensor.is_meta or tensor.is_nested or tensor.layout != torch.strided or not tensor.is_floating_point():
            raise ValueError(
                f"'{path}': '{name}' is {kind}; weights must be dense floating-point tensors. Save them so, for "
                "instance with .dequantize() or .to_dense() and .float()."
            )


def diverged(params: Params, model: nn.Module) -> list[str]:
    """The tensors that are not finite; a constant of the network, such as a mask of −∞, may be so where its own is."""
    trained = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    finite = {name: tensor.float().isfinite() for name, tensor in params.items()}
    own = {name: tensor.float().isfinite() for name, tensor in params_of(model).items() if name not in trained}
    return [
        name
        for name, entries in finite.items()
        if not entries.all() and not (name in own and torch.equal(entries, own[name]))
    ]


def _read_safetensors(path: Path, largest: int) -> list[dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return [{name: file.get_tensor(name) for name in file.keys()}]  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, ValueError, TypeError, RuntimeError, LookupError, AttributeError) as error:
        raise ValueError(f"'{path}' is not a whole safetensors file: {error}") from error


def _read_state_dicts(path: Path, largest: int) -> list[dict[str, Tensor]]:
    """Every mapping of names to tensors, also inside the usual wrappers."""
    content = read_torch(path, largest, _CONVERT)
    if not (tables := list(tables_in(content))):
        held = ", ".join(map(shown, list(content)[:5])) if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(
            f"'{path}' holds no state dict, a table of names and tensors; it holds {held or 'nothing'}. Save "
            "torch.save(model.state_dict(), …), alone or under 'state_dict'."
        )
    return tables


_READERS: dict[str, Callable[[Path, int], list[dict[str, Tensor]]]] = {
    ".safetensors": _read_safetensors,
    **dict.fromkeys((".pt", ".pth", ".pth.tar", ".pt.tar", ".ckpt", ".bin"), _read_state_dicts),
}

#: Endings of the files that :func:`load_params` reads, in any case.
SUFFIXES = tuple(_READERS)


class Metadata(NamedTuple):
    """What stands beside the tensors of a file, and how many numbers the tensors hold."""

    values: dict[str, Any]
    size: int


def mode_metadata(path: str | Path) -> Metadata:
    """What :func:`save_params` wrote beside the tensors, such as accuracies and seed; nothing for other formats.

    Raises:
        ValueError: for a file that is missing or damaged.
    """
    if Path(path).suffix.lower() != ".safetensors":
        return Metadata({}, 0)
    try:
        with safe_open(path, framework="np") as file:
            size = sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
            return Metadata({key: _parsed(value) for key, value in (file.metadata() or {}).items()}, size)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"'{path}' is not a whole safetensors file: {error}") from error


def _parsed(text: str) -> Any:
    """A metadata value; those that other tools wrote are plain text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
