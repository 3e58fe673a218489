"""Large images in memory, as the trainer opens them, for tests of patches and tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from menndl_dask.data.staged_images import StagedImage
from menndl_dask.problem import Patches, Problem
from tests.problems import problem


def images_of_pixels(sizes: Sequence[tuple[int, ...]], seed: int = 0, rare: float = 0.02) -> list[StagedImage]:
    """Return noisy images of unequal size with blocks of class 1, which is rare, and one pixel of class 2."""
    rng = np.random.default_rng(seed)
    images = []
    for size in sizes:
        label = (rng.random(size) < rare).astype("uint8")
        for axis in range(len(size)):
            label |= np.roll(label, 1, axis)
        label[tuple(side // 2 for side in size)] = 2
        values = 100 + 50 * label[..., np.newaxis] + rng.normal(0, 5, (*size, 1))
        pixels = {number: np.argwhere(label == number).astype("int32") for number in range(3)}
        images.append(StagedImage((values.astype("float32"),), label, pixels))
    return images


def problem_of_pixels(size: tuple[int, ...] = (16, 16), ignore: int | None = None, **patches: Any) -> Problem:
    """Return the problem of `images_of_pixels`, with patches of this size."""
    made = problem("segmentation", ((*size, 1),), ignore=ignore, patches=Patches(size, **patches))
    facts = replace(made.facts, class_counts=(9000, 900, 3), mean=((105.0,),), variance=((300.0,),))
    return replace(made, facts=facts)


def images_of_classes(count: int = 24, seed: int = 0) -> list[StagedImage]:
    """Return images of unequal size whose brightness tells their class, in all but a few places."""
    rng = np.random.default_rng(seed)
    images = []
    for number in range(count):
        size = tuple(int(side) for side in rng.integers(14, 40, 2))
        values = rng.normal(number % 3, 0.3, (*size, 1)).astype("float32")
        values[:4, :4] = np.nan
        images.append(StagedImage((values,), np.array(number % 3)))
    return images
