"""Convert labelled images from other formats to Zarr. Runs on the driver.

Data is read and written in blocks of some tens of megabytes, also within one large image, if the format allows it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from menndl_dask.data.formats.arrangement.arrangement import arrange
from menndl_dask.data.formats.arrangement.label_source import open_labels
from menndl_dask.data.formats.arrangement.store_writer import Progress, write_store
from menndl_dask.data.formats.arrangement.summary import Converted, arranged
from menndl_dask.data.formats.content import Content
from menndl_dask.data.formats.conversion_options import Options
from menndl_dask.data.formats.folders.folder import open_folder
from menndl_dask.data.formats.layouts.layouts import open_layout, suggested
from menndl_dask.data.formats.readers.keras_dataset import keras_name, open_keras
from menndl_dask.data.formats.readers.readers import opener
from menndl_dask.data.formats.readers.zarr_store import is_converted, is_zarr
from menndl_dask.data.formats.split_arrays import join_splits
from menndl_dask.errors import DataError, UserError, nearest, reading

logger = logging.getLogger(__name__)

_DEFAULT = Options()
_OBJECTS = "(Python objects)"  # images of unequal size in one array of NumPy are such objects
_UNUSABLE = (_OBJECTS, "(a table with", "(references to", "(arrays of unequal", "(a link that")


def convert(
    source: str | Path,
    target: str | Path,
    *,
    images: str | Sequence[str] | None = None,
    label: str | Path | None = None,
    dims: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    fill: int | None = None,
    chunk: int | None = None,
    instances: str | None = None,
    radius: float | None = None,
    heat: float | None = None,
    chips: int | None = None,
    label_share: str | None = None,
    nodata: float | None = None,
    layout: str | None = None,
    bands: Sequence[str] | None = None,
) -> Path:
    """Write labelled images as Zarr, laid out as `open_problem` expects them.

    What was found, taken, assumed, changed and left out is logged; `write_converted` returns it.

    Parameters
    ----------
    source
        A file of a format in `FORMATS`, a folder of such files, or a data set of Keras, such as ``keras:mnist``.
    target
        The Zarr store to write; must not exist.
    images, label
        Names of the arrays in the file; by default usual names (`IMAGES`, `LABELS`). Several arrays of images are
        several views. The label may also be another file, such as a ``.csv`` table or a TIFF stack, a column or array
        in it (``table.csv:kind``), or a folder of masks. Without labels there are only images, to be predicted.
    dims
        Dimension names of the images, such as ``sample, channel, y, x``, or ``z, y, x`` for one volume; by default
        those of the source, or inferred.
    classes
        Class names, in the order of the class numbers; of colours, in the order of the colours or as ``#rrggbb=name``.
    fill
        Class number of samples or pixels without a label.
    chunk
        Samples in a chunk; by default a few megabytes.
    instances
        ``boundary`` or ``boundary=WIDTH``: labels are numbers of objects, and their boundaries become a class.
    radius
        Radius in pixels of the discs that positions in a table become.
    heat
        Standard deviation in pixels of the Gaussians that positions become instead: the label is a value from 0 to 1
        for each pixel.
    chips
        Side in pixels of the parts into which images are cut.
    label_share
        ``CLASS`` or ``CLASS=SHARE``: a chip gets its label from the share of a class in its mask.
    nodata
        Value in the images that stands for a missing one; becomes NaN.
    layout, bands
        Name of a published layout (`LAYOUTS`), and for satellite scenes the names of the bands to take.

    Returns
    -------
    Path
        Path of the store.

    Raises
    ------
    UserError
        If the target exists, a library is missing, or source or options are not as expected.
    """
    named = (images,) if isinstance(images, str) else tuple(images or ())
    options = Options(
        named,
        None if label is None else str(label),
        None if dims is None else tuple(dims),
        tuple(classes or ()),
        fill,
        chunk,
        instances,
        radius,
        heat,
        chips,
        label_share,
        nodata,
        layout,
        tuple(bands or ()),
    )
    done = write_converted(source, target, options)
    for line in str(done).splitlines():
        logger.info("%s", line.strip())
    return done.path


def write_converted(
    source: str | Path, target: str | Path, options: Options = _DEFAULT, progress: Progress | None = None
) -> Converted:
    """Convert as `convert` does, and return what was done; `progress` is called with the bytes written and in all.

    Raises
    ------
    UserError
        If the target exists, a library is missing, or source or options are not as expected.
    """
    path, store = Path(source), Path(target)
    _demand_new(store)
    with reading(path), ExitStack() as opened:
        content = _open(opened, path, options)
        try:
            return write_content(content, store, options, progress=progress, opened=opened)
        except DataError as error:
            hint = None if options.layout or path.is_dir() else suggested(path, content.arrays)
            left = [note for note in content.notes if any(kind in note for kind in _UNUSABLE)]
            left = [f"{note}; save each image as a file of its own" if _OBJECTS in note else note for note in left]
            text = "; ".join([str(error), *([f"it {hint}"] if hint else []), *left])
            raise DataError(text if text.startswith(str(path)) else f"{path}: {text}") from None


def write_content(
    content: Content, store: Path, options: Options = _DEFAULT, attributes: Mapping[str, Any] | None = None, *,
    progress: Progress | None = None, opened: ExitStack | None = None,
) -> Converted:  # fmt: skip
    """Write the arrays of a source as a store, with further attributes, and return what was done.

    Raises
    ------
    UserError
        If the store exists, or arrays, labels or options do not fit together.
    """
    _demand_new(store)
    with ExitStack() as own:
        if not options.images and options.label is None:
            content = join_splits(content)
        labels = open_labels(own if opened is None else opened, content, options)
        arrangement = arrange(labels, options)
        written = replace(arrangement.store, attributes={**arrangement.store.attributes, **(attributes or {})})
        write_store(written, store, options.chunk, progress)
    return Converted(store, arranged(arrangement.lines()), arrangement.next_command(store))


def _demand_new(store: Path) -> None:
    with reading(store, UserError):
        is_there = store.exists()
    if is_there:
        raise UserError(f"{store}: expected a new name, found an existing store; remove it or choose another name")


def _open(opened: ExitStack, path: Path, options: Options) -> Content:
    if options.layout is not None:
        return opened.enter_context(open_layout(path, options.layout, options.bands))
    if options.bands:
        raise UserError("bands: expected with layout, which names the bands")
    name = keras_name(path)
    if name is not None:
        return opened.enter_context(open_keras(name))
    if not path.exists():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"{path}: expected a file or folder, found none{nearest(path.name, beside)}")
    if options == replace(_DEFAULT, chunk=options.chunk) and is_zarr(path) and is_converted(path):
        raise UserError(f"{path}: is laid out as `menndl check` expects it, and needs no conversion")
    reader = opener(path)
    if reader is not None:
        return opened.enter_context(reader(path))
    hint = suggested(path)
    if hint and options == replace(_DEFAULT, chunk=options.chunk):  # its labels would be taken for images
        raise DataError(f"{path}: the folder {hint}, or name images and labels with --images and --label")
    try:
        content = opened.enter_context(open_folder(path, options.label is not None))
    except DataError as error:
        raise error if hint is None else DataError(f"{error}; it {hint}") from None
    return replace(content, notes=(*content.notes, f"the folder {hint}")) if hint else content
