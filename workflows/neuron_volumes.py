"""Volumes of electron microscopy with the boundaries of their neurons, in the layouts of four data sets.

Runs on the driver. The layouts are

    CREMI      sample_A_20160501.hdf, …: volumes/raw and volumes/labels/neuron_ids; a file, or a folder of them
    SNEMI3D    a folder with train-input.tif and train-labels.tif, numbers of neurons
    ISBI 2012  a folder with train-volume.tif and train-labels.tif, membranes 0 and cells 255, learnt in 2-D
    FlyEM      a folder of .npz files, such as train.npz and test.npz: image and segmentation, numbers of neurons
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from skimage.measure import label as connected
from skimage.segmentation import find_boundaries

from menndl_dask import UserError
from menndl_dask.data.formats.content import Pieces
from menndl_dask.data.formats.layouts.classes import SectionBoundaries
from menndl_dask.data.formats.layouts.electron_microscopy import is_cremi, is_isbi, is_snemi3d
from menndl_dask.data.formats.layouts.layouts import open_layout
from menndl_dask.data.formats.npz import open_npz

FILL = 255
"""Label of a voxel without one; 0 is inside of a neuron, 1 is a boundary."""

_CLASSES = ["inside", "boundary"]
_TEST_SHARE = 0.15  # of a single volume
_GAP = 16  # voxels between the training and the test part of a single volume


@dataclass(frozen=True)
class Volume:
    """A volume (z, y, x) with a boundary or not for each voxel, and the number of its neuron, 0 without one."""

    name: str
    image: np.ndarray
    boundary: np.ndarray
    neurons: np.ndarray
    by_section: bool  # boundaries are those within a section, as sections are thick
    planar: bool = False  # sections are learnt one by one, in 2-D
    spacing: tuple[float, ...] = ()  # nm along z, y, x; empty if it is not known

    def part(self, axis: int, start: int, stop: int) -> Volume:
        """Return a part along one axis."""
        index = tuple(slice(start, stop) if place == axis else slice(None) for place in range(3))
        return replace(self, image=self.image[index], boundary=self.boundary[index], neurons=self.neurons[index])


def read_volumes(path: Path) -> tuple[list[Volume], list[str]]:
    """Read the volumes of a file or folder whole, and return them with what is to be said of them.

    Raises
    ------
    UserError
        If the path is laid out as none of the data sets.
    """
    if not path.exists():
        raise UserError(f"--data: expected a file or folder, found no {path}")
    if path.is_file() or is_cremi(path):
        return _published(path, "cremi")
    if is_snemi3d(path):
        return _published(path, "snemi3d")
    if is_isbi(path):
        return _published(path, "isbi")
    archives = sorted(path.glob("*.npz"))
    if archives:
        return [_archived(file) for file in archives], []
    expected = "sample_….hdf (CREMI), train-input.tif (SNEMI3D), train-volume.tif (ISBI 2012) or .npz files (FlyEM)"
    raise UserError(f"{path}: expected a folder with {expected}, found {_found(path)}")


def _found(path: Path) -> str:
    names = sorted(file.name for file in path.iterdir())
    return ", ".join(names[:5] + ["…"] * (len(names) > 5)) or "an empty folder"


def _published(path: Path, layout: str) -> tuple[list[Volume], list[str]]:
    with open_layout(path, layout) as content:
        image, label = content.arrays["image"], content.arrays["label"]
        each = [array.items if isinstance(array, Pieces) else [array] for array in (image.array, label.array)]
        files = content.arrays["file"].array[:].tolist() if "file" in content.arrays else [path.name]
        spacing = tuple(float(image.spacing[axis]) for axis in "zyx" if axis in image.spacing)
        volumes = [
            _volume(Path(name).stem, *arrays, spacing if len(spacing) == 3 else ())
            for name, *arrays in zip(files, *each, strict=True)
        ]
    return volumes, [note for note in content.notes if not note.startswith("axes")]


def _volume(name: str, image: Any, label: Any, spacing: tuple[float, ...]) -> Volume:
    boundary = label[:]
    if isinstance(label, SectionBoundaries):  # the reader makes them of the numbers of neurons
        neurons = label.array[:]
        neurons[boundary == FILL] = 0
        if neurons.max() < 2**32:  # CREMI stores 64 bits
            neurons = neurons.astype("uint32")
        return Volume(name, image[:], boundary, neurons, by_section=True, spacing=spacing)
    cells = np.stack([connected(section == 0, connectivity=1) for section in boundary])
    return Volume(name, image[:], boundary, cells.astype("uint32"), by_section=True, planar=True)


def _archived(file: Path) -> Volume:
    with open_npz(file) as content:
        missing = [name for name in ("image", "segmentation") if name not in content.arrays]
        if missing:
            found = ", ".join(content.arrays) or "none"
            raise UserError(f"{file}: expected the arrays image and segmentation, found {found}")
        image, numbers = (content.arrays[name].array[:] for name in ("image", "segmentation"))
    if image.ndim != 3 or image.shape != numbers.shape or numbers.dtype.kind not in "iu":
        got = f"{image.shape} and {numbers.shape} of {numbers.dtype}"
        raise UserError(
            f"{file}: expected image and segmentation (z, y, x) of equal shape and whole numbers, got {got}"
        )
    # voxels are as long along z as along y and x: boundaries in 3-D, two voxels wide
    boundary = find_boundaries(numbers, connectivity=1, mode="thick").astype("uint8")
    neurons = np.unique(numbers, return_inverse=True)[1].reshape(numbers.shape) + 1
    return Volume(file.stem, image, boundary, np.where(numbers == 0, 0, neurons).astype("uint32"), by_section=False)


def divide(volumes: Sequence[Volume], test: str | None) -> tuple[list[Volume], list[Volume], str]:
    """Return the volumes to learn from, those to test on, and a line that says which.

    Tested are the volume named, else those whose names begin with "test", else the last one, else the last 15 % of a
    single one along its longest axis (of sections learnt one by one, along z).
    """
    names = [volume.name for volume in volumes]
    if test is not None and test not in names:
        raise UserError(f"--test: expected one of {', '.join(names)}, got {test}")
    if len(volumes) == 1:
        whole = volumes[0]
        axis = 0 if whole.planar else int(np.argmax(whole.image.shape))
        length, gap = whole.image.shape[axis], 0 if whole.planar else _GAP
        start = round((1 - _TEST_SHARE) * length)
        if start - gap < 1:
            raise UserError(f"--data: {whole.name}: expected more than {2 * gap} voxels along an axis, got {length}")
        said = f"test volume: voxels {start} to {length - 1} along {'zyx'[axis]}"
        said += f"; left out: {gap} voxels between it and the rest" if gap else ""
        return [whole.part(axis, 0, start - gap)], [whole.part(axis, start, length)], said
    chosen = [name for name in names if name.startswith("test")] if test is None else [test]
    chosen = chosen or names[-1:]
    learnt = [volume for volume in volumes if volume.name not in chosen]
    if not learnt:
        raise UserError(f"--data: expected a volume to learn from, got only {', '.join(names)}")
    return learnt, [volume for volume in volumes if volume.name in chosen], f"test volume: {', '.join(chosen)}"


def write_volumes(learnt: Sequence[Volume], tested: Sequence[Volume], target: Path, made_with: str = "") -> Path:
    """Write volumes as a labelled data set in Zarr; sections that are learnt one by one are samples of their own."""
    samples = [(volume, split, part) for split, each in (("train", learnt), ("test", tested)) for volume in each
               for part in (range(len(volume.image)) if volume.planar else [slice(None)])]  # fmt: skip
    columns = {"split": [split for _, split, _ in samples], "volume": [volume.name for volume, _, _ in samples]}
    partial = target.with_name(target.name + ".partial")
    root = xr.Dataset(coords={name: ("sample", np.array(column, object)) for name, column in columns.items()})
    root.attrs.update(consecutive=samples[0][0].planar, made_with=made_with)
    root.to_zarr(partial, mode="w", zarr_format=3, consolidated=False)
    for number, (volume, _, part) in enumerate(samples):
        dims = "yx" if volume.planar else "zyx"
        attributes = {"spacing": list(volume.spacing)} if volume.spacing else {}
        sample = xr.Dataset(
            {
                "image": (tuple(dims), volume.image[part], attributes),
                "label": (tuple(dims), volume.boundary[part], {"classes": _CLASSES, "fill": FILL}),
            }
        )
        chunks = {name: {"chunks": tuple(min(64, n) for n in sample[name].shape)} for name in sample}
        group = f"samples/{number:05}"
        sample.to_zarr(partial, group=group, mode="a", zarr_format=3, consolidated=False, encoding=chunks)
    partial.rename(target)
    return target
