"""Sources larger than memory are read in parts, and damaged ones are one line with the file's name."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5netcdf
import h5py
import mrcfile
import nibabel
import numpy as np
import psutil
import pytest
import rasterio
import tifffile
import zarr
from PIL import Image

from menndl_dask.errors import UserError
from tests.data.formats.readers.test_readers import VOLUME, geotiff, nifti, opened

SHAPE = (3000, 1000, 1000)  # 6 GB in two bytes; the files are sparse
BOUND = 60 * 2**20
Writer = Callable[[Path], Path]


def large_npy(folder: Path) -> Path:
    np.lib.format.open_memmap(folder / "a.npy", "w+", "uint16", SHAPE)
    return folder / "a.npy"


def large_tiff(folder: Path) -> Path:
    tifffile.memmap(folder / "a.tif", shape=SHAPE, dtype="uint16", photometric="minisblack", bigtiff=True)
    return folder / "a.tif"


def large_raster(folder: Path) -> Path:
    size = {"height": 60_000, "width": 50_000, "count": 1, "dtype": "uint16", "nodata": 9}
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(30, 0, 0, 0, -30, 0)}
    tiles = {"SPARSE_OK": True, "BIGTIFF": "YES", "tiled": True, "blockxsize": 512, "blockysize": 512}
    with rasterio.open(folder / "g.tif", "w", driver="GTiff", **size, **place, **tiles):
        return folder / "g.tif"


def large_hdf5(folder: Path) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        data = file.create_dataset("image", SHAPE, "int16", chunks=(1, 500, 500))
        data.attrs["scale_factor"] = 0.5
    return folder / "a.h5"


def large_netcdf(folder: Path) -> Path:
    with h5netcdf.File(folder / "a.nc", "w") as file:
        file.dimensions = dict(zip("zyx", SHAPE, strict=True))
        file.create_variable("image", ("z", "y", "x"), "int16", chunks=(1, 500, 500))
    return folder / "a.nc"


def large_zarr(folder: Path) -> Path:
    zarr.create_array(folder / "a.zarr", shape=SHAPE, dtype="uint16", chunks=(1, 500, 500))
    return folder / "a.zarr"


def large_mrc(folder: Path) -> Path:
    mrcfile.new_mmap(folder / "a.mrc", SHAPE, mrc_mode=6).close()
    return folder / "a.mrc"


def large_nifti(folder: Path) -> Path:
    nibabel.save(nibabel.Nifti1Image(np.zeros((1, 1, 1), "int16"), np.eye(4)), folder / "small.nii")
    header = nibabel.load(folder / "small.nii").header
    header.set_data_shape(SHAPE[::-1])
    with (folder / "a.nii").open("wb") as file:
        header.write_to(file)
        file.truncate(352 + 2 * int(np.prod(SHAPE)))
    return folder / "a.nii"


LARGE = [
    large_npy, large_tiff, large_raster, large_hdf5, large_netcdf, large_zarr, large_mrc, large_nifti,
]  # fmt: skip


@pytest.mark.parametrize("write", LARGE, ids=lambda write: write.__name__)
def test_only_what_is_sliced_is_read(write: Writer, tmp_path: Path) -> None:
    path = write(tmp_path)
    with opened(path) as content:  # libraries are imported before memory is measured
        array = content.arrays["image"].array
        assert np.prod(array.shape, dtype=np.int64) * array.dtype.itemsize > 5 * 10**9
    tracemalloc.start()
    try:
        with opened(path) as content:
            values = content.arrays["image"].array[1500:1503, 100:200]
        assert values.shape[:2] == (3, 100)
        assert tracemalloc.get_traced_memory()[1] < BOUND
    finally:
        tracemalloc.stop()


def small(name: str, folder: Path) -> Path:
    """Write a small file of the format that its name tells."""
    path = folder / name
    kind = path.name.partition(".")[2]
    if kind == "h5":
        with h5py.File(path, "w") as file:
            file.create_dataset("scan/image", data=VOLUME, compression="gzip").attrs["resolution"] = (1.0, 2.0, 3.0)
    elif kind == "nc":
        with h5netcdf.File(path, "w") as file:
            file.dimensions = {"z": 4, "y": 5, "x": 6}
            file.create_variable("image", ("z", "y", "x"), data=VOLUME)
    elif kind == "ome.tif":
        tifffile.imwrite(path, VOLUME, metadata={"axes": "ZYX"}, compression="zlib", photometric="minisblack")
    elif kind == "tif":
        tifffile.imwrite(path, VOLUME, imagej=True)
    elif kind in ("geo.tif", "jp2"):
        driver = "GTiff" if kind == "geo.tif" else "JP2OpenJPEG"
        geotiff(path, VOLUME.repeat(9, 1).repeat(9, 2)[:1], driver=driver)
    elif kind == "mrc":
        with mrcfile.new(path, VOLUME.astype("int16")):
            pass
    elif kind in ("nii", "nii.gz"):
        nifti(path, VOLUME, (1.0, 1.0, 1.0))
    elif kind == "npy":
        np.save(path, VOLUME)
    elif kind == "npz":
        np.savez_compressed(path, image=VOLUME)
    elif kind == "zarr.zip":
        store = zarr.storage.ZipStore(path, mode="w")
        zarr.create_array(store, data=VOLUME)
        store.close()
    else:
        Image.fromarray(VOLUME[0].astype("uint8")).save(path)
    return path


SMALL = (
    "a.h5", "a.nc", "a.tif", "a.ome.tif", "a.geo.tif", "a.jp2", "a.mrc", "a.nii", "a.nii.gz", "a.npy", "a.npz",
    "a.zarr.zip", "a.png", "a.jpg",
)  # fmt: skip


def is_one_line(error: UserError, path: Path) -> bool:
    message = str(error)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return True


def read(path: Path) -> dict[str, np.ndarray]:
    with opened(path) as content:
        assert all(np.prod(source.shape, dtype=np.float64) < 10**8 for source in content.arrays.values())
        return {name: np.asarray(source.array[:]) for name, source in content.arrays.items()}


@pytest.mark.parametrize("name", SMALL)
def test_bytes_that_changed_are_read_or_are_one_line(name: str, tmp_path: Path) -> None:
    whole = small(name, tmp_path).read_bytes()
    rng = np.random.default_rng(7)
    refused = 0
    for number in range(30):
        damaged = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 1500), 6):
            damaged[place] = rng.integers(0, 256)
        path = tmp_path / f"{number}_{name}"
        path.write_bytes(bytes(damaged))
        try:
            read(path)
        except AssertionError:  # a size that was damaged: not read whole here
            refused += 1
        except UserError as error:
            refused += is_one_line(error, path)
    assert refused


@pytest.mark.parametrize("name", SMALL)
def test_a_file_that_was_cut_is_told_and_never_read_as_something_else(name: str, tmp_path: Path) -> None:
    path = small(name, tmp_path)
    whole, values = path.read_bytes(), read(path)
    for number, share in enumerate((0.02, 0.3, 0.6, 0.9, 0.98)):
        cut = tmp_path / f"{number}_{name}"
        cut.write_bytes(whole[: int(len(whole) * share)])
        try:
            found = read(cut)
        except UserError as error:
            is_one_line(error, cut)
        else:  # what was cut holds no values
            assert share > 0.5 and list(found) == list(values)
            assert all(np.array_equal(found[key], values[key]) for key in values)


@pytest.mark.parametrize("write", [large_npy, large_tiff], ids=lambda write: write.__name__)
def test_pages_of_a_file_that_were_read_do_not_stay_in_memory(write: Writer, tmp_path: Path) -> None:
    path = write(tmp_path)
    with opened(path) as content:
        array = content.arrays["image"].array
        array[:1]
        before = psutil.Process().memory_info().rss
        for start in range(0, 150, 20):  # 300 MB
            array[start : start + 20]
        assert psutil.Process().memory_info().rss - before < 2 * BOUND
