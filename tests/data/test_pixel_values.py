"""Values of pixels, such as heat maps: from the store to the patches that networks are trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from menndl_dask.data.check.check import check_data
from menndl_dask.data.data import open_problem
from menndl_dask.data.safe_augmentation import safe_augmentation
from menndl_dask.data.staged_images import open_images
from menndl_dask.data.staged_samples import open_staged
from menndl_dask.data.staging import stage
from menndl_dask.errors import DataError, UserError
from menndl_dask.metric import constant_fitness
from menndl_dask.space.standard.standard import standard_network, standard_networks
from menndl_dask.training.patches import PatchSource
from tests import stores

RNG = np.random.default_rng(0)


def _heat(size: tuple[int, ...]) -> np.ndarray:
    spots = RNG.random(size) < 0.02
    return (0.9 * spots + 0.05 * RNG.random(size)).astype("float32")


def _equal(path: Path, **changes: np.ndarray) -> Path:
    heat = changes.get("heat", _heat((12, 16, 16)))
    return stores.write(stores.dataset((heat[..., None] + RNG.normal(0, 0.1, (*heat.shape, 1))), heat), path)


def test_floats_for_each_pixel_are_a_regression_with_a_u_net(tmp_path: Path) -> None:
    problem = open_problem(_equal(tmp_path / "a.zarr"))
    label = xr.open_zarr(tmp_path / "a.zarr", consolidated=False).label
    assert (problem.task, problem.by_pixel, problem.facts.outputs) == ("regression", True, 1)
    assert (problem.metric_name, problem.loss_name) == ("r2", "mean_squared_error")
    staged = stage(problem, tmp_path / "stage")
    train, validation = (open_staged(staged, split) for split in ("train", "validation"))
    assert train.labels.dtype == "float32" and train.labels.shape == (8, 16, 16)
    assert np.asarray(train.labels).sum() + np.asarray(validation.labels).sum() < float(label.sum())
    assert problem.facts.label_mean[0] == pytest.approx(float(np.mean(train.labels)), rel=1e-5)
    assert problem.facts.label_variance[0] == pytest.approx(float(np.var(train.labels)), rel=1e-4)
    flat = np.asarray(validation.labels).reshape(-1, 1)
    assert problem.facts.constant_fitness == pytest.approx(constant_fitness(problem, flat), abs=1e-6)
    squared = replace(problem, metric="mean_squared_error", metric_mode="min")
    assert constant_fitness(squared, flat) == pytest.approx(-float(np.mean((flat - problem.facts.label_mean[0]) ** 2)))
    assert standard_network(problem)[0] == "U-Net, small"
    assert "unet_full" in standard_networks(problem)
    assert open_problem(tmp_path / "a.zarr", metric="mean_absolute_error").facts.constant_fitness is None


def test_the_check_shows_what_values_of_pixels_are_worth(tmp_path: Path) -> None:
    report = check_data(open_problem(_equal(tmp_path / "a.zarr")), seconds=0.0)
    scores = {score.name: score.value for score in report.scores}
    assert scores["forest"] > 0.5 > scores["constant"]
    assert "'label': the mean of each sample's pixels" in report.text()


def test_large_maps_are_learnt_from_patches_with_what_stands_out(tmp_path: Path) -> None:
    heat = _heat((120, 300))
    data = xr.Dataset({"image": (("y", "x"), heat), "label": (("y", "x"), heat)})
    data.to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False)
    problem = open_problem(tmp_path / "a.zarr", patch=32)
    assert problem.patches is not None and problem.facts.samples == (1, 1, 1)
    images = open_images(stage(problem, tmp_path / "stage"), "train")
    assert sorted(images[0].pixels) == [0, 1]
    assert all(np.asarray(images[0].label)[tuple(place)] > 0.5 for place in images[0].pixels[1])
    chunk = PatchSource(images, problem, 0).read(np.arange(12))
    np.testing.assert_allclose(chunk.labels, chunk.images[0][..., 0], rtol=1e-6)
    assert chunk.labels.dtype == "float32"
    with pytest.raises(UserError, match="expected a label for each image, got one for each pixel"):
        open_problem(tmp_path / "a.zarr", large_images="mean")


def test_pixels_without_a_value_are_not_counted(tmp_path: Path) -> None:
    heat = _heat((12, 16, 16))
    heat[:, :4] = np.nan
    heat[5] = np.nan
    images = np.nan_to_num(heat)[..., None] + RNG.normal(0, 0.1, (*heat.shape, 1))
    problem = open_problem(stores.write(stores.dataset(images, heat), tmp_path / "a.zarr"))
    assert sum(problem.facts.samples) == 11  # an image without any value is in no split
    labels = np.concatenate([
        np.asarray(open_staged(stage(problem, tmp_path / "stage"), name).labels) for name in ("train",)
    ])
    assert problem.facts.label_mean[0] == pytest.approx(float(np.nanmean(labels)), rel=1e-5)
    assert problem.facts.label_variance[0] == pytest.approx(float(np.nanvar(labels)), rel=1e-4)
    report = check_data(problem, seconds=0.0)
    assert report.ignored == int(np.isnan(heat).sum())
    assert "pixels without a value (NaN)" in report.text()
    assert {score.name: score.value for score in report.scores}["forest"] > 0.5
    heat[2, 9, 9] = np.inf
    with pytest.raises(DataError, match="label: sample 2: expected a number for each pixel, got inf"):
        open_problem(stores.write(stores.dataset(images, heat), tmp_path / "b.zarr"))


def test_whole_numbers_of_pixels_are_values_if_the_task_says_so(tmp_path: Path) -> None:
    depths = RNG.integers(0, 9000, (8, 16, 16))
    path = stores.write(stores.dataset(depths[..., None].astype("float32"), depths), tmp_path / "a.zarr")
    assert open_problem(path, task="regression").by_pixel
    path = stores.write(stores.dataset(depths[..., None].astype("float32"), depths % 2 * 1.0), tmp_path / "b.zarr")
    with pytest.raises(DataError, match="expected class numbers stored as integers, or task regression"):
        open_problem(path)


def test_flips_are_safe_for_maps_without_a_direction() -> None:
    images = [RNG.normal(size=(16, 16, 1)) for _ in range(8)]
    maps = [image[..., 0] ** 2 for image in images]
    names = [name for name, _ in safe_augmentation("regression", images, maps, ("y", "x"))]
    assert names == ["flip=yx", "rotate", "noise=0.05"]
