"""Patches: where they are drawn, what they hold, and that they are the same again."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from menndl_dask.data.staged_images import StagedImage
from menndl_dask.problem import Patches
from menndl_dask.training.patches import PatchSource, read_label, read_views
from tests.large_images import images_of_classes, images_of_pixels, problem_of_pixels
from tests.problems import problem


def _numbered(size: tuple[int, ...], start: int = 0) -> StagedImage:
    """Return an image in which every pixel has a number of its own, and class 0."""
    values = start + np.arange(np.prod(size), dtype="float32").reshape(*size, 1)
    return StagedImage((values,), np.zeros(size, "uint8"))


def test_patches_are_parts_of_the_images_with_their_labels() -> None:
    images = images_of_pixels([(30, 40), (50, 20)])
    chunk = PatchSource(images, problem_of_pixels(), 1).read(np.arange(50))
    assert chunk.images[0].shape == (50, 16, 16, 1)
    assert chunk.images[0].dtype == np.float32
    assert chunk.labels.shape == (50, 16, 16)
    np.testing.assert_array_equal(chunk.images[0][..., 0] > 125, chunk.labels > 0)
    whole = np.concatenate([image.views[0].ravel() for image in images])  # type: ignore[attr-defined]
    assert np.isin(chunk.images[0], whole).all()


def test_a_patch_depends_on_seed_epoch_and_number_only() -> None:
    images, of = images_of_pixels([(30, 40), (50, 20)]), problem_of_pixels(per_epoch=20)
    source = PatchSource(images, of, 1)
    epochs = [source.read(source.order(epoch)) for epoch in (0, 1, 0)]
    views = [chunk.images[0][chunk.order] for chunk in epochs]
    np.testing.assert_array_equal(views[0], views[2])
    assert (views[0] != views[1]).any(axis=(1, 2, 3)).mean() > 0.9
    part = PatchSource(images, of, 1).read(source.order(1)[7:9])
    np.testing.assert_array_equal(part.images[0][part.order], views[1][7:9])
    assert (PatchSource(images, of, 2).read(source.order(0)).images[0] != epochs[0].images[0]).any()


def test_patches_are_drawn_from_everywhere_and_more_from_larger_images() -> None:
    images = [_numbered((20, 30)), _numbered((20, 90), start=1000)]
    chunk = PatchSource(images, problem_of_pixels((8, 8), foreground=0.0), 0).read(np.arange(2000))
    first = chunk.images[0][:, 0, 0, 0]
    assert np.mean(first >= 1000) == pytest.approx(0.75, abs=0.03)
    rows, columns = np.divmod(first[first < 1000], 30)
    assert Counter(rows.tolist()).keys() == set(range(13))
    assert Counter(columns.tolist()).keys() == set(range(23))


@pytest.mark.parametrize(("size", "patch"), [((60, 40), (8, 8)), ((10, 50), (8, 8))])
def test_pixels_near_the_edges_are_seen_too(size: tuple[int, ...], patch: tuple[int, ...]) -> None:
    image = _numbered(size)
    chunk = PatchSource([image], problem_of_pixels(patch, foreground=0.0), 0).read(np.arange(6000))
    seen = np.bincount(chunk.images[0].astype(int).ravel(), minlength=image.label.size).reshape(size)  # type: ignore[attr-defined]
    for axis in (0, 1):
        along = seen.sum(axis=axis)
        assert along.min() > 0.35 * np.median(along)
        assert along.max() < 2 * np.median(along)


def test_a_share_of_the_patches_is_around_pixels_of_rare_classes_each_alike() -> None:
    images = images_of_pixels([(300, 40), (500, 20)], rare=0.0005)
    images.append(StagedImage((np.zeros((90, 90, 1), "float32"),), np.zeros((90, 90), "uint8")))  # without them
    plain, around = (
        PatchSource(images, problem_of_pixels((8, 8), foreground=share), 0).read(np.arange(400)).labels
        for share in (0.0, 0.5)
    )
    for number in (1, 2):
        assert (plain == number).any(axis=(1, 2)).mean() < 0.1
        assert (around == number).any(axis=(1, 2)).mean() > 0.2


def test_a_patch_around_a_pixel_at_an_edge_stays_inside() -> None:
    image = replace(_numbered((20, 20)), pixels={0: np.array([[10, 10]]), 1: np.array([[0, 0], [19, 19]])})
    source = PatchSource([image], problem_of_pixels((8, 8), foreground=1.0), 0)
    assert set(source.read(np.arange(40)).images[0][:, 0, 0, 0].tolist()) == {0.0, 12 * 20 + 12}


@pytest.mark.parametrize(("ignore", "beyond"), [(None, [0, 1]), (9, [9])])
def test_small_images_are_mirrored_and_their_labels_are_ignored_where_that_can_be(
    ignore: int | None, beyond: list[int]
) -> None:
    values = np.arange(12.0).reshape(3, 4, 1)
    image = StagedImage((values,), (values[..., 0] > 5).astype("uint8"))
    chunk = PatchSource([image], problem_of_pixels((5, 4), ignore=ignore), 0).read(np.arange(3))
    np.testing.assert_array_equal(chunk.images[0][0, :, :, 0], values[[1, 0, 1, 2, 1], :, 0])
    np.testing.assert_array_equal(chunk.labels[0, 1:4], values[..., 0] > 5)
    assert np.unique(chunk.labels[0, [0, 4]]).tolist() == beyond


def test_a_margin_is_around_each_patch() -> None:
    image = _numbered((12, 12))
    plain, wide = (PatchSource([image], problem_of_pixels((8, 8)), 0, margin) for margin in (None, (2, 3)))
    inner, outer = (source.read(np.arange(20)) for source in (plain, wide))
    assert outer.images[0].shape == (20, 12, 14, 1)
    assert outer.labels.shape == (20, 12, 14)
    np.testing.assert_array_equal(outer.images[0][:, 2:-2, 3:-3], inner.images[0])
    assert wide.labels(3 * 64).shape == (3, 8, 8)
    chunk = plain.read(plain.order(0)[:3])
    np.testing.assert_array_equal(wide.labels(3 * 64), np.asarray(chunk.labels)[chunk.order])


def test_missing_values_become_the_mean_and_integers_are_read_as_they_are() -> None:
    values = np.array([[1.0, np.nan], [3.0, 4.0]])[..., np.newaxis]
    (view,) = read_views(StagedImage((values,), np.zeros((2, 2))), np.zeros(2, int), np.full(2, 2), ((7.0,),))
    assert view[..., 0].tolist() == [[1.0, 7.0], [3.0, 4.0]]
    (view,) = read_views(
        StagedImage((np.full((2, 2, 1), 65535, "uint16"),), values), np.zeros(2, int), np.ones(2, int), [[0]]
    )
    assert (view.dtype, view.shape, view.max()) == (np.float32, (1, 1, 1), 65535)
    assert (
        read_label(StagedImage((values,), np.full((2, 2), 200, "uint8")), np.zeros(2, int), np.ones(2, int), 0).dtype
        == np.int32
    )


def test_volumes_have_patches_too() -> None:
    source = PatchSource(images_of_pixels([(10, 30, 40)]), problem_of_pixels((12, 16, 16)), 0, (1, 0, 2))
    chunk = source.read(np.arange(4))
    assert chunk.images[0].shape == (4, 14, 16, 20, 1)


def test_each_image_with_a_label_of_its_own_is_drawn_alike() -> None:
    images = images_of_classes(6)
    images[0] = StagedImage((np.full((400, 400, 1), -5.0, "float32"),), np.array(2))
    of = replace(problem(), patches=Patches((16, 16)), large_images="vote")
    chunk = PatchSource(images, of, 0).read(np.arange(600))
    assert chunk.labels.shape == (600,)
    is_large = (chunk.images[0] == -5).all(axis=(1, 2, 3))
    assert is_large.mean() == pytest.approx(1 / 6, abs=0.06)
    assert set(chunk.labels[is_large].tolist()) == {2}
    assert not np.isnan(chunk.images[0]).any()


def test_a_chunk_is_whole_batches_of_bounded_size() -> None:
    source = PatchSource(images_of_pixels([(300, 300)]), problem_of_pixels((64, 64)), 0)
    assert source.chunk_size(8, 1e12) == 64
    assert source.chunk_size(8, 1.0) == 8
    assert source.chunk_size(200, 1e12) == 200
