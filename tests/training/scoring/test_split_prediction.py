"""Predictions for splits: each pixel and each image once, whatever the network is given at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from menndl_dask.data.staged_images import StagedImage
from menndl_dask.data.staged_samples import Samples
from menndl_dask.problem import Patches
from menndl_dask.training.scoring.split_prediction import SamplePrediction, TiledPrediction, WindowPrediction
from tests.large_images import images_of_classes, images_of_pixels, problem_of_pixels
from tests.problems import problem

SIZES = [(70, 40), (33, 90), (9, 50)]


class _Network:
    """Says of each pixel by its own value which class it is, and remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def __call__(self, views: Sequence[Any]) -> np.ndarray:
        self.batches.append(views[0].shape)
        found = np.clip(np.round((views[0][..., 0] - 100) / 50), 0, 2).astype(int)
        return np.eye(3, dtype="float32")[found]


def test_every_pixel_is_predicted_once() -> None:
    network, of = _Network(), problem_of_pixels()
    split = TiledPrediction(images_of_pixels(SIZES), of, 8)
    parts = list(split.parts(network))
    assert sum(part.labels.size for part in parts) == sum(int(np.prod(size)) for size in SIZES)
    for part in parts:
        assert part.predictions.shape == (*part.labels.shape, 3)
        np.testing.assert_array_equal(part.predictions.argmax(-1), part.labels)
    ((size, *shape),) = set(network.batches)  # one shape: compiled once
    assert shape == [16, 16, 1]
    assert size <= 8
    assert len(network.batches) == -(-split.predicted // 8)
    units = np.concatenate([part.units for part in parts])
    assert len(np.unique(units)) == len(units) >= 16
    assert units.max() < split.units
    assert split.images == 3
    assert split.groups is not None
    assert np.unique(split.groups).tolist() == [0, 1, 2]  # one for each image
    assert split.one()[0].shape == (1, 16, 16, 1)


def test_some_tiles_are_of_all_images_with_all_classes() -> None:
    network, of = _Network(), problem_of_pixels((8, 8))
    images = images_of_pixels([(200, 80), (100, 90), (300, 50)], rare=0.0001)
    split = TiledPrediction(images, of, 4, most=12)
    parts = list(split.parts(network))
    assert sum(part.labels.shape[1] * part.labels.shape[2] for part in parts) <= 12 * 64
    assert 9 <= split.predicted <= 12
    assert split.units >= 16
    assert set(np.concatenate([part.labels.ravel() for part in parts]).tolist()) == {0, 1, 2}
    assert split.groups is not None
    assert set(split.groups.tolist()) == {0, 1, 2}
    for part in parts:
        np.testing.assert_array_equal(part.predictions.argmax(-1), part.labels)
    again = TiledPrediction(images, of, 4, most=12)
    for one, two in zip(parts, again.parts(network), strict=True):
        np.testing.assert_array_equal(one.labels, two.labels)


def test_a_large_image_is_predicted_in_blocks_that_equal_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "menndl_dask.training.scoring.split_prediction._BLOCK_BYTES"
    images, of = images_of_pixels([(200, 120)]), problem_of_pixels()
    whole = list(TiledPrediction(images, of, 8, whole_images=True).parts(_Network()))
    assert [part.labels.shape for part in whole] == [(1, 200, 120)]
    monkeypatch.setattr(name, 12 * 40 * 40)
    split = TiledPrediction(images, of, 8)
    parts = list(split.parts(_Network()))
    assert max(part.labels.size for part in parts) <= 40 * 40
    assert split.groups is not None
    assert np.unique(split.groups).tolist() == list(range(8))  # parts of one image
    assert sum(part.labels.size for part in parts) == 200 * 120


def test_a_batch_is_not_larger_than_what_is_predicted() -> None:
    network = _Network()
    split = TiledPrediction(images_of_pixels([(40, 40)]), problem_of_pixels(), 1000, most=3)
    assert len(list(split.parts(network))) >= 3
    assert network.batches == [(split.predicted, 16, 16, 1)]


def test_only_a_part_of_an_image_is_read_at_a_time() -> None:
    class Watched:
        """An array that notes the largest part that was read of it."""

        shape, largest = (400, 300, 1), 0

        def __getitem__(self, index: Any) -> np.ndarray:
            found = np.zeros(self.shape, "float32")[index]
            self.largest = max(self.largest, found.size)
            return found

    view = Watched()
    image = StagedImage((view,), np.zeros((400, 300), "uint8"))
    for _ in TiledPrediction([image], problem_of_pixels(), 8, most=20).parts(_Network()):
        pass
    assert view.largest == 16 * 16


@pytest.mark.parametrize(("how", "right"), [("vote", 1.0), ("mean", 1.0)])
def test_images_get_one_prediction_from_their_windows(how: str, right: float) -> None:
    of = replace(problem(), patches=Patches((10, 10)), large_images=how)
    images = images_of_classes()

    def network(views: Sequence[Any]) -> np.ndarray:
        level = views[0].mean(axis=(1, 2, 3))
        return np.eye(3, dtype="float32")[np.clip(np.round(level), 0, 2).astype(int)]

    split = WindowPrediction(images, of, 7)
    parts = list(split.parts(network))
    assert [part.units.tolist() for part in parts] == [[number] for number in range(24)]
    assert np.mean([part.predictions[0].argmax() == part.labels[0] for part in parts]) == right
    assert sum(len(part.for_loss[0]) for part in parts) == split.predicted > 48
    few = WindowPrediction(images, of, 7, most=30)
    assert few.units == few.predicted == 24
    assert split.one()[0].shape == (1, 10, 10, 1)


def test_samples_are_predicted_in_batches() -> None:
    samples = Samples((np.full((20, 4, 4, 1), 150.0, "float32"),), np.ones((20, 4, 4), "uint8"))
    split = SamplePrediction(samples, 8)
    parts = list(split.parts(_Network()))
    assert [len(part.labels) for part in parts] == [8, 8, 4]
    assert np.concatenate([part.units for part in parts]).tolist() == list(range(20))
    assert split.groups is not None
    assert np.unique(split.groups).tolist() == list(range(8))
    assert SamplePrediction(Samples(samples.images, samples.labels[:5]), 8).groups is None
