"""Where and in which precision networks are evaluated."""

import copy

import torch
from torch import Tensor, nn

__all__ = ["PRECISIONS", "check_precision", "near", "place", "resolve_device"]

#: Types in which a network can be evaluated.
PRECISIONS: dict[str, torch.dtype] = {"float32": torch.float32, "float64": torch.float64}


def resolve_device(device: str | torch.device | None) -> torch.device:
    """The device asked for; by default the GPU if there is one, else the CPU.

    Raises:
        ValueError: for a name torch does not know, or a GPU that is not there.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"there is no device {device!r}; use 'cpu', 'cuda' or 'cuda:0'.") from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} was asked for, but torch finds no GPU here. Use device='cpu'.")
    return resolved


def check_precision(precision: str) -> torch.dtype:
    """The dtype of a precision, or a ValueError that lists them."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}.")
    return PRECISIONS[precision]


def place(model: nn.Module, device: torch.device, dtype: torch.dtype | None = None) -> nn.Module:
    """A copy of the architecture on a device and in a type; the caller's model stays as it is."""
    return copy.deepcopy(model).to(device, dtype)


def near(tensor: Tensor) -> Tensor:
    """The tensor in the memory layout that convolutions prefer: images and their kernels with the channel last."""
    return tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
