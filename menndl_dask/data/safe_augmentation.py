"""Which changes of training images are safe, judged by samples of the images. Pure.

A mirrored image must be one that could have been measured. It is not where the images have a direction, such as sky
above and ground below. That is seen in the difference between the two halves of each image, if it is alike in most
images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from menndl_dask.change import AXES, fine_axes
from menndl_dask.text import counted

Array = NDArray[Any]
# names of dimensions that have a direction
_ORIENTED = (
    "lat", "latitude", "lon", "longitude", "time", "depth", "height", "altitude", "level", "pressure",
    "energy", "energy_loss", "frequency", "wavelength",
)  # fmt: skip
_FEWEST = 5  # images from which a direction can be told
_LEVEL = 0.01  # of significance, over all axes, channels and classes
# mean of the images' differences in units of their standard deviation: seven of ten images have the same sign
_CONSISTENT = 0.5
_UNLIKE = 0.2  # logarithm of the ratio of two axes' differences between neighbours
_EQUAL = 1.05  # ratio of two spacings


def safe_augmentation(
    task: str,
    images: Sequence[Array],
    labels: Sequence[Any],
    dims: Sequence[str],
    spacing: Sequence[float] = (),
    dtype_kind: str = "f",
    size: Sequence[int] = (),
) -> list[tuple[str, str]]:
    """Return the changes of `Problem.augmentation` that are safe, each with the reason.

    Parameters
    ----------
    task
        As in `Problem`. Only for ``segmentation`` images are mirrored and turned: a class or a value of a whole image
        may depend on its orientation.
    images
        Some images of the training split ``(spatial…, channel)``, of any sizes; NaN where a value is missing.
    labels
        Their class numbers ``(spatial…)``, or a label for each.
    dims
        Names of the spatial dimensions.
    spacing
        Size of a pixel along each; empty if it is not known.
    dtype_kind
        Kind of the type of the values in the store, as NumPy names it: integers (``u``, ``i``) are taken as counts
        without a unit that has to be kept, floats (``f``) as values in a physical unit.
    size
        Pixels of what networks are trained on; by default those of the first image.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> images = [rng.normal(size=(16, 16, 1)) for _ in range(8)]
    >>> masks = [image[..., 0] > 1 for image in images]
    >>> [name for name, _ in safe_augmentation("segmentation", images, masks, ("y", "x"))]
    ['flip=yx', 'rotate', 'noise=0.05']
    """
    found = []
    if task == "segmentation" or any(np.ndim(label) > 1 for label in labels):
        if task == "regression":  # what stands out is taken for a class
            middle = float(np.mean([np.mean(label) for label in labels]))
            labels = [np.asarray(label) > middle for label in labels]
        oriented = oriented_axes(images, labels, dims)
        found += _flips(oriented, len(images), dims)
        found += _turns(images, oriented, spacing, size or images[0].shape[:-1])
    return found + _intensities(task, dtype_kind)


def oriented_axes(images: Sequence[Array], labels: Sequence[Array], dims: Sequence[str]) -> dict[int, str]:
    """Return the axes along which images of a segmentation have a direction, each with the reason.

    >>> falling = [np.linspace(9, 0, 8)[:, None, None] + np.eye(8)[..., None] * i for i in range(6)]
    >>> oriented_axes(falling, [np.zeros((8, 8))] * 6, ("y", "x"))
    {0: 'the first half along y has higher values of channel 0 in 6 of 6 images'}
    """
    reasons = {axis: f"dimension {name} has a direction" for axis, name in enumerate(dims) if name.lower() in _ORIENTED}
    if len(images) < _FEWEST:
        return reasons
    classes, counts = np.unique(np.concatenate([np.ravel(label) for label in labels]), return_counts=True)
    classes = classes[np.argsort(counts, kind="stable")]  # the reason names a rare one rather than the background
    channels = images[0].shape[-1]
    for axis in range(len(dims)):
        of_values = np.array([_half_difference(image, axis) for image in images])
        of_classes = [[_half_difference((label == c)[..., None], axis)[0] for c in classes] for label in labels]
        differences = np.concatenate([of_values, np.array(of_classes)], axis=1)
        level = _LEVEL / (differences.shape[1] * len(dims))
        for number, values in enumerate(differences.T):
            if axis not in reasons and _is_consistent(values, level):
                more = f"higher values of channel {number}" if number < channels else ""
                more = more or f"more pixels of class {classes[number - channels]:g}"
                first = np.nanmean(values) > 0
                share = f"{int(np.sum(values > 0 if first else values < 0))} of {len(images)} images"
                half = "first" if first else "second"
                reasons[axis] = f"the {half} half along {dims[axis]} has {more} in {share}"
    return reasons


def _half_difference(image: Array, axis: int) -> Array:
    """Return for each channel the mean of the first half along an axis minus that of the second."""
    values = np.moveaxis(np.asarray(image, dtype="float64"), axis, 0)
    half = len(values) // 2
    if not half:
        return np.zeros(values.shape[-1])
    over = tuple(range(values.ndim - 1))
    known = np.isfinite(values)
    counts = [part.sum(axis=over) for part in (known[:half], known[-half:])]
    values = np.where(known, values, 0.0)
    sums = [part.sum(axis=over) for part in (values[:half], values[-half:])]
    means = [total / np.maximum(count, 1) for total, count in zip(sums, counts, strict=True)]
    return np.where(np.minimum(*counts) > 0, means[0] - means[1], 0.0)


def _is_consistent(differences: Array, level: float) -> bool:
    """Return whether differences have the same sign beyond chance (t-test), and in most images.

    Neighbouring sections of a stack show the same objects, so they count as fewer images (Bartlett 1946,
    doi:10.2307/2983611: n (1 - r) / (1 + r) with the correlation r of neighbours).
    """
    count, std = len(differences), float(np.std(differences, ddof=1))
    mean = abs(float(np.mean(differences)))
    if std <= 1e-9 * mean or std == 0.0:
        return mean > 0.0
    rest = (differences - differences.mean()) / std
    correlation = max(0.0, float(rest[1:] @ rest[:-1]) / (count - 1))
    independent = count * (1.0 - correlation) / (1.0 + correlation)
    if independent < _FEWEST - 1:
        return False
    t = mean / std * math.sqrt(independent)
    return mean > _CONSISTENT * std and 2 * float(stats.t.sf(t, independent - 1)) < level


def _flips(oriented: dict[int, str], count: int, dims: Sequence[str]) -> list[tuple[str, str]]:
    free = [axis for axis in range(len(dims)) if axis not in oriented]
    if not free:
        return []
    names = ", ".join(dims[axis] for axis in free)
    reason = f"no direction is seen along {names} in {count} images"
    if count < _FEWEST:
        reason = f"with {counted(count, 'image')} the direction along {names} is judged by the name only"
    left_out = "".join(f"; not along {dims[axis]}: {why}" for axis, why in oriented.items())
    return [(f"flip={''.join(AXES[-len(dims) :][axis] for axis in free)}", reason + left_out)]


def _turns(
    images: Sequence[Array], oriented: dict[int, str], spacing: Sequence[float], size: Sequence[int]
) -> list[tuple[str, str]]:
    rank = len(size)
    y, x = rank - 2, rank - 1
    if rank < 2 or y in oriented or x in oriented or size[y] != size[x]:
        return []
    if spacing and (max(spacing[y:]) > _EQUAL * min(spacing[y:]) or not {y, x} <= set(fine_axes(rank, spacing))):
        return []
    ratios = [_roughness_ratio(image, y, x) for image in images]
    if abs(float(np.mean(ratios))) > _UNLIKE:
        return []
    spaced = "equally spaced" if spacing else "without a known spacing"
    return [("rotate", f"y and x are {spaced}, have no direction, and images look alike along both")]


def _roughness_ratio(image: Array, y: int, x: int) -> float:
    """Return the logarithm of the ratio of the differences between neighbours along y and along x."""
    values = np.asarray(image, dtype="float64")
    along_y, along_x = (float(np.nanmean(np.abs(np.diff(values, axis=axis)))) for axis in (y, x))
    if not (along_y > 0 and along_x > 0):
        return 0.0 if along_y == along_x else math.inf
    return math.log(along_y / along_x)


def _intensities(task: str, dtype_kind: str) -> list[tuple[str, str]]:
    if dtype_kind in "uib" and task != "regression":
        reason = "values are integers, so counts without a unit: their offset and range change from image to image"
        return [("brightness=0.1", reason), ("contrast=0.1", reason), ("noise=0.05", "weak noise changes no label")]
    of = "numbers to predict may depend on brightness" if task == "regression" else "values are in a physical unit"
    return [("noise=0.05", f"{of}, so only weak noise is added")]
