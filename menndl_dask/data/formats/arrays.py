"""Images and labels in memory: NumPy arrays, xarray objects and lists of images. Runs on the driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from menndl_dask.data.formats.content import Content, Pieces, SourceArray
from menndl_dask.data.formats.conversion import write_content
from menndl_dask.data.formats.conversion_options import Options
from menndl_dask.data.formats.readers.xarray_engine import dataset_arrays
from menndl_dask.errors import DataError, UserError, one_line

_DEFAULT = Options()
_BLOCK = 2**25  # bytes that are read at a time
_EXPECTED = "an array, an xarray object or a list of images"


def is_path(data: object) -> bool:
    """Return whether data is named by its path or URL."""
    return isinstance(data, str) or hasattr(data, "__fspath__")


def store_of(
    images: Any, labels: Any, *, folder: Path, store: str | Path | None = None, options: Options = _DEFAULT
) -> tuple[Path, tuple[str, ...]]:
    """Write images and labels as a Zarr store that `open_problem` reads; the same ones are written once.

    Parameters
    ----------
    images
        An array of shape (sample, y, x), with a channel axis or a third spatial axis if there is one; a DataArray,
        whose dimensions say what they are; a list of images, perhaps of unequal size; or a Dataset with both.
    labels
        Labels in the order of the images: a number or name for each, numbers, or an image of class numbers for each.
        Of a Dataset the name of the variable; None for the usual one.
    folder
        Where the store is written, with a name that its content gives.
    store
        Another path for it.
    options
        As of ``menndl convert``.

    Returns
    -------
    Path
        Path of the store.
    tuple of str
        Lines that say what was found and assumed; none if the store was there already.

    Raises
    ------
    UserError
        If images or labels are none of these, or the store holds something else.
    """
    content = _content(images, labels)
    key = _key(content, options)
    path = folder / f"images-{key}.zarr" if store is None else Path(store)
    if path.exists():
        if store is None or xr.open_zarr(path, consolidated=False).attrs.get("images") == key:
            return path, ()
        raise UserError(f"{path}: expected a new name, or a store of the same images, found another one")
    path.parent.mkdir(parents=True, exist_ok=True)
    label = labels if isinstance(labels, str) else None
    done = write_content(content, path, options if label is None else replace(options, label=label), {"images": key})
    return path, done.lines


def _content(images: Any, labels: Any) -> Content:
    """Return arrays in memory as the content of a source."""
    if isinstance(images, xr.Dataset):
        if labels is not None and not isinstance(labels, str):
            raise UserError(f"labels: expected the name of a variable of the Dataset, got {kind_of(labels)}")
        return Content(dataset_arrays(images, images))
    if labels is None:
        raise UserError("labels: expected an array beside the images, got None")
    found = {**_arrays("label", "labels", labels), **_arrays("image", "images", images)}
    return Content(found, images=("image",), label="label")


def _arrays(name: str, argument: str, given: Any) -> dict[str, SourceArray]:
    """Return an array, a list of images, or a DataArray with its coordinates, as arrays of a source."""
    if isinstance(given, xr.DataArray):
        dataset = given.drop_vars(name, errors="ignore").to_dataset(name=name)
        return dataset_arrays(dataset, dataset)
    is_list = isinstance(given, (list, tuple))
    if not is_list and not hasattr(given, "__array__"):
        raise UserError(f"{argument}: expected {_EXPECTED}, got {kind_of(given)}")
    try:
        if is_list and len({np.shape(each) for each in given}) > 1:
            items = [np.asarray(each) for each in given]
            if len({item.ndim for item in items}) > 1:
                raise DataError(f"{argument}: expected images with as many axes each, got shapes {_shapes(items)}")
            return {name: SourceArray(Pieces(items))}
        array = np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:  # such as a tensor of a GPU
        raise UserError(f"{argument}: expected {_EXPECTED}, got {kind_of(given)}: {one_line(error)}") from error
    if array.ndim == 0 or not len(array) or array.dtype.kind not in "biufUS":
        raise DataError(f"{argument}: expected numbers or names, got {kind_of(array)} of type {array.dtype}")
    return {name: SourceArray(array)}


def _shapes(items: Sequence[Any]) -> str:
    return " and ".join(map(str, sorted({item.shape for item in items})[:2]))


def kind_of(value: object) -> str:
    """Return the type of a value in words.

    >>> kind_of(np.zeros((2, 3))), kind_of(None)
    ('ndarray of shape (2, 3)', 'None')
    """
    shape = getattr(value, "shape", None)
    kind = "None" if value is None else type(value).__name__
    return kind if shape is None else f"{kind} of shape {shape}"


def _key(content: Content, options: Options) -> str:
    """Return twelve hexadecimal digits that are the same for the same values, shapes and options."""
    digest = blake2b(repr(options).encode(), digest_size=6)
    for name, source in sorted(content.arrays.items()):
        digest.update(repr((name, source.shape, source.dims, str(source.array.dtype))).encode())
        array = source.array
        if isinstance(array, Pieces):
            for item in array.items:
                digest.update(repr(np.shape(item)).encode() + np.ascontiguousarray(item).tobytes())
            continue
        rows = max(1, _BLOCK // max(1, int(np.prod(source.shape[1:])) * array.dtype.itemsize)) if source.shape else 1
        for first in range(0, source.shape[0] if source.shape else 1, rows):
            part = array[first : first + rows] if source.shape else array
            digest.update(np.ascontiguousarray(np.asarray(part)).tobytes())
    return digest.hexdigest()
