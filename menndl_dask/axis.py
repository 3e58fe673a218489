"""Axes: which dimension of a variable counts samples, which are spatial, which holds channels. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from menndl_dask.errors import DataError

SAMPLE = ("sample", "samples", "index", "batch")
CHANNEL = ("channel", "channels", "band", "bands", "c", "wavelength", "feature")
SPATIAL = ("x", "y", "z", "row", "col", "column", "width", "height", "depth", "lat", "lon", "latitude", "longitude")
_RANKS = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Axes:
    """Places of a variable's dimensions.

    Parameters
    ----------
    sample
        Place of the dimension that counts the samples.
    spatial
        Places of the spatial dimensions, in their order.
    channel
        Place of the channels, if there are any.
    """

    sample: int
    spatial: tuple[int, ...]
    channel: int | None = None

    @property
    def order(self) -> tuple[int, ...]:
        """Places in the order that everything else expects: samples first, channels last."""
        return (self.sample, *self.spatial, *(() if self.channel is None else (self.channel,)))


def sample_axis(dims: Sequence[str], sample: str | None = None) -> int:
    """Return the place of the samples: the dimension of that name, else one with a usual name, else the first.

    >>> sample_axis(["y", "x", "sample"]), sample_axis(["picture", "y", "x"])
    (2, 0)
    """
    known = (sample, *SAMPLE) if sample else SAMPLE
    return next((dims.index(name) for name in known if name in dims), 0)


def image_axes(dims: Sequence[str], sample: str | None = None, pixels: Sequence[str] = ()) -> Axes:
    """Tell a view's axes from the names of its dimensions, and where those say nothing from their places.

    Channels are the dimension with a usual name (`CHANNEL`), else the only one that a label of the pixels does not
    have, else the only one that is not spatial by name beside others that are. All others are spatial.

    Parameters
    ----------
    dims
        Names of the dimensions.
    sample
        Name of the dimension that counts the labels' samples.
    pixels
        Names of the spatial dimensions of the labels, for segmentation.

    Raises
    ------
    DataError
        If there is no spatial dimension, or more than three.

    Examples
    --------
    >>> image_axes(["sample", "channel", "y", "x"])
    Axes(sample=0, spatial=(2, 3), channel=1)
    """
    first = sample_axis(dims, sample)
    rest = [place for place in range(len(dims)) if place != first]
    channel = _channel([dims[place] for place in rest], pixels)
    place = None if channel is None else rest[channel]
    spatial = tuple(p for p in rest if p != place)
    if len(spatial) not in _RANKS:
        raise DataError(f"expected the dimensions sample, one to three spatial ones, channel, got {format_dims(dims)}")
    return Axes(first, spatial, place)


def _channel(dims: Sequence[str], pixels: Sequence[str]) -> int | None:
    """Return the place of the channels among the dimensions other than that of the samples."""
    usual = [p for p, name in enumerate(dims) if name in CHANNEL]
    unlabelled = [p for p, name in enumerate(dims) if name not in pixels]
    unspatial = [p for p, name in enumerate(dims) if name not in SPATIAL]
    if usual:
        return usual[-1]
    if pixels and len(dims) == len(pixels) + 1:
        return unlabelled[0] if len(unlabelled) == 1 else len(dims) - 1
    return unspatial[0] if len(unspatial) == 1 and len(dims) > 1 else None


def format_dims(dims: Sequence[str]) -> str:
    """Return dimension names as people write them.

    >>> format_dims(["sample", "y"])
    '(sample, y)'
    """
    return f"({', '.join(map(str, dims))})"
