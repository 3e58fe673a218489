"""Images with a place on Earth, read lazily: GeoTIFF and what else rasterio opens. Runs on the driver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from menndl_dask.data.formats.content import Content, Grid, SourceArray
from menndl_dask.data.formats.library import guarded, reading
from menndl_dask.data.formats.outside import check_vrt
from menndl_dask.data.formats.views import Squeezed, decoded, decoding
from menndl_dask.errors import DataError

CACHE = 64
"""Megabytes that GDAL keeps of blocks it has read; its own default is a twentieth of the memory."""

# of GDAL by ending: by itself it looks at the content, and a file of any name may be a list of URLs
_DRIVERS = {".vrt": "VRT", ".asc": "AAIGrid", ".jp2": "JP2OpenJPEG"}


@contextmanager
def open_raster(path: Path) -> Iterator[Content]:
    """Open a raster as the array ``image`` (band, y, x), or (y, x) if it has one band.

    Missing values (``nodata``) are NaN in images, and stay as they are in labels, with the value as ``fill``. The size
    of a pixel is that of the transform, in the units of the coordinate reference system.
    """
    with reading(path, "a raster"):
        import rasterio
        import rioxarray

        check_vrt(path)
        driver = _DRIVERS.get(path.suffix.lower(), "GTiff")
        setting = rasterio.Env(GDAL_CACHEMAX=CACHE)
        with setting, rasterio.open(path, driver=driver) as file:
            several = tuple(file.subdatasets)
            flags = {flag for band in file.mask_flag_enums for flag in band}
        if several:
            raise DataError(f"{path}: expected one raster, found {len(several)}, such as {several[0]}")
        array: Any = rioxarray.open_rasterio(path, cache=False, driver=driver)
    with setting, array:
        with reading(path, "a raster"):
            attributes, notes = dict(array.attrs), _notes(array)
            if rasterio.enums.MaskFlags.per_dataset in flags and rasterio.enums.MaskFlags.alpha not in flags:
                notes = (*notes, "left out: the file's mask of valid pixels; write a nodata value to have NaN there")
            dims = tuple(map(str, array.dims))
            one = (0,) if dims[0] == "band" and array.shape[0] == 1 else ()
            stored = Squeezed(array.variable, one)
            spacing = dict(zip(("x", "y"), map(abs, map(float, array.rio.resolution())), strict=True))
            grids, unit = (_grid(array),), _unit(array.rio.crs)
        values = decoded(stored, attributes)
        source = SourceArray(values or stored, dims[len(one) :], _labels(attributes) | unit, stored, spacing, grids)
        arrays = guarded({"image": source}, path, "a raster")
        names = array.attrs.get("long_name")
        if isinstance(names, tuple) and not one:
            arrays["band"] = SourceArray(np.array(list(map(str, names))), ("band",))
        yield Content(arrays, images=("image",), notes=notes)


def _labels(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return what attributes say of the values as labels."""
    fill = attributes.get("_FillValue")
    is_scaled = decoding(attributes) != (1.0, 0.0)
    kept: dict[str, Any] = {n: v for n, v in attributes.items() if is_scaled and n in ("scale_factor", "add_offset")}
    return kept if fill is None or not np.isfinite(fill) else {**kept, "fill": fill}


def _grid(array: Any) -> Grid | None:
    """Return where the pixels lie; None if the file does not say it."""
    crs, place = array.rio.crs, array.rio.transform()
    if crs is None and place == type(place).identity():
        return None
    code = crs.to_epsg() if crs else None
    steps = ((place.b, place.e), (place.a, place.d))
    return Grid(("y", "x"), steps, (place.c, place.f), f"EPSG:{code}" if code else "")


def _unit(crs: Any) -> dict[str, str]:
    if not crs:
        return {}
    return {"spacing_unit": str(crs.linear_units) if crs.is_projected else "degree"}


def _notes(array: Any) -> tuple[str, ...]:
    place = f"coordinate reference system {array.rio.crs}" if array.rio.crs else "no coordinate reference system"
    notes = [f"axes: {place}"]
    if "_FillValue" in array.attrs:
        notes.append(f"changed: pixels of the value {array.attrs['_FillValue']} (nodata) become NaN in images")
    return tuple(notes)
