"""Choices as text, as in a URL, and back."""

import math
from collections.abc import Mapping
from typing import Any

import param

__all__ = ["MIX_BOUNDS", "as_text", "as_texts", "count_words", "numbers_of"]

#: Coefficients between which a layer can be mixed.
MIX_BOUNDS = (-1.0, 2.0)


def numbers_of(text: str, declared: param.Tuple | param.List) -> tuple[float, ...] | list[float] | None:
    """Numbers with commas between them; none at all for what need not be there."""
    numbers = [float(word) for word in text.split(",")] if text else []
    if not all(map(math.isfinite, numbers)):
        raise ValueError(text)
    if isinstance(declared, param.List):
        return numbers
    return tuple(numbers) if numbers else None


def count_words(declared: param.Tuple | param.List) -> str:
    """Which numbers a choice takes, for those who gave others."""
    low, high = MIX_BOUNDS
    each = f"one number from {low:g} to {high:g} for every layer"
    count = f"{declared.length} numbers" if isinstance(declared, param.Tuple) else each
    return f"{count} with commas between them, or nothing"


def as_texts(choices: Mapping[str, Any]) -> dict[str, str]:
    """Every choice as a URL has it."""
    return {name: as_text(value) for name, value in choices.items()}


def as_text(value: Any) -> str:
    """A choice as a URL has it; the empty text for none."""
    if value is None:
        return ""
    if isinstance(value, tuple | list):
        return ",".join(map(as_text, value))
    if isinstance(value, float):
        return repr(float(f"{value:.12g}"))  # what a slider adds up is not told
    return str(value).lower() if isinstance(value, bool) else str(value)
