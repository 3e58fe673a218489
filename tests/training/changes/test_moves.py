"""Moves of pixels: by no more than their amount, labels with their pixels, and a margin that is just wide enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

from menndl_dask.problem import Patches, Problem
from menndl_dask.training.augmentation import Augmentation
from tests.problems import problem

COUNT = 48
SIZES = [(20,), (16, 24), (6, 12, 16)]
TURNED = "rotate=20"
MOVES = ["flip", "shift", "scale", "elastic", TURNED, "shear", "flip,rotate=30,scale,shear,shift,elastic"]


def _problem(size: tuple[int, ...], text: str, spacing: Sequence[float] = (), *, patches: bool = False) -> Problem:
    """Return a segmentation of images with a channel for each axis."""
    of = problem("segmentation", ((*size, len(size)),), outputs=math.prod(size))
    facts = replace(of.facts, spacing=tuple(spacing))
    return replace(
        of, facts=facts, augmentation=tuple(text.split(",")), patches=Patches(size) if patches else None
    )


def _places(size: Sequence[int], count: int = COUNT) -> tuple[np.ndarray, np.ndarray]:
    """Return images whose channels are the places of their pixels, and labels that number the pixels."""
    image = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1).astype("float32")
    labels = np.arange(math.prod(size), dtype="int32").reshape(size)
    return np.broadcast_to(image, (count, *image.shape)).copy(), np.broadcast_to(labels, (count, *size)).copy()


def _moved(of: Problem, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return from where pixels of the images of a problem come, and their labels."""
    layer = Augmentation(of, seed)
    size = [n + 2 * m for n, m in zip(of.facts.input_shapes[0][:-1], layer.margin, strict=True)]
    images, labels = _places(size)
    (view,), moved = layer([keras.ops.convert_to_tensor(images)], keras.ops.convert_to_tensor(labels))
    return np.asarray(keras.ops.convert_to_numpy(view)), np.asarray(keras.ops.convert_to_numpy(moved))


def _matrices(places: np.ndarray) -> np.ndarray:
    """Return how places change from pixel to pixel ``(sample, axis, axis)``, in the middle of the images."""
    middle = tuple(n // 2 for n in places.shape[1:-1])
    columns = []
    for axis in range(len(middle)):
        after = tuple(m + (a == axis) for a, m in enumerate(middle))
        columns.append(places[:, *after] - places[:, *middle])
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("text", MOVES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_labels_and_images_come_from_the_same_places(size: tuple[int, ...], text: str) -> None:
    if len(size) == 1 and any(word in text for word in ("rotate", "shear")):
        text = "flip,scale,shift,elastic"
    places, labels = _moved(_problem(size, text))
    assert labels.shape == places.shape[:-1] == (COUNT, *size)
    nearest = np.stack(np.unravel_index(labels, size), axis=-1)
    assert abs(places - nearest).max() <= 0.5 + 1e-3
    assert len({image.tobytes() for image in places}) > (1 if text in ("flip", "shift") else 10)


@pytest.mark.parametrize("text", [TURNED, "scale", "shear", "shift", "rotate=60,scale=0.5,shear=0.3,shift=0.2,flip"])
@pytest.mark.parametrize("size", SIZES[1:], ids=str)
def test_with_its_margin_a_patch_has_no_mirrored_or_empty_pixels(size: tuple[int, ...], text: str) -> None:
    places, labels = _moved(_problem(size, text, patches=True))
    assert labels.shape == (COUNT, *size)
    for axis in range(1, len(size) + 1):  # an affine map has no second differences; a mirror and an edge have
        assert abs(np.diff(places, 2, axis=axis)).max(initial=0.0) < 1e-3


def test_the_margin_of_a_deformation_is_wide_enough() -> None:
    places, _ = _moved(_problem((16, 24), "elastic=0.1,rotate=10", patches=True))
    for axis in (1, 2):
        steps = np.diff(places[..., axis - 1], axis=axis)
        assert steps.min() > 0.0  # neither folded nor mirrored nor repeated at an edge
        assert steps.max() < 2.5


@pytest.mark.parametrize(
    ("text", "size", "margin"),
    [
        ("flip,rotate", (16, 16), (0, 0)),
        ("shift=0.25", (16, 24), (4, 6)),
        ("scale=0.5", (17, 33), (4, 8)),
        ("rotate=180", (17, 17), (4, 4)),  # the diagonal
        ("rotate=90", (9, 33), (13, 1)),
        ("elastic=0.1", (20,), (2,)),
        ("rotate=180", (8, 17, 17), (0, 4, 4)),
    ],
)
def test_the_margin_is_as_wide_as_the_moves_reach(
    text: str, size: tuple[int, ...], margin: tuple[int, ...]
) -> None:
    assert Augmentation(_problem(size, text, patches=True), 0).margin == margin
    assert Augmentation(_problem(size, text), 0).margin == (0,) * len(size)


def test_images_are_turned_by_up_to_the_angle_and_half_of_them_not_at_all() -> None:
    matrices = _matrices(_moved(_problem((24, 24), TURNED, patches=True))[0])
    angles = np.degrees(np.arctan2(matrices[:, 0, 1], matrices[:, 0, 0]))
    np.testing.assert_allclose(np.linalg.det(matrices), 1.0, atol=1e-3)
    assert 12 < abs(angles).max() <= 20
    assert 10 < (angles == 0).sum() < COUNT - 10


def test_images_are_scaled_and_sheared_by_up_to_the_amount() -> None:
    scaled = _matrices(_moved(_problem((16, 16), "scale=0.25", patches=True))[0])
    np.testing.assert_allclose(scaled[:, 0, 1], 0.0, atol=1e-4)
    np.testing.assert_allclose(scaled[:, 0, 0], scaled[:, 1, 1], atol=1e-4)
    assert 1 / 1.25 - 1e-4 <= scaled[:, 0, 0].min() < 0.9
    assert 1.1 < scaled[:, 0, 0].max() <= 1.25 + 1e-4
    sheared = _matrices(_moved(_problem((16, 16), "shear=0.2", patches=True))[0])
    np.testing.assert_allclose(sheared[:, 0, 0], 1.0, atol=1e-4)
    assert 0.1 < abs(sheared[:, 0, 1]).max() <= 0.2 + 1e-4


def test_a_deformation_is_smooth_and_by_up_to_its_share_of_the_size() -> None:
    size = (32, 20)
    places, _ = _moved(_problem(size, "elastic=0.05", patches=True))
    margin = Augmentation(_problem(size, "elastic=0.05", patches=True), 0).margin
    still, _ = _places(size)
    moves = places - margin - still
    for axis, n in enumerate(size):
        assert 0.25 * 0.05 * n < abs(moves[..., axis]).max() <= 0.05 * n + 1e-3
    assert abs(np.diff(moves, axis=1)).max() < 0.4


def test_a_volume_with_distant_sections_is_moved_within_them() -> None:
    for spacing in ((), (40.0, 4.0, 4.0)):
        places, _ = _moved(_problem((6, 12, 12), "rotate=45,scale,shear,elastic,flip", spacing))
        depth = places[..., 0]
        np.testing.assert_allclose(depth, np.broadcast_to(depth[:, :, :1, :1], depth.shape), atol=1e-5)
        np.testing.assert_allclose(depth, np.round(depth), atol=1e-5)
    places, _ = _moved(_problem((6, 12, 12), "rotate=45", (4.0, 4.0, 4.0)))
    assert (np.ptp(places[..., 0], axis=(2, 3)) > 1).any()


def test_pixels_that_are_not_square_are_turned_as_the_object_is() -> None:
    spacing = np.array([3.0, 2.0])
    places = _moved(_problem((20, 30), "rotate=40", spacing, patches=True))[0]
    physical = _matrices(places) * spacing[:, None] / spacing[None]
    products = physical @ physical.transpose(0, 2, 1)
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(2), (COUNT, 2, 2)), atol=1e-3)
    assert abs(physical[:, 0, 1]).max() > 0.3


def test_views_of_another_size_show_the_same_field() -> None:
    shapes = ((16, 16, 2), (32, 24, 2))
    of = problem("segmentation", shapes, augmentation=("rotate=30", "scale", "elastic", "flip", "shear"))
    fields = []
    for y, x, _ in shapes:  # a share of the field in place of a number of pixels
        image = np.stack(np.meshgrid((np.arange(y) + 0.5) / y, (np.arange(x) + 0.5) / x, indexing="ij"), axis=-1)
        fields.append(np.broadcast_to(image.astype("float32"), (COUNT, y, x, 2)).copy())
    labels = np.zeros((COUNT, 16, 16), "uint8")
    (one, two), _ = Augmentation(of, 0)(list(map(keras.ops.convert_to_tensor, fields)), labels)
    middle = [np.asarray(keras.ops.convert_to_numpy(view)) for view in (one, two)]
    np.testing.assert_allclose(
        middle[0][:, 4:12, 4:12].mean(axis=(1, 2)), middle[1][:, 8:24, 6:18].mean(axis=(1, 2)), atol=0.01
    )
    assert middle[0][:, 8, 8].std(axis=0).min() > 0.01


@pytest.mark.parametrize("text", ["rotate=30,shear", "elastic", "scale"])
def test_the_seed_says_how_pixels_move(text: str) -> None:
    of = _problem((12, 12), text)
    one, again, other = (_moved(of, seed)[0] for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_types_of_labels_and_images_are_kept() -> None:
    of = problem("segmentation", ((8, 8, 1),), augmentation=("rotate=30",))
    images: list[Any] = [np.ones((4, 8, 8, 1), "float32")]
    (view,), moved = Augmentation(of, 0)(images, np.full((4, 8, 8), 255, "uint8"))
    assert keras.backend.standardize_dtype(view.dtype) == "float32"
    assert keras.backend.standardize_dtype(moved.dtype) == "uint8"
    assert (np.asarray(keras.ops.convert_to_numpy(moved)) == 255).all()
