"""Scores of samples: to which group each belongs, and how they are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from menndl_dask.data.data import open_problem
from menndl_dask.data.labels import splits
from menndl_dask.errors import RunError
from menndl_dask.evaluation.sample_scores import keep_groups, read_examples, read_groups, read_sums
from tests import split_results, stores
from tests.problems import problem


def store(path: Path, **coordinates: np.ndarray) -> Path:
    data = stores.classification(60)
    return stores.write(data.assign_coords({name: ("sample", v) for name, v in coordinates.items()}), path)


def test_samples_of_one_scene_are_one_group_and_the_coarsest_name_is_taken(tmp_path: Path) -> None:
    scene = np.array([f"LC8-{n // 10}" for n in range(60)], dtype=object)
    of = open_problem(store(tmp_path / "a.zarr", patch=np.arange(60) // 2, scene=scene))
    keep_groups(tmp_path, of)
    groups = read_groups(tmp_path)
    assert groups is not None
    assert groups.name == "scene"
    assert groups.numbers.tolist() == np.unique(scene[splits(of)["test"]], return_inverse=True)[1].tolist()
    assert groups.count == len(set(scene[splits(of)["test"]]))


def test_the_group_of_the_problem_comes_first(tmp_path: Path) -> None:
    data = store(tmp_path / "a.zarr", scene=np.arange(60) // 30, visit=np.arange(60) // 3)
    keep_groups(tmp_path, open_problem(data, group="visit"))
    groups = read_groups(tmp_path)
    assert groups is not None
    assert (groups.name, groups.count) == ("visit", 3)


def test_without_groups_each_sample_is_one(tmp_path: Path) -> None:
    of = open_problem(store(tmp_path / "a.zarr"))
    keep_groups(tmp_path, of)
    groups = read_groups(tmp_path)
    assert groups is not None
    assert (groups.name, groups.count) == ("sample", of.facts.samples[2])


def test_data_that_cannot_be_read_here_have_no_groups(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keep_groups(tmp_path, problem())
    assert read_groups(tmp_path) is None
    assert "the groups of the test samples are not known: nowhere.zarr" in caplog.text


def test_parts_of_one_group_add_up_and_a_single_image_is_drawn_by_its_parts(tmp_path: Path) -> None:
    sums = np.arange(4 * 3 * 2, dtype=float).reshape(4, 3, 2)
    np.savez(tmp_path / "sums.npz", sums=sums, source=[0, 0, 1, 2])
    np.savez(tmp_path / "test_groups.npz", number=[0, 1, 0], name=np.array("scene"))
    found = read_sums(tmp_path / "sums.npz", read_groups(tmp_path))
    assert found is not None
    assert np.array_equal(found, [sums[[0, 1, 3]].sum(axis=0), sums[2]])
    by_image = read_sums(tmp_path / "sums.npz")
    assert by_image is not None
    assert by_image.shape == (3, 3, 2)
    np.savez(tmp_path / "one.npz", sums=sums, source=[0, 0, 0, 0])
    assert np.array_equal(read_sums(tmp_path / "one.npz"), sums)  # type: ignore[arg-type]


def test_a_damaged_file_is_named_and_a_missing_one_is_none(tmp_path: Path) -> None:
    assert read_sums(tmp_path / "none.npz") is None
    (tmp_path / "sums.npz").write_bytes(b"PK nothing")
    with pytest.raises(RunError, match=r"sums\.npz: cannot be read: .*; restore it from a copy, or remove it"):
        read_sums(tmp_path / "sums.npz")


def test_divided_images_are_groups(tmp_path: Path) -> None:
    data = xr.Dataset(
        {
            "image": (("sample", "y", "x"), np.zeros((2, 256, 300), np.float32)),
            "label": (("sample", "y", "x"), np.random.default_rng(0).integers(0, 2, (2, 256, 300)).astype("uint8")),
        }
    )
    data.to_zarr(tmp_path / "large.zarr", zarr_format=3, consolidated=False)
    of = open_problem(tmp_path / "large.zarr", task="segmentation", patch=32)
    keep_groups(tmp_path, of)
    groups = read_groups(tmp_path)
    assert groups is not None
    assert len(groups.numbers) == of.facts.samples[2]


def test_samples_to_look_at_that_are_damaged_are_refused_in_one_line(tmp_path: Path) -> None:
    found = split_results.results_of(split_results.classes()).examples
    path = tmp_path / "network.examples.npz"
    assert read_examples(path) is None
    np.savez(path, **found)
    assert set(read_examples(path) or ()) == set(found)
    np.savez(path, **{name: each for name, each in found.items() if name != "label1"})
    with pytest.raises(RunError, match=r"network.examples.npz: cannot be read: expected the array label1, found none"):
        read_examples(path)
    np.savez(path, **{**found, "label1": np.array(99)})
    with pytest.raises(RunError, match="a class number is too large"):
        read_examples(path)
    path.write_bytes(b"PK")
    with pytest.raises(RunError, match="cannot be read"):
        read_examples(path)
