"""Facts: missing values that are marked by a number are told, and what spoils a channel is clipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from menndl_dask.data.check.check import check_data
from menndl_dask.data.data import open_problem
from menndl_dask.data.staged_samples import open_staged
from menndl_dask.data.staging import stage
from menndl_dask.errors import DataError
from menndl_dask.problem import Problem
from tests import stores


def _open(images: np.ndarray, tmp_path: Path, **settings: object) -> Problem:
    data = stores.dataset(images, np.arange(len(images)) % 2)
    data.image.attrs.update(settings.pop("attributes", {}))  # type: ignore[call-overload]
    return open_problem(stores.write(data, tmp_path / "data.zarr"), **settings)  # type: ignore[arg-type]


def _images(kind: str = "float32", side: int = 10) -> np.ndarray:
    return np.random.default_rng(0).normal(200, 10, (60, side, side, 1)).astype(kind)


@pytest.mark.parametrize(
    ("value", "kind"),
    [(-3.4e38, "float32"), (1e25, "float32"), (1e20, "float64"), (-(10**12), "int64")],
)
def test_a_mark_of_missing_values_that_hides_all_others_is_refused(value: float, kind: str, tmp_path: Path) -> None:
    images = _images(kind)
    images[:, :2, 0] = value
    with pytest.raises(DataError) as caught:
        _open(images, tmp_path)
    message = str(caught.value)
    assert (
        f"image: expected values whose differences a float32 can hold, got {value:.4g} in 2 % of the pixels" in message
    )
    assert "write NaN, or give the value as attribute 'nodata'" in message
    assert "\n" not in message


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_infinite_values_are_missing_in_each_split(split: str, tmp_path: Path) -> None:
    images = _images()
    names = np.array(["train"] * 40 + ["validation"] * 10 + ["test"] * 10, dtype=object)
    images[np.flatnonzero(names == split)[0], 2, 3] = np.inf
    data = stores.dataset(images, np.arange(60) % 2).assign_coords(split=("sample", names))
    problem = open_problem(stores.write(data, tmp_path / "data.zarr"))
    assert np.isfinite([*problem.facts.mean[0], *problem.facts.variance[0]]).all()
    report = check_data(problem, seconds=0)
    assert report.views[0].channels[0].missing == 1 and np.isfinite(report.views[0].channels[0].mean)
    assert "or infinite ones" in " ".join(report.warnings)
    assert all(score.value is None or np.isfinite(score.value) for score in report.scores)
    for staged in ("train", "validation", "test"):
        assert np.isfinite(np.asarray(open_staged(stage(problem, tmp_path / "stage"), staged).images[0])).all()


@pytest.mark.parametrize("rows", [1, 4])
def test_a_single_value_far_from_the_rest_is_told_however_frequent(rows: int, tmp_path: Path) -> None:
    images = _images("int16")
    images[:, :rows] = -9999
    report = check_data(_open(images, tmp_path), seconds=0)
    said = "\n".join(report.warnings)
    assert f"image: channel 0 has the value -9999 in {rows}0.0% of the pixels, far from all others" in said


def test_a_value_that_the_store_says_is_missing_is_read_as_such(tmp_path: Path) -> None:
    images = _images("int16")
    known = images.astype("f8")[:, 1:]
    images[:, 0] = -9999
    split = np.array(["train"] * 40 + ["validation"] * 10 + ["test"] * 10, dtype=object)
    data = stores.dataset(images, np.arange(60) % 2).assign_coords(split=("sample", split))
    data.image.attrs["nodata"] = -9999
    problem = open_problem(stores.write(data, tmp_path / "data.zarr"))
    assert problem.facts.mean[0][0] == pytest.approx(known[:40].mean())
    report = check_data(problem, seconds=0)
    assert report.views[0].channels[0].missing == 600
    assert "far from all others" not in "\n".join(report.warnings)
    data.image.attrs["nodata"] = "none"
    with pytest.raises(DataError, match="image: attribute 'nodata': expected a number, got 'none'"):
        open_problem(stores.write(data, tmp_path / "other.zarr"))


def test_hot_pixels_are_clipped_and_bright_spots_are_not(tmp_path: Path) -> None:
    hot = _images(side=50)
    hot.reshape(-1)[::20_011] = 60_000
    problem = _open(hot, tmp_path / "hot")
    assert problem.normalisation == "clip"
    ((low, high),) = problem.facts.clip[0]
    assert 160 < low < 180 < 220 < high < 240
    assert problem.facts.variance[0][0] < 120
    assert _open(hot, tmp_path / "channel", normalisation="channel").facts.clip == ()
    spots = _images(side=50)
    spots.reshape(-1)[::499] = 1000
    assert _open(spots, tmp_path / "spots").normalisation == "channel"


def test_rare_spots_on_an_even_background_are_not_clipped_away(tmp_path: Path) -> None:
    spots = np.zeros_like(_images(side=50))
    spots.reshape(-1)[::499] = 1000
    facts = _open(spots, tmp_path, normalisation="clip").facts
    assert facts.clip == (((0.0, 1000.0),),) and facts.variance[0][0] > 1


def test_the_unit_of_the_values_changes_nothing(tmp_path: Path) -> None:
    metres = (_images() - 200) * np.float32(1e-10)
    report = check_data(_open(metres, tmp_path), seconds=0)
    assert "same value everywhere" not in "\n".join(report.warnings)


def test_dimensions_without_names_are_told_with_what_was_assumed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    dims = tuple(f"dim_{axis}" for axis in range(4))
    data = xr.Dataset({"image": (dims, rng.normal(size=(24, 16, 14, 5))), "label": (dims[:1], np.arange(24) % 2)})
    problem = open_problem(stores.write(data, tmp_path / "data.zarr"))
    assert problem.facts.input_shapes == ((16, 14, 5),)
    said = check_data(problem, seconds=0).text()
    assert (
        "dimensions have no names: took dim_3 (5 long) as channels and dim_1 (16), dim_2 (14) as spatial axes" in said
    )
    upper = data.rename(dict(zip(dims, "NHWC", strict=True)))
    assert open_problem(stores.write(upper, tmp_path / "upper.zarr")).facts.input_shapes == ((16, 14, 5),)
