"""Files of electron microscopes' makers, through RosettaSciIO if the user has it. Runs on the driver.

RosettaSciIO has the licence GPL-3. It is found at run time, and is no dependency of this package. It gives the axes
with names, units and scale: https://hyperspy.org/rosettasciio/api/index.html
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from menndl_dask.data.axes import CHANNEL, SPATIAL
from menndl_dask.data.formats.content import ORDERED, Content, SourceArray
from menndl_dask.data.formats.library import guarded, reading
from menndl_dask.data.formats.outside import check_hdf5
from menndl_dask.errors import DataError

SUFFIXES = (".dm3", ".dm4", ".emd", ".hspy", ".zspy", ".ser", ".emi", ".blo", ".mib", ".bcf", ".prz", ".tvips", ".de5")
_NAMES = {"width": "x", "height": "y", "depth": "z", "energy": "channel", "energy loss": "channel", "time": "t"}

_NO_UNIT = ("", "None", "<undefined>", "px", "pixel", "pixels")


@contextmanager
def open_rosetta(path: Path) -> Iterator[Content]:
    """Open the data sets of a file, each as an array with the name that the file gives it."""
    kind = f"{path.suffix} by RosettaSciIO"
    with reading(path, kind):
        plugins = import_module("rsciio").IO_PLUGINS
        check_hdf5(path)
        logging.getLogger("rsciio").setLevel(logging.ERROR)  # it has a handler of its own
        suffix = path.suffix.lower().removeprefix(".")
        plugin = next((p for p in plugins if suffix in map(str.lower, p["file_extensions"])), None)
        if plugin is None:
            raise ValueError("it has no reader of this suffix")
        found = import_module(plugin["api"]).file_reader(str(path), lazy=True)
    arrays: dict[str, SourceArray] = {}
    left: list[str] = []
    for number, entry in enumerate(found):
        with reading(path, kind):
            name = str(entry.get("metadata", {}).get("General", {}).get("title") or f"image{number}")
            source = _source(entry)
        if len(source.shape) > 3 and not source.dims:
            size = " x ".join(map(str, source.shape))
            left.append(f"{name} ({size}): a scan of patterns, which are no images")
            continue
        name = "image" if len(found) == 1 else name if name not in arrays else f"{name}_{number}"
        arrays[name] = source
    if not arrays:
        raise DataError(f"{path}: expected images, found {'; '.join(left) or 'no data set'}")
    notes = tuple(f"left out: {text}" for text in left)
    yield Content(guarded(arrays, path, kind), images=tuple(arrays) if len(arrays) == 1 else (), notes=notes)


def _source(entry: Mapping[str, Any]) -> SourceArray:
    axes = sorted(entry["axes"], key=lambda axis: axis.get("index_in_array", 0))
    dims = rosetta_dims(axes) if len(axes) == len(entry["data"].shape) else ()
    sizes = {dim: abs(float(axis.get("scale", 0) or 0)) for dim, axis in zip(dims, axes, strict=False)}
    units = {str(axis.get("units")) for dim, axis in zip(dims, axes, strict=False) if dim in SPATIAL}
    spacing = {dim: size for dim, size in sizes.items() if dim in SPATIAL and size > 0} if len(units) == 1 else {}
    unit = units.pop() if len(units) == 1 else ""
    unit = "" if unit in _NO_UNIT else unit
    if not unit and set(spacing.values()) == {1.0}:  # how a file without a calibration is read
        spacing = {}
    attributes = {"spacing_unit": unit} if spacing and unit else {}
    return SourceArray(entry["data"], dims, attributes, None, spacing)


def rosetta_dims(axes: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return our dimension names for axes with ``name`` and ``navigate``; empty if they cannot be told.

    Images along a navigation axis without a known name are samples in order (``page``). Without names, the axes of an
    image are y and x.

    >>> rosetta_dims([{"name": "scan", "navigate": True}, {"name": "y"}, {"name": "x"}])
    ('page', 'y', 'x')
    """
    known = {*SPATIAL, *CHANNEL, *ORDERED}
    names = [str(axis.get("name") or "").lower() for axis in axes]
    names = [_NAMES.get(name, name) for name in names]
    unknown = [place for place, name in enumerate(names) if name not in known]
    across = [place for place in unknown if axes[place].get("navigate")]
    if len(across) == 1:
        names[across[0]] = "page"
    images = [place for place in unknown if place not in across]
    if len(images) <= 2 and not {"y", "x"} & set(names):
        for place, name in zip(images, ("y", "x")[-len(images) :] if images else (), strict=True):
            names[place] = name
    return tuple(names) if set(names) <= known and len(set(names)) == len(names) else ()
