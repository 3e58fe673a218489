"""The images of one view, or the labels, of a Zarr store, of which parts are read. Runs on the driver and on workers.

No Dask computation is started, so that a worker thread can read while the cluster is busy. Zarr reads the chunks of a
block in parallel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from menndl_dask.data.axes import Axes
from menndl_dask.data.parts.regions import Region
from menndl_dask.data.resize import resize_weights, weigh, weighted_mean
from menndl_dask.data.store.local_store import quietly, store_of
from menndl_dask.errors import DataError, one_line
from menndl_dask.moments import finite_or_nan

BLOCK_BYTES = 32 * 2**20
"""Bytes of a block of all variables together, unless a chunk is larger."""

LARGEST_BLOCK_BYTES = 256 * 2**20
SAMPLES = "samples"
"""Group of a store whose subgroups each hold an image of its own size."""

Part = tuple[slice, ...]


class Block(NamedTuple):
    """Samples ``start:stop``, or a part of a single one: a slice along each spatial axis."""

    start: int
    stop: int
    part: Part | None = None


@dataclass(frozen=True, slots=True)
class Variable:
    """Images of one view, or labels; read with samples first and channels last.

    A sample is one of many in an array, an array of its own, or a region of either.
    """

    path: str
    name: str
    array: xr.DataArray  # of all samples; of the first one where each has an array of its own
    axes: Axes  # of that array
    keys: tuple[str, ...] = ()  # groups of the samples that have arrays of their own
    arrays: tuple[zarr.Array[Any], ...] = ()  # these arrays, where their values need no decoding
    shapes: tuple[tuple[int, ...], ...] = ()  # of these arrays
    regions: tuple[Region, ...] = ()  # the samples, where they are parts of images
    resized: tuple[int, ...] = ()  # spatial sizes to which images are resized as they are read
    mixed: np.dtype[Any] | None = None  # type that holds the values of all arrays, where their types differ
    nodata: float | None = None  # value that is read as NaN

    @property
    def samples(self) -> int:
        """Number of samples."""
        if self.regions:
            return len(self.regions)
        return self.images_stored

    @property
    def images_stored(self) -> int:
        """Number of images in the store, divided or not."""
        if self.keys:
            return len(self.keys)
        return 1 if self.axes.sample is None else int(self.array.shape[self.axes.sample])

    @property
    def is_uniform(self) -> bool:
        """Whether all samples have one shape."""
        return len(set(self.sizes())) < 2

    @property
    def is_one_array(self) -> bool:
        """Whether the samples are those of one array, and whole."""
        return self.axes.sample is not None and not (self.regions or self.resized)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first sample; without a channel axis if the data has none."""
        return self.shape_of(0)

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.axes.spatial)

    @property
    def channels(self) -> int:
        """Number of channels; 1 without a channel axis."""
        return 1 if self.axes.channel is None else int(self.array.shape[self.axes.channel])

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the dimensions of one sample."""
        return tuple(str(self.array.dims[axis]) for axis in self.axes.order if axis != self.axes.sample)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values of `images`."""
        becomes_float = bool(self.resized) or (self.nodata is not None and self.array.dtype.kind != "f")
        return np.dtype("<f4") if becomes_float else np.dtype(self.mixed or self.array.dtype)

    @property
    def sample_bytes(self) -> int:
        """Bytes of the largest sample in memory."""
        sizes = set(self.sizes()) or {()}
        rest = math.prod(self.shape) // max(1, math.prod(self.size(0)))
        return self.array.dtype.itemsize * rest * max(math.prod(size) for size in sizes)

    @property
    def values(self) -> int:
        """Number of values of all samples together."""
        rest = math.prod(self.shape) // max(1, math.prod(self.size(0)))
        return rest * sum(map(math.prod, self.sizes()))

    @property
    def chunk(self) -> int:
        """Number of samples in a chunk."""
        return 1 if self.axes.sample is None else self._chunk(self.axes.sample)

    @property
    def chunk_size(self) -> tuple[int, ...]:
        """Pixels of a chunk along each spatial axis."""
        return tuple(self._chunk(axis) for axis in self.axes.spatial)

    def _chunk(self, axis: int) -> int:
        return int(self.array.encoding.get("preferred_chunks", {}).get(self.array.dims[axis], 1))

    def size(self, sample: int) -> tuple[int, ...]:
        """Return the pixels of a sample along each spatial axis."""
        if self.resized:
            return self.resized
        return self.regions[sample].size if self.regions and self.axes.spatial else self.stored_size(sample)

    def stored_size(self, image: int) -> tuple[int, ...]:
        """Return the pixels of an image of the store along each spatial axis."""
        shape = self.shapes[image] if self.shapes else self.array.shape
        return tuple(int(shape[axis]) for axis in self.axes.spatial)

    def sizes(self) -> list[tuple[int, ...]]:
        """Return the pixels along each spatial axis of each sample."""
        if self.resized or not (self.regions or self.shapes):
            return [self.size(0)] * self.samples
        return [self.size(sample) for sample in range(self.samples)]

    def shape_of(self, sample: int) -> tuple[int, ...]:
        """Return the shape of a sample; without a channel axis if the data has none."""
        channels = () if self.axes.channel is None else (int(self.array.shape[self.axes.channel]),)
        return (*self.size(sample), *channels)

    def read(self, block: Block) -> NDArray[Any]:
        """Return samples, or a part of one, as ``(sample, spatial…, channel)``."""
        if self.resized:
            return np.stack([self._read_resized(sample) for sample in range(block.start, block.stop)])
        if self.is_one_array:
            part = block.part if block.part is not None and self.axes.spatial else ()
            return self._values(self.array, {self.axes.sample or 0: slice(block.start, block.stop)}, part, block)
        return np.concatenate([self._read_one(sample, block) for sample in range(block.start, block.stop)])

    def images(self, block: Block) -> NDArray[Any]:
        """Return samples, or a part of one, with a channel axis of length 1 if the data has none.

        Missing and infinite values are NaN.
        """
        values = self.read(block)
        if self.nodata is not None and not self.resized:
            missing = values == np.asarray(self.nodata, values.dtype if values.dtype.kind == "f" else np.float64)
            values = np.where(missing, np.asarray(np.nan, self.dtype), values.astype(self.dtype, copy=False))
        values = finite_or_nan(values)
        return values[..., np.newaxis] if self.axes.channel is None else values

    def _read_one(self, sample: int, block: Block) -> NDArray[Any]:
        place = self.regions[sample] if self.regions else None
        image = sample if place is None else place.sample
        part = block.part
        if place is not None and self.axes.spatial:
            inner = part or tuple(slice(0, n) for n in place.size)
            part = tuple(slice(low + s.start, low + s.stop) for low, s in zip(place.start, inner, strict=True))
        index = {} if self.axes.sample is None else {self.axes.sample: slice(image, image + 1)}
        array: xr.DataArray | zarr.Array[Any] = self.array
        if self.keys:  # a Zarr array is read several times faster than xarray opens its group
            array = self.arrays[image] if self.arrays else open_sample(self.path, self.keys[image])[self.name]
        values = self._values(array, index, part if part is not None and self.axes.spatial else (), block)
        return values if self.axes.sample is not None else values[np.newaxis]

    def _values(
        self, array: xr.DataArray | zarr.Array[Any], index: dict[int, slice], part: Part, block: Block
    ) -> NDArray[Any]:
        index |= dict(zip(self.axes.spatial, part, strict=False))
        try:
            if isinstance(array, xr.DataArray):
                values = array.isel({array.dims[axis]: piece for axis, piece in index.items()}).values
            else:
                values = np.asarray(array[tuple(index.get(axis, slice(None)) for axis in range(array.ndim))])
        except Exception as error:  # storage and codecs raise any exception
            what = (
                f"samples {block.start} to {block.stop - 1}"
                if block.stop > block.start + 1
                else f"sample {block.start}"
            )
            raise self.error(f"{what} cannot be read: {one_line(error)}") from error
        values = values if self.mixed is None else values.astype(self.mixed, copy=False)
        return values.transpose(self.axes.order)

    def _read_resized(self, sample: int) -> NDArray[np.float32]:
        """Return a sample resized; it is read in parts along its first axis."""
        stored = replace(self, resized=())
        size = stored.size(sample)
        weights = [resize_weights(before, after) for before, after in zip(size, self.resized, strict=True)]
        total = np.zeros((*self.resized, self.channels))
        known = np.zeros_like(total)
        for block in sample_blocks((stored,), sample, BLOCK_BYTES):
            values = stored.images(block)[0].astype(np.float64)
            here = ~np.isnan(values)
            values[~here] = 0
            spans = block.part or tuple(slice(0, n) for n in size)
            pieces = [weight[:, span] for weight, span in zip(weights, spans, strict=True)]
            total += weigh(values, pieces)
            known += weigh(here.astype(np.float64), pieces)
        whole = weighted_mean(total, known)
        return whole[..., 0] if self.axes.channel is None else whole

    def error(self, message: str) -> DataError:
        """Return a `DataError` about this variable."""
        return DataError(f"{self.path}: {self.name}: {message}")


@lru_cache(maxsize=256)
def open_sample(path: str, key: str, raw: str | None = None) -> xr.Dataset:
    """Open the group of a sample that has arrays of its own, lazily; the variable `raw` keeps its stored values."""
    with quietly():
        return xr.open_dataset(
            store_of(path),
            engine="zarr",
            group=f"{SAMPLES}/{key}",
            chunks=None,
            cache=False,
            consolidated=None if "://" in path else False,
            mask_and_scale=True if raw is None else {raw: False},
        )


def blocks(*variables: Variable, most: int = BLOCK_BYTES, whole: bool = False) -> Iterator[Block]:
    """Yield blocks that hold all samples: whole chunks, at most some tens of megabytes of all variables together.

    A block holds several samples of one shape, a sample, or a part of one that is larger than a block. A larger chunk
    is a block by itself. With `whole`, no sample is divided.
    """
    samples = variables[0].samples
    each = max(1, sum(v.sample_bytes for v in variables))
    if all(v.is_uniform for v in variables) and (whole or each <= most or not _alike(variables, 0)):
        chunk = max(v.chunk for v in variables)
        size = chunk * max(1, most // (chunk * each))
        size = max(1, min(size, LARGEST_BLOCK_BYTES // each))
        for start in range(0, samples, size):
            yield Block(start, min(start + size, samples))
        return
    for sample in range(samples):
        yield from [Block(sample, sample + 1)] if whole else sample_blocks(variables, sample, most)


def _alike(variables: Sequence[Variable], sample: int) -> bool:
    """Return whether the variables with spatial axes can be read in equal parts."""
    return len({v.size(sample) for v in variables if v.axes.spatial}) == 1 and not any(v.resized for v in variables)


def sample_blocks(variables: Sequence[Variable], sample: int, most: int = BLOCK_BYTES) -> Iterator[Block]:
    """Yield blocks of a sample: the whole of it, or parts whose edges are those of chunks."""
    spatial = [v for v in variables if v.axes.spatial]
    size = spatial[0].size(sample) if spatial else ()
    pixel = sum(v.array.dtype.itemsize * v.channels for v in spatial)
    if pixel * math.prod(size) <= most or not _alike(variables, sample):
        yield Block(sample, sample + 1)
        return
    chunk = [max(c) for c in zip(*(v.chunk_size for v in spatial), strict=True)]
    step = _part_size(size, chunk, most // pixel)
    region = spatial[0].regions[sample] if spatial[0].regions else None
    starts = region.start if region else (0,) * len(size)
    spans = []
    for length, width, first in zip(size, step, starts, strict=True):
        edges = [0, *(e - first for e in range((first // width + 1) * width, first + length, width)), length]
        spans.append([slice(low, high) for low, high in pairwise(edges)])
    for part in product(*spans):
        yield Block(sample, sample + 1, part)


def _part_size(size: Sequence[int], chunk: Sequence[int], most: int) -> list[int]:
    """Return the pixels of a part along each axis: multiples of a chunk, at most so many pixels if possible."""
    step = list(size)
    while math.prod(step) > most:
        divisible = [axis for axis, width in enumerate(step) if width > chunk[axis]]
        if not divisible:
            break
        axis = max(divisible, key=lambda a: step[a])
        step[axis] = -(-(step[axis] // 2) // chunk[axis]) * chunk[axis]
    return step
