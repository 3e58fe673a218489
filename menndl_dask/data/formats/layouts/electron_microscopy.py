"""Challenges of electron microscopy as they are published: CREMI, SNEMI3D, ISBI 2012. Runs on the driver.

Sources: https://cremi.org/data and https://github.com/cremi/cremi_python (HDF5, attributes ``resolution`` and
``offset`` in nm); http://brainiac2.mit.edu/SNEMI3D and https://connectomics.readthedocs.io (voxels of 30 x 6 x 6 nm);
Arganda-Carreras et al. 2015, doi:10.3389/fnana.2015.00142 (ISBI 2012: pixels of 4 nm, membranes are 0, cells 255).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from menndl_dask.data.formats.content import Content, Pieces, Sliceable, SourceArray
from menndl_dask.data.formats.layouts.classes import Codes, SectionBoundaries
from menndl_dask.data.formats.library import guarded
from menndl_dask.data.formats.readers.hdf import open_hdf5
from menndl_dask.data.formats.readers.tiff import open_tiff
from menndl_dask.data.formats.views import Cropped
from menndl_dask.errors import DataError

_VOLUME = ("z", "y", "x")
_BOUNDARY = ("inside", "boundary")
_WIDTH = (
    "changed: numbers of neurons became boundaries, in each section: pixels beside another number in y or x, "
    "or numbered 0"
)
_NO_NEURON = 2**64 - 10  # from here on, numbers of CREMI mean that there is no label
_SUFFIXES = (".hdf", ".h5", ".hdf5")


def is_cremi(path: Path) -> bool:
    """Whether a folder holds files that are called as those of CREMI."""
    return path.is_dir() and any(f.suffix.lower() in _SUFFIXES and f.name.startswith("sample_") for f in path.iterdir())


@contextmanager
def open_cremi(path: Path, bands: Sequence[str] = ()) -> Iterator[Content]:
    """Open files of CREMI: ``volumes/raw`` as images, boundaries of ``volumes/labels/neuron_ids`` as labels.

    Raw volumes that are larger than their labels, as the padded files have them, are cropped to them.
    """
    files = sorted(f for f in path.iterdir() if f.suffix.lower() in _SUFFIXES) if path.is_dir() else [path]
    images, labels, names, notes = [], [], [], [_WIDTH]
    with ExitStack() as stack:
        for file in files:
            arrays = stack.enter_context(open_hdf5(file)).arrays
            raw, ids = arrays.get("volumes/raw"), arrays.get("volumes/labels/neuron_ids")
            if raw is None:
                raise DataError(f"{file}: expected an array 'volumes/raw', found {', '.join(arrays) or 'none'}")
            if ids is None:
                notes.append(f"left out: {file.name} has no volumes/labels/neuron_ids")
                continue
            images.append(_cropped(file, raw, ids, notes))
            labels.append(SectionBoundaries(ids.array, _NO_NEURON))
            names.append(file.name)
            spacing = raw.spacing or ids.spacing
        if not images:
            raise DataError(f"{path}: expected a file with volumes/labels/neuron_ids, found none")
        yield _volumes(images, labels, names, spacing, tuple(notes))


def _cropped(file: Path, raw: SourceArray, ids: SourceArray, notes: list[str]) -> Sliceable:
    """Return the part of a raw volume that has labels: their ``offset`` is in the unit of ``resolution``."""
    if raw.shape == ids.shape:
        return raw.array
    steps = [raw.spacing.get(name, 0.0) for name in _VOLUME]
    offset = np.ravel(np.asarray(ids.attributes.get("offset", (0, 0, 0)), dtype=np.float64))
    start = tuple(round(float(o) / step) if step else 0 for o, step in zip(offset, steps, strict=False))
    if len(start) != 3 or any(s + n > m for s, n, m in zip(start, ids.shape, raw.shape, strict=True)):
        expected = f"labels within the raw volume {raw.shape}"
        raise DataError(f"{file}: volumes/labels/neuron_ids: expected {expected}, got {ids.shape} from {start} on")
    notes.append(f"changed: {file.name}: the raw volume {raw.shape} was cropped to its labels {ids.shape}")
    return Cropped(raw.array, start, ids.shape)


def _volumes(
    images: Sequence[Sliceable],
    labels: Sequence[Sliceable],
    names: Sequence[str],
    spacing: Mapping[str, float],
    notes: tuple[str, ...],
) -> Content:
    """Return volumes as samples, or a single one as an image without a dimension of samples."""
    many = len(images) > 1
    dims = ("sample", *_VOLUME) if many else _VOLUME
    attributes = {"spacing_unit": "nm"} if spacing else {}
    arrays = {
        "image": SourceArray(Pieces(images) if many else images[0], dims, attributes, None, spacing),
        "label": SourceArray(Pieces(labels) if many else labels[0], dims, {"fill": 255}),
    }
    if many:
        arrays["file"] = SourceArray(np.array(names), ("sample",))
    return Content(arrays, _BOUNDARY, ("image",), "label", notes=notes)


def is_snemi3d(path: Path) -> bool:
    """Whether a folder holds the files of SNEMI3D."""
    return all((path / name).is_file() for name in ("train-input.tif", "train-labels.tif"))


@contextmanager
def open_snemi3d(path: Path, bands: Sequence[str] = ()) -> Iterator[Content]:
    """Open ``train-input.tif`` as one volume, with boundaries of ``train-labels.tif`` as labels."""
    with _stacks(path, "train-input.tif", "train-labels.tif") as (image, ids):
        notes = (_WIDTH, "axes: voxels are 30 x 6 x 6 nm, as published", *_without_labels(path, "test-input.tif"))
        sizes = {"z": 30.0, "y": 6.0, "x": 6.0}
        yield _volumes([image], [SectionBoundaries(ids)], [], sizes, notes)


def is_isbi(path: Path) -> bool:
    """Whether a folder holds the files of ISBI 2012."""
    return all((path / name).is_file() for name in ("train-volume.tif", "train-labels.tif"))


@contextmanager
def open_isbi(path: Path, bands: Sequence[str] = ()) -> Iterator[Content]:
    """Open the sections of ``train-volume.tif`` as samples in order, with membranes as class 1."""
    with _stacks(path, "train-volume.tif", "train-labels.tif") as (image, label):
        dims = ("page", "y", "x")
        membranes = Codes(label, {255: 0, 0: 1})
        arrays = {
            "image": SourceArray(image, dims, {"spacing_unit": "nm"}, None, {"y": 4.0, "x": 4.0}),
            "label": SourceArray(membranes, dims),
        }
        left = _without_labels(path, "test-volume.tif")
        notes = ("axes: pixels are 4 x 4 nm, as published; sections are samples", *left)
        found = guarded(arrays, path / "train-labels.tif", "labels of ISBI 2012")
        yield Content(found, ("cell", "membrane"), ("image",), "label", consecutive=True, notes=notes)


def _without_labels(path: Path, name: str) -> tuple[str, ...]:
    there = (path / name).is_file()
    return (f"left out: {name} has no labels; convert it by itself to predict it",) if there else ()


@contextmanager
def _stacks(path: Path, *names: str) -> Iterator[list[Sliceable]]:
    """Open TIFF stacks of equal shape (z, y, x)."""
    with ExitStack() as stack:
        found = []
        for name in names:
            if not (path / name).is_file():
                raise DataError(f"{path}: expected {' and '.join(names)}, found no {name}")
            found.append(stack.enter_context(open_tiff(path / name)).arrays["image"])
        shapes = [source.shape for source in found]
        if len(set(shapes)) > 1 or len(shapes[0]) != 3:
            got = " and ".join(map(str, shapes))
            raise DataError(f"{path}: expected stacks of equal shape in {' and '.join(names)}, got {got}")
        yield [source.array for source in found]
