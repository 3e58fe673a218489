"""TIFF arrays with axes, read lazily: pages, ImageJ hyperstacks, OME. Runs on the driver.

Sources: https://www.openmicroscopy.org/Schemas (OME-TIFF, units of ``PhysicalSize``) and the documentation of tifffile
(letters of axes).
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import zarr

from menndl_dask.data.formats.content import Content, Sliceable, SourceArray
from menndl_dask.data.formats.library import MappedArray, guarded, reading
from menndl_dask.data.formats.outside import check_ome
from menndl_dask.data.formats.readers.geotiff import open_raster
from menndl_dask.data.store.memory import check_fits
from menndl_dask.errors import DataError

_AXES = {"Y": "y", "X": "x", "Z": "z", "C": "channel", "S": "channel", "T": "t", "Q": "page", "I": "page", "P": "page"}
_MICROMETRES = {"m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "um": 1.0, "micron": 1.0, "\\u00b5m": 1.0}
_MICROMETRES |= {"nm": 1e-3, "pm": 1e-6, "Å": 1e-4, "å": 1e-4, "inch": 25400.0}
_WITHOUT_CODECS = (1, 8, 32773, 32946, 34925)  # raw, zlib, packed bits, LZMA
_RESOLUTION_UNIT = {2: "inch", 3: "cm"}  # of the tag ResolutionUnit


@contextmanager
def open_tiff(path: Path) -> Iterator[Content]:
    """Open a TIFF as the array ``image``, and further series of pages as ``series1`` and so on.

    Axes are those of the file: ``t``, ``page``, ``z``, ``channel``, ``y``, ``x``. A GeoTIFF is opened by `open_raster`.
    """
    with reading(path, "TIFF"):
        import tifffile

        file = tifffile.TiffFile(path)
    with file:
        with reading(path, "TIFF"):
            if file.pages.first.compression not in _WITHOUT_CODECS:
                import imagecodecs  # noqa: F401  tifffile uses it
        with reading(path, "TIFF"), _damage_is_an_error():
            if file.is_ome:
                check_ome(path, file.ome_metadata or "")
            on_earth = file.is_geotiff and not file.is_imagej and not file.is_ome
            arrays = {} if on_earth else guarded(dict(_arrays(file, path)), path, "TIFF")
            names = _channel_names(file)
        if on_earth:
            with open_raster(path) as content:
                yield content
        else:
            found = arrays["image"].dims[:1]
            if names:
                arrays["channel"] = SourceArray(np.array(names), ("channel",))
            in_order = found in (("t",), ("page",))
            yield Content(arrays, images=("image",), consecutive=in_order, notes=_notes(file))


def _notes(file: Any) -> tuple[str, ...]:
    """Say what values mean that are no brightness."""
    meaning = {0: "0 is white (WhiteIsZero)", 3: "they are places in a palette"}.get(int(file.pages.first.photometric))
    return (f"note: values are kept as stored: {meaning}",) if meaning else ()


class _Damage(logging.Handler):
    """What tifffile logs when pages are missing: it would go on with fewer of them."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if "page offset" in text or "first page" in text or "series" in text:
            self.found.append(re.sub(r"<[^>]*>\s*", "", text))


@contextmanager
def _damage_is_an_error() -> Iterator[None]:
    logger, handler = logging.getLogger("tifffile"), _Damage()
    propagate = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
    if handler.found:
        raise ValueError(f"{handler.found[0]}; is the file complete?")


def _arrays(file: Any, path: Path) -> Iterator[tuple[str, SourceArray]]:
    sizes = _spacing(file)
    for number, series in enumerate(file.series):
        dims = tiff_dims(series.axes)
        if len(set(dims)) < len(dims):
            raise DataError(f"{path}: expected one axis of channels and one of samples, got the axes {series.axes}")
        spacing = {name: size for name, size in sizes.items() if name in dims} if number == 0 else {}
        source = SourceArray(_values(file, series, path), dims, _attributes(file, sizes), None, spacing)
        yield f"series{number}" if number else "image", source


def _values(file: Any, series: Any, path: Path) -> Sliceable:
    """Return the values: of one contiguous block in the file as a memory map, else page by page or tile by tile."""
    if series.dataoffset is not None and not series.is_multifile:
        kind = np.dtype(series.dtype).newbyteorder(file.byteorder)
        values = MappedArray(path, kind, series.dataoffset, tuple(series.shape))
        values[:0]  # a file that is too short cannot be mapped
        return values
    expected, found = math.prod(series.keyframe.chunked), len(series.keyframe.dataoffsets)
    if found < expected:  # the others would be read as zeros
        raise ValueError(f"expected {expected:,} strips or tiles in a page, got {found:,}; is the file complete?")
    pages: Any = zarr.open_array(series.aszarr(level=0), mode="r")
    check_fits(path, pages.chunks, pages.dtype.itemsize, "strips or tiles of a size")
    return pages  # type: ignore[no-any-return]


def tiff_dims(axes: str) -> tuple[str, ...]:
    """Return our dimension names for the axes of tifffile.

    >>> tiff_dims("ZYX"), tiff_dims("TZCYX"), tiff_dims("QYXS")
    (('z', 'y', 'x'), ('t', 'z', 'channel', 'y', 'x'), ('page', 'y', 'x', 'channel'))
    """
    return tuple(_AXES.get(letter, f"axis_{letter.lower()}") for letter in axes)


def _attributes(file: Any, sizes: Mapping[str, float]) -> dict[str, Any]:
    white = {"photometric": "white"} if int(file.pages.first.photometric) == 0 else {}
    return white | ({"spacing_unit": "µm"} if sizes and not file.is_imagej else {})


def _spacing(file: Any) -> dict[str, float]:
    """Return the size of a pixel along z, y and x, as far as the file says it."""
    if file.is_ome:
        return _ome_spacing(file.ome_metadata)
    page = file.pages[0]
    by_tags = {"x": _pixel(page, "XResolution"), "y": _pixel(page, "YResolution")}
    if file.is_imagej:
        known = file.imagej_metadata or {}
        by_tags["z"] = float(known.get("spacing", 0)) or None
        return {n: s for n, s in by_tags.items() if s} if known.get("unit") or "spacing" in known else {}
    unit = page.tags.get("ResolutionUnit")
    factor = _MICROMETRES.get(_RESOLUTION_UNIT.get(int(unit.value), ""), 0.0) if unit else 0.0
    return {n: s * factor for n, s in by_tags.items() if s and factor}


def _pixel(page: Any, tag: str) -> float | None:
    """Return the size of a pixel for a resolution tag, which holds pixels per unit as a fraction."""
    found = page.tags.get(tag)
    if found is None:
        return None
    pixels, units = found.value
    return float(units) / float(pixels) if pixels and units else None


def _channel_names(file: Any) -> list[str]:
    """Return the names of the channels of an OME-TIFF; empty if not all of them have one."""
    if not file.is_ome:
        return []
    pixels = _pixels(file.ome_metadata)
    channels = [] if pixels is None else [e for e in pixels if e.tag.endswith("}Channel")]
    names = [channel.get("Name", "") for channel in channels]
    return names if len(names) > 1 and all(names) else []


def _pixels(text: str) -> ET.Element | None:
    return next((e for e in ET.fromstring(text).iter() if e.tag.endswith("}Pixels")), None)


def _ome_spacing(text: str) -> dict[str, float]:
    """Return the physical sizes of the first image in micrometres."""
    pixels = _pixels(text)
    sizes: dict[str, float] = {}
    if pixels is None:
        return sizes
    for axis in "XYZ":
        value = pixels.get(f"PhysicalSize{axis}")
        unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")
        if value and float(value) > 0 and unit in _MICROMETRES:
            sizes[axis.lower()] = float(value) * _MICROMETRES[unit]
    return sizes
