"""Images of a source as samples: decoded by scale and missing value, with the size of a pixel. Runs on the driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.formats.arrangement.store_writer import Variable
from menndl_dask.data.formats.content import Content, SourceArray
from menndl_dask.data.formats.dimension import Layout
from menndl_dask.data.formats.samples import Changed, Region, Samples, samples_of
from menndl_dask.data.formats.views import decoding
from menndl_dask.errors import DataError
from menndl_dask.moments import finite_or_nan
from menndl_dask.text import counted

_SCALES = ("scale", "scales", "scale_factor")
_OFFSETS = ("offset", "offsets", "add_offset")
_BANDS = ("band", "bands", "channel", "channels", "channel_names", "band_names", "wavelength", "wavelengths")
EVEN = 1e-3
"""Largest relative difference between the steps of positions that are evenly spaced."""


@dataclass(frozen=True, slots=True)
class View:
    """Images as a variable of the store, their dimensions in the source, and what is to be said."""

    variable: Variable
    layout: Layout
    notes: tuple[str, ...] = ()
    late: tuple[Callable[[], str], ...] = ()
    used: tuple[str, ...] = ()  # names of other arrays that were used, such as scales


@dataclass(frozen=True)
class Scaled:
    """Samples whose channels are multiplied by a scale each, and shifted by an offset."""

    samples: Samples
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]
    channel: int | None  # position of the channels in a sample

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(np.float32)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    def size(self, number: int) -> tuple[int, ...]:
        """Return the shape of a sample."""
        return self.samples.size(number)

    def read(self, start: int, stop: int, region: Region) -> NDArray[Any]:
        """Return a region of the samples ``start:stop``."""
        values = self.samples.read(start, stop, region)
        scale, offset = self.scale, self.offset
        if self.channel is not None:
            shape = [1] * values.ndim
            shape[self.channel + 1] = -1
            part = region[self.channel]
            scale, offset = scale[part].reshape(shape), offset[part].reshape(shape)
        return (values * scale + offset).astype(np.float32)


class Missing:
    """Replaces a value by NaN, and counts how often."""

    def __init__(self, value: float, kind: np.dtype[Any]) -> None:
        """Replace `value` in arrays of a type."""
        self.value = kind.type(value) if kind.kind == "f" else value
        self.kind = np.dtype(np.float64 if kind.itemsize > 4 else np.float32)
        self.count = 0
        self.given = value

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values with NaN."""
        missing = values == self.value
        self.count += int(missing.sum())
        changed = values.astype(self.kind)
        changed[missing] = np.nan
        return changed

    def text(self) -> str:
        """Return what was replaced."""
        if not self.count:
            return f"note: no pixel has the value {self.given:g} that stands for a missing one"
        return f"changed: {self.count:,} values {self.given:g} became NaN (missing)"


class Infinite:
    """Replaces infinite values by NaN, and counts them."""

    def __init__(self) -> None:
        """Count from 0 on."""
        self.count = 0

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values with NaN."""
        self.count += int(np.isinf(values).sum())
        return finite_or_nan(values)

    def text(self) -> str:
        """Return what was replaced; empty if nothing was."""
        return f"changed: {counted(self.count, 'infinite value')} became NaN (missing)" if self.count else ""


def read_view(name: str, source: SourceArray, layout: Layout, content: Content, nodata: float | None) -> View:
    """Return the images of an array.

    An array ``scale`` (and ``offset``) with a value for each channel is applied; the value of `nodata`, or of an
    attribute ``nodata`` of the array, becomes NaN.

    Raises
    ------
    DataError
        If the values are no numbers.
    """
    samples: Samples = samples_of(source.array, layout.axis)
    if samples.dtype.kind not in "iufb":
        raise DataError(f"{name}: expected numbers, got values of type {samples.dtype}")
    notes: list[str] = []
    late: list[Callable[[], str]] = []
    used: list[str] = []
    if not len(samples):
        raise DataError(f"{name}: expected at least one image, got shape {source.shape}")
    channel = layout.inner.index("channel") if "channel" in layout.inner else None
    channels = 1 if channel is None else samples.size(0)[channel]
    nodata = source.attributes.get("nodata") if nodata is None else nodata
    if nodata is not None and np.isfinite(nodata):
        missing = Missing(float(nodata), samples.dtype)
        samples = Changed(samples, missing, missing.kind)
        late.append(missing.text)
    if samples.dtype.kind == "f":
        infinite = Infinite()
        samples = Changed(samples, infinite, samples.dtype)
        late.append(infinite.text)
    scale, offset = decoding(source.attributes)
    if samples.dtype.kind == "f" and (scale, offset) != (1.0, 0.0):
        notes.append(f"changed: {name}: values were decoded with the source's scale {scale:g} and offset {offset:g}")
    if samples.dtype.kind == "f" and samples.dtype.itemsize > 8:
        notes.append(f"changed: {name}: values of type {samples.dtype} became float64")
        samples = Changed(samples, lambda values: values, np.dtype(np.float64))
    samples = _scaled(samples, content, channel, channels, notes, used)
    bands = _bands(content, channels, used) if channel is not None else ()
    attributes: dict[str, Any] = {}
    spacing = _spacing(source, layout, content)
    if spacing is not None:
        attributes["spacing"] = spacing
        if unit := str(source.attributes.get("spacing_unit") or ""):
            attributes["spacing_unit"] = unit
    return View(
        Variable(name, samples, layout.inner, attributes, bands), layout, tuple(notes), tuple(late), tuple(used)
    )


def _scaled(
    samples: Samples, content: Content, channel: int | None, channels: int, notes: list[str], used: list[str]
) -> Samples:
    scale = _by_channel(content, _SCALES, channels)
    offset = _by_channel(content, _OFFSETS, channels)
    if scale is None and offset is None:
        return samples
    used += [found[0] for found in (scale, offset) if found]
    factors = np.ones(channels) if scale is None else scale[1]
    shifts = np.zeros(channels) if offset is None else offset[1]
    said = " and ".join(found[0] for found in (scale, offset) if found)
    notes.append(f"changed: values were decoded with {said} of each channel: they are float32 now")
    return Scaled(samples, factors, shifts, channel)


def _by_channel(content: Content, names: Sequence[str], channels: int) -> tuple[str, NDArray[np.float64]] | None:
    for name, source in content.arrays.items():
        if name.lower() in names and source.shape == (channels,) and np.dtype(source.array.dtype).kind in "iuf":
            return name, np.asarray(source.array[:], dtype=np.float64)
    return None


def _bands(content: Content, channels: int, used: list[str]) -> tuple[str, ...]:
    """Return the names of the channels, from an array of them."""
    for name, source in content.arrays.items():
        if name.lower() in _BANDS and source.shape == (channels,):
            used.append(name)
            return tuple(str(value) for value in np.asarray(source.array[:]).tolist())
    return ()


def _spacing(source: SourceArray, layout: Layout, content: Content) -> list[float] | None:
    """Return the size of a pixel along each spatial axis: as the file says it, else from evenly spaced positions."""
    sizes: list[float | None] = []
    names = source.dims if len(source.dims) == len(layout.dims) else layout.dims
    for name, dim in zip(names, layout.dims, strict=True):
        if dim in layout.spatial:
            known = source.spacing.get(name, source.spacing.get(dim))
            sizes.append(known if known is not None else _step(content, name))
    found = [size for size in sizes if size is not None]
    return [float(size) for size in found] if found and len(found) == len(sizes) else None


def _step(content: Content, dim: str) -> float | None:
    source = content.arrays.get(dim)
    if source is None or source.dims != (dim,) or np.dtype(source.array.dtype).kind not in "iuf":
        return None
    steps = np.diff(np.asarray(source.array[:], dtype=np.float64))
    if not len(steps) or not steps[0] or np.abs(steps - steps[0]).max() > EVEN * abs(steps[0]):
        return None
    return float(abs(steps.mean()))
