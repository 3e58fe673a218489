"""Write images and labels as a Zarr store, block by block. Runs on the driver."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from menndl_dask import files
from menndl_dask.data.formats.chunk_grid import blocks, chunk_of_image, samples_in_chunk
from menndl_dask.data.formats.samples import Region, Samples, equal_sizes
from menndl_dask.errors import DataError, MenndlError, UserError, one_line

Progress = Callable[[int, int], None]
"""Is called with the bytes that are written, and those of the whole."""


@dataclass(frozen=True, slots=True)
class Variable:
    """Images of one view, or labels, with the names of the dimensions of a sample."""

    name: str
    samples: Samples
    dims: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    channels: Sequence[str] = ()  # their names

    @property
    def bytes(self) -> int:
        """Bytes of all values."""
        each = [math.prod(self.samples.size(0))] * len(self.samples) if len(self.samples) else []
        if not equal_sizes(self.samples):
            each = [math.prod(self.samples.size(number)) for number in range(len(self.samples))]
        return sum(each) * self.samples.dtype.itemsize

    def read(self, start: int, stop: int, region: Region) -> NDArray[Any]:
        """Return a region of the samples ``start:stop``."""
        try:
            return self.samples.read(start, stop, region)
        except MenndlError:
            raise
        except Exception as error:  # libraries raise any exception
            which = f"samples {start} to {stop - 1}" if stop > start + 1 else f"sample {start}"
            raise DataError(f"{self.name}: {which} cannot be read: {one_line(error)}") from error


@dataclass(frozen=True, slots=True)
class Store:
    """What a store holds: images and labels, values for each sample, and how the samples lie in it."""

    variables: tuple[Variable, ...]
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    one_image: bool = False  # no dimension of samples
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def unequal(self) -> bool:
        """Whether the samples differ in size."""
        return not self.one_image and not all(equal_sizes(variable.samples) for variable in self.variables)


def write_store(store: Store, path: Path, chunk: int | None = None, progress: Progress | None = None) -> None:
    """Write a store under another name first: a store that has its name is complete.

    What a killed process has left of writing it before is removed.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.sweep(path.parent, path.name)
        with files.replacing(path) as partial:
            columns = {} if store.one_image else store.columns
            coordinates = {k: ("sample", v.astype(object) if v.dtype.kind in "SUT" else v) for k, v in columns.items()}
            data = xr.Dataset(coords=coordinates, attrs=dict(store.attributes))
            data.to_zarr(partial, mode="w", zarr_format=3, consolidated=False)
            _write_variables(zarr.open_group(partial, mode="a"), store, chunk, progress)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error


def _write_variables(group: zarr.Group, store: Store, chunk: int | None, progress: Progress | None) -> None:
    total = sum(variable.bytes for variable in store.variables)
    written = 0

    def more(count: int) -> None:
        nonlocal written
        written += count
        if progress is not None:
            progress(written, total)

    for variable, dims, names in _own_dims(store.variables):
        if store.unequal and variable.dims:
            for number in range(len(variable.samples)):
                inner = group.require_group(f"samples/{number:05}")
                one = _One(variable, number)
                _write_array(inner, variable, one, dims, None, chunk, more)
                _write_names(inner, names, variable)
        else:
            samples = _One(variable, 0) if store.one_image else variable.samples
            _write_array(group, variable, samples, dims, None if store.one_image else "sample", chunk, more)
            _write_names(group, names, variable)


@dataclass(frozen=True)
class _One:
    """One of the samples of a variable, with its errors."""

    variable: Variable
    number: int

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.variable.samples.dtype

    def __len__(self) -> int:
        return 1

    def size(self, number: int) -> tuple[int, ...]:
        return self.variable.samples.size(self.number + number)

    def read(self, start: int, stop: int, region: Region) -> NDArray[Any]:
        return self.variable.read(self.number + start, self.number + stop, region)


def _own_dims(variables: Sequence[Variable]) -> list[tuple[Variable, tuple[str, ...], str | None]]:
    """Return variables with dimensions of one length each, as xarray needs, and the dimension of named channels.

    A view of another size than the first gets names such as ``y_right``.
    """
    lengths: dict[str, tuple[int, ...]] = {}
    found = []
    for variable in variables:
        count = len(variable.samples)
        sizes = [variable.samples.size(number) for number in range(1 if equal_sizes(variable.samples) else count)]
        dims = []
        for place, dim in enumerate(variable.dims):
            size = tuple(size[place] for size in sizes)
            clash = lengths.get(dim, size) != size
            dims.append(f"{dim}_{variable.name}" if clash else dim)
            lengths.setdefault(dims[-1], size)
        channels = next((dim for dim in dims if dim.startswith("channel")), None) if variable.channels else None
        found.append((variable, tuple(dims), channels))
    return found


def _write_array(
    group: zarr.Group,
    variable: Variable,
    samples: Samples,
    dims: tuple[str, ...],
    sample: str | None,
    chunk: int | None,
    more: Callable[[int], None],
) -> None:
    """Write an array with the samples first, or the only sample if `sample` is None."""
    number, size = len(samples), samples.size(0) if len(samples) else ()
    if 0 in size:
        raise DataError(f"{variable.name}: expected at least one pixel, got shape {(number, *size)}")
    kind = samples.dtype
    channel = variable.dims.index("channel") if "channel" in variable.dims else None
    each = chunk or samples_in_chunk(size, kind.itemsize, number)
    inner = chunk_of_image(size, kind.itemsize, channel) if each == 1 and chunk is None else size
    many = sample is not None
    array = group.create_array(
        variable.name,
        shape=(number, *size) if many else size,
        chunks=tuple(max(1, side) for side in ((min(each, number), *inner) if many else inner)),
        dtype=kind,
        dimension_names=(sample, *dims) if sample is not None else dims,
        attributes=dict(variable.attributes),
    )
    for start, stop, region in blocks(samples, (each if many else 1, *inner), kind.itemsize):
        values = variable.read(start, stop, region) if many else samples.read(start, stop, region)[0]
        array[(slice(start, stop), *region) if many else region] = values
        more(values.nbytes)


def _write_names(group: zarr.Group, dim: str | None, variable: Variable) -> None:
    if dim is None or dim in group:
        return
    names = xr.Dataset(coords={dim: (dim, np.array(list(variable.channels), dtype=object))})
    names.to_zarr(group.store, group=group.path or None, mode="a", zarr_format=3, consolidated=False)
