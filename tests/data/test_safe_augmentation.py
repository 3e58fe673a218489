"""Which changes are safe: no mirror along a direction, no turn where axes differ, and values keep their unit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from menndl_dask.data.safe_augmentation import oriented_axes, safe_augmentation

RNG = np.random.default_rng(7)
IMAGES = [RNG.normal(size=(24, 24, 2)) for _ in range(12)]
MASKS = [(image[..., 0] > 0.5).astype("uint8") for image in IMAGES]


def _names(
    images: list[np.ndarray] = IMAGES,
    labels: list[Any] = MASKS,
    dims: tuple[str, ...] = ("y", "x"),
    task: str = "segmentation",
    **settings: Any,
) -> list[str]:
    found = safe_augmentation(task, images, labels, dims, **settings)
    assert all(reason for _, reason in found)
    return [name for name, _ in found]


def test_images_without_a_direction_are_mirrored_and_turned() -> None:
    assert _names()[:2] == ["flip=yx", "rotate"]


def test_a_brighter_half_in_most_images_is_a_direction() -> None:
    sky = [image + np.linspace(1, -1, 24)[:, None, None] for image in IMAGES]
    assert _names(sky)[0] == "flip=x"
    assert not any(name.startswith("rotate") for name in _names(sky))
    (reason,) = (reason for name, reason in safe_augmentation("segmentation", sky, MASKS, ("y", "x")) if "flip" in name)
    assert "not along y: the first half along y has higher values of channel 0 in 12 of 12 images" in reason


def test_a_class_that_lies_on_one_side_is_a_direction() -> None:
    masks = [np.zeros((24, 24), "uint8") for _ in IMAGES]
    for number, mask in enumerate(masks):
        mask[4:8, 14 + number % 4 : 22] = 3
    assert oriented_axes(IMAGES, masks, ("y", "x")) == {
        0: "the first half along y has more pixels of class 3 in 12 of 12 images",
        1: "the second half along x has more pixels of class 3 in 12 of 12 images",
    }


def test_a_gradient_in_every_image_that_points_anywhere_is_no_direction() -> None:
    ramp = np.linspace(2, -2, 24)[:, None, None]
    lit = [image + (ramp if number % 2 else -ramp) for number, image in enumerate(IMAGES)]
    assert _names(lit)[0] == "flip=yx"


def test_an_object_that_goes_through_a_stack_of_sections_is_no_direction() -> None:
    sections = [RNG.normal(0, 0.1, (24, 24, 1)) for _ in range(24)]
    for number, section in enumerate(sections):  # it grows, and is always at the top left
        section[: 2 + number // 3, :6] += 1
    masks = [np.zeros((24, 24), "uint8")] * 24
    assert _names(sections, masks)[0] == "flip=yx"
    assert _names([sections[number] for number in RNG.permutation(24)], masks)[0] != "flip=yx"  # other images each


@pytest.mark.parametrize(
    ("dims", "first"), [(("lat", "lon"), "noise=0.05"), (("Latitude", "x"), "flip=x"), (("y", "energy"), "flip=y")]
)
def test_dimensions_with_a_direction_are_known_by_their_names(dims: tuple[str, ...], first: str) -> None:
    assert _names(dims=dims)[0] == first
    assert _names(IMAGES[:2], MASKS[:2], dims)[0] == first


def test_of_few_images_it_is_said_that_only_names_were_used() -> None:
    (_, reason), *_ = safe_augmentation("segmentation", IMAGES[:2], MASKS[:2], ("y", "x"))
    assert reason == "with 2 images the direction along y, x is judged by the name only"


def test_no_turn_where_the_axes_differ() -> None:
    assert "rotate" not in _names(spacing=(2.0, 1.0))
    assert "rotate" in _names(spacing=(4.0, 4.1))
    assert "rotate" not in _names(size=(24, 12))
    striped = [image.cumsum(axis=1) for image in IMAGES]
    assert "rotate" not in _names(striped)


def test_a_volume_and_a_spectrum() -> None:
    volumes = [RNG.normal(size=(8, 12, 12, 1)) for _ in range(3)]
    masks = [np.zeros((8, 12, 12), "uint8")] * 3
    assert _names(volumes, masks, ("z", "y", "x"), spacing=(40, 4, 4))[:2] == ["flip=zyx", "rotate"]
    assert _names([image[0] for image in IMAGES], [mask[0] for mask in MASKS], ("x",))[0] == "flip=x"


def test_whole_images_with_a_label_keep_their_orientation() -> None:
    for task in ("classification", "regression"):
        names = _names(task=task, labels=[0, 1] * 6, dtype_kind="u")
        assert not any(name.startswith(("flip", "rotate")) for name in names)


def test_values_in_a_unit_get_noise_only_and_counts_get_more() -> None:
    assert _names(dtype_kind="f")[2:] == ["noise=0.05"]
    assert _names(dtype_kind="u")[2:] == ["brightness=0.1", "contrast=0.1", "noise=0.05"]
    assert _names(dtype_kind="u", task="regression", labels=[0.5] * 12) == ["noise=0.05"]


def test_missing_values_are_left_out() -> None:
    holes = [image.copy() for image in IMAGES]
    for image in holes:
        image[:12, :, 1] = np.nan
    assert _names(holes)[0] == "flip=yx"
