"""Scores of networks on simulated micrographs: by class, by position, and by dose. Runs on the driver.

The frames are new: no network has seen them. Positions are those of atoms and missing atoms in the frame, ``(y, x)`` in
Å: rows and columns of pixels times the size of a pixel.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.ndimage import center_of_mass, gaussian_filter, maximum_filter
from scipy.ndimage import label as components
from scipy.spatial import KDTree
from stem_material import Floats, Material
from stem_simulation import LABEL_RADIUS, Micrograph, Microscope, image_seed, simulate

from menndl_dask import Run, predict
from menndl_dask.search.comparison import trained_path
from menndl_dask.text import TextTable

REACH = 0.5  # Å from a true position within which it is found
_SMOOTH = 0.25  # Å, standard deviation of the Gaussian that joins the pixels of an atom
_APART = 0.7  # Å between two positions at least: half the distance of two carbon atoms
_LEAST = 0.3  # of the smoothed mask; a full disc has 0.9
_SIZE = 128  # pixels a side of a frame at least
_SEED = 1_000_000  # first number of the frames: none of the data set has one as high
AS_IN_TRAINING = "as in training"

Labels = npt.NDArray[np.uint8]
Found = dict[tuple[str, int], tuple["Counts", "Counts"]]  # of pixels and positions, by conditions and class


class Frame(NamedTuple):
    """A simulated frame and the conditions in words."""

    conditions: str
    micrograph: Micrograph


class Positions(NamedTuple):
    """Positions ``(y, x)`` in Å, the class at each, and whether it is counted."""

    places: Floats
    kinds: npt.NDArray[np.int64]
    counted: npt.NDArray[np.bool_]


def find_atoms(label: Labels, pixel_size: float) -> Positions:
    """Return the centres of what a labelled image shows: the fixed rule of docs/stem.md.

    The pixels that are not background are smoothed by a Gaussian of 0.25 Å. Each local maximum of at least 0.3, 0.7 Å
    or more from a higher one, is an atom. Its centre is the mean position of these pixels within 0.55 Å, and its class
    the most frequent one among them. Those nearer than 0.55 Å to the edge of the image are not counted.

    Parameters
    ----------
    label
        Class of each pixel ``(y, x)``; 0 is background.
    pixel_size
        Å.
    """
    seen = gaussian_filter((label > 0).astype(float), _SMOOTH / pixel_size)
    side = 2 * math.ceil(_APART / pixel_size) + 1
    offsets = (np.indices((side, side)) - side // 2) * pixel_size
    highest = maximum_filter(seen, footprint=np.hypot(*offsets) < _APART)
    tops, number = components((seen >= highest) & (seen >= _LEAST), np.ones((3, 3)))
    pixels = np.argwhere(label > 0)
    if not number:
        return Positions(np.zeros((0, 2)), np.zeros(0, int), np.zeros(0, bool))
    centres = np.array(center_of_mass(np.ones(label.shape), tops, np.arange(1, number + 1)))
    near = KDTree(pixels * pixel_size).query_ball_point(centres * pixel_size, LABEL_RADIUS)
    near = [rows for rows in near if rows]
    places = np.array([pixels[rows].mean(axis=0) for rows in near]).reshape(-1, 2) * pixel_size
    kinds = np.array([np.bincount(label[tuple(pixels[rows].T)]).argmax() for rows in near], int)
    return Positions(places, kinds, _inside(places, label.shape, pixel_size))


def true_positions(micrograph: Micrograph) -> Positions:
    """Return where the atoms are in a simulated image; those at its edge and under dirt are not counted."""
    scan, size = micrograph.scan, micrograph.pixel_size
    rows = np.arange(len(scan))
    row = np.interp(micrograph.atoms.positions[:, 1], scan[:, 0, 1], rows, left=-np.inf, right=np.inf)
    column = (micrograph.atoms.positions[:, 0] - np.interp(row, rows, scan[:, 0, 0])) / size
    there = np.isfinite(row) & (column > -0.5) & (column < scan.shape[1] - 0.5)
    pixels = np.stack([row, column], axis=-1)[there]
    kinds = micrograph.atoms.kinds[there].astype(int)
    nearest = tuple(np.clip(np.round(pixels).astype(int), 0, np.array(scan.shape[:2]) - 1).T)
    counted = _inside(pixels * size, micrograph.label.shape, size) & (micrograph.label[nearest] == kinds)
    return Positions(pixels * size, kinds, counted)


def _inside(places: Floats, shape: Sequence[int], pixel_size: float) -> npt.NDArray[np.bool_]:
    end = (np.array(shape) - 1) * pixel_size
    inside: npt.NDArray[np.bool_] = ((places >= LABEL_RADIUS) & (places <= end - LABEL_RADIUS)).all(axis=-1)
    return inside


class Counts(NamedTuple):
    """True and false positives, false negatives, and the distances of what was found, in Å."""

    right: int
    false: int
    missed: int
    distances: tuple[float, ...] = ()

    def __add__(self, other: Any) -> Counts:
        """Return the counts of both."""
        return Counts(*(mine + its for mine, its in zip(self, other, strict=True)))

    @property
    def precision(self) -> float:
        """Share of what was found that is there; NaN if nothing was found."""
        return self.right / (self.right + self.false) if self.right + self.false else math.nan

    @property
    def recall(self) -> float:
        """Share of what is there that was found; NaN if there is none."""
        return self.right / (self.right + self.missed) if self.right + self.missed else math.nan

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; NaN if nothing is there and nothing was found."""
        every = 2 * self.right + self.false + self.missed
        return 2 * self.right / every if every else math.nan

    @property
    def error(self) -> float:
        """Median distance, Å; NaN if nothing was found."""
        return float(np.median(self.distances)) if self.distances else math.nan

    @property
    def iou(self) -> float:
        """Intersection over union."""
        every = self.right + self.false + self.missed
        return self.right / every if every else math.nan


def match(found: Positions, true: Positions, kind: int) -> Counts:
    """Match the found positions of a class one-to-one to the nearest true ones within 0.5 Å.

    Atoms are more than 1 Å apart, so that a position has one true one within reach at most.
    """
    ours, theirs = (np.flatnonzero(each.kinds == kind) for each in (found, true))
    taken: dict[int, tuple[float, int]] = {}
    if len(ours) and len(theirs):
        distances, nearest = KDTree(true.places[theirs]).query(found.places[ours], distance_upper_bound=REACH)
        for distance, mine, its in sorted(zip(distances, ours, nearest, strict=True)):
            if np.isfinite(distance):
                taken.setdefault(int(theirs[its]), (float(distance), int(mine)))
    right = [distance for atom, (distance, _) in taken.items() if true.counted[atom]]
    used = {mine for _, mine in taken.values()}
    false = sum(1 for mine in ours if mine not in used and found.counted[mine])
    missed = sum(1 for atom in theirs if atom not in taken and true.counted[atom])
    return Counts(len(right), false, missed, tuple(right))


def pixel_counts(label: Labels, predicted: Labels, kind: int) -> Counts:
    """Count the pixels of a class."""
    here, said = label == kind, predicted == kind
    return Counts(int((here & said).sum()), int((~here & said).sum()), int((here & ~said).sum()))


def new_frames(material: Material, microscope: Microscope, number: int, size: int, seed: int) -> list[Frame]:
    """Simulate three times `number` frames as in training, and `number` at each of some doses and blurs.

    The doses are a quarter of the lowest one to four times the highest one, the blurs up to twice the widest one.
    """
    (low, high), blur = microscope.dose, microscope.source_size[1]
    doses = (low / 4, low / 2, low, math.sqrt(low * high), high, 2 * high, 4 * high)
    each = {AS_IN_TRAINING: (microscope, 3 * number)}
    for dose in doses:
        where = "" if low <= dose <= high else " (outside)"
        each[f"dose {dose:.3g}{where}"] = replace(microscope, dose=(dose, dose)), number
    for wide in (1.5 * blur, 2 * blur):
        each[f"blur {wide:.3g} Å (outside)"] = replace(microscope, source_size=(wide, wide)), number
    conditions = [(name, condition) for name, (condition, count) in each.items() for _ in range(count)]
    seeds = [image_seed(seed, _SEED + place) for place in range(len(conditions))]
    side = max(size, _SIZE)
    return [Frame(n, simulate(material, side, s, m)) for (n, m), s in zip(conditions, seeds, strict=True)]


def trained_networks(run: Run) -> dict[str, Path]:
    """Return the files of the best evolved network and of the standard networks, retrained alike, by their names."""
    evolved = [c for c in run.alike if not c.is_standard][:1]
    standard = [c for c in run.alike if c.is_standard] or [c for c in run.comparisons if c.is_standard]
    files = {c.name: trained_path(run.path, c) for c in (*evolved, *standard) if c.result.succeeded}
    if not evolved:
        files = {"the best network": run.path / "best.keras", **files}
    return {name: path for name, path in files.items() if path.is_file()}


def predicted_labels(network: Path, frames: Sequence[Frame], folder: Path) -> Labels:
    """Return the class of each pixel of all frames ``(frame, y, x)``, as a trained network says it."""
    store = folder / "frames.zarr"
    if not store.exists():
        images = np.stack([frame.micrograph.image for frame in frames])[..., np.newaxis]
        dataset = xr.Dataset({"image": (("sample", "y", "x", "channel"), images)})
        dataset.to_zarr(store, zarr_format=3, consolidated=False)
    target = folder / f"{len(list(folder.iterdir()))}.zarr"
    predict(network, store, target)
    return xr.open_zarr(target, consolidated=False, chunks=None)["prediction"].to_numpy()


def count(frames: Sequence[Frame], labels: Labels, classes: Sequence[str]) -> Found:
    """Return the counts of pixels and of positions by conditions and class."""
    found: Found = {}
    for frame, predicted in zip(frames, labels, strict=True):
        truth = frame.micrograph
        true, here = true_positions(truth), find_atoms(predicted, truth.pixel_size)
        for kind in range(len(classes)):
            places = match(here, true, kind) if kind else Counts(0, 0, 0)
            new = pixel_counts(truth.label, predicted, kind), places
            before = found.get((frame.conditions, kind), (Counts(0, 0, 0), Counts(0, 0, 0)))
            found[frame.conditions, kind] = before[0] + new[0], before[1] + new[1]
    return found


def score(run: Run, material: Material, microscope: Microscope, number: int, size: int, seed: int) -> list[TextTable]:
    """Score the trained networks of a run on new frames; write ``scores.csv`` into the run, and return two tables.

    Parameters
    ----------
    run
        A run that has ended, with its networks retrained.
    material, microscope, size, seed
        As of the images that the networks were trained on.
    number
        Frames for each dose and blur; three times as many as in training.
    """
    frames = new_frames(material, microscope, number, size, seed)
    with TemporaryDirectory(dir=run.path, prefix=".scores-") as folder:
        labels = {name: predicted_labels(p, frames, Path(folder)) for name, p in trained_networks(run).items()}
    counts = {name: count(frames, label, material.classes) for name, label in labels.items()}
    with (run.path / "scores.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(_rows(counts, material.classes))
    side = frames[0].micrograph.image.shape[0]
    title = f"On {3 * number} new frames of {side} × {side} pixels, {AS_IN_TRAINING}:"
    other = f"F1 of positions on {number} new frames at each dose (electrons) and blur:"
    return [_by_class(counts, material.classes, title), _by_dose(counts, material.classes, other)]


def _rows(counts: Mapping[str, Found], classes: Sequence[str]) -> list[list[Any]]:
    head = ["network", "frames", "class", "pixels", "iou", "precision", "recall", "f1"]
    head += ["positions", "position_precision", "position_recall", "position_f1", "median_error_angstrom"]
    rows: list[list[Any]] = [head]
    for name, found in counts.items():
        for (conditions, kind), (pixels, places) in found.items():
            shares = [pixels.iou, pixels.precision, pixels.recall, pixels.f1]
            row = [name, conditions, classes[kind], pixels.right + pixels.missed, *shares]
            row += [places.right + places.missed, places.precision, places.recall, places.f1, places.error]
            rows.append([round(cell, 5) if isinstance(cell, float) else cell for cell in row])
    return rows


def _by_class(counts: Mapping[str, Found], classes: Sequence[str], title: str) -> TextTable:
    head = ["network", "class", "pixels: IoU", "precision", "recall", "F1"]
    head += ["positions", "precision", "recall", "F1", "error (Å)"]
    rows = []
    for name, found in counts.items():
        for kind in range(1, len(classes)):
            pixels, places = found[AS_IN_TRAINING, kind]
            shares = (pixels.iou, pixels.precision, pixels.recall, pixels.f1)
            row = [name, classes[kind], *map(_share, shares), f"{places.right + places.missed}"]
            rows.append([*row, *map(_share, (places.precision, places.recall, places.f1)), _share(places.error)])
    return TextTable(head, rows, left=(0, 1), title=title)


def _by_dose(counts: Mapping[str, Found], classes: Sequence[str], title: str) -> TextTable:
    rows = []
    for conditions in dict.fromkeys(conditions for found in counts.values() for conditions, _ in found):
        for name, found in counts.items():
            mean_iou = np.nanmean([found[conditions, kind][0].iou for kind in range(len(classes))])
            shares = [found[conditions, kind][1].f1 for kind in range(1, len(classes))]
            rows.append([conditions, name, _share(mean_iou), *map(_share, shares)])
    return TextTable(["frames", "network", "mean IoU", *classes[1:]], rows, left=(0, 1), title=title)


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
