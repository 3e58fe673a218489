"""References to functions of the user's own, written ``module:function``. Runs in the training process."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from menndl_dask.errors import UserError, nearest


def is_reference(name: str) -> bool:
    """Return whether a name is one of the user's own, ``module:function``.

    >>> is_reference("my_losses:focal"), is_reference("accuracy")
    (True, False)
    """
    return ":" in name


def resolve(name: str, what: str) -> Any:
    """Import what a reference names.

    Parameters
    ----------
    name
        ``module:function``; the module must be importable where the trainings run.
    what
        What it is for, as the error calls it.

    Raises
    ------
    UserError
        If the module cannot be imported or does not have it.

    Examples
    --------
    >>> resolve("math:sqrt", "loss")(9.0)
    3.0
    """
    module, _, attribute = name.partition(":")
    try:
        home = import_module(module)
    except ImportError as error:
        raise UserError(f"{what}: {name!r}: module {module!r} cannot be imported on the worker ({error})") from error
    if not hasattr(home, attribute):
        raise UserError(f"{what}: module {module!r} has no {attribute!r}{nearest(attribute, dir(home))}")
    return getattr(home, attribute)
