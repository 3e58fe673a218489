"""Images of medicine as nnU-Net and the Medical Segmentation Decathlon lay them out. Runs on the driver.

Sources: https://github.com/MIC-DKFZ/nnUNet (documentation/dataset_format.md) and Antonelli et al. 2022,
doi:10.1038/s41467-022-30695-9.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.formats.content import Content, Pieces, Sliceable, SourceArray
from menndl_dask.data.formats.folders.folder_listing import is_image, listed, natural
from menndl_dask.data.formats.folders.image_file import OpenFile, image_arrays
from menndl_dask.data.formats.library import reading
from menndl_dask.data.formats.readers.readers import ending
from menndl_dask.data.formats.views import full_index
from menndl_dask.errors import DataError
from menndl_dask.text import counted

_CHANNEL = re.compile(r"(.+)_(\d{4})")


@dataclass(frozen=True)
class Channels:
    """Images of equal size, one for each channel, as one array with the channels first."""

    items: Sequence[Sliceable]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of channels, and the size of each."""
        return (len(self.items), *self.items[0].shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type that holds the values of all."""
        return Pieces(self.items).dtype

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """Read a part; each channel is read by itself."""
        first, *rest = full_index(index, len(self.shape))
        chosen: Any = self.items[first]
        if isinstance(first, slice):
            return np.stack([np.asarray(item[tuple(rest)]) for item in chosen]).astype(self.dtype, copy=False)
        return np.asarray(chosen[tuple(rest)])


def is_nnunet(path: Path) -> bool:
    """Whether a folder is laid out as nnU-Net's raw data, or as a task of the Decathlon."""
    return all((path / name).exists() for name in ("dataset.json", "imagesTr", "labelsTr"))


@contextmanager
def open_nnunet(path: Path, bands: Sequence[str] = ()) -> Iterator[Content]:
    """Open ``imagesTr`` and ``labelsTr`` with the names of channels and classes in ``dataset.json``.

    A case is one file, or one for each channel: ``case_0000.nii.gz``, ``case_0001.nii.gz``.
    """
    if not is_nnunet(path):
        found = listed(_inside(path)) or "none"
        raise DataError(f"{path}: expected dataset.json, imagesTr and labelsTr, found {found}")
    about = _described(path / "dataset.json")
    labels = {_case(file): file for file in _files(path / "labelsTr")}
    cases: dict[str, list[Path]] = {}
    for file in _files(path / "imagesTr"):
        case = _case(file)
        channel = _CHANNEL.fullmatch(case)
        cases.setdefault(channel[1] if channel and case not in labels else case, []).append(file)
    _check(path, cases, labels)
    names = sorted(cases, key=natural)
    opened = OpenFile()
    try:
        image, notes = _images([cases[name] for name in names], opened)
        label, said = image_arrays([labels[name] for name in names], True, opened)
        arrays = {"image": image, "label": label, "file": SourceArray(np.array([cases[n][0].name for n in names]))}
        channels = _names(about, "channel_names", "modality")
        if len(channels) > 1:
            arrays["channel"] = SourceArray(np.array([channels[key] for key in sorted(channels)]))
        classes, ignore = _classes(_names(about, "labels"))
        if ignore is not None:
            arrays["label"] = replace(label, attributes={**label.attributes, "fill": ignore})
        taken = f"taken: {counted(len(names), 'case')} of imagesTr and labelsTr"
        left = ("left out: imagesTs, which has no labels",) if (path / "imagesTs").is_dir() else ()
        yield Content(arrays, classes, ("image",), "label", notes=(taken, *left, *notes, *said))
    finally:
        opened.close()


def _inside(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir()) if path.is_dir() else []


def _files(folder: Path) -> list[Path]:
    return sorted((f for f in folder.iterdir() if is_image(f) and f.name[0] != "."), key=lambda f: natural(f.name))


def _case(file: Path) -> str:
    return file.name[: -len(ending(file))]


def _check(path: Path, cases: Mapping[str, Sequence[Path]], labels: Mapping[str, Path]) -> None:
    """Check that each case has a label, and as many files as the others."""
    if not cases:
        raise DataError(f"{path / 'imagesTr'}: expected images, found none")
    for first, second, folder in ((cases, labels, "labelsTr"), (labels, cases, "imagesTr")):
        without = [name for name in first if name not in second]
        if without:
            got = f"none for {len(without):,} of {counted(len(first), 'case')} ({listed(without)})"
            raise DataError(f"{path / folder}: expected a file for each case, found {got}")
    number = len(next(iter(cases.values())))
    for name, files in cases.items():
        if len(files) != number:
            raise DataError(f"{path / 'imagesTr'}: {name}: expected {counted(number, 'file')} as in other cases, "
                            f"got {len(files)}")  # fmt: skip


def _images(cases: Sequence[Sequence[Path]], opened: OpenFile) -> tuple[SourceArray, list[str]]:
    """Return the images of all cases, with their channels together."""
    each = [image_arrays([files[place] for files in cases], False, opened) for place in range(len(cases[0]))]
    first, notes = each[0]
    if len(each) == 1:
        return first, notes
    stacks = [source.array.items for source, _ in each if isinstance(source.array, Pieces)]
    pieces = [Channels([stack[case] for stack in stacks]) for case in range(len(cases))]
    for files, piece in zip(cases, pieces, strict=True):
        if len({tuple(item.shape) for item in piece.items}) > 1:
            got = " and ".join(sorted({str(tuple(item.shape)) for item in piece.items}))
            raise DataError(f"{files[0]}: expected channels of one size, got {got}")
    dims = ("sample", "channel", *first.dims[1:]) if first.dims else ()
    return replace(first, array=Pieces(pieces), dims=dims), notes


def _described(path: Path) -> Mapping[str, Any]:
    with reading(path, "a description of a data set"):
        found = json.loads(path.read_text("utf-8"))
    if not isinstance(found, Mapping):
        raise DataError(f"{path}: expected keys with values, got {type(found).__name__}")
    return found


def _names(about: Mapping[str, Any], *keys: str) -> dict[int, str]:
    """Return names by their number, which may be the key or the value; regions of several classes have none."""
    given: Mapping[Any, Any] = next((about[key] for key in keys if isinstance(about.get(key), Mapping)), {})
    found = {}
    for key, value in given.items():
        number, name = (key, value) if str(key).isdigit() else (value, key)
        if str(number).isdigit():
            found[int(number)] = str(name)
    return found


def _classes(names: Mapping[int, str]) -> tuple[tuple[str, ...], int | None]:
    """Return the names of the classes, and the number of pixels without a label.

    >>> _classes({0: "background", 1: "tumour", 2: "ignore"})
    (('background', 'tumour'), 2)
    """
    ignore = next((number for number, name in names.items() if name.lower() == "ignore"), None)
    kept = {number: name for number, name in names.items() if number != ignore}
    known = sorted(kept) == list(range(len(kept)))
    return (tuple(kept[number] for number in sorted(kept)) if known else (), ignore)
