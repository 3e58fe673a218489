"""Files that xarray opens: NetCDF, and whatever else it has an engine for. Runs on the driver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from menndl_dask.data.axes import CHANNEL, SPATIAL
from menndl_dask.data.formats.content import Content, Grid, SourceArray
from menndl_dask.data.formats.library import guarded, reading
from menndl_dask.data.formats.outside import check_hdf5, check_vrt
from menndl_dask.errors import DataError


class UnknownFormatError(DataError):
    """No engine of xarray opens a file."""


@contextmanager
def open_netcdf(path: Path) -> Iterator[Content]:
    """Open a NetCDF file; scaled and missing values of images are decoded, labels are as stored.

    Arrays in groups are named by their path, such as ``scan/image``.
    """
    with reading(path, "NetCDF"):
        with path.open("rb") as file:
            start = file.read(4)
        if start[:3] != b"CDF":
            import h5netcdf  # noqa: F401  xarray uses it

            check_hdf5(path)
        elif start[3] not in (1, 2):  # else SciPy, which sees that a file is too short: the C library does not
            import netCDF4  # noqa: F401  xarray uses it
    engine = "h5netcdf" if start[:3] != b"CDF" else "scipy" if start[3] in (1, 2) else "netcdf4"
    with _opened(path, "NetCDF", engine) as content:
        yield content


@contextmanager
def open_by_engine(path: Path) -> Iterator[Content]:
    """Open a file by the engine that xarray finds for it.

    Raises
    ------
    UnknownFormatError
        If it finds none.
    """
    with reading(path, "a file that xarray opens"):
        check_hdf5(path)
        check_vrt(path)
        try:
            xr.open_dataset(path, cache=False).close()
        except ValueError as error:
            if "did not find a match" in str(error):
                raise UnknownFormatError(f"{path}: no engine of xarray opens it") from None
            raise
    with _opened(path, "a file that xarray opens", None) as content:
        yield content


@contextmanager
def _opened(path: Path, kind: str, engine: str | None) -> Iterator[Content]:
    options: dict[str, Any] = {"engine": engine, "cache": False, "decode_times": False}
    if engine == "h5netcdf":
        options["phony_dims"] = "sort"
    with ExitStack() as stack:
        arrays: dict[str, SourceArray] = {}
        with reading(path, kind):
            for group, measured in _groups(path, options).items():
                stored = _groups(path, {**options, "mask_and_scale": False}, group)[group]
                stack.enter_context(measured)
                stack.enter_context(stored)
                prefix = group.strip("/") and f"{group.strip('/')}/"
                arrays |= {f"{prefix}{name}": source for name, source in dataset_arrays(measured, stored).items()}
        yield Content(guarded(arrays, path, kind))


def _groups(path: Path, options: Mapping[str, Any], only: str | None = None) -> dict[str, xr.Dataset]:
    """Return the data sets of a file by the path of their group."""
    if options["engine"] in (None, "scipy"):  # without groups
        return {"/": xr.open_dataset(path, **options)}
    if only is not None:
        return {only: xr.open_dataset(path, group=only, **options)}
    found = xr.open_groups(path, **options)
    return {name: dataset for name, dataset in found.items() if dataset.variables}


def dataset_arrays(measured: xr.Dataset, stored: xr.Dataset) -> dict[str, SourceArray]:
    """Return the variables of a data set, but not the positions along spatial axes and channels."""
    arrays = {}
    positions = [str(d) for d in measured.dims if d in measured.coords and _is_space(str(d))]
    spacing = {d: spacing_of(measured[d].values) for d in positions}
    for name, array in measured.variables.items():
        dims = tuple(map(str, array.dims))
        if dims != (str(name),) or not (_is_space(str(name)) or str(name).lower() in CHANNEL):
            raw = stored[name]
            known = {d: step for d in dims if (step := spacing.get(d)) is not None}
            grid = _grid({d: measured[d].values for d in dims if d in known})
            attributes = {**raw.attrs, **_flags(raw.attrs)}
            arrays[str(name)] = SourceArray(array, dims, attributes, raw.variable, known, (grid,) if grid else ())
    return arrays


def _grid(positions: Mapping[str, Any]) -> Grid | None:
    """Return where the pixels lie by the positions along each axis; None without any."""
    if not positions:
        return None
    names = sorted(positions)
    ends = {name: (float(positions[name][0]), float(positions[name][-1])) for name in names}
    size = {name: (ends[name][1] - ends[name][0]) / (len(positions[name]) - 1) for name in names}
    steps = tuple(tuple(size[name] if name == other else 0.0 for other in names) for name in names)
    return Grid(tuple(names), steps, tuple(ends[name][0] for name in names))


def _flags(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the names of classes that are flags numbered from 0 on; see https://cfconventions.org, section 3.5."""
    names = str(attributes.get("flag_meanings", "")).split()
    numbers = np.ravel(np.asarray(attributes.get("flag_values", ()))).tolist()
    return {"classes": names} if names and numbers == list(range(len(names))) else {}


def _is_space(name: str) -> bool:
    return name.lower() in SPATIAL


def spacing_of(values: Any) -> float | None:
    """Return the distance of evenly spaced positions; None if they are not.

    >>> spacing_of(np.array([3.0, 2.5, 2.0])), spacing_of(np.array([1.0, 2.0, 9.0]))
    (0.5, None)
    """
    if len(values) < 2 or np.asarray(values).dtype.kind not in "iuf":
        return None
    steps = np.diff(np.asarray(values, dtype=np.float64))
    return float(abs(steps.mean())) if np.allclose(steps, steps.mean(), rtol=1e-3, atol=0) and steps.any() else None
