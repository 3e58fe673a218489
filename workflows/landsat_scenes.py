"""Landsat 8 scenes and patches with manual masks of clouds, read part by part. Runs on the driver.

A scene of the cloud cover validation set "L8 Biome" (Foga et al. 2017, doi:10.1016/j.rse.2017.03.026, U.S. Geological
Survey, public domain), as it is downloaded and unpacked, is a folder of

    LC8…_B1.TIF, …, LC8…_B11.TIF      bands: whole numbers, 0 without data
    LC8…_fixedmask.img (or .TIF)      0 no label, 64 cloud shadow, 128 clear, 192 thin cloud, 255 cloud
    LC8…_MTL.txt                      how numbers become reflectance

Patches are one .npz file:

    image  (patch, band, y, x)        scaled whole numbers
    scale  (band,)                    physical value of 1
    label  (patch, y, x)              0 clear, 1 thick cloud, 2 shadow, 3 thin cloud, 255 no label
    split  (patch,)                   train, val or test
    name   (patch,)                   optional, such as Barren_00_0214
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from menndl_dask import UserError
from menndl_dask.data.formats.content import Pieces, split_name
from menndl_dask.data.formats.layouts.bands import grid_of
from menndl_dask.data.formats.layouts.layouts import open_layout
from menndl_dask.data.formats.npz import open_npz
from menndl_dask.problem import SPLITS

FILL = 255
"""Label of a pixel without one; 0 is clear and 1 is cloud."""

REFLECTIVE = {"B2": "blue", "B3": "green", "B4": "red", "B5": "nir", "B6": "swir1", "B7": "swir2", "B9": "cirrus"}
THERMAL = {"B10": "tir1_K"}
_BIOMES = ("barren", "forest", "grasscrops", "shrubland", "snowice", "urban", "water", "wetlands")
_ARRAYS = ("image", "label", "scale", "split")
_PATCH_CLOUD = (1, 3)  # thick, thin
_SCENE_CLOUD = (2, 3)  # classes of the reader: clear, cloud shadow, thin cloud, cloud


@dataclass(frozen=True)
class Scene:
    """A scene, or a patch of one: images and labels of any part of it."""

    name: str
    biome: str  # empty if it is not known
    split: str  # empty if it is to be drawn
    size: tuple[int, int]  # rows, columns
    bands: tuple[str, ...]
    image: Callable[[slice, slice], np.ndarray]
    """Rows and columns as ``float32`` (y, x, band): reflectance at the top of the atmosphere, and kelvin; else NaN."""
    label: Callable[[slice, slice], np.ndarray]
    """Rows and columns as ``uint8`` (y, x): 0 clear (or shadow), 1 thin or thick cloud, 255 no label."""


def read_scenes(sources: Sequence[Path]) -> tuple[list[Scene], list[str]]:
    """Open folders of scenes, or one file of patches; return the scenes and what is to be said of them.

    Raises
    ------
    UserError
        If a file or folder does not exist or is not laid out as above.
    """
    if any(source.is_file() for source in sources):
        if len(sources) > 1:
            raise UserError(f"--data: expected one .npz file, or folders of scenes, got {len(sources)} paths")
        return _patches(sources[0]), []
    for source in sources:
        if not source.is_dir():
            raise UserError(f"{source}: expected an .npz file with patches or a folder of scenes, found no such path")
    without = [name for source in sources for name in _without_thermal(source)]
    bands = REFLECTIVE if without else {**REFLECTIVE, **THERMAL}
    notes = ["left out: B1, the panchromatic band B8, whose pixels are smaller, and B11"]
    if without:
        notes.append(f"left out: the thermal band B10, which {without[0]} lacks, or has in pixels of another size")
    scenes: dict[str, Scene] = {}
    for source in sources:
        pairs, found = _opened(source, bands)
        notes += [note for note in found if "fixedmask" in note]
        for image, mask in pairs:
            scene = _scene(image, mask, bands)
            if scene.name in scenes:
                raise UserError(f"--data: expected each scene once, found {scene.name} again in {source}")
            scenes[scene.name] = scene
    return list(scenes.values()), list(dict.fromkeys(notes))


def _opened(source: Path, bands: Mapping[str, str]) -> tuple[list[tuple[Any, Any]], Sequence[str]]:
    """Return the images and masks of the scenes in a folder, which are read when they are sliced, and the notes."""
    with open_layout(source, "l8biome", tuple(bands)) as content:
        each = [content.arrays[name].array for name in ("image", "label")]
    images, masks = (array.items if isinstance(array, Pieces) else [array] for array in each)
    return list(zip(images, masks, strict=True)), content.notes


def _without_thermal(source: Path) -> list[str]:
    """Return the scenes whose thermal band is missing or has pixels of another size than the blue one."""
    found = []
    for image, _ in _opened(source, REFLECTIVE)[0]:
        blue = image.files[0]
        thermal = blue.with_name(blue.name.replace("_B2.", "_B10."))
        if not thermal.is_file() or grid_of(thermal) != image.grid:
            found.append(blue.stem.removesuffix("_B2"))
    return found


def _scene(image: Any, mask: Any, bands: Mapping[str, str]) -> Scene:
    first: Path = image.files[0]
    name = re.sub(r"_B\d+$", "", first.stem)
    scales = _scales(first.with_name(f"{name}_MTL.txt"), bands)
    plain = [re.sub("[^a-z]", "", folder.name.lower()) for folder in first.absolute().parents]

    def values(rows: slice, columns: slice) -> np.ndarray:
        stored = image[:, rows, columns]
        return np.stack([scale(band) for scale, band in zip(scales, stored, strict=True)], axis=-1).astype("float32")

    def label(rows: slice, columns: slice) -> np.ndarray:
        kinds = mask[rows, columns]
        return np.where(kinds == FILL, FILL, np.isin(kinds, _SCENE_CLOUD)).astype("uint8")

    biome = next((folder for folder in plain if folder in _BIOMES), "")
    return Scene(name, biome, "", image.shape[1:], tuple(bands.values()), values, label)


def _scales(metadata: Path, bands: Mapping[str, str]) -> list[Callable[[np.ndarray], np.ndarray]]:
    """Return what makes reflectance, or kelvin, of the stored numbers of each band.

    Source: USGS, "Using the USGS Landsat Level-1 Data Product": reflectance is (M Q + A) / sin(elevation of the sun),
    brightness temperature K2 / ln(K1 / L + 1) of the radiance L.
    """
    if not metadata.is_file():
        raise UserError(f"{metadata}: expected the metadata of the scene beside its bands, found no such file")
    text = metadata.read_text(encoding="utf-8", errors="replace")
    found = dict(re.findall(r"^\s*(\w+) = (\S+)\s*$", text, re.MULTILINE))

    def number(key: str) -> float:
        try:
            return float(found[key])
        except (KeyError, ValueError):
            raise UserError(f"{metadata}: {key}: expected a number, got {found.get(key, 'no such key')}") from None

    def scale(band: str) -> Callable[[np.ndarray], np.ndarray]:
        kind, place = "RADIANCE" if band in THERMAL else "REFLECTANCE", f"BAND_{band[1:]}"
        factor, offset = number(f"{kind}_MULT_{place}"), number(f"{kind}_ADD_{place}")
        if band in THERMAL:
            k1, k2 = number(f"K1_CONSTANT_{place}"), number(f"K2_CONSTANT_{place}")
            return lambda stored: k2 / np.log(k1 / (factor * stored + offset) + 1)
        sun = math.sin(math.radians(number("SUN_ELEVATION")))
        return lambda stored: (factor * stored + offset) / sun

    return [scale(band) for band in bands]


def _patches(source: Path) -> list[Scene]:
    with open_npz(source) as content:
        arrays = {name: array.array[:] for name, array in content.arrays.items()}
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise UserError(f"{source}: expected the arrays {', '.join(_ARRAYS)}, found no {', '.join(missing)}")
    image, label, scale = arrays["image"], arrays["label"], arrays["scale"]
    if image.ndim != 4 or label.shape != (len(image), *image.shape[2:]) or scale.shape != image.shape[1:2]:
        got = f"image {image.shape}, label {label.shape}, scale {scale.shape}"
        raise UserError(f"{source}: expected image (patch, band, y, x), label (patch, y, x), scale (band,), got {got}")
    if not np.isin(label, (0, 1, 2, 3, FILL)).all():
        raise UserError(f"{source}: label: expected the codes 0 to 3 and {FILL}, got {label.max()}")
    names = [str(name) for name in arrays.get("name", [f"patch {number:03}" for number in range(len(image))])]
    bands = tuple(map(str, arrays.get("band", range(image.shape[1]))))
    splits = [split_name(split) for split in arrays["split"]]
    for name, split in zip(names, splits, strict=True):
        if split not in SPLITS:
            raise UserError(f"{source}: split: {name}: expected train, val or test, got {split!r}")
    cloud = np.where(label == FILL, FILL, np.isin(label, _PATCH_CLOUD)).astype("uint8")

    def patch(number: int) -> Scene:
        def values(rows: slice, columns: slice) -> np.ndarray:
            return np.moveaxis(image[number, :, rows, columns], 0, -1) * scale.astype("float32")

        biome = names[number].partition("_")[0].lower()
        known = biome if biome in _BIOMES else ""
        return Scene(
            names[number], known, splits[number], label.shape[1:], bands, values, lambda *part: cloud[number][part]
        )

    return [patch(number) for number in range(len(image))]
