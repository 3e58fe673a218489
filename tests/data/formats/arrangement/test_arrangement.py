"""What is found in a source and said of it: images, labels, axes, columns and the command that comes next."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import xarray as xr

from menndl_dask.data.data import open_problem
from menndl_dask.data.formats.arrangement.summary import Converted
from menndl_dask.data.formats.conversion import write_converted
from menndl_dask.data.formats.conversion_options import Options
from menndl_dask.errors import UserError

RNG = np.random.default_rng(0)
IMAGES = RNG.random((9, 16, 20)).astype("float32")
CLASSES = np.arange(9) % 3
MASKS = (IMAGES > 0.5).astype("uint8")


def _converted(path: Path, **options: Any) -> tuple[xr.Dataset, str, Converted]:
    done = write_converted(path, path.with_suffix(".out"), Options(**options))
    data = xr.open_zarr(done.path, chunks=None, consolidated=False, mask_and_scale=False)
    return data, " | ".join(line.strip() for line in done.lines), done


def _npz(tmp_path: Path, **arrays: Any) -> Path:
    np.savez(tmp_path / "a.npz", **arrays)
    return tmp_path / "a.npz"


def _netcdf(tmp_path: Path, **variables: Any) -> Path:
    data = xr.Dataset({name: (("scene", "y", "x"), values) for name, values in variables.items()})
    placed = data.assign_coords(y=np.arange(16) * 30.0, x=np.arange(20) * 30.0)
    placed.to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    return tmp_path / "a.nc"


def _refused(path: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        write_converted(path, path.with_suffix(".out"), Options(**options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_end_of_a_conversion_says_what_was_found(tmp_path: Path) -> None:
    split = ["train"] * 5 + ["test"] * 4
    path = _npz(tmp_path, image=IMAGES, label=CLASSES, classes=["a", "b", "c"], split=split, weights=np.zeros((3, 4)))
    _, said, done = _converted(path)
    for part in (
        "images       image: 9 samples of 16 y x 20 x, float32",
        "image: sample, y, x (guessed from the shape)",
        "a class for each image, from array label: a 33.3%, b 33.3%, c 33.3%",
        "splits       4 test, 5 train",
        "weights (3, 4)",
    ):
        assert part in said
    assert str(done).startswith(f"written: {done.path}\n")
    assert done.next == f"menndl check {done.path}"


def test_positions_along_a_dimension_are_neither_images_nor_labels(tmp_path: Path) -> None:
    data, said, _ = _converted(_netcdf(tmp_path, image=IMAGES, cover=MASKS))
    np.testing.assert_array_equal(data.label.values, MASKS)
    assert data.image.attrs["spacing"] == [30.0, 30.0]
    assert "cover is the only array with a whole number for each pixel" in said


def test_several_candidates_are_listed_with_the_option_that_chooses(tmp_path: Path) -> None:
    message = _refused(_netcdf(tmp_path, image=IMAGES, cover=MASKS, cloud=MASKS))
    assert message.endswith("found cover (9, 16, 20), cloud (9, 16, 20); name it with --label")
    message = _refused(_npz(tmp_path, image=IMAGES, label=CLASSES, mask=MASKS))
    assert "expected one array with the labels, found label (9), mask (9, 16, 20)" in message
    message = _refused(_npz(tmp_path, left=IMAGES, right=IMAGES))
    assert message.endswith("left (9, 16, 20), right (9, 16, 20); name it with --images")


def test_columns_of_positions_do_not_win_over_a_label(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("x,y,target\n" + "".join(f"{n},{n * 2},{n % 2}\n" for n in range(9)))
    data, _, _ = _converted(_npz(tmp_path, image=IMAGES), label=str(table))
    assert data.label.values.tolist() == [n % 2 for n in range(9)]
    assert data.y_column.values.tolist() == [n * 2 for n in range(9)]


def test_columns_are_not_called_as_dimensions(tmp_path: Path) -> None:
    images = RNG.random((9, 16, 20, 2)).astype("float32")
    path = _npz(tmp_path, image=images, label=CLASSES, channel=np.arange(9), z=np.arange(9), band=["red", "nir"])
    data, said, done = _converted(path)
    assert data.channel_column.values.tolist() == list(range(9))
    assert data.channel.values.tolist() == ["red", "nir"]
    assert "the column z is called z_column" in said
    assert open_problem(done.path).facts.input_shapes == ((16, 20, 2),)


def test_views_of_other_sizes_have_dimensions_of_their_own(tmp_path: Path) -> None:
    small = RNG.random((9, 8, 10, 3)).astype("float32")
    path = _npz(tmp_path, wide=IMAGES[..., None], small=small, label=CLASSES)
    data, _, done = _converted(path, images=("wide", "small"))
    assert data.small.dims == ("sample", "y_small", "x_small", "channel_small")
    assert done.next.endswith("--inputs wide small")
    assert open_problem(done.path, inputs=("wide", "small")).facts.input_shapes == ((16, 20, 1), (8, 10, 3))


@pytest.mark.parametrize(
    ("image", "label", "dims"),
    [
        ((16, 20), (16, 20), ("y", "x")),
        ((16, 20, 5), (16, 20), ("y", "x", "channel")),
        ((5, 16, 20), (16, 20), ("channel", "y", "x")),
    ],
)
def test_one_image_has_no_dimension_of_samples(
    image: tuple[int, ...], label: tuple[int, ...], dims: tuple[str, ...], tmp_path: Path
) -> None:
    data, said, _ = _converted(_npz(tmp_path, image=RNG.random(image), mask=RNG.integers(0, 2, label)))
    assert data.image.dims == dims
    assert data.label.dims == ("y", "x")
    assert "one image" in said


def test_a_volume_is_told_by_its_axes_or_by_the_user(tmp_path: Path) -> None:
    values = RNG.integers(0, 99, (6, 16, 20)).astype("uint8")
    tifffile.imwrite(tmp_path / "v.tif", values, imagej=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "m.tif", values % 2, photometric="minisblack")
    data, _, done = _converted(tmp_path / "v.tif", label=str(tmp_path / "m.tif"))
    assert data.image.dims == data.label.dims == ("z", "y", "x")
    assert "consecutive" not in data.attrs
    (tmp_path / "t.csv").write_text("label\n" + "a\nb\n" * 3)
    done.path.rename(tmp_path / "first")
    data, said, done = _converted(tmp_path / "v.tif", label=str(tmp_path / "t.csv"))
    assert data.image.dims == ("sample", "y", "x")
    assert data.attrs["consecutive"]
    assert "z holds the samples, as the labels do" in said
    path = _npz(tmp_path, image=values, mask=values % 2)
    assert "if it is one volume: --dims z y x" in _converted(path)[1]
    path.with_suffix(".out").rename(tmp_path / "second")
    assert _converted(path, dims=("z", "y", "x"))[0].label.dims == ("z", "y", "x")


def test_names_of_dimensions_count_without_regard_to_case(tmp_path: Path) -> None:
    images = RNG.random((9, 16, 20, 5)).astype("float32")
    variables = {"image": (("N", "H", "W", "C"), images), "label": (("N",), CLASSES)}
    xr.Dataset(variables).to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    data, said, done = _converted(tmp_path / "a.nc")
    assert data.image.dims == ("sample", "y", "x", "channel")
    assert "(names in the source)" in said
    assert open_problem(done.path).facts.input_shapes == ((16, 20, 5),)


def test_images_without_labels_are_converted_to_be_predicted(tmp_path: Path) -> None:
    data, said, done = _converted(_npz(tmp_path, image=IMAGES))
    assert list(data.data_vars) == ["image"]
    assert "labels       none found: these are images to predict" in said
    assert done.next.startswith("menndl predict RUN/best.keras ")
    done.path.rename(tmp_path / "first")
    assert "instances: expected labels to which it applies, found none" in _refused(
        _npz(tmp_path, image=IMAGES), instances="boundary"
    )


def test_scales_and_missing_values_are_applied_and_said(tmp_path: Path) -> None:
    values = RNG.integers(0, 1000, (9, 2, 16, 20)).astype("int16")
    values[0, 0, 0, :3] = -9999
    names = ["0 sea", "1 ice", "255 fill"]
    mask = np.where(MASKS == 1, 1, 0).astype("uint8")
    path = _npz(tmp_path, image=values, label=mask, scale=[0.1, 2.0], label_names=names)
    data, said, _ = _converted(path, nodata=-9999)
    assert np.isnan(data.image.values[0, 0, 0, :3]).all()
    np.testing.assert_allclose(data.image.values[1], values[1] * np.array([0.1, 2])[:, None, None], rtol=1e-6)
    assert "3 values -9999 became NaN" in said
    assert "decoded with scale of each channel" in said
    assert data.label.attrs == {"classes": ["sea", "ice"], "fill": 255}


def test_chips_have_a_label_by_share_and_stay_with_their_image(tmp_path: Path) -> None:
    mask = np.zeros((9, 16, 20), dtype="uint8")
    mask[:, :8] = 1
    path = _npz(tmp_path, image=IMAGES, mask=mask, split=["train"] * 6 + ["test"] * 3)
    data, said, done = _converted(path, chips=8, label_share="cell=0.6", classes=("ground", "cell"))
    assert data.image.shape == (36, 8, 8)
    np.testing.assert_array_equal(data.image.values[5], IMAGES[1, :8, 8:16])
    assert data.label.values.tolist() == [1, 1, 0, 0] * 9
    assert data.label.attrs["classes"] == ["no cell", "cell"]
    assert data.source_image.values.tolist() == np.repeat(np.arange(9), 4).tolist()
    assert data.split.values.tolist() == ["train"] * 24 + ["test"] * 12
    assert done.next.endswith("--group source_image")
    assert "576 pixels at the ends of images, where no chip fits" in said
    assert open_problem(done.path, group="source_image").task == "classification"


def test_numbered_objects_are_hinted_at_and_become_boundaries(tmp_path: Path) -> None:
    objects = RNG.integers(0, 60, IMAGES.shape)
    path = _npz(tmp_path, image=IMAGES, mask=objects)
    _, said, done = _converted(path)
    assert "if these are numbers of objects, --instances boundary" in said
    done.path.rename(tmp_path / "first")
    data, _, done = _converted(path, instances="boundary")
    done.path.rename(tmp_path / "second")
    assert data.label.attrs["classes"] == ["inside", "boundary"]
    assert "--instances boundary" in _refused(_npz(tmp_path, image=IMAGES, mask=objects * 1000))
    assert "expected boundary or boundary=WIDTH" in _refused(path, instances="edges")


def test_positions_in_a_table_become_discs(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("frame,x,y\n0,4,5\n8,10,9\n8,2,2\n")
    data, said, _ = _converted(_npz(tmp_path, image=IMAGES), label=str(tmp_path / "t.csv"), radius=1)
    assert data.label.values.reshape(9, -1).sum(axis=1).tolist() == [5, 0, 0, 0, 0, 0, 0, 0, 10]
    assert "3 positions became discs of radius 1 pixels" in said


def test_a_large_image_is_written_in_chunks_of_its_own(tmp_path: Path) -> None:
    image = np.arange(3000, dtype="float32") * np.ones((2000, 1), "float32")
    data, _, _ = _converted(_npz(tmp_path, image=image, mask=(image > 9).astype("uint8")))
    assert data.image.encoding["chunks"] == (1024, 1024)
    np.testing.assert_array_equal(data.image.values, image)
    np.testing.assert_array_equal(data.label.values, image > 9)


@pytest.mark.parametrize(
    ("label", "said", "next_options", "stored"),
    [
        ([-1, 1, 1], "labels -1 and 1 became the class numbers 0 and 1", "", [0, 1, 1]),
        ([-1, 0, 1], "-1 is no label (3 images)", "", [-1, 0, 1]),
        ([7, 90_000, 8], "7 to 90000: values to predict", "--task regression", [7, 90_000, 8]),
        ([0, 0, 0], "there is one class only; a search needs at least two", "", [0, 0, 0]),
        (["yes", "", "no"], "-1 is no label (3 images)", "", [1, -1, 0]),
    ],
)
def test_labels_are_written_so_that_the_next_command_can_read_them(
    label: list[Any], said: str, next_options: str, stored: list[int], tmp_path: Path
) -> None:
    data, lines, done = _converted(_npz(tmp_path, image=IMAGES, label=label * 3))
    assert said in lines
    assert done.next.endswith(next_options)
    assert data.label.values.tolist() == stored * 3


def test_empty_cells_of_a_table_are_no_words(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("id,label\n" + "a,1\nb,\nc,0\n" * 3)
    data, said, _ = _converted(_npz(tmp_path, image=IMAGES), label=str(table))
    assert data.label.values.tolist() == [1, -1, 0] * 3
    assert "-1 is no label (3 images)" in said
    (tmp_path / "a.out").rename(tmp_path / "first")
    table.write_text("id,label\n" + "a,1.5\nb,\nc,0\n" * 3)
    data, said, done = _converted(tmp_path / "a.npz", label=str(table))
    assert "0 to 1.5; 3 images (first: 1) without a value (NaN) will not be used" in said
    assert np.isnan(data.label.values).tolist() == [False, True, False] * 3
    assert sum(open_problem(done.path).facts.samples) == 6


@pytest.mark.parametrize(
    ("label", "got"),
    [
        (np.arange(9).astype("M8[D]"), "values of type datetime64[D]"),
        (np.arange(9) * 1j, "values of type complex128"),
        (np.full(9, np.inf), "got inf"),
        (np.full(9, np.nan), "got NaN for all"),
    ],
)
def test_labels_that_the_check_would_refuse_are_not_written(label: np.ndarray, got: str, tmp_path: Path) -> None:
    assert got in _refused(_npz(tmp_path, image=IMAGES, label=label))
    assert not (tmp_path / "a.out").exists()


def test_several_ones_in_a_row_are_values_and_the_next_command_says_so(tmp_path: Path) -> None:
    rows = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 1]] * 3)
    for number, label in enumerate((rows, rows.astype(bool))):
        _, said, done = _converted(_npz(tmp_path, image=IMAGES, label=label))
        assert "3 values for each image" in said and done.next.endswith("--task regression")
        assert open_problem(done.path, task="regression").facts.outputs == 3
        done.path.rename(tmp_path / str(number))


def test_values_are_decoded_as_images_are_and_dates_are_no_labels(tmp_path: Path) -> None:
    dims = ("scene", "y", "x")
    for number, (label, encoding) in enumerate(
        (
            (("scene", [0.5, np.nan, 2.0] * 3), {"_FillValue": -9999.0}),
            ((dims, np.where(IMAGES > 0.5, np.nan, IMAGES)), {"_FillValue": -9999.0}),
            ((dims, IMAGES), {"dtype": "int16", "scale_factor": 1e-4, "_FillValue": -1}),
        )
    ):
        path = tmp_path / f"{number}.nc"
        data = xr.Dataset({"image": (dims, IMAGES), "label": label})
        data.to_netcdf(path, engine="h5netcdf", encoding={"label": encoding})
        found, said, done = _converted(path)
        np.testing.assert_allclose(found.label.values, np.asarray(label[1]), atol=1e-4)
        assert "a value for each" in said and open_problem(done.path).task == "regression"
    dates = np.arange("2020-01-01", "2020-01-10", dtype="M8[D]").astype("M8[ns]")
    data = xr.Dataset({"image": (dims, IMAGES), "label": ("scene", dates)})
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    assert "got times (days since 2020-01-01" in _refused(tmp_path / "a.nc")


def test_infinite_values_and_types_that_a_store_cannot_hold_are_changed_and_told(tmp_path: Path) -> None:
    images = IMAGES.astype(np.longdouble)
    images[3, 2, 1] = np.inf
    data, said, _ = _converted(_npz(tmp_path, image=images, label=CLASSES))
    assert data.image.dtype == "float64" and np.isnan(data.image.values).sum() == 1
    assert "1 infinite value became NaN" in said and "became float64" in said


def test_names_that_the_layout_needs_are_not_given_away(tmp_path: Path) -> None:
    path = _npz(tmp_path, x=IMAGES, left=IMAGES, truth=CLASSES, split=["fold1"] * 9)
    data, said, done = _converted(path, images=("x", "left"), label="truth")
    assert set(data.data_vars) == {"x_image", "left", "label"}
    assert "the column split is called split_column: 'fold1' is none of train, validation, test" in said
    assert open_problem(done.path, inputs=("x_image", "left")).task == "classification"
    done.path.rename(tmp_path / "first")
    path = _npz(tmp_path, image=IMAGES, label=CLASSES, classes=["a", "b"])
    assert "expected class numbers from 0 to 1 (a, b), got 2" in _refused(path)


def test_rows_with_a_single_one_are_classes_and_that_is_said(tmp_path: Path) -> None:
    path = _npz(tmp_path, image=IMAGES, label=np.eye(3)[CLASSES])
    data, said, done = _converted(path)
    assert data.label.values.tolist() == CLASSES.tolist()
    assert "rows of 3 with a single 1 became class numbers" in said
    done.path.rename(tmp_path / "first")
    assert _converted(_npz(tmp_path, image=IMAGES, label=RNG.random((9, 3))))[0].label.dims == ("sample", "value")


def test_progress_ends_with_all_bytes(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = _npz(tmp_path, image=IMAGES, label=CLASSES)
    write_converted(path, tmp_path / "out.zarr", Options(), lambda done, total: seen.append((done, total)))
    assert seen[-1] == (IMAGES.nbytes + CLASSES.nbytes,) * 2


KILLED = """
import os, signal, sys
from menndl_dask.data.formats.conversion import write_converted
from menndl_dask.data.formats.conversion_options import Options
write_converted(sys.argv[1], sys.argv[2], Options(chunk=1), lambda done, total: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_a_killed_conversion_leaves_no_store_and_the_next_one_sweeps(tmp_path: Path) -> None:
    path = _npz(tmp_path, image=IMAGES, label=CLASSES)
    target = tmp_path / "out.zarr"
    done = subprocess.run([sys.executable, "-c", KILLED, path, target], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not target.exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".out")] != []
    write_converted(path, target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "out.zarr"]


def test_floats_for_each_pixel_are_values_unless_they_are_named_as_classes(tmp_path: Path) -> None:
    path = _npz(tmp_path, image=IMAGES, depth=IMAGES * 2)
    _, said, _ = _converted(path)
    assert "--label NAME makes labels of one of depth" in said
    (tmp_path / "b").mkdir()
    data, said, done = _converted(_npz(tmp_path / "b", image=IMAGES, depth=IMAGES * 2), label="depth")
    assert "labels       a value for each pixel, from array depth: " in said
    np.testing.assert_array_equal(data.label.values, IMAGES * 2)
    assert open_problem(done.path).by_pixel
    (tmp_path / "c").mkdir()
    message = _refused(_npz(tmp_path / "c", image=IMAGES, depth=IMAGES * 2), label="depth", classes=("near", "far"))
    assert "expected class numbers in the pixels, got" in message


def test_heat_maps_are_refused_with_a_radius_or_without_positions(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="heat: expected without radius"):
        Options(heat=2.0, radius=3.0)
    table = tmp_path / "t.csv"
    table.write_text("target\n" + "1\n" * 9)
    path = _npz(tmp_path, image=IMAGES)
    assert "heat: expected columns x and y with positions in pixels, found target" in _refused(
        path, label=str(table), heat=2.0
    )
    table.write_text("sample,x,y\n0,4,5\n8,12,3\n")
    assert "without heat: a heat map has values" in _refused(path, label=str(table), heat=2.0, classes=("a", "b"))
    data, said, _ = _converted(path, label=str(table), heat=2.0)
    assert data.label.values[8, 3, 12] == 1.0 and data.label.attrs["sigma"] == 2.0
    assert "2 positions became Gaussians of height 1 with sigma 2 pixels" in said
