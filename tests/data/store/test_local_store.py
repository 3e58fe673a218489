"""Of a damaged store only files are read, and what it declares must fit into memory before it is read."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from menndl_dask import open_problem
from menndl_dask.data.formats.conversion import convert
from menndl_dask.errors import DataError
from tests import stores


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return stores.write(stores.segmentation(8), tmp_path / "data.zarr")


def changed(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.timeout(200)
@pytest.mark.parametrize("name", ["zarr.json", "image/zarr.json", "label/zarr.json", "image/c/0/0/0/0"])
def test_a_fifo_in_the_place_of_a_file_is_told_and_not_waited_for(store: Path, name: str) -> None:
    (store / name).unlink()
    os.mkfifo(store / name)
    with pytest.raises(DataError, match=r"data\.zarr: "):
        open_problem(store)


def test_a_loop_of_links_is_told(store: Path) -> None:
    (store / "image" / "zarr.json").unlink()
    (store / "image" / "zarr.json").symlink_to("zarr.json")
    with pytest.raises(DataError, match=r"data\.zarr: "):
        open_problem(store)


def test_a_chunk_larger_than_the_memory_is_refused_before_it_is_read(store: Path) -> None:
    side = 10**6
    for name, dims in (("image", 4), ("label", 3)):
        file = store / name / "zarr.json"
        shape = [8, side, side, 1][:dims]
        changed(file, shape=shape, chunk_grid={"name": "regular", "configuration": {"chunk_shape": shape}})
    with pytest.raises(DataError, match=r"expected a chunk that fits into the free memory .* of shape"):
        open_problem(store)
    with pytest.raises(DataError, match=r"expected a chunk that fits"):
        convert(store, store.with_name("other.zarr"), images="image")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data))


@pytest.mark.parametrize("in_folder", [False, True])
def test_a_picture_that_declares_a_million_million_pixels_is_refused(tmp_path: Path, in_folder: bool) -> None:
    header = struct.pack(">IIBBBBB", 10**6, 10**6, 8, 2, 0, 0, 0)
    (tmp_path / "images").mkdir()
    path = tmp_path / "images" / "large.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(DataError, match="pixels need"):
        convert(path.parent if in_folder else path, tmp_path / "other.zarr")


def test_a_tiff_whose_strip_is_larger_than_the_memory_is_refused(tmp_path: Path) -> None:
    import tifffile

    path = tmp_path / "large.tif"
    tifffile.imwrite(path, np.zeros((16, 16), np.uint16), compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as file:
        for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            file.pages[0].tags[tag].overwrite(60_000_000 if tag == "ImageLength" else 10**6)
    with pytest.raises(DataError, match=r"large\.tif"):
        convert(path, tmp_path / "other.zarr")


@pytest.mark.timeout(200)
def test_a_folder_that_holds_a_fifo_or_itself_is_read_without_them(tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(folder / f"{number}.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "again").symlink_to(folder)
    assert convert(folder, tmp_path / "other.zarr").exists()
    with pytest.raises(DataError, match="expected a file, got a fifo"):
        convert(folder / "pipe.png", tmp_path / "more.zarr")
