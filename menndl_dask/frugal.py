"""Importing Keras without what it would bring along. Runs in the child processes that train or predict."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

# Keras imports these where they are installed, for its wrappers, `fit` on data frames and pictures of data sets: a
# third of the time with TensorFlow, half of it with JAX
_SPARED = ("sklearn", "pandas", "matplotlib")


def import_frugally(module: str) -> Any:
    """Import Keras, or a module that imports it, and return the module; what is spared can be imported later."""
    with without(*_SPARED):
        return import_module(module)


@contextmanager
def without(*modules: str) -> Iterator[None]:
    """Have modules that are not imported yet look meanwhile as if they were not installed.

    >>> with without("this"):
    ...     import this
    Traceback (most recent call last):
    ModuleNotFoundError: import of this halted; None in sys.modules
    """
    hidden = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # nothing: an import of it raises
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
