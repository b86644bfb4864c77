"""Errors must teach: name the argument, show what came, list what is allowed."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def explains(*words: str) -> Iterator[None]:
    """A ValueError is raised whose text holds all the words."""
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the text is checked below)
        yield
    missing = [word for word in words if word not in str(error.value)]
    assert not missing, f"{missing} not in: {error.value}"
