"""How well predicted boundaries separate neurons: scores after one fixed watershed, and a random forest to compare.

Runs on the driver.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from neuron_volumes import FILL, Volume
from scipy.ndimage import binary_dilation, generate_binary_structure
from skimage.feature import multiscale_basic_features
from skimage.filters import gaussian
from skimage.measure import label as connected
from skimage.metrics import adapted_rand_error, variation_of_information
from skimage.morphology import h_minima
from skimage.segmentation import watershed
from sklearn.ensemble import RandomForestClassifier

SMOOTHED = 1.0
"""Standard deviation in voxels of the Gaussian that smooths the probability before the watershed."""
DEPTH = 0.05
"""Least depth of a minimum of the smoothed probability that becomes a seed."""
SCORES = ("boundary IoU", "accuracy", "boundary F1", "VI split", "VI merge", "adapted Rand error")

_DRAWN = 50_000  # voxels that the forest learns from
_TREES = 100


def segment(probability: np.ndarray, by_section: bool) -> np.ndarray:
    """Return the numbers, from 1 on, of the neurons that a probability of boundaries separates: one fixed watershed.

    Its seeds are the minima of the smoothed probability that are at least `DEPTH` deep. Each section by itself if
    `by_section`.
    """
    if by_section:
        return np.stack(_distinct([_flooded(section) for section in probability]))
    return _flooded(probability)


def _flooded(probability: np.ndarray) -> np.ndarray:
    smooth = gaussian(probability.astype("float32"), SMOOTHED)
    return watershed(smooth, connected(h_minima(smooth, DEPTH)))


def _distinct(parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return numbered parts with numbers that occur in one of them only; 0 stays 0."""
    ends = np.cumsum([0, *(int(part.max()) for part in parts[:-1])])
    return [np.where(part > 0, part.astype(np.int64) + end, 0) for part, end in zip(parts, ends, strict=True)]


def score(volumes: Sequence[Volume], probabilities: Sequence[np.ndarray]) -> tuple[float, ...]:
    """Return the `SCORES` of predicted probabilities of boundaries, over all voxels of the volumes.

    Boundaries are where the probability is at least 0.5. Precision and recall of the F1 count a voxel as found if
    there is one at most a step away. Variation of information in bits, and the adapted Rand error (SNEMI3D), are of
    the neurons after the watershed (`segment`), without voxels of no neuron; where boundaries are within sections, a
    neuron's profile in a section counts as a neuron.
    """
    counts = np.zeros(8)
    true, found = [], []
    for volume, probability in zip(volumes, probabilities, strict=True):
        known, truth = volume.boundary != FILL, volume.boundary == 1
        counts += _counts(truth[known], probability[known] >= 0.5, *_near(volume, truth, probability >= 0.5))
        neurons = volume.neurons
        if volume.by_section:
            profiles = [connected(section, background=0, connectivity=1) for section in neurons]
            neurons = np.stack(_distinct(profiles))
        true.append(neurons.ravel())
        found.append(segment(probability, volume.by_section).ravel())
    both, either, right, voxels, precise, predicted, recalled, there = counts
    numbers = [np.concatenate(_distinct(each)) for each in (true, found)]
    split, merge = variation_of_information(*numbers, ignore_labels=(0,))
    rand = adapted_rand_error(*numbers, ignore_labels=(0,))[0]
    precision, recall = precise / max(predicted, 1), recalled / max(there, 1)
    f1 = 2 * precision * recall / max(precision + recall, 1e-12)
    found_scores = (both / max(either, 1), right / voxels, f1, split, merge, rand)
    return tuple(map(float, found_scores))


def _near(volume: Volume, truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, of the labelled voxels, which are at most a step from a true and from a predicted boundary."""
    step = generate_binary_structure(3, 1)
    if volume.by_section:
        step[[0, 2]] = False
    known = volume.boundary != FILL
    return binary_dilation(truth, step)[known], binary_dilation(predicted, step)[known]


def _counts(truth: np.ndarray, predicted: np.ndarray, near_true: np.ndarray, near_found: np.ndarray) -> np.ndarray:
    masks = (
        truth & predicted, truth | predicted, truth == predicted, np.ones_like(truth),
        predicted & near_true, predicted, truth & near_found, truth,
    )  # fmt: skip
    return np.array([np.count_nonzero(mask) for mask in masks])


def forest_probabilities(learnt: Sequence[Volume], tested: Sequence[Volume], seed: int) -> list[np.ndarray]:
    """Return the probability of boundaries in volumes by a random forest: no deep learning, section by section.

    It sees intensity, edges and texture of each pixel at scales from 1 to 8 pixels (`multiscale_basic_features`), and
    learns from 50,000 voxels.
    """
    rng = np.random.default_rng(seed)
    sections = sum(len(volume.image) for volume in learnt)
    seen, labels = [], []
    for volume in learnt:
        for image, boundary in zip(volume.image, volume.boundary, strict=True):
            known = np.flatnonzero(boundary.ravel() != FILL)
            drawn = rng.choice(known, min(len(known), -(-_DRAWN // sections)), replace=False)
            seen.append(_features(image)[drawn])
            labels.append(boundary.ravel()[drawn])
    forest = RandomForestClassifier(_TREES, min_samples_leaf=5, n_jobs=-1, random_state=seed)
    forest.fit(np.concatenate(seen), np.concatenate(labels))
    return [
        np.stack([forest.predict_proba(_features(image))[:, -1].reshape(image.shape) for image in volume.image])
        for volume in tested
    ]


def _features(image: np.ndarray) -> np.ndarray:
    found = multiscale_basic_features(image.astype("float32"), sigma_min=1, sigma_max=8)
    return found.reshape(-1, found.shape[-1])
