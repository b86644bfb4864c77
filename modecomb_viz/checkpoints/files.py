"""Weights in files: saved as safetensors, loaded from whatever other people's tools wrote.

A checkpoint is untrusted: only tensors are read, and only those that the architecture expects.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from modecomb_viz.architectures import params_of
from modecomb_viz.permutation import Params, check_params
from modecomb_viz.results import check_path, write_whole
from modecomb_viz.tracing import tied_names
from modecomb_viz.untrusted import read_torch

__all__ = ["SUFFIXES", "Metadata", "load_params", "mode_metadata", "params_hash", "save_params"]

#: A file larger than its tensors could be, plus this many bytes, is not read.
_SLACK = 2**20

#: Where tools put the weights inside a checkpoint that holds more.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "params", "net", "network", "weights", "module")

#: What wrappers put before every name: DataParallel, torch.compile, Lightning and other trainers.
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "_forward_module.", "state_dict.")


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

    Reads ``.safetensors``, and ``.pt`` / ``.pth`` in the zip and the legacy format with ``weights_only=True``, saved on
    any device: a state dict, or one inside ``{"state_dict": …}`` and the like. The prefixes of DataParallel
    (``module.``), torch.compile (``_orig_mod.``) and common trainers are taken off. A tied tensor may be there under
    one of its names. Integer entries, such as BatchNorm's counter, are left out.

    Raises:
        ValueError: for a missing file, another format, a file too large for the architecture, one that is damaged or
            holds more than data, values that are not finite, or tensors that do not fit, with a guess why.
    """
    path, expected = Path(path), params_of(model)
    largest = _check_file(path, expected)
    found = _READERS[path.suffix](path, largest)
    params = _named_as(expected, {key: t for key, t in found.items() if t.is_floating_point()})
    for name, first in tied_names(model).items():
        for here, there in ((name, first), (first, name)):
            if here in expected and here not in params and there in params:
                params[here] = params[there]
    try:
        check_params({name: tuple(tensor.shape) for name, tensor in expected.items()}, params, f"'{path}'")
    except ValueError as error:
        raise ValueError(f"{error} {_guess(expected, params)}".strip()) from error
    if broken := [name for name, tensor in params.items() if not tensor.isfinite().all()]:
        raise ValueError(
            f"'{path}' has values that are not finite in {', '.join(map(repr, broken[:5]))}"
            f"{' …' * (len(broken) > 5)}. Did its training diverge, or is the file damaged?"
        )
    return {name: params[name] for name in expected}


def _check_file(path: Path, expected: Params) -> int:
    """The bytes that the file may unpack to."""
    if path.suffix not in _READERS:
        raise ValueError(f"a checkpoint must end in {', '.join(_READERS)}, got '{path}'.")
    if not path.is_file():
        raise ValueError(f"there is no checkpoint at '{path}'.")
    largest = 4 * sum(tensor.numel() * 8 for tensor in expected.values()) + _SLACK
    if path.stat().st_size > largest:
        raise ValueError(
            f"'{path}' has {path.stat().st_size:,} bytes, more than float64 weights of this architecture with the "
            f"state of an optimiser need ({largest:,} bytes). Does it hold another network? Save the state dict alone."
        )
    return largest


def _read_safetensors(path: Path, largest: int) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, ValueError, TypeError, RuntimeError, LookupError) as error:
        raise ValueError(f"'{path}' is not a whole safetensors file: {error}") from error


def _read_state_dict(path: Path, largest: int) -> dict[str, Tensor]:
    """The first mapping of names to tensors, looking inside the usual wrappers."""
    content = read_torch(path, largest)
    while isinstance(content, Mapping):
        tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
        inside = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if tensors or inside is None:
            break
        content = inside
    if not isinstance(content, Mapping) or not tensors or not all(isinstance(key, str) for key in tensors):
        held = ", ".join(map(repr, list(content)[:5])) if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(
            f"'{path}' holds no state dict, a table of names and tensors; it holds {held or 'nothing'}. Save "
            "torch.save(model.state_dict(), …), alone or under 'state_dict'."
        )
    return tensors


_READERS: dict[str, Callable[[Path, int], dict[str, Tensor]]] = {
    ".safetensors": _read_safetensors,
    ".pt": _read_state_dict,
    ".pth": _read_state_dict,
}

#: Endings of the files that :func:`load_params` reads.
SUFFIXES = tuple(_READERS)


def _named_as(expected: Params, found: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names of the architecture: prefixes that all names have are taken off until they fit."""
    while found and not expected.keys() & found.keys():
        prefix = next((p for p in _PREFIXES if all(name.startswith(p) for name in found)), None)
        if prefix is None:
            break
        found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found


def _guess(expected: Params, found: Params) -> str:
    """What may have gone wrong, from the names and shapes that do not fit."""
    missing, extra = expected.keys() - found.keys(), found.keys() - expected.keys()
    shared = expected.keys() & found.keys()
    wrong = [name for name in expected if name in shared and expected[name].shape != found[name].shape]
    last = list(expected)[-1].rpartition(".")[0]
    if not shared:
        return f"No name fits: the file's begin with {', '.join(map(repr, list(found)[:3]))}. It is another network."
    if missing and all("running_" in name for name in missing) and not extra:
        return "The file has no statistics of BatchNorm: was it saved from parameters() instead of state_dict()?"
    if extra and all("running_" in name or "norm" in name or "bn" in name for name in extra) and not missing:
        return "The file has norms that this architecture lacks: was it trained with another norm?"
    if wrong and all(name.rpartition(".")[0] == last for name in wrong):
        return f"Only the last layer '{last}' differs: the file was trained for another number of classes or inputs."
    if wrong and all(found[name].shape == expected[name].shape[::-1] for name in wrong):
        return "The weights are transposed: the file comes from a tool that stores them as (input, output)."
    if ratio := _width_ratio([(expected[name].shape, found[name].shape) for name in wrong]):
        return f"The file's layers are {ratio:g} times as wide: build the architecture with that width."
    return ""


def _width_ratio(shapes: list[tuple[torch.Size, torch.Size]]) -> float | None:
    """The factor between the two that most of the differing axes have, if there is one."""
    ratios = Counter(b / a for old, new in shapes for a, b in zip(old, new, strict=False) if a != b and a)
    if not ratios:
        return None
    ratio, count = ratios.most_common(1)[0]
    return ratio if 2 * count > ratios.total() else None


class Metadata(NamedTuple):
    """What stands beside the tensors of a file, and how many numbers the tensors hold."""

    values: dict[str, Any]
    size: int


def mode_metadata(path: str | Path) -> Metadata:
    """What :func:`save_params` wrote beside the tensors, such as accuracies and seed; nothing for other formats.

    Raises:
        ValueError: for a file that is missing or damaged.
    """
    if Path(path).suffix != ".safetensors":
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
