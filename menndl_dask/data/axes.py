"""Sample, spatial and channel axes of a variable. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from menndl_dask.errors import DataError

SAMPLE = ("sample", "samples", "index", "batch", "n")
CHANNEL = ("channel", "channels", "band", "bands", "c", "wavelength", "feature")
SPATIAL = (
    *("x", "y", "z", "row", "rows", "col", "cols", "column", "columns", "width", "height", "depth", "w", "h", "d"),
    *("lat", "lon", "latitude", "longitude", "easting", "northing"),
)
_NUMBERED = re.compile(r"(phony_)?dim_?\d+")  # names that xarray and netCDF give to dimensions without one


@dataclass(frozen=True, slots=True)
class Axes:
    """Positions of the sample, spatial and channel dimensions of a variable; None if there is no such dimension."""

    sample: int | None
    spatial: tuple[int, ...]
    channel: int | None = None
    # what was assumed in the absence of names, for the user
    assumed: str = field(default="", compare=False, repr=False)

    @property
    def order(self) -> tuple[int, ...]:
        """Positions in the order samples, spatial, channels."""
        return tuple(axis for axis in (self.sample, *self.spatial, self.channel) if axis is not None)


def usual_name(name: str) -> str:
    """Return a dimension's name in lower case, without the view to which it belongs: views may differ in size.

    >>> usual_name("Band"), usual_name("y_left"), usual_name("plate_row")
    ('band', 'y', 'plate_row')
    """
    lower = name.lower()
    first = lower.partition("_")[0]
    return first if first in SPATIAL or first in CHANNEL else lower


def find_sample(dims: Sequence[str], sample: str | None = None) -> int | None:
    """Return the position of the sample dimension, or None: then it is a single image, without such a dimension.

    It is the dimension named `sample`, else one with a usual name, else the first one whose name is not that of a
    spatial axis or of channels. Upper and lower case are alike.

    >>> find_sample(["y", "x", "sample"]), find_sample(["picture", "y", "x"]), find_sample(["Y", "X", "C"])
    (2, 0, None)
    """
    names = [usual_name(name) for name in dims]
    if sample in dims:
        return list(dims).index(str(sample))
    usual = next((names.index(name) for name in SAMPLE if name in names), None)
    if usual is not None:
        return usual
    return next((place for place, name in enumerate(names) if name not in SPATIAL and name not in CHANNEL), None)


def sample_axis(dims: Sequence[str], sample: str | None = None) -> int:
    """Return the position of the sample dimension, or 0 if there is none.

    >>> sample_axis(["y", "x", "sample"]), sample_axis(["picture", "y", "x"])
    (2, 0)
    """
    return find_sample(dims, sample) or 0


def image_axes(
    dims: Sequence[str],
    sample: str | None = None,
    pixels: Sequence[str] = (),
    *,
    shape: Sequence[int] | None = None,
    single: bool = False,
) -> Axes:
    """Infer the axes of images from the names of the dimensions, or from their positions if names are unknown.

    Channels are the dimension with a usual name (`CHANNEL`), else the only one that pixel labels lack, else the only
    one without a spatial name. All others are spatial. Where dimensions have numbers in place of names (``dim_0``), the
    last or the first one is channels if it is at most half as long as each other one.

    Parameters
    ----------
    dims
        Names of the dimensions.
    sample
        Name of the labels' sample dimension.
    pixels
        Names of the spatial dimensions of pixel labels.
    shape
        Length of each dimension, for dimensions without names.
    single
        Whether it is a single image, without a sample dimension.

    Raises
    ------
    DataError
        If there are no spatial dimensions, or more than three.

    Examples
    --------
    >>> image_axes(["sample", "channel", "y", "x"])
    Axes(sample=0, spatial=(2, 3), channel=1)
    """
    first = None if single else find_sample(dims, sample)
    rest = [axis for axis in range(len(dims)) if axis != first]
    place, assumed = _channel([dims[axis] for axis in rest], pixels), ""
    if shape is not None and not pixels and all(_NUMBERED.fullmatch(dims[axis].lower()) for axis in rest):
        place, assumed = _by_shape([dims[axis] for axis in rest], [shape[axis] for axis in rest])
    axis = None if place is None else rest[place]
    spatial = tuple(p for p in rest if p != axis)
    if len(spatial) not in (1, 2, 3) or (first is None and not single):
        expected = "one to three spatial dimensions" if single else "a sample dimension, one to three spatial ones"
        raise DataError(f"expected {expected} and optionally channels, got {format_dims(dims)}")
    return Axes(first, spatial, axis, assumed)


def _channel(dims: Sequence[str], pixels: Sequence[str]) -> int | None:
    """Return the position of the channels among the dimensions without samples."""
    names = [usual_name(name) for name in dims]
    usual = [p for p, name in enumerate(names) if name in CHANNEL]
    if usual:
        return usual[-1]
    if pixels and len(dims) == len(pixels) + 1:
        unlabelled = [p for p, name in enumerate(dims) if name not in pixels]
        return unlabelled[0] if len(unlabelled) == 1 else len(dims) - 1
    unspatial = [p for p, name in enumerate(names) if name not in SPATIAL]
    return unspatial[0] if len(unspatial) == 1 and len(dims) > 1 else None


def _by_shape(dims: Sequence[str], lengths: Sequence[int]) -> tuple[int | None, str]:
    """Return the position of the channels by the lengths of dimensions without names, and what was assumed."""
    found = None
    if len(dims) > 2:
        ends = [p for p in (len(dims) - 1, 0) if 2 * lengths[p] <= min(n for q, n in enumerate(lengths) if q != p)]
        found = ends[0] if ends else None
    taken = "none as channels" if found is None else f"{dims[found]} ({lengths[found]} long) as channels"
    spatial = [f"{name} ({length})" for p, (name, length) in enumerate(zip(dims, lengths, strict=True)) if p != found]
    return found, f"dimensions have no names: took {taken} and {', '.join(spatial)} as spatial axes"


def format_dims(dims: Sequence[str]) -> str:
    """Return dimension names as text.

    >>> format_dims(["sample", "y"])
    '(sample, y)'
    """
    return f"({', '.join(map(str, dims))})"
