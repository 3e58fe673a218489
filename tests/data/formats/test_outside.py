"""Files that lead to others: what is outside of their folder is not read, and no program is started."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from numpy.lib import format as npy

from menndl_dask.data.formats.conversion import write_converted
from menndl_dask.data.formats.conversion_options import Options
from menndl_dask.errors import UserError

_VRT = (
    '<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand">'
    '<SourceFilename relativeToVRT="{relative}">{name}</SourceFilename><ImageOffset>0</ImageOffset>'
    "<PixelOffset>1</PixelOffset><LineOffset>8</LineOffset></VRTRasterBand></VRTDataset>"
)
_OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
    '<Pixels DimensionOrder="XYZCT" ID="Pixels:0" SizeX="8" SizeY="8" SizeZ="2" SizeC="1" SizeT="1" Type="uint8">'
    '<TiffData IFD="0" FirstZ="0" PlaneCount="1"><UUID FileName="image.ome.tif">urn:uuid:1</UUID></TiffData>'
    '<TiffData IFD="0" FirstZ="1" PlaneCount="1"><UUID FileName="{name}">urn:uuid:2</UUID></TiffData>'
    "</Pixels></Image></OME>"
)
_POSTSCRIPT = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n"


def _external_link(folder: Path, secret: Path) -> Path:
    with h5py.File(folder / "image.h5", "w") as file:
        file["image"] = h5py.ExternalLink(str(secret), "/secret")
    return folder / "image.h5"


def _link_of_a_link(folder: Path, secret: Path) -> Path:
    with h5py.File(folder / "beside.h5", "w") as file:
        file["secret"] = h5py.ExternalLink(f"../{secret.parent.name}/{secret.name}", "/secret")
    return _external_link(folder, folder / "beside.h5")


def _external_values(folder: Path, secret: Path) -> Path:
    with h5py.File(folder / "image.h5", "w") as file:
        file.create_dataset("group/image", (8, 8), "u1", external=[(str(secret), 0, 64)])
    return folder / "image.h5"


def _virtual_values(folder: Path, secret: Path) -> Path:
    layout = h5py.VirtualLayout((8, 8), "u1")
    layout[:] = h5py.VirtualSource(str(secret), "secret", (8, 8))
    with h5py.File(folder / "image.nc", "w") as file:
        file.create_virtual_dataset("image", layout)
    return folder / "image.nc"


def _vrt(folder: Path, secret: Path) -> Path:
    (folder / "image.vrt").write_text(_VRT.format(relative=0, name=secret))
    return folder / "image.vrt"


def _vrt_of_another_name(folder: Path, secret: Path) -> Path:
    return _vrt(folder, secret).rename(folder / "image.asc")


def _vrt_of_a_url(folder: Path, secret: Path) -> Path:
    return _vrt(folder, Path("/vsicurl/http://localhost/secret.tif"))


def _ome_tiff(folder: Path, secret: Path) -> Path:
    name = f"../{secret.parent.name}/{secret.name}"
    tifffile.imwrite(
        folder / "image.ome.tif", np.zeros((8, 8), "u1"), description=_OME.format(name=name), metadata=None
    )
    return folder / "image.ome.tif"


@pytest.mark.parametrize(
    "make",
    [
        _external_link, _link_of_a_link, _external_values, _virtual_values, _vrt, _vrt_of_another_name, _vrt_of_a_url,
        _ome_tiff,
    ],
)  # fmt: skip
def test_a_file_that_leads_out_of_its_folder_is_refused_in_one_line(
    tmp_path: Path, make: Callable[[Path, Path], Path]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "handed over").mkdir()
    secret = tmp_path / "mine" / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["secret"] = np.ones((8, 8), "u1")
    path = make(tmp_path / "handed over", secret)
    with pytest.raises(UserError, match="which is not in its folder and is not read") as caught:
        write_converted(path, tmp_path / "converted.zarr", Options())
    assert "\n" not in str(caught.value)


def test_files_that_lie_together_are_read_together(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    with h5py.File(tmp_path / "parts" / "1.h5", "w") as file:
        file["secret"] = np.ones((8, 8), "u1")
    _external_link(tmp_path, Path("parts/1.h5"))
    write_converted(tmp_path / "image.h5", tmp_path / "converted.zarr", Options())
    assert zarr.open_group(tmp_path / "converted.zarr", mode="r")["image"].shape == (8, 8)


def test_a_picture_that_is_a_program_for_ghostscript_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_text(_POSTSCRIPT)
    with pytest.raises(UserError, match="cannot be read as a picture"):
        write_converted(tmp_path / "image.png", tmp_path / "converted.zarr", Options())


def test_a_picture_that_does_not_fit_into_the_memory_is_told_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    Image.new("L", (3000, 3000)).save(tmp_path / "image.png")
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 2**20}))
    with pytest.raises(UserError, match=r"3000 x 3000 pixels need 17\.2 MiB, 1\.00 MiB are free"):
        write_converted(tmp_path / "image.png", tmp_path / "converted.zarr", Options())


def test_an_archive_that_unpacks_to_more_than_its_array_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (100, 1000, 1000)})
    with zipfile.ZipFile(tmp_path / "image.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", file.getvalue() + bytes(2**20))
    with pytest.raises(UserError, match=r"image\.npy: expected 381 MiB, got 1\.00 MiB"):
        write_converted(tmp_path / "image.npz", tmp_path / "converted.zarr", Options())


class _Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["|O", "<f8"])
def test_a_store_with_pickled_values_is_not_unpickled(tmp_path: Path, kind: str) -> None:
    filters = [{"id": "vlen-utf8"}, {"id": "pickle"}]
    (tmp_path / "data.zarr" / "image").mkdir(parents=True)
    (tmp_path / "data.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
    array = {
        "zarr_format": 2, "shape": [4, 8, 8], "chunks": [4, 8, 8], "dtype": kind, "compressor": None, "fill_value": 0,
        "order": "C", "filters": filters,
    }  # fmt: skip
    (tmp_path / "data.zarr" / "image" / ".zarray").write_text(json.dumps(array))
    (tmp_path / "data.zarr" / "image" / "0.0.0").write_bytes(pickle.dumps(_Trap(tmp_path / "MARK")))
    with pytest.raises(UserError):
        write_converted(tmp_path / "data.zarr", tmp_path / "converted.zarr", Options())
    assert not (tmp_path / "MARK").exists()
