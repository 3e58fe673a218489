"""Convert labelled images from other formats to Zarr. Runs on the driver.

Data is read in blocks of some tens of megabytes if the format allows it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from menndl_dask import files
from menndl_dask.data.axes import format_dims, sample_axis
from menndl_dask.data.formats.content import (
    CLASSES,
    IMAGES,
    LABELS,
    Content,
    Sliceable,
    SourceArray,
    find,
    image_dims,
    numbered,
    split_name,
)
from menndl_dask.data.formats.csv import open_csv
from menndl_dask.data.formats.folder import open_folder
from menndl_dask.data.formats.readers.readers import FORMATS, Opener, opener
from menndl_dask.data.formats.readers.zarr_store import is_converted, is_zarr
from menndl_dask.errors import DataError, MenndlError, UserError, nearest, one_line

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 4 * 2**20
_BLOCK_CHUNKS = 8

_LABEL_FILES: Mapping[str, Opener] = {**FORMATS, ".csv": open_csv}


@dataclass(frozen=True, slots=True)
class _Variable:
    """An array to write, with ``sample`` as first dimension; read in blocks of samples."""

    name: str
    array: Sliceable
    dims: tuple[str, ...]
    attributes: Mapping[str, Any]
    axis: int = 0  # of the samples in the array
    translate: Callable[[NDArray[Any]], NDArray[Any]] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        shape = tuple(self.array.shape)
        return (shape[self.axis], *shape[: self.axis], *shape[self.axis + 1 :])

    def read(self, start: int, stop: int) -> NDArray[Any]:
        index = (*(slice(None),) * self.axis, slice(start, stop))
        try:
            values = np.moveaxis(np.asarray(self.array[index]), self.axis, 0)
        except MenndlError:
            raise
        except Exception as error:  # libraries raise any exception
            which = f"samples {start} to {stop - 1}"
            raise DataError(f"{self.name}: {which} cannot be read: {one_line(error)}") from error
        return values if self.translate is None else self.translate(values)


def convert(
    source: str | Path,
    target: str | Path,
    *,
    images: str | Sequence[str] | None = None,
    label: str | None = None,
    dims: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    fill: int | None = None,
    chunk: int | None = None,
) -> Path:
    """Write labelled images as Zarr, laid out as `open_problem` expects them.

    Parameters
    ----------
    source
        File ``.npz``, ``.h5`` or ``.hdf5``, ``.nc``, ``.tif`` or ``.tiff`` (a stack), or a folder of images.
    target
        The Zarr store to write; must not exist.
    images, label
        Names of the arrays in the file; by default usual names (`IMAGES`, `LABELS`). Several arrays of images are
        several views. The label may also be another file, such as a ``.csv`` table or a TIFF stack.
    dims
        Dimension names of the images, such as ``sample, channel, y, x``; by default inferred.
    classes
        Class names, in the order of the class numbers.
    fill
        Class number of samples or pixels without a label.
    chunk
        Samples in a chunk; by default a few megabytes.

    Returns
    -------
    Path
        Path of the store.

    Raises
    ------
    UserError
        If the target exists, a library is missing, or source or options are not as expected.
    """
    path, store = Path(source), Path(target)
    if store.exists():
        raise UserError(f"{store}: expected a new name, found an existing store; remove it or choose another name")
    with ExitStack() as opened:
        content = opened.enter_context(_opener(path)(path))
        labels = content
        if label is not None and label not in content.arrays and Path(label).suffix.lower() in _LABEL_FILES:
            labels = _label_file(opened, Path(label))
            label = None
        try:
            variables, columns = _plan(content, labels, images, label, dims, classes, fill)
            _write(variables, columns, store, chunk)
        except DataError as error:
            raise error if str(error).startswith(str(path)) else DataError(f"{path}: {error}") from None
    logger.info("%s: %d samples of %s", store, variables[0].shape[0], path)
    return store


def _opener(source: Path) -> Opener:
    if not source.is_file() and not source.is_dir():
        beside = [p.name for p in source.parent.iterdir()] if source.parent.is_dir() else []
        raise DataError(f"{source}: expected a file or folder, found none{nearest(source.name, beside)}")
    if is_zarr(source) and is_converted(source):
        raise UserError(f"{source}: is laid out as `menndl check` expects it, and needs no conversion")
    return opener(source) or open_folder


def _label_file(opened: ExitStack, path: Path) -> Content:
    if not path.is_file():
        raise DataError(f"{path}: expected a file with the labels, found none")
    content = opened.enter_context(_LABEL_FILES[path.suffix.lower()](path))
    if path.suffix.lower() in (".tif", ".tiff"):
        return Content({"label": content.arrays["image"]})
    return content


def _plan(
    content: Content,
    labels: Content,
    images: str | Sequence[str] | None,
    label: str | None,
    dims: Sequence[str] | None,
    classes: Sequence[str] | None,
    fill: int | None,
) -> tuple[tuple[_Variable, ...], dict[str, NDArray[Any]]]:
    """Return images and labels with their class names, and further columns with a value for each sample."""
    wanted = [None] if images is None else [images] if isinstance(images, str) else list(images)
    names = [find(content.arrays, name, IMAGES, "images", "images") for name in wanted]
    label_name = find(labels.arrays, label, LABELS, "labels", "label")
    truth = labels.arrays[label_name]
    kept = ["image"] if len(names) == 1 else [name.replace("/", "_") for name in names]
    views = [_view(new, content.arrays[name], truth, dims) for new, name in zip(kept, names, strict=True)]
    number = views[0].shape[0]
    others = {**content.arrays, **labels.arrays}
    listed = next((n for n in CLASSES if n in others and len(others[n].shape) == 1), None)
    known = tuple(classes or labels.classes or content.classes)
    if not known and listed is not None:
        known = tuple(map(str, np.asarray(others[listed].array[:]).tolist()))
    variables = (*views, _label(truth, views[0], known, fill))
    for variable in variables:
        if variable.shape[0] != number:
            raise DataError(f"{variable.name}: expected {number} samples as in {kept[0]}, got {variable.shape[0]}")
    columns = {
        name.replace("/", "_"): np.asarray(source.array[:])
        for name, source in others.items()
        if source.shape == (number,) and name not in (*names, label_name, *CLASSES)
    }
    if "split" in columns:
        columns["split"] = np.array([split_name(name) for name in columns["split"].tolist()])
    return variables, columns


def _view(name: str, source: SourceArray, label: SourceArray, dims: Sequence[str] | None) -> _Variable:
    try:
        found = image_dims(source, label, dims)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    axis = sample_axis(found)
    return _Variable(name, source.array, ("sample", *found[:axis], *found[axis + 1 :]), {}, axis)


def _label(source: SourceArray, view: _Variable, classes: tuple[str, ...], fill: int | None) -> _Variable:
    array = source.array if source.stored is None else source.stored
    attributes: dict[str, Any] = {}
    fill_value = source.attributes.get("fill", source.attributes.get("_FillValue")) if fill is None else fill
    if array.dtype.kind in "OSUT":
        array, classes = numbered(np.asarray(array[:]).tolist(), classes)
    if fill_value is not None and array.dtype.kind in "iu":
        attributes["fill"] = int(fill_value)
    if classes:
        attributes["classes"] = list(classes)
    axis = sample_axis(source.dims) if source.dims else 0
    whole = _Variable("label", array, (), attributes, axis)
    whole = replace(whole, dims=_label_dims(whole.shape, view))
    if len(whole.shape) == 2 and len(whole.dims) == 1:
        return replace(whole, translate=lambda values: values[:, 0])
    if array.dtype.kind == "b":
        return replace(whole, translate=lambda values: values.astype(np.uint8))
    if len(whole.dims) > 2 and "fill" not in attributes and _is_black_and_white(whole):
        return replace(whole, translate=lambda values: values // 255)
    return whole


def _label_dims(shape: tuple[int, ...], view: _Variable) -> tuple[str, ...]:
    sizes = {dim: size for dim, size in zip(view.dims, view.shape, strict=True) if dim not in ("sample", "channel")}
    if len(shape) == 1 or shape[1:] == (1,):
        return ("sample",)
    if shape[1:] == tuple(sizes.values()):
        return ("sample", *sizes)
    if len(shape) == 2:
        return ("sample", "value")
    pixels = format_dims(["sample", *map(str, sizes.values())])
    raise DataError(f"label: expected one label for each sample (sample) or pixel {pixels}, got shape {shape}")


def _is_black_and_white(variable: _Variable) -> bool:
    """Whether a mask has only the values 0 and 255, as image editors write it."""
    if variable.array.dtype != np.uint8:
        return False
    white = False
    for start, stop in _bounds(variable, _samples_in_chunk(variable) * _BLOCK_CHUNKS):
        values = np.unique(variable.read(start, stop))
        if not set(values.tolist()) <= {0, 255}:
            return False
        white |= 255 in values
    return white


def _samples_in_chunk(variable: _Variable) -> int:
    each = variable.array.dtype.itemsize * math.prod(variable.shape[1:])
    return max(1, min(variable.shape[0], _CHUNK_BYTES // max(1, each)))


def _bounds(variable: _Variable, step: int) -> Iterator[tuple[int, int]]:
    for start in range(0, variable.shape[0], step):
        yield start, min(start + step, variable.shape[0])


def _write(variables: Sequence[_Variable], columns: Mapping[str, NDArray[Any]], store: Path, chunk: int | None) -> None:
    """Write the store under another name first: a store that has its name is complete."""
    coordinates = {k: ("sample", v.astype(object) if v.dtype.kind in "SUT" else v) for k, v in columns.items()}
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(store) as partial:
            xr.Dataset(coords=coordinates).to_zarr(partial, mode="w", zarr_format=3, consolidated=False)
            group = zarr.open_group(partial, mode="a")
            for variable in variables:
                _write_array(group, variable, chunk or _samples_in_chunk(variable))
    except OSError as error:
        raise UserError(f"{store}: cannot be written: {error.strerror or error}") from error


def _write_array(group: zarr.Group, variable: _Variable, chunk: int) -> None:
    kind = variable.read(0, 1).dtype if variable.shape[0] else variable.array.dtype
    shape = variable.shape[: len(variable.dims)]
    array = group.create_array(
        variable.name,
        shape=shape,
        chunks=(min(chunk, shape[0]), *shape[1:]),
        dtype=kind,
        dimension_names=variable.dims,
        attributes=dict(variable.attributes),
    )
    for start, stop in _bounds(variable, chunk * _BLOCK_CHUNKS):
        array[start:stop] = variable.read(start, stop)
