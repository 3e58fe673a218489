"""Augmentation: whatever is done to an image is done to its labels, at random, and by nothing but the seed."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from menndl_dask.errors import UserError
from menndl_dask.problem import Problem
from menndl_dask.training.augmentation import Augmentation
from tests.problems import problem

COUNT = 64
SHAPES = [(9, 1), (6, 6, 1), (4, 6, 6, 1)]


def _numbered(shape: tuple[int, ...], count: int = COUNT) -> np.ndarray:
    """Return the same image for each sample, in which every pixel has a number of its own."""
    pixels = int(np.prod(shape[:-1]))
    image = np.arange(pixels, dtype="float32").reshape(*shape[:-1], 1) + 1000 * np.arange(shape[-1], dtype="float32")
    return np.broadcast_to(image, (count, *shape)).copy()


def _changed(of: Problem, images: list[np.ndarray], labels: np.ndarray, seed: int = 0) -> tuple[list[Any], Any]:
    views, moved = Augmentation(of, seed)([keras.ops.convert_to_tensor(view) for view in images], labels)
    return [keras.ops.convert_to_numpy(view) for view in views], keras.ops.convert_to_numpy(moved)


def _one_view(text: str, shape: tuple[int, ...] = (6, 6, 1)) -> np.ndarray:
    """Return numbered images as an augmentation leaves them."""
    of = problem(shapes=(shape,), augmentation=(text,))
    (view,), _ = _changed(of, [_numbered(shape)], np.zeros(COUNT, "uint8"))
    return view


@pytest.mark.parametrize(
    ("text", "shape"),
    [("rotate", shape) for shape in SHAPES[1:]] + [(text, shape) for text in ("flip", "shift=0.4") for shape in SHAPES],
)
def test_the_labels_of_pixels_move_with_them(text: str, shape: tuple[int, ...]) -> None:
    of = problem("segmentation", (shape,), augmentation=(text,))
    images = _numbered(shape)
    (view,), moved = _changed(of, [images], images[..., 0].astype("uint8"))
    np.testing.assert_array_equal(view[..., 0], moved)
    assert moved.dtype == np.uint8
    assert len({image.tobytes() for image in view}) > 1


def test_all_views_move_alike_whatever_their_size_and_channels() -> None:
    shapes = ((6, 6, 1), (6, 6, 2), (12, 12, 1))
    of = problem("segmentation", shapes, augmentation=("flip", "rotate", "shift"))
    images = [_numbered(shape) for shape in shapes]
    images[2] = np.kron(images[0], np.ones((1, 2, 2, 1), "float32"))
    (one, two, large), labels = _changed(of, images, images[0][..., 0].astype("int32"))
    np.testing.assert_array_equal(one[..., 0], labels)
    np.testing.assert_array_equal(two[..., 0], labels)
    np.testing.assert_array_equal(two[..., 1], labels + 1000)
    turned = problem("segmentation", shapes, augmentation=("flip", "rotate"))
    (_, _, large), labels = _changed(turned, images, images[0][..., 0].astype("int32"))
    np.testing.assert_array_equal(large[:, ::2, ::2, 0], labels)


def test_the_labels_of_whole_samples_stay() -> None:
    of = problem(augmentation=("flip", "rotate", "shift", "noise"))
    labels = np.arange(COUNT, dtype="uint8") % 3
    _, same = _changed(of, [_numbered((16, 16, 1))], labels)
    np.testing.assert_array_equal(same, labels)


def test_a_rotation_is_one_of_the_four_by_right_angles() -> None:
    image = _numbered((6, 6, 1), 1)[0]
    assert {i.tobytes() for i in _one_view("rotate")} == {np.rot90(image, k).tobytes() for k in range(4)}


def test_a_volume_is_turned_about_its_first_axis() -> None:
    volume = _numbered((4, 6, 6, 1), 1)[0]
    expected = {np.rot90(volume, k, axes=(1, 2)).tobytes() for k in range(4)}
    assert {v.tobytes() for v in _one_view("rotate", (4, 6, 6, 1))} == expected


def test_a_flip_is_along_the_axes_that_are_named() -> None:
    image = _numbered((6, 6, 1), 1)[0]
    assert {i.tobytes() for i in _one_view("flip=x")} == {image.tobytes(), image[:, ::-1].tobytes()}
    both = {image[::y, ::x].tobytes() for y in (1, -1) for x in (1, -1)}
    assert {i.tobytes() for i in _one_view("flip")} == both


def test_a_shift_moves_by_no_more_than_its_share_and_mirrors_at_the_edge() -> None:
    rows = _one_view("shift=0.34", (6, 1))[..., 0].astype(int)
    expected = {-2: [1, 0, 0, 1, 2, 3], -1: [0, 0, 1, 2, 3, 4], 0: [0, 1, 2, 3, 4, 5],
                1: [1, 2, 3, 4, 5, 5], 2: [2, 3, 4, 5, 5, 4]}  # fmt: skip
    assert {tuple(row) for row in rows} == {tuple(row) for row in expected.values()}


def test_noise_is_in_units_of_each_channels_deviation() -> None:
    of = problem(shapes=((16, 16, 2),), augmentation=("noise=0.5",))
    facts = of.facts
    of = Problem.from_dict({**of.to_dict(), "facts": {**of.to_dict()["facts"], "variance": [[1.0, 100.0]]}})
    assert facts != of.facts
    (view,), _ = _changed(of, [np.zeros((COUNT, 16, 16, 2), "float32")], np.zeros(COUNT))
    assert view[..., 0].std() == pytest.approx(0.5, rel=0.05)
    assert view[..., 1].std() == pytest.approx(5.0, rel=0.05)


def test_the_seed_says_what_happens_and_each_call_goes_on() -> None:
    of = problem(augmentation=("flip", "shift", "noise"))
    images = keras.ops.convert_to_tensor(_numbered((16, 16, 1)))
    labels = np.zeros(COUNT)
    first, again, other = (Augmentation(of, seed) for seed in (1, 1, 2))
    one = np.asarray(first([images], labels)[0][0])
    np.testing.assert_array_equal(one, again([images], labels)[0][0])
    assert (one != np.asarray(other([images], labels)[0][0])).any()
    assert (one != np.asarray(first([images], labels)[0][0])).any()


def test_a_users_own_layer_is_asked_in_its_turn() -> None:
    of = problem(augmentation=("tests.own_functions:Brighter", "flip", "tests.own_functions:Brighter"))
    images = _numbered((16, 16, 1))
    (view,), _ = _changed(of, [images], np.zeros(COUNT))
    np.testing.assert_array_equal(np.sort(view.ravel()), np.sort(images.ravel()) * 4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tests.own_functions:absolute_eror", "did you mean 'absolute_error'"),
        ("tests.own_functions:LargestError", "expected a layer of Keras, got LargestError"),
    ],
)
def test_what_is_no_layer_is_refused(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Augmentation(problem(augmentation=(name,)), 0)
