"""NIfTI images of medicine, read lazily. Runs on the driver.

Source: https://nifti.nimh.nih.gov/nifti-1
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from menndl_dask.data.formats.content import Content, Grid, SourceArray
from menndl_dask.data.formats.library import guarded, reading
from menndl_dask.data.formats.views import Squeezed, Transposed
from menndl_dask.errors import DataError

_TIMES = ("sec", "msec", "usec")


class _Voxels:
    """Values of a NIfTI file with their scale, which are read when they are sliced."""

    def __init__(self, image: Any) -> None:
        self._values = image.dataobj
        self.shape: tuple[int, ...] = tuple(image.shape)
        corner = (slice(0, 1),) * len(self.shape)
        self.dtype: np.dtype[Any] = np.dtype(self._values[corner].dtype).newbyteorder("=")

    def __getitem__(self, index: Any, /) -> Any:
        return self._values[index]


@contextmanager
def open_nifti(path: Path) -> Iterator[Content]:
    """Open a NIfTI file as (z, y, x), with the zooms as size of a voxel.

    A fourth axis is time if its unit is a time, else channels; a fifth one is channels.
    """
    with reading(path, "NIfTI"):
        import nibabel

        image: Any = nibabel.load(path, keep_file_open=True)
        values = _Voxels(image)
        units = image.header.get_xyzt_units()
        zooms = [float(f"{size:.6g}") for size in image.header.get_zooms()[:3]]
    names = ["x", "y", "z", "t" if units[1] in _TIMES else "channel", "channel"][: len(values.shape)]
    single = tuple(a for a, size in enumerate(values.shape) if size == 1 and a > 1)
    dims = tuple(name for axis, name in enumerate(names) if axis not in single)
    if len(set(dims)) < len(dims) or len(values.shape) > len(names):
        expected = "up to three spatial axes, one of time and one of channels"
        raise DataError(f"{path}: expected {expected}, got shape {values.shape}")
    spacing = {name: size for name, size in zip("xyz", zooms, strict=False) if name in dims and size > 0}
    attributes = {} if units[0] == "unknown" else {"spacing_unit": units[0]}
    grids = (_grid(image, len(values.shape)),)
    source = SourceArray(Transposed(Squeezed(values, single)), dims[::-1], attributes, None, spacing, grids)
    codes: Any = nibabel.aff2axcodes  # it has no types
    axes = "".join(filter(None, codes(image.affine)))
    notes = (f"axes: x, y, z run towards {axes} (R right, A front, S top; L, P, I the opposite); they are not turned",)
    yield Content(guarded({"image": source}, path, "NIfTI"), images=("image",), consecutive="t" in dims, notes=notes)


def _grid(image: Any, rank: int) -> Grid | None:
    """Return where the voxels lie in the scanner; None if the header does not say it."""
    header = image.header
    codes = [int(header[name]) for name in ("sform_code", "qform_code") if name in header]
    if (codes and not any(codes)) or image.affine is None or rank < 3:
        return None
    affine = np.asarray(image.affine, dtype=np.float64)
    steps = tuple(tuple(affine[:3, axis].tolist()) for axis in (2, 1, 0))
    return Grid(("z", "y", "x"), steps, tuple(affine[:3, 3].tolist()))
