"""The names that tools give to weights, brought back to those of the architecture, and why weights may not fit."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from modecomb_viz.permutation import Params

__all__ = ["guess", "named_as", "share_tied", "shown", "tables_in"]

#: Where tools put the weights inside a checkpoint that holds more; averaged weights come last.
_WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "params", "net", "network", "weights", "module"),
    *("ema", "ema_state_dict", "state_dict_ema", "params_ema", "model_ema"),
)

#: What DataParallel, torch.compile and others put between the names of a network.
_INSERTED = {"module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}

#: What trainers put before every name.
_PREFIXES = ("model.", "net.", "network.", "state_dict.")

#: A part of a name that tells of a norm, such as bn1, norm2, layer_norm.
_NORM = re.compile(r"bn|ln_?f?|(\w+_)?norm|(batch|layer|group)norm|downsample_norm")


def shown(key: Any) -> str:
    """A key of a table as it is shown: texts cut to 60 characters, of anything else the type alone."""
    return repr(key[:60]) if isinstance(key, str) else type(key).__name__


def tables_in(content: Any) -> Iterator[dict[str, Tensor]]:
    """The tables of names and tensors in what was read: the outer one, then those in the usual wrappers."""
    waiting, seen = [content], set()
    while waiting:
        table = waiting.pop(0)
        if not isinstance(table, Mapping) or id(table) in seen:
            continue
        seen.add(id(table))
        tensors = {key: value for key, value in table.items() if isinstance(key, str) and isinstance(value, Tensor)}
        if tensors:
            yield tensors
        waiting += [table.get(key) for key in _WRAPPERS]


def named_as(expected: Params, found: Mapping[str, Tensor], tied: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors under the names of the architecture, as far as they can be told.

    What wrappers inserted between names is left out where that makes more of them fit. Where no name fits, the
    part under the prefix that holds the whole network is taken, and what stands beside it is left.

    Raises:
        ValueError: when several prefixes hold the whole network.
    """
    found = max((dict(found), _without_inserted(found)), key=lambda table: len(expected.keys() & table.keys()))
    if expected.keys() & found.keys():
        return found
    whole = {
        prefix: part
        for prefix in _prefixes(expected, found)
        if expected.keys() <= share_tied(part := _under(prefix, found), expected, tied).keys()
    }
    chosen = [prefix for prefix in whole if prefix in _PREFIXES] or [p for p in whole if "ema" not in p] or [*whole]
    if len(chosen) > 1:
        raise ValueError(
            f"it holds the network several times, under {', '.join(map(shown, chosen[:5]))}. Save the state dict of "
            "one alone."
        )
    return whole[chosen[0]] if chosen else _without_prefixes(expected, found)


def _without_inserted(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every name without the parts that wrappers insert; nothing is changed where two names would become one."""
    bare = {".".join(part for part in name.split(".") if part not in _INSERTED): t for name, t in found.items()}
    return bare if len(bare) == len(found) else dict(found)


def _prefixes(expected: Params, found: Mapping[str, Tensor]) -> list[str]:
    """What stands before the name of the first tensor, or of the last."""
    ends = [f".{name}" for name in (next(iter(expected)), list(expected)[-1])]
    prefixes = [name[: 1 - len(end)] for end in ends for name in found if name.endswith(end)]
    return list(dict.fromkeys(prefixes))[:16]


def _under(prefix: str, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in found.items() if name.startswith(prefix)}


def _without_prefixes(expected: Params, found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Prefixes of trainers that all names have are taken off until some name fits."""
    while found and not expected.keys() & found.keys():
        prefix = next((p for p in _PREFIXES if all(name.startswith(p) for name in found)), None)
        if prefix is None:
            break
        found = _under(prefix, found)
    return found


def share_tied(found: Mapping[str, Tensor], expected: Params, tied: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors, with a tied one that is there under one of its names under all of them."""
    shared = dict(found)
    for name, first in tied.items():
        for here, there in ((name, first), (first, name)):
            if here in expected and here not in shared and there in shared:
                shared[here] = shared[there]
    return shared


def guess(expected: Params, found: Params) -> str:
    """What may have gone wrong, from the names and shapes that do not fit."""
    missing, extra = expected.keys() - found.keys(), found.keys() - expected.keys()
    shared = expected.keys() & found.keys()
    wrong = [name for name in expected if name in shared and expected[name].shape != found[name].shape]
    last = list(expected)[-1].rpartition(".")[0]
    if not shared:
        return f"No name fits: the file's begin with {', '.join(map(shown, list(found)[:3]))}. It is another network."
    if missing and all("running_" in name for name in missing) and not extra:
        return "The file has no statistics of BatchNorm: was it saved from parameters() instead of state_dict()?"
    if extra and all(_of_a_norm(name) for name in extra) and not missing:
        return "The file has norms that this architecture lacks: was it trained with another norm?"
    if wrong and all(name.rpartition(".")[0] == last for name in wrong):
        return f"Only the last layer '{last}' differs: the file was trained for another number of classes or inputs."
    if wrong and all(found[name].shape == expected[name].shape[::-1] for name in wrong):
        return "The weights are transposed: the file comes from a tool that stores them as (input, output)."
    if ratio := _width_ratio([(expected[name].shape, found[name].shape) for name in wrong]):
        return f"The file's layers are {ratio:g} times as wide: build the architecture with that width."
    return ""


def _of_a_norm(name: str) -> bool:
    return "running_" in name or any(_NORM.fullmatch(part.rstrip("0123456789")) for part in name.lower().split("."))


def _width_ratio(shapes: list[tuple[torch.Size, torch.Size]]) -> float | None:
    """The factor between the two that most of the differing axes have, if there is one."""
    ratios = Counter(b / a for old, new in shapes for a, b in zip(old, new, strict=False) if a != b and a)
    if not ratios:
        return None
    ratio, count = ratios.most_common(1)[0]
    return ratio if 2 * count > ratios.total() else None
