"""The score of predictions for images with labels, over all images and its spread over them. Runs on the driver."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from menndl_dask.data.dataset import Dataset, open_dataset
from menndl_dask.data.labels import problem_dataset, split_positions
from menndl_dask.data.store.local_store import quietly, store_of
from menndl_dask.data.store.variable import SAMPLES, Block, Variable, blocks
from menndl_dask.errors import DataError
from menndl_dask.metric import BUILT_IN, Measure
from menndl_dask.problem import SPLITS, Problem
from menndl_dask.text import metric_title
from menndl_dask.training.scoring.examples import Examples

TEST = "test"  # the split of images that no network was trained on
_BLOCK_BYTES = 2**20  # of labels at once: each becomes a number for each class


@dataclass(frozen=True, slots=True)
class Score:
    """A metric over some images, and for each of them if each has many labels."""

    metric: str
    images: int
    value: float  # over all images together
    of_images: tuple[float, ...]  # of those for which it is defined; empty for a label for each image
    split: str = ""  # the split that the images are in, if the store says it

    def __str__(self) -> str:
        where = f"{self.split}: " if self.split else ""
        text = f"{where}{metric_title(self.metric)} of {self.images} image{'s' * (self.images > 1)}: {self.value:.4f}"
        if len(self.of_images) < 2:
            return text
        low, mean, high = min(self.of_images), float(np.mean(self.of_images)), max(self.of_images)
        return f"{text}; of each image: mean {mean:.4f}, from {low:.4f} to {high:.4f}"


def score(predicted: str | Path, source: str | Path, problem: Problem, *, label: str | None = None) -> list[Score]:
    """Return the scores of predictions, one for each split that the images are in.

    Parameters
    ----------
    predicted
        The Zarr store with the predictions for all images of the source.
    source
        The Zarr store with the images and their labels.
    problem
        What the network was trained for. Its metric is used; if that is not built in, the usual one of the task.
    label
        Name of the variable with the labels; by default that of the problem.

    Raises
    ------
    UserError
        If there are no labels, or they are not those of the problem.
    """
    dataset, metric = _labelled(source, problem, label), _metric(problem)
    measures: dict[tuple[str, int | None], Measure] = {}  # of each split, as a whole and for each image
    for block, labels, found in _pairs(Path(predicted), dataset, problem):
        sample, split = block.start, "" if dataset.split is None else str(dataset.split[block.start])
        for key in ((split, None), (split, sample)):
            measure = measures.setdefault(key, _measure(metric, problem))
            measure.update(labels, found)
    known = dict.fromkeys(split for split, _ in measures)
    splits = [*(split for split in SPLITS if split in known), *(split for split in known if split not in SPLITS)]
    return [_score(metric, split, measures, problem.by_pixel) for split in splits]


def look_at(
    predicted: str | Path, source: str | Path, problem: Problem, *, label: str | None = None
) -> tuple[dict[str, NDArray[Any]], NDArray[np.float64]]:
    """Return predictions of images with labels to look at, and what the score of each image is computed from.

    The parameters and errors are those of `score`.

    Returns
    -------
    tuple
        The best, median and worst images, or parts of them, as `menndl_dask.training.scoring.examples.Examples.arrays`
        has them, with ``split``; and the sums of each image, ``(image, row, output)``, see
        `menndl_dask.metric.Measure.sums`. Of images of several splits, both are of the test split only.
    """
    dataset, metric = _labelled(source, problem, label), _metric(problem)
    splits = [] if dataset.split is None else dataset.split.tolist()
    of_test = TEST in splits
    chosen = {place for place, split in enumerate(splits) if split == TEST} if of_test else None
    places = [block.start for block in _blocks(dataset) if chosen is None or block.start in chosen]
    examples = Examples(replace(problem, ignore=None if problem.task == "regression" else -1), len(places))
    sums: dict[int, NDArray[np.float64]] = {}
    pairs = _pairs(Path(predicted), dataset, problem, chosen)
    for unit, (block, labels, found) in enumerate(pairs):
        measure = _measure(metric, problem)
        measure.update(labels, found)
        sums[block.start] = sums.get(block.start, 0.0) + measure.sums()
        examples.update(np.array([unit]), labels, found, partial(dataset.views[0].images, block))
    arrays = examples.arrays()
    arrays |= {"source": np.array(places)[arrays["unit"]], "split": np.array(TEST if of_test else "")}
    if len(set(places)) == len(places):  # no image was taken in parts
        arrays["unit"] = arrays["source"]
    return arrays, np.stack(list(sums.values()))


def _labelled(source: str | Path, problem: Problem, label: str | None) -> Dataset:
    """Open images with labels, which must be those of the problem, and their splits if they are known."""
    dataset = open_dataset(str(source), problem.inputs, label or problem.label)
    names = tuple(map(str, dataset.label.array.attrs.get("classes", ())))
    if problem.task != "regression" and names and names != problem.facts.classes:
        expected = ", ".join(problem.facts.classes)
        raise dataset.label.error(f"expected the classes of the network, {expected}, got {', '.join(names)}")
    if dataset.split is None and _is_of_run(source, problem):
        dataset = replace(dataset, split=_split_of_run(problem, dataset))
    return dataset


def _metric(problem: Problem) -> str:
    """Return the metric of a problem, or the usual one of the task if it is not built in."""
    if problem.metric_name in BUILT_IN:
        return problem.metric_name
    return {"segmentation": "mean_iou", "classification": "balanced_accuracy", "regression": "r2"}[problem.task]


def _measure(metric: str, problem: Problem) -> Measure:
    ignore = None if problem.task == "regression" else -1
    return Measure(metric, outputs=problem.facts.outputs, ignore=ignore)


def has_labels(source: str | Path, name: str) -> bool:
    """Return whether a Zarr store with images has a variable with labels too."""
    try:
        with quietly():
            root = zarr.open(store_of(str(source)), mode="r")
            if not isinstance(root, zarr.Group):
                return False
            samples = root.get(SAMPLES)
            own = next(iter(samples.group_keys()), None) if isinstance(samples, zarr.Group) else None
            return name in root or (own is not None and f"{SAMPLES}/{own}/{name}" in root)
    except Exception:  # noqa: BLE001  the images could be read
        return False


def _is_of_run(source: str | Path, problem: Problem) -> bool:
    """Return whether images are those that the network was trained with."""
    if "://" in str(source) or not Path(problem.data).exists():
        return str(source) == problem.data
    return Path(source).samefile(problem.data)


def _split_of_run(problem: Problem, dataset: Dataset) -> NDArray[Any]:
    """Return the split of each image of a run: of one that is divided, all of its splits."""
    of_run = problem_dataset(problem)
    names: list[list[str]] = [[] for _ in range(dataset.samples)]
    regions = of_run.label.regions
    for split, positions in split_positions(problem, of_run).items():
        for place in positions.tolist():
            sample = regions[place].sample if regions else place
            if split not in names[sample]:
                names[sample].append(split)
    return np.array([" and ".join(found) or "in no split" for found in names], dtype=object)


def _score(metric: str, split: str, measures: dict[tuple[str, int | None], Measure], by_pixel: bool) -> Score:
    values = [measure.value() for (of, sample), measure in measures.items() if of == split and sample is not None]
    each = tuple(value for value in values if np.isfinite(value)) if by_pixel else ()
    return Score(metric, len(values), measures[split, None].value(), each, split)


def _blocks(dataset: Dataset) -> Iterator[Block]:
    """Yield images, or parts of large ones."""
    for some in blocks(dataset.label, most=_BLOCK_BYTES):
        for sample in range(some.start, some.stop):
            yield Block(sample, sample + 1, some.part)


def _pairs(
    predicted: Path, dataset: Dataset, problem: Problem, chosen: Container[int] | None = None
) -> Iterator[tuple[Block, NDArray[Any], NDArray[Any]]]:
    """Yield an image or a part of it, its labels, and the predictions for them; -1 is a label that is not counted."""
    label = dataset.label
    ignored = [n for n in (problem.ignore, label.array.attrs.get("fill")) if n is not None]
    for block in _blocks(dataset):
        if chosen is not None and block.start not in chosen:
            continue
        labels, found = label.read(block), _predicted(predicted, label, block, problem)
        if found.shape[: labels.ndim] != labels.shape:
            got = f"labels of shape {labels.shape[1:]}, predictions of shape {found.shape[1:]}"
            raise DataError(f"{predicted}: sample {block.start}: expected a prediction for each label, got {got}")
        if problem.task != "regression":
            unknown = np.isin(labels, ignored) | np.isnan(found).any(axis=-1)
            labels, found = np.where(unknown, -1, labels.astype(np.int64)), np.nan_to_num(found)
        yield block, labels, found


def _predicted(predicted: Path, label: Variable, block: Block, problem: Problem) -> NDArray[Any]:
    """Return the predictions for a block of an image: values, or a number for each class, NaN if there is none."""
    own = bool(label.keys) and bool(label.axes.spatial)
    folder = predicted / SAMPLES / label.keys[block.start] if own else predicted
    name = "prediction" if (folder / "prediction").exists() else "probability"
    array = zarr.open_array(folder / name, mode="r")
    index = () if own or label.axes.sample is None else (slice(block.start, block.stop),)
    values = np.asarray(array[(*index, *(block.part or ()), ...)])
    values = values if index else values[np.newaxis]
    if problem.task == "regression" or name == "probability":
        return values
    classes = np.arange(problem.facts.outputs)
    known = values < len(classes)  # the others have the number of pixels without a prediction
    return np.where(known[..., np.newaxis], values[..., np.newaxis] == classes, np.nan)
