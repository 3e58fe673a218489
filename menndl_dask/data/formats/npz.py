"""NumPy archives: ``.npz``. Runs on the driver."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from menndl_dask.data.formats.content import Content, SourceArray
from menndl_dask.errors import DataError


@contextmanager
def open_npz(path: Path) -> Iterator[Content]:
    """Open an ``.npz`` file; its arrays cannot be read in parts."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: SourceArray(file[name]) for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as .npz: {error}") from None
    yield Content(arrays)
