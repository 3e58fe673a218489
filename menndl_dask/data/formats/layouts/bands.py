"""Satellite bands in a file each, read as one image on the grid of the finest band. Runs on the driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.formats.library import reading
from menndl_dask.data.formats.readers.geotiff import CACHE
from menndl_dask.data.formats.views import full_index

_KIND = "a band"


@dataclass(frozen=True, slots=True)
class Grid:
    """Size of a raster, the affine transform of its pixels, and its coordinate reference system."""

    height: int
    width: int
    transform: tuple[float, ...]
    crs: str

    @property
    def pixel(self) -> float:
        """Size of a pixel along x."""
        return abs(self.transform[0])

    @property
    def spacing(self) -> dict[str, float]:
        """Size of a pixel by dimension."""
        return {"y": abs(self.transform[4]), "x": abs(self.transform[0])}


def grid_of(path: Path) -> Grid:
    """Return the grid of a raster."""
    with reading(path, _KIND):
        import rasterio

        with rasterio.open(path) as file:
            return Grid(file.height, file.width, tuple(file.transform)[:6], str(file.crs or ""))


def finest(files: Sequence[Path]) -> Grid:
    """Return the grid of the band with the smallest pixels."""
    return min(map(grid_of, files), key=lambda grid: grid.pixel)


@dataclass(frozen=True)
class Bands:
    """Rasters on one grid as an array (band, y, x); those with another grid are resampled while they are read.

    Values are interpolated bilinearly, or taken from the nearest pixel with `nearest`. Pixels of the value `missing`
    are NaN, which makes the values ``float32``.
    """

    files: tuple[Path, ...]
    grid: Grid
    missing: float | None = None
    nearest: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of bands, and size of the grid."""
        return (len(self.files), self.grid.height, self.grid.width)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        if self.missing is not None:
            return np.dtype(np.float32)
        return np.dtype(np.result_type(*map(_type, self.files)))

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """Read a part."""
        bands, rows, columns = full_index(index, 3)
        places = range(len(self.files))[bands]
        chosen = [places] if isinstance(places, int) else list(places)
        window = (_bounds(rows, self.grid.height), _bounds(columns, self.grid.width))
        values = np.stack([self._read(self.files[place], window) for place in chosen])
        within = (slice(None), *(_within(entry) for entry in (rows, columns)))
        return np.asarray(values[within][0] if isinstance(places, int) else values[within])

    def _read(self, path: Path, window: tuple[tuple[int, int], tuple[int, int]]) -> NDArray[Any]:
        with reading(path, _KIND):
            import rasterio
            from rasterio.enums import Resampling
            from rasterio.vrt import WarpedVRT

            (top, bottom), (left, right) = window
            place = rasterio.windows.Window(left, top, right - left, bottom - top)
            with rasterio.Env(GDAL_CACHEMAX=CACHE), rasterio.open(path) as file:
                same = (file.height, file.width) == (self.grid.height, self.grid.width)
                if same and tuple(file.transform)[:6] == self.grid.transform:
                    values = file.read(1, window=place)
                else:
                    options = {
                        "crs": self.grid.crs or None,
                        "transform": rasterio.Affine(*self.grid.transform),
                        "height": self.grid.height,
                        "width": self.grid.width,
                        "resampling": Resampling.nearest if self.nearest else Resampling.bilinear,
                        "src_nodata": self.missing,
                    }
                    with WarpedVRT(file, **options) as warped:
                        values = warped.read(1, window=place)
        if self.missing is None:
            return np.asarray(values, dtype=self.dtype)
        return np.where(values == self.missing, np.float32(np.nan), values.astype(np.float32))


def _type(path: Path) -> np.dtype[Any]:
    with reading(path, _KIND):
        import rasterio

        with rasterio.open(path) as file:
            kind: np.dtype[Any] = np.dtype(file.dtypes[0])
            return kind


def _bounds(entry: Any, length: int) -> tuple[int, int]:
    """Return start and stop of the pixels that an index needs; steps are taken afterwards."""
    if not isinstance(entry, slice):
        place = range(length)[entry]
        return place, place + 1
    start, stop, step = entry.indices(length)
    if step < 1:
        raise IndexError("expected a step above 0")
    return start, max(start, stop)


def _within(entry: Any) -> Any:
    return slice(None, None, entry.step) if isinstance(entry, slice) else 0
