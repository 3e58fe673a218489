"""Sample, spatial and channel axes of a variable. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from menndl_dask.errors import DataError

SAMPLE = ("sample", "samples", "index", "batch")
CHANNEL = ("channel", "channels", "band", "bands", "c", "wavelength", "feature")
SPATIAL = ("x", "y", "z", "row", "col", "column", "width", "height", "depth", "lat", "lon", "latitude", "longitude")


@dataclass(frozen=True, slots=True)
class Axes:
    """Positions of the sample, spatial and channel dimensions of a variable; None if there is no such dimension."""

    sample: int | None
    spatial: tuple[int, ...]
    channel: int | None = None

    @property
    def order(self) -> tuple[int, ...]:
        """Positions in the order samples, spatial, channels."""
        return tuple(axis for axis in (self.sample, *self.spatial, self.channel) if axis is not None)


def sample_axis(dims: Sequence[str], sample: str | None = None) -> int:
    """Return the position of the sample dimension: the one named `sample`, else one with a usual name, else the first.

    >>> sample_axis(["y", "x", "sample"]), sample_axis(["picture", "y", "x"])
    (2, 0)
    """
    known = (sample, *SAMPLE) if sample else SAMPLE
    return next((dims.index(name) for name in known if name in dims), 0)


def image_axes(dims: Sequence[str], sample: str | None = None, pixels: Sequence[str] = ()) -> Axes:
    """Infer the axes of images from the names of the dimensions, or from their positions if names are unknown.

    Channels are the dimension with a usual name (`CHANNEL`), else the only one that pixel labels lack, else the only
    one without a spatial name. All others are spatial. `sample` is the name of the labels' sample dimension, `pixels`
    are the names of their spatial dimensions.

    Raises
    ------
    DataError
        If there are no spatial dimensions, or more than three.

    Examples
    --------
    >>> image_axes(["sample", "channel", "y", "x"])
    Axes(sample=0, spatial=(2, 3), channel=1)
    """
    first = sample_axis(dims, sample)
    rest = [axis for axis in range(len(dims)) if axis != first]
    channel = _channel([dims[axis] for axis in rest], pixels)
    axis = None if channel is None else rest[channel]
    spatial = tuple(p for p in rest if p != axis)
    if len(spatial) not in (1, 2, 3):
        expected = "a sample dimension, one to three spatial ones and optionally channels"
        raise DataError(f"expected {expected}, got {format_dims(dims)}")
    return Axes(first, spatial, axis)


def _channel(dims: Sequence[str], pixels: Sequence[str]) -> int | None:
    """Return the position of the channels among the dimensions without samples."""
    usual = [p for p, name in enumerate(dims) if name in CHANNEL]
    if usual:
        return usual[-1]
    if pixels and len(dims) == len(pixels) + 1:
        unlabelled = [p for p, name in enumerate(dims) if name not in pixels]
        return unlabelled[0] if len(unlabelled) == 1 else len(dims) - 1
    unspatial = [p for p, name in enumerate(dims) if name not in SPATIAL]
    return unspatial[0] if len(unspatial) == 1 and len(dims) > 1 else None


def format_dims(dims: Sequence[str]) -> str:
    """Return dimension names as text.

    >>> format_dims(["sample", "y"])
    '(sample, y)'
    """
    return f"({', '.join(map(str, dims))})"
