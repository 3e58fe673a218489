"""Whether masks lie where their images lie: on Earth, in a scanner, along the coordinates of a data set. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.formats.content import Grid, SourceArray
from menndl_dask.errors import DataError

_APART = 0.5  # pixels: masks that lie closer than this are on the grid of their image
_WARP = "bring it onto the grid of its image first, such as with gdalwarp or nibabel.processing"


def check_places(image: SourceArray, label: SourceArray, files: Sequence[str], where: str) -> None:
    """Compare the places of images and masks, where both files say them.

    Parameters
    ----------
    image, label
        Arrays of the source.
    files
        Names of the images' files; empty if they have none.
    where
        Name of the file with the labels.

    Raises
    ------
    DataError
        If a mask is of another coordinate reference system, or half a pixel or more away from its image.
    """
    lengths = dict(zip(image.dims, image.shape, strict=False))
    for number, (one, other) in enumerate(zip(image.grids, label.grids, strict=False)):
        if one is None or other is None or set(one.dims) != set(other.dims):
            continue
        size = [lengths.get(dim, 1) for dim in one.dims]
        apart = pixels_apart(one, other, size)
        if apart is not None and apart < _APART:
            continue
        which = files[number] if number < len(files) and len(label.grids) > 1 else where
        raise DataError(
            f"label: {which}: expected a mask on the grid of its image ({one}), got another one ({other}): {_WARP}"
        )


def pixels_apart(one: Grid, other: Grid, size: Sequence[int]) -> float | None:
    """Return how far the corners of an image lie from those of its mask, in pixels of the image at most.

    None stands for two coordinate reference systems, which cannot be compared.

    >>> one, other = Grid(("y",), ((2.0,),), (10.0,)), Grid(("y",), ((2.0,),), (13.0,))
    >>> pixels_apart(one, other, [4])
    1.5
    """
    if one.system and other.system and one.system != other.system:
        return None
    steps = np.array(one.steps)
    others = np.array([other.steps[other.dims.index(dim)] for dim in one.dims])
    pixel = np.linalg.norm(steps, axis=1).min()
    corners = np.stack(np.meshgrid(*([0, max(length - 1, 0)] for length in size), indexing="ij"), -1)
    places = corners.reshape(-1, len(size)).astype(np.float64)
    difference: NDArray[np.float64] = places @ (steps - others) + np.array(one.origin) - np.array(other.origin)
    return float(np.linalg.norm(difference, axis=1).max() / (pixel or 1.0))
