"""Tiny Landsat 8 scenes as the validation set L8 Biome has them: bands, a mask of clouds, and metadata."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import rasterio
import rasterio.errors

CODES = {"fill": 0, "shadow": 64, "clear": 128, "thin": 192, "cloud": 255}
SUN = 30.0
"""Elevation of the sun in degrees: its sine is 0.5."""


def write_band(path: Path, values: np.ndarray, pixel: float = 30) -> None:
    """Write one band; a mask ``.img`` has no place on Earth."""
    driver = "ENVI" if path.suffix == ".img" else "GTiff"
    place = (
        {} if driver == "ENVI" else {"crs": "EPSG:32633", "transform": rasterio.Affine(pixel, 0, 5e5, 0, -pixel, 4e6)}
    )
    height, width = values.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver=driver, count=1, dtype=str(values.dtype), height=height, width=width, **place
        ) as file:
            file.write(values, 1)


def write_scene(folder: Path, name: str, codes: np.ndarray, thermal: float = 30) -> np.ndarray:
    """Write a scene whose clouds are bright and cold, and return the stored numbers of its blue band."""
    folder = folder / name
    folder.mkdir(parents=True)
    rng = np.random.default_rng(len(name) + int(codes.sum()))
    cloudy, empty = np.isin(codes, (CODES["thin"], CODES["cloud"])), codes == CODES["fill"]
    stored = {}
    for number in range(1, 12):
        is_thermal = number >= 10
        bright = (20_000 if is_thermal else 9_000) + rng.integers(0, 2_000, codes.shape)
        bright = np.where(empty, 0, bright + (-6_000 if is_thermal else 12_000) * cloudy).astype("uint16")
        pixel = 15 if number == 8 else thermal if is_thermal else 30
        values = bright.repeat(2, 0).repeat(2, 1) if pixel == 15 else bright[:: int(pixel // 30), :: int(pixel // 30)]
        write_band(folder / f"{name}_B{number}.TIF", values, pixel)
        stored[number] = bright
    write_band(folder / f"{name}_fixedmask.img", codes.astype("uint8"))
    lines = ["GROUP = L1_METADATA_FILE", '  SPACECRAFT_ID = "LANDSAT_8"', f"  SUN_ELEVATION = {SUN}"]
    for number in range(1, 10):
        lines += [f"  REFLECTANCE_MULT_BAND_{number} = 2.0000E-05", f"  REFLECTANCE_ADD_BAND_{number} = -0.100000"]
    for number in (10, 11):
        lines += [f"  RADIANCE_MULT_BAND_{number} = 3.3420E-04", f"  RADIANCE_ADD_BAND_{number} = 0.10000"]
        lines += [f"  K1_CONSTANT_BAND_{number} = 774.8853", f"  K2_CONSTANT_BAND_{number} = 1321.0789"]
    (folder / f"{name}_MTL.txt").write_text("\n".join([*lines, "END_GROUP = L1_METADATA_FILE", "END"]) + "\n")
    return stored[2]


def write_biomes(root: Path, size: int = 32, block: int = 16) -> Path:
    """Write three scenes of two biomes, of blocks of one code, in folders as the archives unpack to."""
    rng = np.random.default_rng(0)
    for biome in ("Barren", "SnowIce"):
        for number in range(3):
            codes = rng.permutation(np.resize([128, 255, 64, 192], (size // block) ** 2)).reshape(size // block, -1)
            name = f"LC8{number:03}{len(biome):03}2014080LGN00"
            write_scene(root / biome / "BC", name, codes.repeat(block, 0).repeat(block, 1))
    return root
