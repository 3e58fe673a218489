"""Optional libraries for some formats, imported when needed. Runs on the driver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from menndl_dask.errors import UserError

_PACKAGES = {"PIL": "pillow"}


@contextmanager
def needed_for(source: object) -> Iterator[None]:
    """Turn an ImportError into a `UserError` that says how to install the library."""
    try:
        yield
    except ImportError as error:
        name = (error.name or str(error)).partition(".")[0]
        needed = _PACKAGES.get(name, name)
        message = f'{source}: needs {needed}, which is not installed: pip install "menndl_dask[formats]"'
        raise UserError(message) from None
