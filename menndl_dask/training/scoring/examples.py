"""Examples of a split: its best, median and worst samples as small pictures, and what was confused with what. Pure.

They are collected while a split is predicted, so that nothing is predicted twice and memory does not grow with the
split. Pictures are of 256 pixels a side at most, and all of them together have at most about a million values.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.metric import BUILT_IN, suits, values_of
from menndl_dask.problem import Problem

Array = NDArray[Any]
NO_LABEL = 65535  # in the masks of examples: pixels without a label, and around the planes of a volume
BINS = 10  # of the confidence
_EACH = 3  # best, median and worst samples
_SPACED = 48  # samples of which the median ones are taken, evenly spaced
_PAIRS, _OF_PAIR = 12, 2  # pairs of confused classes that are shown, and samples of each
_VALUES = 65_536  # of a picture at most: 256² grey or 147² coloured pixels
_SMALL = 96  # side of the pictures of samples with a label each
_STEPS = 3  # a picture is reduced by this at most; of what is larger, the middle is shown
_PIXELS = 25  # of a sample, of such values
_POINTS = 1000  # predicted and true values of a regression
_GAP = 4  # pixels between the planes of a volume
_CONTRAST = (1.0, 99.0)  # percentiles that become black and white


class Examples:
    """Collects examples of a split with ``samples`` of them; see `arrays` for what it keeps.

    Parameters
    ----------
    problem
        What the network was trained for.
    samples
        Number of samples, or of parts of images that are scored one by one.
    """

    def __init__(self, problem: Problem, samples: int) -> None:
        self._problem, self._outputs = problem, problem.facts.outputs
        self._stride = max(1, -(-samples // _SPACED))
        self._point_stride = max(1, -(-samples // _POINTS))
        self._scores: list[float] = []
        self._kept: dict[int, dict[str, Any]] = {}
        self._best: list[tuple[float, int]] = []  # heaps, the least extreme first
        self._worst: list[tuple[float, int]] = []
        self._pairs: dict[tuple[int, int], list[int]] = {}
        self._points: list[tuple[Array, Array]] = []
        is_named = problem.task != "regression"
        self._confusion = np.zeros((self._outputs, self._outputs) if is_named else (0, 0))
        self._calibration = np.zeros((3, BINS))  # number, sum of confidences, and number of right ones
        name = problem.metric_name
        self.metric = name if name in BUILT_IN and suits(name, problem.task) else "mean_iou"

    def update(self, units: Array, labels: Array, predictions: Array, images: Callable[[], Any]) -> None:
        """Add a part of the split.

        Parameters
        ----------
        units
            Number of each sample, shape (sample,).
        labels, predictions
            As `menndl_dask.metric.Measure.update` takes them.
        images
            Returns the image of each sample, ``(spatial…, channel)``; called only where one is kept.
        """
        read, problem = None, self._problem
        for place, unit in enumerate(units.tolist()):
            found = self._scored(labels[place], predictions[place])
            if found is None:
                continue
            if self._is_kept(unit, found):
                read = images() if read is None else read
                found["image"], *masks = picture(read[place], *found.pop("masks", ()))
                if problem.facts.pixel_values:
                    found["image"] = _with_maps(found["image"], *masks)
                else:
                    found |= dict(zip(("label", "prediction"), masks, strict=False))
                self._kept[unit] = found
                self._forget()

    def _scored(self, label: Array, prediction: Array) -> dict[str, Any] | None:
        """Return the score of one sample and what is shown of it, and count it; None if it has no label."""
        problem = self._problem
        if problem.task == "regression":
            label, prediction = np.atleast_1d(label), np.atleast_1d(prediction)
            if np.isnan(label).all() or (np.isnan(label).any() and not problem.facts.pixel_values):
                return None
            if problem.facts.pixel_values:
                return self._scored_values(label, prediction[..., 0])
            spread = np.sqrt(np.maximum(problem.facts.label_variance or 1.0, 1e-12))
            if len(self._scores) % self._point_stride == 0:
                self._points.append((label, prediction))
            return {"score": -float(np.mean(np.abs(prediction - label) / spread)), "label": label,
                    "prediction": prediction}  # fmt: skip
        guess = prediction.argmax(-1)
        known = np.ones(label.shape, bool) if problem.ignore is None else label != problem.ignore
        known &= (label >= 0) & (label < self._outputs)
        if not known.any():
            return None
        truth, said = np.asarray(label)[known].astype(np.int64), guess[known]
        self._calibrate(prediction[known].max(-1), truth == said)
        if problem.task == "classification":
            self._confusion[truth, said] += 1
            of_truth = float(prediction[int(truth[0])])
            return {"score": of_truth, "label": truth[0], "prediction": said[0], "confidence": prediction.max()}
        counts = np.bincount(truth * self._outputs + said, minlength=self._outputs**2).reshape(self._confusion.shape)
        self._confusion += counts
        sums = np.stack([np.diag(counts), counts.sum(1), counts.sum(0)])
        masks = np.where(known, label, NO_LABEL).astype(np.uint16), guess.astype(np.uint16)
        return {"score": float(values_of(self.metric, sums)), "masks": masks}

    def _scored_values(self, label: Array, prediction: Array) -> dict[str, Any]:
        """Return the score of a sample with a value for each pixel, its means, and maps that are shown beside it."""
        spread, known = math.sqrt(max(self._problem.facts.label_variance[0], 1e-300)), np.isfinite(label)
        if len(self._scores) % self._point_stride == 0:
            every = max(1, int(known.sum()) // _PIXELS)
            pairs = zip(label[known][::every], prediction[known][::every], strict=True)
            self._points += [(np.array([truth]), np.array([guess])) for truth, guess in pairs]
        error = -float(np.mean(np.abs(prediction - label)[known])) / spread
        means = {"label": np.array([label[known].mean()]), "prediction": np.array([prediction[known].mean()])}
        return {"score": error, **means, "masks": (np.asarray(label, np.float64), np.asarray(prediction, np.float64))}

    def _calibrate(self, confidence: Array, right: Array) -> None:
        bins = np.clip((confidence * BINS).astype(int), 0, BINS - 1)
        for row, weights in enumerate((None, confidence, right)):
            self._calibration[row] += np.bincount(bins, weights, BINS)

    def _is_kept(self, unit: int, found: dict[str, Any]) -> bool:
        """Note the score of a sample; return whether it may be one that is shown."""
        score = found["score"]
        self._scores.append(score)
        if not math.isfinite(score):
            return False
        kept = len(self._scores) % self._stride == 0 or self._stride == 1
        for heap, value in ((self._best, score), (self._worst, -score)):
            if len(heap) < _EACH or value > heap[0][0]:
                heapq.heappush(heap, (value, unit))
                if len(heap) > _EACH:
                    heapq.heappop(heap)
                kept = True
        if self._problem.task == "classification" and found["label"] != found["prediction"]:
            pair = int(found["label"]), int(found["prediction"])
            if len(self._pairs.setdefault(pair, [])) < _OF_PAIR and len(self._pairs) <= 4 * _PAIRS:
                self._pairs[pair].append(unit)
                kept = True
        found["spaced"] = len(self._scores) % self._stride == 0 or self._stride == 1
        return kept

    def _forget(self) -> None:
        """Remove pictures of samples that are no longer among the best or the worst."""
        wanted = {unit for _, unit in (*self._best, *self._worst)}
        wanted |= {unit for units in self._pairs.values() for unit in units}
        for unit in [u for u, found in self._kept.items() if u not in wanted and not found["spaced"]]:
            del self._kept[unit]

    def arrays(self) -> dict[str, Array]:
        """Return the examples, as an ``.npz`` file holds them.

        Returns
        -------
        dict
            ``unit``, ``score`` and ``place`` (``best``, ``median``, ``worst`` or ``confused``) of each example, its
            ``image{n}`` of uint8 ``(y, x)`` or ``(y, x, 3)`` (with the true and the predicted map beside it where each
            pixel has a value), its ``label{n}`` and ``prediction{n}``: masks ``(y, x)``
            of class numbers, a class number, or values; ``confidence{n}``. Of the split ``confusion`` (counts, label
            by prediction), ``calibration`` ``(3, BINS)`` (number, sum of the confidences, number of right ones),
            ``truth`` and ``guess`` of regression ``(sample, value)``, and ``metric``, the name of the score.
        """
        chosen = self._chosen()
        found: dict[str, Array] = {
            "unit": np.array([unit for unit, _ in chosen], dtype=np.int64),
            "place": np.array([place for _, place in chosen], dtype="U8"),
            "score": np.array([self._kept[unit]["score"] for unit, _ in chosen], dtype=np.float64),
            "confusion": self._confusion.astype(np.int64),
            "calibration": self._calibration,
            "metric": np.array(self._score_name),
        }
        if self._points:
            found["truth"], found["guess"] = (np.stack(values) for values in zip(*self._points, strict=True))
        for number, (unit, _) in enumerate(chosen):
            for name in ("image", "label", "prediction", "confidence"):
                if name in self._kept[unit]:
                    found[f"{name}{number}"] = np.asarray(self._kept[unit][name])
        return found

    @property
    def units(self) -> Array:
        """Number of each example, as `arrays` has them."""
        return np.array([unit for unit, _ in self._chosen()], dtype=np.int64)

    @property
    def _score_name(self) -> str:
        if self._problem.task == "segmentation":
            return self.metric
        return "confidence" if self._problem.task == "classification" else "error"

    def _chosen(self) -> list[tuple[int, str]]:
        """Return the samples to show: the best, the median and the worst, of each the one that stands for it first."""
        each = min(_EACH, max(1, len(self._scores) // 3))
        best = [unit for _, unit in sorted(self._best, reverse=True)][:each]
        worst = [unit for _, unit in sorted(self._worst, reverse=True) if unit not in best][:each]
        middle = float(np.median([score for score in self._scores if math.isfinite(score)] or [0.0]))
        others = [unit for unit, found in self._kept.items() if unit not in (*best, *worst) and found["spaced"]]
        median = sorted(others, key=lambda unit: abs(self._kept[unit]["score"] - middle))[:each]
        confused = sorted(self._pairs.items(), key=lambda pair: -self._confusion[pair[0]])[:_PAIRS]
        places = ("best", best), ("median", median), ("worst", worst)
        found = [(unit, place) for place, units in places for unit in units]
        return found + [(unit, "confused") for _, units in confused for unit in units]


def picture(image: Any, *masks: Any) -> list[Array]:
    """Return a small picture of an image, ``(y, x)`` or ``(y, x, 3)`` of uint8, and its masks alike.

    The contrast is that of the picture. Of two channels the first is shown, of three all, of more the third, the second
    and the first as red, green and blue, as in most satellite images. Of a volume, the planes through its middle are
    shown side by side. What is too large is reduced by taking every second or third pixel, and beyond that the middle
    is shown.

    Parameters
    ----------
    image
        Values ``(spatial…, channel)``; only what is shown is read.
    masks
        Class numbers ``(spatial…)``.

    >>> image, mask = picture(np.zeros((900, 40, 1)), np.zeros((900, 40), np.uint16))
    >>> image.shape, mask.shape
    ((256, 40), (256, 40))
    """
    size, channels = image.shape[:-1], image.shape[-1]
    shown = [0] if channels < 3 else [0, 1, 2] if channels == 3 else [2, 1, 0]
    side = math.isqrt(_VALUES // len(shown)) if masks else _SMALL
    side = side if len(size) < 3 else side // 2
    steps = [min(_STEPS, -(-n // side)) for n in size]
    lengths = [min(n, step * side) for n, step in zip(size, steps, strict=True)]
    starts = [(n - length) // 2 for n, length in zip(size, lengths, strict=True)]
    inside = tuple(slice(start, start + length) for start, length in zip(starts, lengths, strict=True))
    every = tuple(slice(None, None, step) for step in steps)
    values = np.asarray(image[inside])[every][..., shown].astype(np.float32)
    found = [_contrast(values), *(np.asarray(mask[inside])[every] for mask in masks)]
    flat = [_flat(each, len(size), NO_LABEL if place else 255) for place, each in enumerate(found)]
    return [flat[0][..., 0] if len(shown) == 1 else flat[0], *flat[1:]]


def _with_maps(image: Array, label: Array, prediction: Array) -> Array:
    """Return a picture with its true and its predicted map beside it, both in the contrast of the true one."""
    shown = label[(label != NO_LABEL) & np.isfinite(label)]  # the former lies between the planes of a volume
    low, high = (float(shown.min()), float(shown.max())) if shown.size else (0.0, 0.0)
    scale = 255 / (high - low) if high > low else 0.0
    scaled = [np.clip((np.nan_to_num(each, nan=low) - low) * scale, 0, 255) for each in (label, prediction)]
    maps = [each.round().astype(np.uint8) for each in scaled]
    if image.ndim == 3:
        maps = [np.repeat(each[..., np.newaxis], 3, axis=-1) for each in maps]
    gap = np.full((image.shape[0], _GAP, *image.shape[2:]), 255, np.uint8)
    return np.concatenate([image, gap, maps[0], gap, maps[1]], axis=1)


def _contrast(values: Array) -> Array:
    """Return the channels as bytes, each from its lowest to its highest usual value."""
    known = np.isfinite(values)
    filled = np.where(known, values, np.nan).reshape(-1, values.shape[-1])
    if not known.any():
        return np.zeros(values.shape, np.uint8)
    percentile = np.percentile if known.all() else np.nanpercentile  # which is slow
    low, high = percentile(filled, _CONTRAST, axis=0)
    scaled = (np.nan_to_num(values) - low) / np.maximum(high - low, 1e-12)
    found: Array = (255 * np.clip(scaled, 0, 1)).round().astype(np.uint8)
    return found


def _flat(values: Array, rank: int, fill: int) -> Array:
    """Return a picture of two dimensions: a line as a strip, and a volume as its three middle planes."""
    if rank == 1:
        return np.repeat(values[np.newaxis], 16, axis=0)
    if rank == 2:
        return values
    z, y, x = (n // 2 for n in values.shape[:3])
    planes = [values[z], values[:, y], np.moveaxis(values[:, :, x], 0, 1)]
    height = max(plane.shape[0] for plane in planes)
    width = sum(plane.shape[1] for plane in planes) + 2 * _GAP
    whole = np.full((height, width, *values.shape[3:]), fill, values.dtype)
    at = 0
    for plane in planes:
        whole[: plane.shape[0], at : at + plane.shape[1]] = plane
        at += plane.shape[1] + _GAP
    return whole
