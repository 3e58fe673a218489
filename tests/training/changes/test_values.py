"""Changes of values: in units of each channel, by up to their amount, for images of any rank, and labels stay."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from menndl_dask.problem import Problem
from menndl_dask.training.augmentation import Augmentation
from tests.problems import problem

COUNT = 64
MEAN, STD = np.array([50.0, -2e-9]), np.array([10.0, 1e-10])  # counts, and a height in metres
WORDS = ["brightness", "contrast", "gamma", "blur", "noise", "cutout"]


def _problem(*words: str, size: tuple[int, ...] = (12, 10)) -> Problem:
    of = problem("segmentation", ((*size, 2),), augmentation=words)
    return replace(of, facts=replace(of.facts, mean=(tuple(MEAN),), variance=(tuple(STD**2),)))


def _images(size: tuple[int, ...] = (12, 10)) -> np.ndarray:
    normal = np.random.default_rng(0).normal(size=(COUNT, *size, 2))
    return np.asarray(MEAN + STD * normal, dtype="float32")


def _changed(of: Problem, images: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return images as an augmentation leaves them, in standard units."""
    labels = np.random.default_rng(1).integers(0, 3, images.shape[:-1]).astype("uint8")
    (view,), same = Augmentation(of, seed)([keras.ops.convert_to_tensor(images)], keras.ops.convert_to_tensor(labels))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(same), labels)
    return _standard(keras.ops.convert_to_numpy(view))


def _standard(images: np.ndarray) -> np.ndarray:
    return (np.asarray(images, dtype="float64") - MEAN) / STD


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("size", [(12,), (12, 10), (4, 6, 8)], ids=str)
def test_images_of_any_rank_are_changed_and_no_value_is_lost(word: str, size: tuple[int, ...]) -> None:
    images = _images(size)
    after = _changed(_problem(word, size=size), images)
    assert after.shape == images.shape
    assert np.isfinite(after).all()
    difference = abs(after - _standard(images))
    assert (difference.reshape(COUNT, -1, 2).max(axis=1) > 1e-3).mean() > 0.3  # of the samples, in both channels
    np.testing.assert_array_equal(after, _changed(_problem(word, size=size), images))
    assert (after != _changed(_problem(word, size=size), images, seed=1)).any()


def test_brightness_is_added_in_units_of_each_channel() -> None:
    images = _images()
    added = _changed(_problem("brightness=0.5"), images) - _standard(images)
    np.testing.assert_allclose(added, np.broadcast_to(added[:, :1, :1, :1], added.shape), atol=1e-4)
    assert 0.4 < abs(added).max() <= 0.5 + 1e-4
    assert added.min() < 0 < added.max()


def test_contrast_leaves_the_mean_of_each_sample() -> None:
    before, after = _standard(_images()), _changed(_problem("contrast=0.5"), _images())
    np.testing.assert_allclose(after.mean(axis=(1, 2)), before.mean(axis=(1, 2)), atol=1e-4)
    factors = after.std(axis=(1, 2)) / before.std(axis=(1, 2))
    assert 1 / 1.5 - 1e-4 < factors.min() < 0.8
    assert 1.3 < factors.max() < 1.5 + 1e-4


def test_gamma_keeps_the_extremes_and_the_order_of_values() -> None:
    before, after = _standard(_images()), _changed(_problem("gamma=0.5"), _images())
    for extreme in (np.min, np.max):
        np.testing.assert_allclose(extreme(after, axis=(1, 2)), extreme(before, axis=(1, 2)), atol=1e-4)
    order = np.argsort(before[..., 0].reshape(COUNT, -1), axis=1)
    assert (np.diff(np.take_along_axis(after[..., 0].reshape(COUNT, -1), order, axis=1)) > -1e-4).all()
    constant = np.broadcast_to(MEAN.astype("float32"), (COUNT, 12, 10, 2)).copy()
    np.testing.assert_allclose(_changed(_problem("gamma"), constant), _standard(constant), atol=1e-4)


def test_blur_is_a_gaussian_for_half_of_the_samples() -> None:
    spike = np.zeros((COUNT, 21, 21, 2), "float32")
    spike[:, 10, 10] = 1.0
    of = replace(_problem("blur=1.5", size=(21, 21)))
    after = _changed(of, spike) * STD + MEAN
    np.testing.assert_allclose(after.sum(axis=(1, 2)), 1.0, rtol=1e-3)
    place = np.arange(21) - 10
    sigma = np.sqrt((after[..., 0].sum(axis=2) * place**2).sum(axis=1))
    assert 1.0 < sigma.max() < 1.5
    assert 16 < (sigma < 1e-3).sum() < 48
    widest = after[sigma.argmax(), :, 10, 0]
    np.testing.assert_allclose(widest / widest.max(), np.exp(-0.5 * (place / sigma.max()) ** 2), atol=0.02)


def test_a_volume_with_distant_sections_is_blurred_within_them() -> None:
    of = _problem("blur", size=(6, 8, 8))
    spike = np.zeros((COUNT, 6, 8, 8, 2), "float32")
    spike[:, 3, 4, 4] = 1.0
    after = _changed(of, spike) * STD + MEAN
    np.testing.assert_allclose(after[:, [0, 1, 2, 4, 5]], 0.0, atol=1e-4)
    thick = replace(of, facts=replace(of.facts, spacing=(1.0, 1.0, 1.0)))
    assert (_changed(thick, spike) * STD + MEAN)[:, 2, ..., 0].max() > 0.01


def test_a_box_of_the_channels_mean_is_cut_out() -> None:
    images = _images((20, 30)) + (5 * STD).astype("float32")
    cut = abs(_changed(_problem("cutout=0.3", size=(20, 30)), images)) < 1e-4
    np.testing.assert_array_equal(cut[..., 0], cut[..., 1])
    heights, widths = cut[..., 0].any(axis=2).sum(axis=1), cut[..., 0].any(axis=1).sum(axis=1)
    assert (heights.max(), widths.max()) == (6, 9)
    assert min(heights.min(), widths.min()) >= 1
    np.testing.assert_array_equal(cut[..., 0].sum(axis=(1, 2)), heights * widths)
    assert len({image.tobytes() for image in cut}) > 40


def test_all_views_are_cut_at_the_same_share_of_their_size() -> None:
    of = problem("segmentation", ((16, 16, 1), (32, 32, 1)), augmentation=("cutout=0.5",))
    views = [keras.ops.ones((COUNT, n, n, 1)) for n in (16, 32)]
    after, _ = Augmentation(of, 0)(views, np.zeros((COUNT, 16, 16), "uint8"))
    one, two = (np.asarray(keras.ops.convert_to_numpy(view))[..., 0] for view in after)
    assert abs(one - two[:, ::2, ::2]).mean() < 0.1


def test_changes_follow_in_the_order_in_which_they_are_named() -> None:
    images = _images()
    cut_last = _changed(_problem("noise", "cutout=0.5"), images)
    cut_first = _changed(_problem("cutout=0.5", "noise"), images)
    assert (abs(cut_last) < 1e-4).mean() > 0.02
    assert (abs(cut_first) < 1e-4).mean() < 0.01
