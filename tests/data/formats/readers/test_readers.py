"""Readers: values, axes, size of a pixel and labels of each format; what is read is what was sliced."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import mrcfile
import nibabel
import numpy as np
import pytest
import rasterio
import tifffile
import xarray as xr
import zarr
from PIL import Image

from menndl_dask.data.formats.content import Content
from menndl_dask.data.formats.conversion import convert
from menndl_dask.data.formats.readers.readers import opener
from menndl_dask.data.formats.readers.rosetta import _source as rosetta_source
from menndl_dask.errors import UserError

VOLUME = np.arange(4 * 5 * 6, dtype="uint16").reshape(4, 5, 6)
CHANNELS = np.arange(2 * 5 * 6, dtype="uint8").reshape(2, 5, 6)


@contextmanager
def opened(path: Path) -> Iterator[Content]:
    reader = opener(path)
    assert reader is not None
    with reader(path) as content:
        yield content


def seen(path: Path, name: str = "image") -> tuple[tuple[str, ...], dict[str, float], np.ndarray]:
    """Return dimensions, sizes of a pixel and values of an array."""
    with opened(path) as content:
        source = content.arrays[name]
        values = np.asarray(source.array[:])
        assert values.shape == source.shape
        assert values.dtype == source.array.dtype
        np.testing.assert_array_equal(source.array[1:2], values[1:2])
        return source.dims, dict(source.spacing), values


# --- TIFF -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("axes", "shape", "dims"),
    [
        ("TZCYX", (3, 4, 2, 5, 6), ("t", "z", "channel", "y", "x")),
        ("ZYX", (4, 5, 6), ("z", "y", "x")),
        ("CYX", (2, 5, 6), ("channel", "y", "x")),
        ("TYX", (3, 5, 6), ("t", "y", "x")),
    ],
)
@pytest.mark.parametrize("kind", ["imagej", "ome", "compressed"])
def test_axes_of_hyperstacks_are_those_of_the_file(
    axes: str, shape: tuple[int, ...], dims: tuple[str, ...], kind: str, tmp_path: Path
) -> None:
    values = np.random.default_rng(0).integers(0, 999, shape).astype("uint16")
    options: dict[str, Any] = {"imagej": True} if kind == "imagej" else {"ome": True}
    options |= {"compression": "zlib"} if kind == "compressed" else {}
    tifffile.imwrite(tmp_path / "a.tif", values, metadata={"axes": axes}, photometric="minisblack", **options)
    found, _, read = seen(tmp_path / "a.tif")
    assert found == dims
    np.testing.assert_array_equal(read, values)


def test_pages_are_samples_in_order_and_colours_are_channels(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", VOLUME, photometric="minisblack")
    with opened(tmp_path / "a.tif") as content:
        assert content.arrays["image"].dims == ("page", "y", "x")
        assert content.consecutive
    colours = np.arange(5 * 6 * 3, dtype="uint8").reshape(5, 6, 3)
    tifffile.imwrite(tmp_path / "b.tif", colours, photometric="rgb")
    dims, _, values = seen(tmp_path / "b.tif")
    assert dims == ("y", "x", "channel")
    np.testing.assert_array_equal(values, colours)
    tifffile.imwrite(tmp_path / "c.tif", colours[None].repeat(3, 0), photometric="rgb")
    assert seen(tmp_path / "c.tif")[0] == ("page", "y", "x", "channel")


def test_the_size_of_a_pixel_comes_from_imagej_ome_or_the_resolution(tmp_path: Path) -> None:
    unit = {"axes": "ZYX", "spacing": 2.0, "unit": "um"}
    tifffile.imwrite(tmp_path / "i.tif", VOLUME, imagej=True, resolution=(4, 2), metadata=unit)
    assert seen(tmp_path / "i.tif")[1] == {"z": 2.0, "y": 0.5, "x": 0.25}
    sizes = {"PhysicalSizeX": 100.0, "PhysicalSizeY": 200.0, "PhysicalSizeZ": 1.5}
    units = {"PhysicalSizeXUnit": "nm", "PhysicalSizeYUnit": "nm", "PhysicalSizeZUnit": "µm"}
    tifffile.imwrite(tmp_path / "o.ome.tif", VOLUME, metadata={"axes": "ZYX", **sizes, **units})
    assert seen(tmp_path / "o.ome.tif")[1] == pytest.approx({"z": 1.5, "y": 0.2, "x": 0.1})
    tifffile.imwrite(tmp_path / "r.tif", VOLUME[0], resolution=(1000, 500), resolutionunit="CENTIMETER")
    assert seen(tmp_path / "r.tif")[1] == {"y": 20.0, "x": 10.0}
    tifffile.imwrite(tmp_path / "n.tif", VOLUME[0])
    assert seen(tmp_path / "n.tif")[1] == {}


def test_channels_of_an_ome_tiff_keep_their_names(tmp_path: Path) -> None:
    about = {"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", CHANNELS, metadata=about, photometric="minisblack")
    data = xr.open_zarr(convert(tmp_path / "a.ome.tif", tmp_path / "a.zarr"), consolidated=False)
    assert data.channel.values.tolist() == ["DAPI", "GFP"]


def test_a_tiff_that_has_lost_pages_is_damaged_and_not_short(tmp_path: Path) -> None:
    for number, options in enumerate(({"compression": "zlib"}, {}, {"metadata": None}, {"imagej": True})):
        path = tmp_path / f"{number}.tif"
        tifffile.imwrite(path, VOLUME.repeat(9, 1).repeat(9, 2), photometric="minisblack", **options)  # type: ignore[arg-type]
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10])
        with pytest.raises(UserError, match=rf"{number}\.tif: cannot be read as TIFF"):
            seen(path)


def test_a_tiff_that_declares_more_rows_than_it_has_is_damaged_and_not_filled_with_zeros(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", VOLUME, photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages.first.tags["ImageLength"].overwrite(1_000_000)
    with pytest.raises(UserError, match=r"a\.tif: cannot be read as TIFF: .*, got 1; is the file complete\?$"):
        seen(tmp_path / "a.tif")


# --- rasters --------------------------------------------------------------------------------------------------------


def geotiff(path: Path, values: np.ndarray, size: float = 30.0, **options: Any) -> Path:
    """Write bands (band, y, x) as a GeoTIFF."""
    bands, height, width = values.shape
    shape = {"count": bands, "height": height, "width": width, "dtype": str(values.dtype)}
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(size, 0, 500_000, 0, -size, 4_000_000)}
    with rasterio.open(path, "w", driver=options.pop("driver", "GTiff"), **shape, **place, **options) as file:
        file.write(values)
    return path


def test_bands_of_a_geotiff_are_channels_and_nodata_is_missing(tmp_path: Path) -> None:
    dims, spacing, values = seen(geotiff(tmp_path / "a.tif", CHANNELS, nodata=7))
    assert dims == ("band", "y", "x")
    assert spacing == {"y": 30.0, "x": 30.0}
    assert values.dtype == "float32"
    np.testing.assert_array_equal(values, np.where(CHANNELS == 7, np.nan, CHANNELS))
    with opened(tmp_path / "a.tif") as content:
        source = content.arrays["image"]
        assert source.attributes == {"fill": 7, "spacing_unit": "metre"}
        assert source.stored is not None
        np.testing.assert_array_equal(source.stored[:], CHANNELS)
        assert content.notes[0] == "axes: coordinate reference system EPSG:32633"


def test_one_band_is_an_image_and_its_type_is_kept(tmp_path: Path) -> None:
    dims, _, values = seen(geotiff(tmp_path / "a.tif", CHANNELS[:1]))
    assert dims == ("y", "x")
    assert values.dtype == "uint8"
    np.testing.assert_array_equal(values, CHANNELS[0])


# --- microscopes and medicine ---------------------------------------------------------------------------------------


def test_the_header_of_mrc_says_whether_it_is_a_volume_or_a_stack(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "v.mrc") as file:
        file.set_data(VOLUME.astype("float32"))
        file.set_volume()
        file.voxel_size = (1.0, 2.0, 3.0)
    dims, spacing, values = seen(tmp_path / "v.mrc")
    assert (dims, spacing) == (("z", "y", "x"), {"z": 3.0, "y": 2.0, "x": 1.0})
    np.testing.assert_array_equal(values, VOLUME)
    with mrcfile.new(tmp_path / "s.mrcs") as file:
        file.set_data(VOLUME.astype("int16"))
        file.set_image_stack()
        file.voxel_size = 1.5
    dims, spacing, _ = seen(tmp_path / "s.mrcs")
    assert (dims, spacing) == (("page", "y", "x"), {"y": 1.5, "x": 1.5})


def nifti(path: Path, values: np.ndarray, zooms: tuple[float, ...], time: bool = False) -> Path:
    image = nibabel.Nifti1Image(values, np.diag([*zooms[:3], 1.0]))
    image.header.set_zooms(zooms)
    image.header.set_xyzt_units("mm", "sec" if time else None)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_axes_of_nifti_are_turned_round_and_zooms_are_the_size_of_a_voxel(name: str, tmp_path: Path) -> None:
    dims, spacing, values = seen(nifti(tmp_path / name, VOLUME.T.copy(), (0.5, 0.75, 2.0)))
    assert (dims, spacing) == (("z", "y", "x"), {"z": 2.0, "y": 0.75, "x": 0.5})
    np.testing.assert_array_equal(values, VOLUME)


def test_a_fourth_axis_of_nifti_is_time_or_channels(tmp_path: Path) -> None:
    four = np.stack([VOLUME.T, VOLUME.T + 1], -1)
    assert seen(nifti(tmp_path / "t.nii", four, (1, 1, 1, 2), time=True))[0] == ("t", "z", "y", "x")
    assert seen(nifti(tmp_path / "c.nii", four, (1, 1, 1, 1)))[0] == ("channel", "z", "y", "x")


def hspy(path: Path, values: np.ndarray, names: tuple[str, ...], across: int) -> Path:
    """Write a file of HyperSpy, with so many axes across which a signal was measured."""
    writer = pytest.importorskip("rsciio.hspy").file_writer
    axes = [
        {"name": name, "units": "nm", "index_in_array": p, "size": n, "navigate": p < across, "scale": 0.1 * p}
        | {"offset": 0.0}
        for p, (name, n) in enumerate(zip(names, values.shape, strict=True))
    ]
    about = {"General": {"title": "scan"}, "Signal": {"signal_type": ""}}
    state: dict[str, Any] = {"attributes": {"_lazy": False, "ragged": False}}
    others = ("package_info", "learning_results", "tmp_parameters", "original_metadata", "models")
    state |= {name: {} for name in others}
    writer(str(path), {"data": values, "axes": axes, "metadata": about, **state})
    return path


def test_files_of_microscopes_are_read_by_rosettasciio_if_it_is_there(tmp_path: Path) -> None:
    dims, spacing, values = seen(hspy(tmp_path / "a.hspy", VOLUME, ("frame", "y", "x"), 1))
    assert (dims, spacing) == (("frame", "y", "x"), pytest.approx({"y": 0.1, "x": 0.2}))
    np.testing.assert_array_equal(values, VOLUME)
    assert seen(hspy(tmp_path / "b.hspy", VOLUME, ("y", "x", "Energy loss"), 2))[0] == ("y", "x", "channel")
    four = VOLUME.reshape(2, 2, 5, 6)
    hspy(tmp_path / "c.hspy", four, ("scan_y", "scan_x", "ky", "kx"), 2)
    with pytest.raises(UserError, match=r"expected images, found scan \(2 x 2 x 5 x 6\): a scan of patterns"):
        seen(tmp_path / "c.hspy")


@pytest.mark.parametrize(
    ("scale", "units", "expected"),
    [(0.014, "nm", ({"y": 0.014, "x": 0.014}, {"spacing_unit": "nm"})), (1.0, "", ({}, {})), (1.0, "px", ({}, {}))],
)
def test_a_microscopes_file_without_a_calibration_has_no_size_of_a_pixel(
    scale: float, units: str, expected: tuple[dict[str, float], dict[str, str]]
) -> None:
    axes = [{"name": name, "units": units, "scale": scale, "index_in_array": n} for n, name in enumerate("yx")]
    source = rosetta_source({"axes": axes, "data": np.zeros((4, 5))})
    assert (source.spacing, source.attributes) == expected


def test_without_rosettasciio_the_message_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rsciio", None)
    (tmp_path / "a.dm4").touch()
    with pytest.raises(UserError, match=r"a\.dm4: needs rosettasciio, .*: pip install rosettasciio$"):
        seen(tmp_path / "a.dm4")


# --- HDF5, NetCDF, Zarr, arrays, pictures ---------------------------------------------------------------------------


def test_hdf5_has_groups_names_of_dimensions_scales_and_sizes(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        raw = file.create_dataset("volumes/raw", data=VOLUME)
        raw.attrs["resolution"] = (40.0, 4.0, 4.0)
        scaled = file.create_dataset("scaled", data=VOLUME.astype("int16"))
        scaled.attrs.update({"scale_factor": 0.5, "_FillValue": np.int16(3)})
        file["y"] = np.arange(5.0)
        file["y"].make_scale("y")
        scaled.dims[0].label, scaled.dims[2].label = "z", "x"
        scaled.dims[1].attach_scale(file["y"])
        file["again"] = h5py.SoftLink("/volumes")
        file["nowhere"] = h5py.SoftLink("/missing")
    assert seen(tmp_path / "a.h5", "volumes/raw")[1] == {"z": 40.0, "y": 4.0, "x": 4.0}
    dims, _, values = seen(tmp_path / "a.h5", "scaled")
    assert dims == ("z", "y", "x")
    np.testing.assert_array_equal(values, np.where(VOLUME == 3, np.nan, VOLUME * 0.5))
    with opened(tmp_path / "a.h5") as content:
        assert sorted(content.arrays) == ["scaled", "volumes/raw"]


@pytest.mark.parametrize("version", ["NETCDF4", "NETCDF3_64BIT"])
def test_positions_in_netcdf_give_the_size_of_a_pixel_and_are_no_images(version: Any, tmp_path: Path) -> None:
    places = {"y": np.arange(5) * -2.0, "x": np.arange(6) * 3.0}
    data = xr.Dataset({"reflectance": (("scene", "y", "x"), VOLUME.astype("int16"))}, coords=places)
    data.to_netcdf(tmp_path / "a.nc", engine="netcdf4", format=version)
    dims, spacing, values = seen(tmp_path / "a.nc", "reflectance")
    assert (dims, spacing) == (("scene", "y", "x"), {"y": 2.0, "x": 3.0})
    np.testing.assert_array_equal(values, VOLUME)
    with opened(tmp_path / "a.nc") as content:
        assert list(content.arrays) == ["reflectance"]


def test_groups_of_netcdf_are_read(tmp_path: Path) -> None:
    xr.Dataset({"image": (("y", "x"), VOLUME[0])}).to_netcdf(tmp_path / "a.nc", engine="netcdf4", group="scan/one")
    assert seen(tmp_path / "a.nc", "scan/one/image")[0] == ("y", "x")


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_of_any_layout_is_read(version: Any, tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version)
    group.create_array("plain/scan", data=VOLUME)
    places = {"y": np.arange(5) * 2.0, "x": np.arange(6) * 3.0}
    named = xr.Dataset({"scan": (("z", "y", "x"), VOLUME.astype("float32"))}, coords=places)
    encoding = {"scan": {"scale_factor": 0.25, "_FillValue": 9, "dtype": "int16"}}
    named.to_zarr(tmp_path / "a.zarr", group="named", zarr_format=version, consolidated=False, encoding=encoding)
    dims, _, values = seen(tmp_path / "a.zarr", "plain/scan")
    assert dims == ()
    np.testing.assert_array_equal(values, VOLUME)
    dims, spacing, values = seen(tmp_path / "a.zarr", "named/scan")
    assert (dims, spacing) == (("z", "y", "x"), {"y": 2.0, "x": 3.0})
    stored = np.round(VOLUME / 0.25)
    np.testing.assert_array_equal(values, np.where(stored == 9, np.nan, stored * 0.25))
    zarr.create_array(tmp_path / "b.zarr", data=VOLUME, zarr_format=version)
    np.testing.assert_array_equal(seen(tmp_path / "b.zarr")[2], VOLUME)


def ome(path: Path, version: str) -> Path:
    """Write an OME-Zarr of two levels with one set of labels."""
    old = version == "0.4"
    group = zarr.open_group(path, mode="w", zarr_format=2 if old else 3)

    def scales(place: zarr.Group, values: np.ndarray) -> None:
        axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
        axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
        levels = []
        for level in (0, 1):
            place.create_array(str(level), data=values[..., :: level + 1, :: level + 1])
            step = [1.0, 1.0, 2.0, 0.5 * (level + 1), 0.5 * (level + 1)]
            levels.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": step}]})
        about: dict[str, Any] = {"multiscales": [{"version": version, "axes": axes, "datasets": levels}]}
        if len(values[0]) > 1:
            about["omero"] = {"channels": [{"label": "DAPI"}, {"label": "GFP"}]}
        place.attrs.update(about if old else {"ome": {"version": version, **about}})

    scales(group, np.stack([VOLUME, VOLUME + 1])[None])
    labels = group.create_group("labels")
    labels.attrs.update({"labels": ["cells"]} if old else {"ome": {"labels": ["cells"]}})
    scales(labels.create_group("cells"), (VOLUME % 3)[None, None].astype("uint8"))
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_gives_its_finest_level_and_its_labels(version: str, tmp_path: Path) -> None:
    dims, spacing, values = seen(ome(tmp_path / "a.zarr", version))
    assert (dims, spacing) == (("channel", "z", "y", "x"), {"z": 2.0, "y": 0.5, "x": 0.5})
    np.testing.assert_array_equal(values, np.stack([VOLUME, VOLUME + 1]))
    dims, _, values = seen(tmp_path / "a.zarr", "labels/cells")
    assert dims == ("z", "y", "x")
    np.testing.assert_array_equal(values, VOLUME % 3)
    with opened(tmp_path / "a.zarr") as content:
        assert (content.images, content.label) == (("image",), "labels/cells")
        assert np.asarray(content.arrays["channel"].array[:]).tolist() == ["DAPI", "GFP"]


def test_a_store_that_is_converted_needs_no_conversion(tmp_path: Path) -> None:
    labels = np.arange(4) % 2
    data = xr.Dataset({"image": (("sample", "y", "x"), VOLUME), "label": ("sample", labels)})
    data.to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(UserError, match=r"a\.zarr: is laid out as .* and needs no conversion"):
        convert(tmp_path / "a.zarr", tmp_path / "b.zarr")


def test_single_pictures_and_arrays_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VOLUME)
    np.testing.assert_array_equal(seen(tmp_path / "a.npy")[2], VOLUME)
    Image.fromarray(CHANNELS[0]).save(tmp_path / "a.png")
    dims, _, values = seen(tmp_path / "a.png")
    assert dims == ("y", "x")
    np.testing.assert_array_equal(values, CHANNELS[0])
    Image.fromarray(np.zeros((5, 6, 3), "uint8")).save(tmp_path / "b.jpg")
    assert seen(tmp_path / "b.jpg")[0] == ("y", "x", "channel")


def test_a_file_of_no_known_format_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_bytes(b"nothing that is known")
    with pytest.raises(UserError, match=r"a\.xyz: expected .* a file such as \.npz, .*or one that xarray opens"):
        seen(tmp_path / "a.xyz")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("a.csv", "for --label"), ("a.mat", r"numpy\.savez"), ("a.dcm", "dcm2niix"), ("a.nd2", "OME-TIFF")],
)
def test_files_of_other_kinds_get_a_hint(name: str, hint: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"1,2\n3,4\n")
    with pytest.raises(UserError, match=rf"got \{Path(name).suffix}: .*{hint}"):
        seen(tmp_path / name)


def test_an_overview_does_not_hide_that_a_tiff_lies_on_earth(tmp_path: Path) -> None:
    values = np.arange(3 * 600 * 700).reshape(3, 600, 700).astype("uint16") % 251
    geotiff(tmp_path / "a.tif", values, driver="COG", nodata=7)
    dims, spacing, read = seen(tmp_path / "a.tif")
    assert (dims, spacing) == (("band", "y", "x"), {"y": 30.0, "x": 30.0})
    np.testing.assert_array_equal(read, np.where(values == 7, np.nan, values))


def test_a_calendar_that_is_not_ours_is_left_as_numbers(tmp_path: Path) -> None:
    days = ("time", np.arange(4), {"units": "days since 2000-01-01", "calendar": "noleap"})
    xr.Dataset({"t2m": (("time", "lat", "lon"), VOLUME)}, coords={"time": days}).to_netcdf(tmp_path / "a.nc")
    assert seen(tmp_path / "a.nc", "t2m")[0] == ("time", "lat", "lon")


@pytest.mark.parametrize("equal", [True, False])
def test_a_store_of_our_own_is_a_source_of_chips(equal: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (tmp_path / "scans" / name).mkdir(parents=True)
    for number in range(3):
        image = rng.integers(0, 255, (16 if equal else 16 + 8 * number, 24)).astype("uint8")
        Image.fromarray(image).save(tmp_path / "scans" / "images" / f"{number}.png")
        Image.fromarray((image > 99).astype("uint8")).save(tmp_path / "scans" / "masks" / f"{number}.png")
    convert(tmp_path / "scans", tmp_path / "scans.zarr")
    convert(tmp_path / "scans", tmp_path / "direct.zarr", chips=8)
    convert(tmp_path / "scans.zarr", tmp_path / "again.zarr", chips=8)
    direct, again = (xr.open_zarr(tmp_path / f"{name}.zarr", consolidated=False) for name in ("direct", "again"))
    np.testing.assert_array_equal(again.image.values, direct.image.values)
    np.testing.assert_array_equal(again.label.values, direct.label.values)


@pytest.mark.parametrize(
    ("name", "library"),
    [
        ("a.h5", "h5py"),
        ("a.nc", "h5netcdf"),
        ("a.mrc", "mrcfile"),
        ("a.nii.gz", "nibabel"),
        ("a.jp2", "rasterio"),
        ("a.vrt", "rioxarray"),
        ("a.tif", "imagecodecs"),
    ],
)
def test_a_library_that_is_missing_is_named_with_the_command_that_installs_it(
    name: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "a.tif":
        tifffile.imwrite(tmp_path / name, VOLUME, compression="lzw", photometric="minisblack")
        np.testing.assert_array_equal(seen(tmp_path / name)[2], VOLUME)
    else:
        (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, library, None)
    message = rf'needs {library}, which is not installed: pip install "menndl_dask\[formats\]"$'
    with pytest.raises(UserError, match=message):
        seen(tmp_path / name)


def test_labels_may_be_another_zarr_store(tmp_path: Path) -> None:
    labels = (VOLUME % 2).astype("uint8")
    for name, values in (("scan", VOLUME), ("truth", labels)):
        group = zarr.open_group(tmp_path / f"{name}.zarr", mode="w")
        group.create_array("volume", data=values, dimension_names=("z", "y", "x"))
    convert(tmp_path / "scan.zarr", tmp_path / "a.zarr", images="volume", label=tmp_path / "truth.zarr")
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "a.zarr", consolidated=False).label.values, labels)


def test_a_palette_is_colours_of_an_image_and_numbers_of_a_label(tmp_path: Path) -> None:
    numbers = np.arange(30, dtype="uint8").reshape(5, 6) % 3
    picture = Image.fromarray(numbers)
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    picture.save(tmp_path / "a.png")
    convert(tmp_path / "a.png", tmp_path / "a.zarr", label=tmp_path / "a.png")
    data = xr.open_zarr(tmp_path / "a.zarr", consolidated=False)
    assert data.image.values[0, 1].tolist() == [40, 50, 60]
    np.testing.assert_array_equal(data.label.values, numbers)


def test_a_store_has_the_size_of_a_pixel_with_its_unit(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(np.zeros((6, 7), "int8"))
        file.voxel_size = 0.14
    data = xr.open_zarr(convert(tmp_path / "a.mrc", tmp_path / "a.zarr"), consolidated=False)
    assert data["image"].attrs["spacing"] == pytest.approx([0.14, 0.14])
    assert data["image"].attrs["spacing_unit"] == "Å"


def test_arrays_of_hdf5_that_cannot_be_used_are_told_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["image"] = VOLUME
        file["cell"] = np.array([file["image"].ref], dtype=h5py.ref_dtype)
        file["rows"] = np.zeros(3, [("label", "i4"), ("id", "i4")])
        file["gone"] = h5py.SoftLink("/nowhere")
        file.create_dataset("kind", data=[0, 1], dtype=h5py.enum_dtype({"ill": 1, "healthy": 0}, "i1"))
        file["tagged"] = VOLUME
        file["tagged"].attrs["axistags"] = '{"axes": [{"key": "z"}, {"key": "y"}, {"key": "x"}]}'
    with opened(path) as content:
        assert sorted(content.arrays) == ["image", "kind", "tagged"]
        assert content.arrays["kind"].attributes["classes"] == ["healthy", "ill"]
        assert content.arrays["tagged"].dims == ("z", "y", "x")
        said = " | ".join(content.notes)
    for part in ("cell (references to other arrays", "rows (a table with the columns label, id", "gone (a link that"):
        assert part in said


def test_a_part_that_is_missing_is_not_read_as_zeros(tmp_path: Path) -> None:
    layout = h5py.VirtualLayout((2, 5), "f4")
    for number in range(2):
        with h5py.File(tmp_path / f"part{number}.h5", "w") as file:
            file["data"] = np.ones(5, "f4")
        layout[number] = h5py.VirtualSource(f"part{number}.h5", "data", (5,))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("image", layout)
    assert seen(tmp_path / "a.h5")[2].all()
    (tmp_path / "part1.h5").unlink()
    with pytest.raises(UserError, match=r"a\.h5: leads to 'part1\.h5', which is not there"), opened(tmp_path / "a.h5"):
        pass
    data = "".join(
        f'<TiffData IFD="0" FirstZ="{z}" PlaneCount="1"><UUID FileName="{name}.ome.tif">urn:uuid:{z}</UUID></TiffData>'
        for z, name in enumerate("ab")
    )
    text = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:0"><Image ID="Image:0"><Pixels '
        'ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="6" SizeY="5" SizeZ="2" SizeC="1" SizeT="1">'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{data}</Pixels></Image></OME>'
    )
    tifffile.imwrite(tmp_path / "a.ome.tif", CHANNELS[0], description=text, metadata=None)
    with pytest.raises(UserError, match=r"leads to 'b\.ome\.tif', which is not there"), opened(tmp_path / "a.ome.tif"):
        pass
    tifffile.imwrite(tmp_path / "c.ome.tif", CHANNELS, metadata={"axes": "ZYX"})
    (tmp_path / "c.ome.tif").rename(tmp_path / "renamed.ome.tif")
    assert seen(tmp_path / "renamed.ome.tif")[2].shape == CHANNELS.shape


@pytest.mark.parametrize(("photometric", "said"), [("miniswhite", "0 is white"), ("palette", "places in a palette")])
def test_values_of_a_tiff_that_are_no_brightness_are_told(photometric: str, said: str, tmp_path: Path) -> None:
    colours = {"colormap": np.zeros((3, 256), "uint16")} if photometric == "palette" else {}
    tifffile.imwrite(tmp_path / "a.tif", CHANNELS[0], photometric=photometric, **colours)
    with opened(tmp_path / "a.tif") as content:
        assert said in " | ".join(content.notes)
