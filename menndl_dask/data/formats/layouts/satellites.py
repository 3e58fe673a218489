"""Scenes of satellites as they are unpacked, with a file for each band. Runs on the driver.

Sources: the USGS' Landsat 8-9 Collection 2 Level 1 Data Format Control Book (names of files; bits of ``QA_PIXEL``);
ESA's Sentinel-2 Products Specification Document (names in ``.SAFE``, codes of the scene classification ``SCL``); Foga
et al. 2017, doi:10.1016/j.rse.2017.03.026, and https://landsat.usgs.gov/landsat-8-cloud-cover-assessment-validation-data
(L8 Biome: codes of ``fixedmask``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from menndl_dask.data.formats.content import Content, Pieces, Sliceable, SourceArray
from menndl_dask.data.formats.layouts.bands import Bands, Grid, finest, grid_of
from menndl_dask.data.formats.layouts.classes import FILL, Bits, Codes
from menndl_dask.data.formats.library import FileArray
from menndl_dask.data.formats.views import Squeezed
from menndl_dask.errors import DataError, nearest

_LANDSAT = re.compile(r"(?i)(L[COETM]\d.+?)_(?:S[RT]_)?(B\d+(?:_VCID_\d)?|QA_PIXEL|fixedmask)\.(?:tiff?|img)$")
_SENTINEL = re.compile(r"(?i)(.*?)_?(B0[1-9]|B1[0-2]|B8A|SCL)(?:_[126]0m)?\.(?:jp2|tiff?)$")
_QUALITY = ("QA_PIXEL", "SCL", "FIXEDMASK")
_PANCHROMATIC = "B8"
_PIXEL_CLASSES = ("clear", "cloud", "cirrus", "cloud shadow", "snow", "water", "dilated cloud")
_PIXEL_BITS = ((0, FILL), (3, 1), (2, 2), (4, 3), (5, 4), (1, 6), (7, 5))
_SCENE_CLASSES = (
    "saturated or defective", "dark", "cloud shadow", "vegetation", "not vegetated", "water", "unclassified",
    "cloud of medium probability", "cloud of high probability", "thin cirrus", "snow or ice",
)  # fmt: skip
_SCENE_CODES = {0: FILL, **{code: code - 1 for code in range(1, 12)}}
_BIOME_CLASSES = ("clear", "cloud shadow", "thin cloud", "cloud")
_BIOME_CODES = {0: FILL, 128: 0, 64: 1, 192: 2, 255: 3}

Classes = Callable[[Sliceable], Sliceable]


@dataclass(frozen=True, slots=True)
class BandFiles:
    """The files of a scene by the name of their band."""

    name: str
    files: dict[str, Path] = field(default_factory=dict)


def is_landsat(path: Path) -> bool:
    """Whether a folder is a Landsat scene."""
    return path.is_dir() and any((m := _LANDSAT.match(f.name)) and m[2].upper() == "B4" for f in path.iterdir())


def is_sentinel2(path: Path) -> bool:
    """Whether a folder is a Sentinel-2 scene, or holds some."""
    if not path.is_dir():
        return False
    return path.suffix.upper() == ".SAFE" or any(f.suffix.upper() == ".SAFE" for f in path.iterdir() if f.is_dir())


def is_l8biome(path: Path) -> bool:
    """Whether a folder holds Landsat scenes with manual masks."""
    return path.is_dir() and any(True for depth in ("", "*/", "*/*/") for _ in path.glob(f"{depth}L*_fixedmask.*"))


@contextmanager
def open_landsat(path: Path, bands: Sequence[str] = ()) -> Iterator[Content]:
    """Open Landsat scenes: the bands as channels, and ``QA_PIXEL`` as classes for ``--label QA_PIXEL``."""
    scenes = _scenes(path, _landsat_files(path), "LC08_…_B4.TIF")
    yield _content(path, scenes, bands, {"QA_PIXEL": _PIXEL_CLASSES}, lambda band: Bits(band, _PIXEL_BITS))


@contextmanager
def open_l8biome(path: Path, bands: Sequence[str] = ()) -> Iterator[Content]:
    """Open the scenes of L8 Biome with their manual masks of clouds."""
    found = _scenes(path, _landsat_files(path), "LC8…_B4.TIF")
    scenes = [scene for scene in found if "FIXEDMASK" in scene.files]
    if not scenes:
        raise DataError(f"{path}: expected masks such as LC8…_fixedmask.img beside the bands, found none")
    left = [f"left out: {scene.name} has no fixedmask" for scene in found if scene not in scenes]
    content = _content(path, scenes, bands, {"FIXEDMASK": _BIOME_CLASSES}, lambda band: Codes(band, _BIOME_CODES))
    arrays = {"label" if name == "FIXEDMASK" else name: source for name, source in content.arrays.items()}
    yield Content(arrays, _BIOME_CLASSES, ("image",), "label", notes=(*content.notes, *left))


@contextmanager
def open_sentinel2(path: Path, bands: Sequence[str] = ()) -> Iterator[Content]:
    """Open Sentinel-2 scenes: each band at its finest, and ``SCL`` as classes for ``--label SCL``."""
    files: list[tuple[str, str, Path]] = []
    for file in sorted(path.rglob("*")):
        match = _SENTINEL.match(file.name)
        if match and not {"QI_DATA", "AUX_DATA"} & set(file.parts) and not file.name.startswith("MSK_"):
            files.append((match[1] or path.name, match[2].upper(), file))
    scenes = _scenes(path, files, "…_B02.jp2 or …_B02_10m.jp2")
    yield _content(path, scenes, bands, {"SCL": _SCENE_CLASSES}, lambda band: Codes(band, _SCENE_CODES))


def _landsat_files(path: Path) -> list[tuple[str, str, Path]]:
    matches = [(_LANDSAT.match(file.name), file) for file in sorted(path.rglob("*"))]
    return [(match[1], match[2].upper(), file) for match, file in matches if match]


def _scenes(path: Path, files: Sequence[tuple[str, str, Path]], example: str) -> list[BandFiles]:
    """Return the scenes of (scene, band, file); of a band at several resolutions, the finest."""
    if not path.is_dir():
        raise DataError(f"{path}: expected a folder with a file for each band, such as {example}")
    scenes: dict[str, BandFiles] = {}
    for name, band, file in files:
        known = scenes.setdefault(name, BandFiles(name)).files
        if band not in known or grid_of(file).pixel < grid_of(known[band]).pixel:
            known[band] = file
    found = [scene for scene in scenes.values() if set(scene.files) - set(_QUALITY)]
    if not found:
        raise DataError(f"{path}: expected a file for each band, such as {example}, found none")
    return found


def _content(
    path: Path,
    scenes: Sequence[BandFiles],
    bands: Sequence[str],
    quality: Mapping[str, tuple[str, ...]],
    classes: Classes,
) -> Content:
    """Return scenes as samples, or a single one as an image without a dimension of samples."""
    chosen, notes = _chosen(path, scenes, bands)
    grids, images = [], []
    labels: dict[str, list[Sliceable]] = {name: [] for name in quality}
    for scene in scenes:
        files = tuple(scene.files[band] for band in chosen)
        grid = finest(files)
        grids.append(grid)
        images.append(Bands(files, grid, missing=0))
        for name, found in labels.items():
            if name in scene.files:
                found.append(_label(scene.files[name], grid, classes))
    sizes = grids[0].spacing
    notes += [_resampled(scenes[0], chosen, grids[0]), "changed: 0 (no data) became NaN; other values are as stored"]
    arrays = {"image": _source(images, ("band", "y", "x"), {}, sizes)}
    for name, found in labels.items():
        if len(found) == len(scenes):
            arrays[name] = _source(found, ("y", "x"), {"fill": FILL, "classes": quality[name]}, sizes)
    arrays["band"] = SourceArray(np.array(chosen), ("band",))
    if len(scenes) > 1:
        arrays["file"] = SourceArray(np.array([scene.name for scene in scenes]), ("sample",))
    return Content(arrays, images=("image",), notes=tuple(filter(None, notes)))


def _source(
    items: Sequence[Sliceable], dims: tuple[str, ...], attributes: Mapping[str, object], sizes: Mapping[str, float]
) -> SourceArray:
    about = {**attributes, "spacing_unit": "m"} if sizes else dict(attributes)
    if len(items) == 1:
        return SourceArray(items[0], dims, about, None, sizes)
    return SourceArray(Pieces(items), ("sample", *dims), about, None, sizes)


def _label(file: Path, grid: Grid, classes: Classes) -> Sliceable:
    """Return a quality band or mask as classes; a mask without a place on Earth must have the size of the bands."""
    own = grid_of(file)
    if not own.crs:
        if (own.height, own.width) != (grid.height, grid.width):
            expected = f"{grid.height} x {grid.width} pixels as the bands have"
            raise DataError(f"{file}: expected a mask of {expected}, got {own.height} x {own.width}")
        grid = own
    band = Squeezed(Bands((file,), grid, nearest=True), (0,))
    return FileArray(classes(band), file, "a mask", file.name)


def _chosen(path: Path, scenes: Sequence[BandFiles], bands: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the bands, which all scenes must have, and what is to say of them."""
    there = [band for band in scenes[0].files if band not in _QUALITY]
    names = sorted(there, key=lambda band: (int(re.findall(r"\d+", band)[0]), band))
    chosen = [band.upper() for band in bands] or [b for b in names if b != _PANCHROMATIC or len(names) == 1]
    for scene in scenes:
        for band in chosen:
            if band not in scene.files:
                raise DataError(f"{path}: {scene.name}: expected a band {band}, found {', '.join(names)}"
                                f"{nearest(band, names)}")  # fmt: skip
    left = [band for band in names if band not in chosen]
    notes = [f"taken: bands {', '.join(chosen)}"]
    if left:
        notes.append(f"left out: bands {', '.join(left)} (--bands names others)")
    return chosen, notes


def _resampled(scene: BandFiles, bands: Sequence[str], grid: Grid) -> str:
    other = [band for band in bands if grid_of(scene.files[band]).transform != grid.transform]
    return f"changed: {', '.join(other)} resampled to pixels of {grid.pixel:g} m, bilinearly" if other else ""
