"""Images of any size: opened from each layout, divided for the splits, staged, and read in parts."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from menndl_dask.data import dataset, image_staging
from menndl_dask.data.data import open_problem, splits, stage
from menndl_dask.data.labels import problem_dataset
from menndl_dask.data.staged_images import StagedImage, open_images
from menndl_dask.data.store import variable
from menndl_dask.errors import DataError, UserError
from menndl_dask.problem import SPLITS, Problem
from menndl_dask.search.plan.plan import reopened
from tests import stores


def _staged(problem: Problem, tmp_path: Path) -> dict[str, list[StagedImage]]:
    place = stage(problem, tmp_path / "staged")
    return {split: open_images(place, split) for split in SPLITS}


def test_one_volume_is_divided_along_its_longest_axis_with_gaps(tmp_path: Path) -> None:
    data = stores.volume((16, 24, 96))
    problem = open_problem(stores.write(data, tmp_path / "data.zarr"))
    assert problem.patches is not None
    assert problem.facts.samples == (1, 1, 1)
    assert problem.facts.image_sizes == ((16, 24, 96),) * 3
    regions = problem_dataset(problem).label.regions
    side = problem.patches.size[2]
    assert regions[0].start == (0, 0, 0)
    assert [r.start[2] for r in regions[1:]] == [r.stop[2] + side // 2 for r in regions[:-1]]
    assert regions[2].stop == (16, 24, 96)
    for number, (split, images) in enumerate(_staged(problem, tmp_path).items()):
        region = regions[number]
        where = tuple(slice(low, high) for low, high in zip(region.start, region.stop, strict=True))
        (image,) = images
        assert splits(problem)[split].tolist() == [number]
        assert image.size == region.size
        np.testing.assert_array_equal(image.views[0][...], data.image.values[where][..., None])
        np.testing.assert_array_equal(image.label[...], data.label.values[where])
        assert image.views[0][...].dtype == np.int16


def test_images_of_unequal_size_are_regions_as_they_are(tmp_path: Path) -> None:
    path, images, labels = stores.unequal(tmp_path / "data.zarr", 12)
    problem = open_problem(path)
    assert problem.patches is not None
    assert problem.facts.samples == (8, 2, 2)
    assert problem.facts.image_sizes == ((20, 30), (26, 30), (31, 30))
    train = splits(problem)["train"]
    values = np.concatenate([images[i].ravel() for i in train]).astype("f8")
    assert problem.facts.mean[0][0] == pytest.approx(values.mean())
    assert problem.facts.variance[0][0] == pytest.approx(values.var())
    truth = np.concatenate([labels[i].ravel() for i in train])
    assert problem.facts.class_counts == tuple(np.bincount(truth))
    for split, staged in _staged(problem, tmp_path).items():
        for image, position in zip(staged, splits(problem)[split], strict=True):
            np.testing.assert_array_equal(image.views[0][...], images[position][..., None])
            np.testing.assert_array_equal(image.label[...], labels[position])


def test_pixels_of_each_class_are_known_without_a_search(tmp_path: Path) -> None:
    path, _, labels = stores.unequal(tmp_path / "data.zarr", 12)
    problem = open_problem(path)
    staged = _staged(problem, tmp_path)["train"]
    for image, position in zip(staged, splits(problem)["train"], strict=True):
        for number, pixels in image.pixels.items():
            assert len(pixels) == min(1000, int((labels[position] == number).sum()))
            assert len(np.unique(pixels, axis=0)) == len(pixels)
            assert (labels[position][tuple(pixels.T)] == number).all()
        assert set(image.pixels) == set(np.unique(labels[position]).tolist())


def test_pixels_are_drawn_evenly_from_all_parts_of_an_image() -> None:
    rng = np.random.default_rng(0)
    reservoir = image_staging._Reservoir(500, 1)
    for start in range(0, 10_000, 1000):
        reservoir.add(reservoir.drawn(1000, rng)[:, None].astype("int32") + start)
    counts = np.bincount(reservoir.pixels[:, 0] // 1000, minlength=10)
    assert len(np.unique(reservoir.pixels)) == 500
    assert counts.min() > 25
    assert counts.max() < 80


def test_images_without_room_on_the_disk_are_read_from_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, images, labels = stores.unequal(tmp_path / "data.zarr", 12)
    problem = open_problem(path)
    copied = _staged(problem, tmp_path / "a")
    monkeypatch.setattr(image_staging, "_SHARE_OF_DISK", 0.0)
    lazy = _staged(problem, tmp_path / "b")
    assert list((tmp_path / "b").rglob("*images0.npy")) == []
    for split in SPLITS:
        for left, right, position in zip(copied[split], lazy[split], splits(problem)[split], strict=True):
            assert left.size == right.size == images[position].shape
            part = (slice(3, 9), slice(20, None))
            np.testing.assert_array_equal(right.views[0][part], left.views[0][part])
            np.testing.assert_array_equal(right.views[0][2, 3, 0], images[position][2, 3])
            np.testing.assert_array_equal(right.label[:, -1], labels[position][:, -1])
            assert {k: v.tolist() for k, v in left.pixels.items()} == {k: v.tolist() for k, v in right.pixels.items()}


def test_large_images_with_a_label_each_are_staged_with_it(tmp_path: Path) -> None:
    path, images, _ = stores.unequal(tmp_path / "data.zarr", 12, label=np.arange(12) % 2)
    problem = open_problem(path, large_images="vote", patch=16)
    assert problem.patches is not None
    assert problem.patches.size == (16, 16)
    assert problem.facts.input_shapes == ((16, 16, 1),)
    for split, staged in _staged(problem, tmp_path).items():
        for image, position in zip(staged, splits(problem)[split], strict=True):
            assert int(image.label[...]) == position % 2
            np.testing.assert_array_equal(image.views[0][..., 0], images[position])


def test_staged_images_that_are_damaged_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected staged images, found none that are readable"):
        open_images(tmp_path, "train")


def test_a_large_image_is_staged_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    data = stores.volume((16, 24, 96))
    problem = open_problem(stores.write(data, tmp_path / "data.zarr", side=7))
    plain = image_staging.sample_blocks

    def small(variables: Any, sample: int) -> Any:
        for block in plain(variables, sample, 4000):
            read.append(block.part)
            yield block

    monkeypatch.setattr(image_staging, "sample_blocks", small)
    staged = _staged(problem, tmp_path)
    assert len(read) > 10
    assert all(part is not None for part in read)
    for split, images in staged.items():
        region = problem_dataset(problem).label.regions[SPLITS.index(split)]
        where = tuple(slice(low, high) for low, high in zip(region.start, region.stop, strict=True))
        np.testing.assert_array_equal(images[0].views[0][..., 0], data.image.values[where])


def test_the_store_of_a_single_image_may_say_its_spacing(tmp_path: Path) -> None:
    data = stores.volume((16, 24, 96))
    data.image.attrs["spacing"] = [40.0, 4.0, 4.0]
    assert open_problem(stores.write(data, tmp_path / "a.zarr")).facts.spacing == (40.0, 4.0, 4.0)
    data.image.attrs["spacing"] = [40.0, 4.0]
    with pytest.raises(DataError, match=r"image: attribute 'spacing': expected 3 numbers > 0, for z, y, x, got \[40"):
        open_problem(stores.write(data, tmp_path / "b.zarr"))
    del data.image.attrs["spacing"]
    steps = data.assign_coords(z=np.arange(16) * 30.0, y=np.arange(24) * 5, x=1000 - 5 * np.arange(96))
    assert open_problem(stores.write(steps, tmp_path / "c.zarr")).facts.spacing == (30.0, 5.0, 5.0)
    uneven = data.assign_coords(z=np.arange(16) ** 2)
    assert open_problem(stores.write(uneven, tmp_path / "d.zarr")).facts.spacing == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g["samples/00002"].__delitem__("label"), "samples/00002: label: expected an array as in the other"),
        (
            lambda g: g.create_array(
                "samples/00003/image", shape=(4, 9, 9), dtype="u1", overwrite=True, dimension_names=("z", "y", "x")
            ),
            r"samples/00003: image: expected dimensions \(y, x\) as in samples/00000, got \(z, y, x\)",
        ),
        (
            lambda g: g.create_array(
                "samples/00003/image", shape=(9, 9), dtype="u1", overwrite=True, dimension_names=("y", "x")
            ),
            r"label: 00003: expected the size \(9, 9\) of image, got \(23, 30\)",
        ),
    ],
)
def test_samples_that_do_not_match_are_told(change: Any, message: str, tmp_path: Path) -> None:
    path, _, _ = stores.unequal(tmp_path / "data.zarr", 6)
    change(zarr.open_group(path, mode="a"))
    with pytest.raises(DataError, match=message):
        open_problem(path)


def test_consecutive_samples_stay_together(tmp_path: Path) -> None:
    data = stores.segmentation().assign_attrs(consecutive=True)
    problem = open_problem(stores.write(data, tmp_path / "data.zarr"))
    parts = splits(problem)
    assert problem.patches is None
    assert [len(parts[name]) for name in SPLITS] == [18, 3, 3]
    assert all((np.diff(part) == 1).all() for part in parts.values())


def test_a_split_without_validation_divides_the_only_training_image(tmp_path: Path) -> None:
    path, _, _ = stores.unequal(tmp_path / "data.zarr", 3, size=(64, 120), split=["train", "test", "test"])
    problem = open_problem(path)
    assert problem.facts.samples == (1, 1, 2)
    regions = problem_dataset(problem).label.regions
    assert [region.sample for region in regions] == [0, 0, 1, 2]
    assert {regions[int(p)].sample for p in splits(problem)["validation"]} == {0}


def test_the_tiles_of_a_test_split_are_limited_only_where_there_are_many(tmp_path: Path) -> None:
    path = stores.write(stores.large_segmentation(6, 160), tmp_path / "data.zarr")
    for per_epoch, most in ((100, None), (3, 60)):
        patches = open_problem(path, patch=32, patches_per_epoch=per_epoch).patches
        assert patches is not None
        assert patches.test_tiles == most


def test_whole_images_can_be_demanded(tmp_path: Path) -> None:
    data = stores.large_segmentation(6, 160)
    path = stores.write(data, tmp_path / "data.zarr")
    assert open_problem(path).patches is not None
    assert open_problem(path, patch="whole").patches is None
    assert open_problem(path, patch=0).facts.input_shapes == ((160, 160, 1),)
    unequal, _, _ = stores.unequal(tmp_path / "unequal.zarr", 6)
    with pytest.raises(DataError, match="patch: expected images of one size to train on whole ones"):
        open_problem(unequal, patch="whole")


def test_unequal_images_with_one_label_are_resized_unless_the_user_says_otherwise(tmp_path: Path) -> None:
    path, images, _ = stores.unequal(tmp_path / "data.zarr", 12, label=np.arange(12) % 2)
    problem = open_problem(path)
    assert (problem.large_images, problem.patches) == ("resize", None)
    assert problem.facts.input_shapes == ((26, 30, 1),)
    from menndl_dask.data.data import open_staged
    from menndl_dask.data.resize import resize

    samples = open_staged(stage(problem, tmp_path), "test")
    for image, position in zip(samples.images[0], splits(problem)["test"], strict=True):
        np.testing.assert_allclose(image, resize(images[position][..., None], (26, 30)), rtol=1e-6)


def test_a_table_row_is_no_sample(tmp_path: Path) -> None:
    lines = xr.Dataset({"image": (("row", "y", "x"), np.zeros((9, 4, 4))), "label": (("row",), np.arange(9) % 2)})
    with pytest.raises(DataError, match="label"):
        open_problem(stores.write(lines, tmp_path / "data.zarr"))


def test_a_volume_is_opened_and_staged_in_a_fraction_of_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    side, group = 384, zarr.create_group(tmp_path / "data.zarr")
    settings: Any = {"shape": (side,) * 3, "chunks": (128,) * 3, "dtype": "u1", "dimension_names": ("z", "y", "x")}
    image = group.create_array("image", fill_value=7, **settings)  # chunks that are never written take no disk
    label = group.create_array("label", fill_value=0, **settings)
    label.attrs["classes"] = ["outside", "inside"]
    for start in (0, 200, 320):
        image[start : start + 64, :64, :64] = np.arange(64) + np.zeros((64, 64, 1))
        label[start : start + 64, :64, :64] = 1
    monkeypatch.setattr(variable, "BLOCK_BYTES", 2**22)
    monkeypatch.setattr(dataset, "BLOCK_BYTES", 2**22)
    monkeypatch.setattr(variable.blocks, "__kwdefaults__", {"most": 2**22, "whole": False})
    monkeypatch.setattr(variable.sample_blocks, "__defaults__", (2**22,))
    tracemalloc.start()
    problem = open_problem(tmp_path / "data.zarr")
    place = stage(problem, tmp_path / "staged")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < side**3  # bytes of the volume alone; the labels have as many again
    (staged,) = open_images(place, "train")
    assert problem.facts.class_counts[1] > 0
    assert all((staged.label[tuple(pixel)] == 1).all() for pixel in staged.pixels[1][:5])


def test_stored_values_of_unequal_images_are_decoded_and_their_labels_are_not(tmp_path: Path) -> None:
    path = tmp_path / "data.zarr"
    xr.Dataset().to_zarr(path, zarr_format=3, consolidated=False)
    labels = []
    for number in range(6):
        truth = (np.arange(400 + 20 * number).reshape(-1, 20) % (3 + number) == 0).astype("uint8")
        data = xr.Dataset({"image": (("y", "x"), truth + 0.5), "label": (("y", "x"), truth)})
        encoding: Any = {"image": {"dtype": "int16", "scale_factor": 0.5, "_FillValue": -99}}
        data.label.attrs["_FillValue"] = 1
        data.to_zarr(path, group=f"samples/{number}", encoding=encoding, zarr_format=3, consolidated=False, mode="a")
        labels.append(truth)
    problem = open_problem(path, ignore=9)
    assert problem.facts.classes == ("0", "1")
    for split, staged in _staged(problem, tmp_path).items():
        for image, position in zip(staged, splits(problem)[split], strict=True):
            np.testing.assert_array_equal(image.views[0][..., 0], labels[position] + 0.5)
            np.testing.assert_array_equal(image.label[...], labels[position])


def test_values_have_a_mean_and_no_vote(tmp_path: Path) -> None:
    path, _, _ = stores.unequal(tmp_path / "data.zarr", 12, label=np.linspace(0, 1, 12))
    assert open_problem(path).large_images == "resize"
    assert open_problem(path, large_images="mean", patch=16).patches is not None
    with pytest.raises(UserError, match="large_images: expected mean or resize for regression, got 'vote'"):
        open_problem(path, large_images="vote")
    with pytest.raises(UserError, match="large_images: expected one of vote, mean, resize, got 'votes'; did you mean"):
        open_problem(path, large_images="votes")


@pytest.mark.parametrize(("size", "patch"), [((24, 40, 72), (16, 16, 16)), ((64, 64), (16, 16))])
def test_patches_of_a_small_image_are_larger_than_its_smallest_parts(
    size: tuple[int, ...], patch: tuple[int, ...], tmp_path: Path
) -> None:
    values = np.random.default_rng(0).normal(size=size).astype("float32")
    dims = ("z", "y", "x")[-len(size) :]
    data = xr.Dataset({"image": (dims, values), "label": (dims, (values > 0).astype("uint8"))})
    problem = open_problem(stores.write(data, tmp_path / "data.zarr"))
    assert problem.patches is not None and problem.patches.size == patch
    assert reopened(problem).patches == problem.patches  # as a run is resumed
    given = open_problem(tmp_path / "data.zarr", patch=patch)
    assert reopened(given).patches == given.patches
    axis = int(np.argmax(size))
    spans = [(r.start[axis], r.stop[axis]) for r in problem_dataset(problem).label.regions]
    narrow = open_problem(tmp_path / "data.zarr", patch=8)  # is divided in the same way
    assert spans == [(r.start[axis], r.stop[axis]) for r in problem_dataset(narrow).label.regions]
    assert spans[0][1] >= size[axis] // 2 and all(stop - start >= 8 for start, stop in spans)
