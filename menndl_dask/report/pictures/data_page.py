"""The page of ``menndl check --html``: samples of each class, and samples that are worth a look. Runs on the driver."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask import files
from menndl_dask.data.check.report import DataReport
from menndl_dask.data.check.scan import read_blocks
from menndl_dask.data.dataset import Dataset
from menndl_dask.data.labels import LabelTable, problem_dataset, read_labels
from menndl_dask.data.store.variable import Block, Variable
from menndl_dask.errors import UserError, reading
from menndl_dask.problem import Problem
from menndl_dask.report import page
from menndl_dask.report.pictures.examples import labelled_picture, legend, tile
from menndl_dask.text import TextTable, counted
from menndl_dask.training.scoring.examples import NO_LABEL, picture

Array = NDArray[Any]
_CLASSES, _OF_CLASS = 12, 5  # classes that are shown, and samples of each
_MASKED = 2  # samples of each class with a label for each pixel
_VALUES = 12  # samples with a value each
_PAIRS = 6  # pairs of equal samples of each kind
_UNUSUAL, _FAR = 8, 8.0  # unusual samples at most, and how far beyond the usual scatter they are


@dataclass(frozen=True, slots=True)
class _Image:
    """An image of the data, of which only what is shown is read."""

    variable: Variable
    sample: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.variable.size(self.sample), self.variable.channels)

    def __getitem__(self, part: tuple[slice, ...]) -> Array:
        found: Array = self.variable.images(Block(self.sample, self.sample + 1, part))[0]
        return found


@dataclass(frozen=True, slots=True)
class _Mask:
    """The labels of the pixels of an image, of which only what is shown is read."""

    variable: Variable
    sample: int
    unknown: Sequence[int]

    def __getitem__(self, part: tuple[slice, ...]) -> Array:
        label = self.variable.read(Block(self.sample, self.sample + 1, part))[0]
        found: Array = np.where(np.isin(label, self.unknown), NO_LABEL, label).astype(np.uint16)
        return found


class _Samples:
    """The samples of a problem as pictures."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.dataset: Dataset = problem_dataset(problem)
        self.labels: LabelTable = read_labels(self.dataset, problem.task, problem.ignore)
        parts = self.labels.split(self.dataset, problem.seed)
        self.split = {int(position): name for name, positions in parts.items() for position in positions}
        fill = self.dataset.label.array.attrs.get("fill")
        self._unknown = [n for n in (problem.ignore, fill) if n is not None]

    def shown(self, sample: int, words: str = "") -> str:
        """Return a sample with its label, as HTML."""
        said = f"{words}{': ' if words else ''}sample {sample} ({self.split.get(sample, 'in no split')})"
        image = _Image(self.dataset.views[0], sample)
        if self.problem.task == "segmentation":
            mask = _Mask(self.dataset.label, sample, self._unknown)
            small, label = picture(image, mask)
            return labelled_picture(small, label, self.problem, said)
        return tile(picture(image)[0], f"{self.label_of(sample)}, {said}")

    def label_of(self, sample: int) -> str:
        """Return the label of a sample in words."""
        row = np.atleast_1d(self.labels.rows[sample])
        if self.problem.task == "regression":
            return ", ".join(f"{value:.4g}" for value in row.tolist())
        return self.labels.classes[int(row[0])] if row.size == 1 else ""


def write_data_page(report: DataReport, path: Path) -> Path:
    """Write the page of a data check into a file, and return its path.

    Raises
    ------
    UserError
        If it cannot be written, or the data cannot be read.
    """
    with reading(report.problem.data):
        text = data_page(report)
    try:
        files.write_text(path, text)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def data_page(report: DataReport) -> str:
    """Return the page of a data check: warnings, samples that are worth a look, samples of each class, tables."""
    samples = _Samples(report.problem)
    warnings = "".join(f"<li>{escape(text)}</li>" for text in report.warnings) or "<li>no warnings</li>"
    title = f"{Path(report.problem.data).name}: {counted(len(report.warnings), 'warning')}"
    head, *tables = report.parts()[:-1]
    parts = [_part(each) for each in tables]
    sections = [
        f"<header><h1>{escape(title)}</h1><p class=sub>{escape(report.problem.data)}</p></header>",
        page.section("Warnings", f"<ul>{warnings}</ul>", name="warnings"),
        page.section("Samples that are worth a look", *_suspicious(report, samples), name="suspicious"),
        page.section("Samples by label", *_by_label(samples), name="samples"),
        page.section("Data", f"<pre>{escape(str(head))}</pre>", *parts, name="data"),
    ]
    return page.whole(f"{title} – menndl check", sections, "written by menndl_dask")


def _part(part: str | TextTable) -> str:
    if isinstance(part, str):
        return f"<pre>{escape(part)}</pre>"
    return f"<h3>{escape(part.title)}</h3>{page.html_table(part)}"


def _by_label(samples: _Samples) -> Iterator[str]:
    """Yield some samples of each class, or over the range of the values; those of training come first."""
    problem, rows = samples.problem, samples.labels.rows
    training = np.array(sorted(sample for sample, split in samples.split.items() if split == "train"), dtype=int)
    if problem.task == "regression":
        order = training[np.argsort(np.asarray(rows)[training].reshape(len(training), -1)[:, 0], kind="stable")]
        places = np.unique(np.linspace(0, len(order) - 1, _VALUES).round().astype(int))
        yield _sheet(samples, [(int(order[place]), "") for place in places])
        return
    if problem.task == "segmentation":
        yield legend(problem, errors=False)
    named = [n for n, _ in enumerate(samples.labels.classes) if n != samples.labels.ignore]
    for number in named[:_CLASSES]:
        name = samples.labels.classes[number]
        yield f"<h3>{escape(name)}</h3>"
        if problem.task == "segmentation":
            counts = np.asarray(rows)[training][:, number]
            chosen = training[np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]][:_MASKED]
        else:
            own = training[np.asarray(rows)[training].reshape(-1) == number]
            chosen = own[np.unique(np.linspace(0, len(own) - 1, _OF_CLASS).round().astype(int))] if len(own) else own
        shown = _sheet(samples, [(sample, "") for sample in chosen.tolist()])
        yield shown or '<p class="note">not in the training split</p>'
    if len(named) > _CLASSES:
        yield f'<p class="note">… and {len(named) - _CLASSES} more classes</p>'


def _suspicious(report: DataReport, samples: _Samples) -> Iterator[str]:
    """Yield samples that may be wrong: equal ones, empty ones, and those of unusual brightness or contrast."""
    found = False
    for heading, pairs in (
        ("Equal images with different labels", report.duplicates.conflicting),
        ("Equal images in different splits", report.duplicates.across),
    ):
        if pairs:
            found = True
            shown = [sample for pair in pairs[:_PAIRS] for sample in pair]
            more = f", {_PAIRS} of {len(pairs)} pairs" if len(pairs) > _PAIRS else ""
            yield f"<h3>{heading}{more}</h3>{_sheet(samples, [(sample, '') for sample in shown])}"
    unusual = _unusual(samples.dataset)
    if unusual:
        found = True
        yield f"<h3>Unusual images</h3>{_sheet(samples, unusual)}"
    if not found:
        yield "<p>None: no equal images, no empty ones, and none of unusual brightness or contrast.</p>"


def _sheet(samples: _Samples, chosen: Sequence[tuple[int, str]]) -> str:
    drawn = [samples.shown(sample, words) for sample, words in chosen]
    if samples.problem.task == "segmentation":
        return page.side_by_side(drawn)
    return f'<div class="sheet">{"".join(drawn)}</div>' if drawn else ""


def _unusual(dataset: Dataset) -> list[tuple[int, str]]:
    """Return samples whose first view is empty, or is unusually bright or rich in contrast, with why."""
    sums = np.zeros((3, dataset.samples))  # number, sum and sum of squares of the values
    ends = np.array([[np.inf], [-np.inf]]).repeat(dataset.samples, axis=1)  # lowest and highest value
    centre = 0.0
    for place, block in enumerate(read_blocks(dataset)):
        values = dataset.views[0].images(block).astype(np.float64)
        flat = values.reshape(len(values), -1)
        there = np.isfinite(flat)
        centre = float(flat[there].mean()) if place == 0 and there.any() else centre
        moved = np.where(there, flat - centre, 0.0)  # squares of large values would lose digits
        own = slice(block.start, block.stop)
        sums[:, own] += [there.sum(1), moved.sum(1), (moved**2).sum(1)]
        ends[0, own] = np.minimum(ends[0, own], np.where(there, flat, np.inf).min(1))
        ends[1, own] = np.maximum(ends[1, own], np.where(there, flat, -np.inf).max(1))
    number, total, squares = sums
    known = number > 0
    mean = total / np.maximum(number, 1)
    spread = np.sqrt(np.maximum(squares / np.maximum(number, 1) - mean**2, 0))
    found = [(sample, "without a value") for sample in np.flatnonzero(~known).tolist()]
    empty = known & (ends[0] == ends[1])
    found += [(sample, "all values are equal") for sample in np.flatnonzero(empty).tolist()]
    for values, low, high in ((mean, "very dark", "very bright"), (spread, "hardly any contrast", "strong contrast")):
        usual = values[known & ~empty]
        if len(usual) < 10:
            continue
        middle = float(np.median(usual))
        scatter = 1.4826 * float(np.median(np.abs(usual - middle)))
        far = np.where(known & ~empty, (values - middle) / max(scatter, 1e-12 + 1e-6 * abs(middle)), 0.0)
        for sample in np.argsort(-np.abs(far), kind="stable")[: _UNUSUAL // 2].tolist():
            if abs(far[sample]) > _FAR and sample not in dict(found):
                found.append((sample, high if far[sample] > 0 else low))
    return found[:_UNUSUAL]
