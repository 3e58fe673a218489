"""The report of the data check, as values and as text. Runs on the driver."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field

from menndl_dask.data.check.quick_predictors import Score
from menndl_dask.data.check.scan import Duplicates
from menndl_dask.data.store.variable import Variable
from menndl_dask.metric import BUILT_IN
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
    origin = f"{', '.join(drawn) if report.given else 'all'} drawn with seed {problem.seed}"
    origin = origin if drawn else "from the coordinate 'split'"
    samples = ", ".join(f"{number} {name}" for number, name in zip(facts.samples, SPLITS, strict=True))
    return f"""{problem.data}
  task         {problem.task}
  splits       {samples} ({origin})
  groups       {problem.group or "none"}
  fitness      {problem.metric_name}
  fingerprint  {facts.fingerprint}"""


def _view_table(report: ViewReport) -> TextTable:
    view = report.variable
    sizes = " × ".join(f"{size} {dim}" for size, dim in zip(_lengths(view), view.dims, strict=True))
    title = f"images {view.name!r}: {view.samples} samples of {sizes}, {view.array.dtype}, {view.chunk} per chunk"
    rows = [[*channel.row(), str(channel.missing or "–")] for channel in report.channels]
    return TextTable(["channel", "mean", "std", "min", "max", "NaN"], rows, title=title, most=_MOST_ROWS)


def _lengths(view: Variable) -> list[str]:
    """Return the length of each dimension of a sample, as a range where samples differ."""
    shapes = [view.shape_of(sample) for sample in range(view.samples if not view.is_uniform else 1)]
    return [str(min(n)) if len(set(n)) == 1 else f"{min(n)} to {max(n)}" for n in zip(*shapes, strict=True)]


def _labels_table(report: DataReport) -> TextTable:
    problem = report.problem
    if problem.task == "regression":
        rows = [value.row() for value in report.values]
        title = f"labels {problem.label!r}: regression targets"
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
