"""References to functions of the user's own, written ``module:function``. Runs in the training process.

It imports what its driver asks it to; the driver has looked whether it may, see `menndl_dask.own_code`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from menndl_dask.errors import UserError, nearest


def resolve(name: str, what: str) -> Any:
    """Import the object of a reference; `what` is its purpose, for error messages.

    Raises `UserError` if the module cannot be imported by this process, or does not have the function.

    >>> resolve("math:sqrt", "loss")(9.0)
    3.0
    """
    module_name, _, attribute = name.partition(":")
    try:
        module = import_module(module_name)
    except ImportError as error:
        cause = f"module {module_name!r} cannot be imported on the worker ({error})"
        raise UserError(f"{what}: {name!r}: {cause}") from error
    if not hasattr(module, attribute):
        raise UserError(f"{what}: module {module_name!r} has no {attribute!r}{nearest(attribute, dir(module))}")
    return getattr(module, attribute)
