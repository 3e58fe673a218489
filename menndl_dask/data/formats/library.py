"""Errors of the libraries that read other formats, turned into ours. Runs on the driver."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from menndl_dask.errors import DataError, UserError, one_line

_PACKAGES = {"PIL": "pillow"}


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Say in one line that a file cannot be read as this kind, or which library must be installed for it."""
    try:
        yield
    except ImportError as error:
        name = (error.name or str(error)).partition(".")[0]
        needed = _PACKAGES.get(name, name)
        message = f'{path}: needs {needed}, which is not installed: pip install "menndl_dask[formats]"'
        raise UserError(message) from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as {kind}: {one_line(error)}") from None
