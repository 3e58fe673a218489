"""The report of the data check, as values and as text. Runs on the driver."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field, replace

from menndl_dask.data.check.quick_predictors import Score
from menndl_dask.data.check.scan import Duplicates
from menndl_dask.data.store.variable import Variable
from menndl_dask.metric import BUILT_IN
from menndl_dask.moments import FarValue
from menndl_dask.problem import SPLITS, Problem
from menndl_dask.text import TextTable, counted

_MOST_ROWS = 16
_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of one channel, or of one regression target, over all samples."""

    name: str
    mean: float
    std: float
    minimum: float
    maximum: float
    missing: int = 0  # values that are NaN
    outliers: bool = False  # whether there are values far outside of the usual range
    far: FarValue | None = None  # a single value, rare or frequent, that lies far from all others
    whole: int = 0  # number of different values of a target if all are whole numbers stored as floats, else 0

    def row(self) -> list[str]:
        """Return the name and the statistics as cells of a table."""
        return [self.name, *(f"{number:.4g}" for number in (self.mean, self.std, self.minimum, self.maximum))]


@dataclass(frozen=True, slots=True)
class ViewReport:
    """One view, and the statistics of its channels."""

    variable: Variable
    channels: tuple[Statistics, ...]


@dataclass(frozen=True, slots=True)
class ClassReport:
    """One class: number of samples or pixels in each split, and number of samples of each split with the class."""

    name: str
    counts: tuple[int, ...]
    samples: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DataReport:
    """Report of the data check.

    Parameters
    ----------
    problem
        The problem that was checked.
    given
        Splits given by the coordinate ``split`` of the data; the others were drawn.
    consecutive
        Whether samples are in order, so that the splits drawn are blocks of neighbours.
    divided
        For each image that is divided, in words, which part of it is in which split.
    read
        Share of the pixels that were read (0 to 1).
    views
        Statistics of the images.
    classes, values
        Statistics of the labels: classes, or regression targets.
    ignored
        Number of samples or pixels whose label is ignored.
    duplicates
        Samples with equal images.
    leaking
        Groups with samples in more than one split.
    candidates
        Coordinates that may name groups, if the problem has no group.
    scores
        Scores of simple predictors on the validation split.
    warnings
        Possible problems and what to do, most serious first.
    """

    problem: Problem
    given: tuple[str, ...] = ()
    consecutive: bool = False
    divided: tuple[str, ...] = ()
    read: float = 1.0
    views: tuple[ViewReport, ...] = ()
    classes: tuple[ClassReport, ...] = ()
    values: tuple[Statistics, ...] = ()
    ignored: int = 0
    duplicates: Duplicates = field(default_factory=Duplicates)
    leaking: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    scores: tuple[Score, ...] = ()
    warnings: tuple[str, ...] = ()

    def parts(self) -> list[str | TextTable]:
        """Return the texts and tables of the report."""
        wrapped = [textwrap.fill(w, _WIDTH, initial_indent="  ! ", subsequent_indent="    ") for w in self.warnings]
        said = "\n".join([counted(len(wrapped), "warning"), *wrapped]) if wrapped else "no warnings"
        return [_head(self), *map(_view_table, self.views), _labels_table(self), _scores_table(self), said]

    def text(self) -> str:
        """Return the report as plain text."""
        return "\n\n".join(map(str, self.parts()))


def _head(report: DataReport) -> str:
    problem, facts = report.problem, report.problem.facts
    drawn = [name for name in SPLITS if name not in report.given]
    how = "blocks of neighbours" if report.consecutive else f"drawn with seed {problem.seed}"
    origin = f"{', '.join(drawn) if report.given else 'all'} {how}"
    origin = origin if drawn else "from the coordinate 'split'"
    samples = ", ".join(f"{number} {name}" for number, name in zip(facts.samples, SPLITS, strict=True))
    if report.divided:  # there is no choice by a seed
        origin = "parts of images" + ("" if not report.given else "; others from the coordinate 'split'")
    lines = {"task": problem.task, "splits": f"{samples} ({origin})"}
    lines |= {" " * number: text for number, text in enumerate(report.divided)}
    lines["groups"] = problem.group or "none"
    if facts.spacing:
        dims = " × ".join(report.views[0].variable.dims[: problem.rank])
        lines["spacing"] = f"{' × '.join(f'{size:.4g}' for size in facts.spacing)} ({dims})"
    assumed = dict.fromkeys(view.variable.axes.assumed for view in report.views if view.variable.axes.assumed)
    if assumed:
        lines["assumed"] = "; ".join(assumed)
    if problem.large_images == "resize":
        smallest, _, largest = (" × ".join(map(str, size)) for size in facts.image_sizes)
        size = " × ".join(map(str, facts.input_shapes[0][:-1]))
        lines["resized"] = f"images of {smallest} to {largest} pixels, to {size}"
    if report.read < 1:
        lines["read"] = f"{report.read:.0%} of the pixels, evenly spaced: statistics and duplicates are of these"
    lines |= {"fitness": problem.metric_name, "fingerprint": facts.fingerprint}
    return "\n".join([problem.data, *(f"  {name.strip():<11}  {text}" for name, text in lines.items())])


def _view_table(report: ViewReport) -> TextTable:
    view = report.variable
    sizes = " × ".join(f"{size} {dim}" for size, dim in zip(_lengths(view), view.dims, strict=True))
    number = counted(view.images_stored, "sample") if view.axes.sample is not None or view.keys else "one image"
    chunks = f"{view.chunk} per chunk"
    if view.axes.sample is None or view.chunk == 1:
        chunks = f"chunks of {' × '.join(map(str, view.chunk_size))}"
    title = f"images {view.name!r}: {number} of {sizes}, {view.array.dtype}, {chunks}"
    rows = [[*channel.row(), str(channel.missing or "–")] for channel in report.channels]
    return TextTable(["channel", "mean", "std", "min", "max", "NaN"], rows, title=title, most=_MOST_ROWS)


def _lengths(view: Variable) -> list[str]:
    """Return the length of each dimension of a stored image, as a range where images differ."""
    whole = replace(view, regions=(), resized=())
    shapes = [whole.shape_of(image) for image in range(whole.samples if whole.shapes else 1)]
    return [str(min(n)) if len(set(n)) == 1 else f"{min(n)} to {max(n)}" for n in zip(*shapes, strict=True)]


def _labels_table(report: DataReport) -> TextTable:
    problem = report.problem
    if problem.task == "regression":
        rows = [value.row() for value in report.values]
        of = "the mean of each sample's pixels" if problem.by_pixel else "regression targets"
        unknown = f"; {counted(report.ignored, 'pixel' if problem.by_pixel else 'sample')} without a value (NaN)"
        title = f"labels {problem.label!r}: {of}{unknown if report.ignored else ''}"
        return TextTable(["value", "mean", "std", "min", "max"], rows, title=title, most=_MOST_ROWS)
    pixels = problem.task == "segmentation"
    totals = [max(1, sum(c.counts[s] for c in report.classes)) for s in range(len(SPLITS))]
    rows = []
    for item in report.classes:
        shares = [n / total for n, total in zip(item.counts, totals, strict=True)]
        shown = [f"{share:.1%}" if share >= 0.001 or share == 0 else f"{share:.3%}" for share in shares]
        rows.append([item.name, *(f"{share} ({number})" for share, number in zip(shown, item.samples, strict=True))])
    unit = "share of pixels (samples with the class)" if pixels else "share of samples (samples)"
    ignored = f"; {report.ignored} {'pixels' if pixels else 'samples'} ignored (label {problem.ignore})"
    title = f"labels {problem.label!r}: {unit}{ignored if report.ignored else ''}"
    return TextTable(["class", *SPLITS], rows, title=title, most=_MOST_ROWS)


def _scores_table(report: DataReport) -> TextTable:
    name = report.problem.metric_name
    better = ", smaller is better" if BUILT_IN.get(name) == "min" else ""
    rows = [[s.name, "unknown" if s.value is None else f"{s.value:.4f}", s.about] for s in report.scores]
    title = f"simple predictors on the validation split: {name}{better}; a network should beat them"
    return TextTable(["predictor", name, "model"], rows, (0, 2), title, _MOST_ROWS)
