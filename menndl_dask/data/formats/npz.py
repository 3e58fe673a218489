"""NumPy archives: ``.npz``. Runs on the driver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from menndl_dask.data.formats.content import Content, SourceArray
from menndl_dask.data.formats.library import reading


@contextmanager
def open_npz(path: Path) -> Iterator[Content]:
    """Open an ``.npz`` file; its arrays cannot be read in parts."""
    with reading(path, ".npz"), np.load(path, allow_pickle=False) as file:
        arrays = {name: SourceArray(file[name]) for name in file.files}
    yield Content(arrays)
