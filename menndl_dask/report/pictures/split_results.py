"""What a report shows of the test split: the network that was chosen, beside the standard one. Runs on the driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from numpy.typing import NDArray

from menndl_dask.evaluation.sample_scores import read_examples, read_groups, read_sums
from menndl_dask.metric import BUILT_IN
from menndl_dask.problem import Problem
from menndl_dask.report.contenders import Ranking
from menndl_dask.report.page import scrolling, section, side_by_side
from menndl_dask.report.pictures.classes import (
    calibration_figure,
    class_figure,
    confusion_figure,
    regression_figures,
    score_text,
)
from menndl_dask.report.pictures.examples import sample_pictures
from menndl_dask.run.recorder import Compared, evolved
from menndl_dask.run.run import Run

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class SplitResults:
    """What is known of the test split.

    Parameters
    ----------
    name
        Of the network that is shown.
    examples
        Its samples; see `menndl_dask.training.scoring.examples.Examples.arrays`. Empty if they were not kept.
    sums
        Of it and of the standard network, each by its name: what the scores of the groups are computed from.
    unit
        What a group is, such as ``sample``.
    """

    name: str = ""
    examples: Mapping[str, Array] = field(default_factory=dict)
    sums: Sequence[tuple[str, Array]] = ()
    unit: str = "sample"


def read_split_results(run: Run, ranking: Ranking | None = None) -> SplitResults | None:
    """Return what is known of the test split; None if no network was tested.

    With the ranking of ``menndl compare`` it is of the network that it recommends, of the first of its trainings.
    """
    problem = run.problem
    measured = [c for c in run.alike if c.result.fitness is not None]
    shown = [] if ranking is None else _ranked(run, ranking)
    if not shown and measured:
        best = chosen(measured)
        shown = [best, *(c for c in measured if c.is_standard and c is not best)][:2]
    if problem is None or not shown or f"test_{problem.metric_name}" not in shown[0].result.metrics:
        return None
    best, groups = shown[0], read_groups(run.path)
    sums = [(c.name, read_sums(c.sums_path(run.path), groups)) for c in shown]
    known = [(name, found) for name, found in sums if found is not None and found.ndim == 3]
    unit = "sample" if groups is None else groups.name if groups.count > 1 else "part"
    return SplitResults(best.name, read_examples(best.examples_path(run.path)) or {}, known, unit)


def _ranked(run: Run, ranking: Ranking) -> list[Compared]:
    """Return a training of the recommended network, and one of the best standard one; empty without pictures of it."""
    names = [each.name for each in (ranking.evolved, ranking.reference) if each is not None]
    trained = [c for c in run.contenders if c.factor == ranking.factor and c.result.fitness is not None]
    trained = [c for c in trained if c.examples_path(run.path).exists()]
    found = [next((c for c in trained if c.name == name), None) for name in names]
    return [c for c in found if c is not None] if ranking.evolved is not None and found[0] is not None else []


def chosen(measured: Sequence[Compared]) -> Compared:
    """Return the fittest network that the search has found, else the standard one."""
    return max(evolved(measured) or measured, key=lambda c: c.result.fitness or 0.0)


def split_section(results: SplitResults | None, problem: Problem | None, again: str) -> str:
    """Return the section on the test split as HTML; empty if no network was tested.

    `again` says how pictures are made that were not kept.
    """
    if results is None or problem is None:
        return ""
    parts = [f"<p>Of {escape(results.name)}, which has not seen these samples.</p>"]
    if results.examples:
        parts.append(f'<p class="note">{escape(what_is_shown(problem))}</p>')
        parts.append(sample_pictures(results.examples, problem))
    elif again:
        parts.append(f'<p class="note">{escape(again)}</p>')
    return section("Test samples", *parts, scores(results, problem), name="test")


def scores(results: SplitResults, problem: Problem) -> str:
    """Return the scores by class, the confusion matrix, and the calibration, as HTML."""
    found, parts = results.examples, []
    is_built_in = problem.metric_name in BUILT_IN
    if results.sums and is_built_in and problem.task != "regression":
        spread = score_text(results.sums[0][1], problem, results.unit)
        parts.append(f"<h3>Scores by class</h3>{_names(results)}" + (f"<p>{escape(spread)}</p>" if spread else ""))
        parts.append(scrolling(class_figure(results.sums, problem, results.unit)))
    figures = []
    if "confusion" in found and found["confusion"].any():
        figures.append("<h3>What was predicted as what, %</h3>")
        figures[-1] += confusion_figure(found["confusion"], problem.facts.classes)
    if "calibration" in found and (drawn := calibration_figure(found["calibration"])):
        figures.append(f"<h3>Can its confidence be trusted?</h3>{drawn}")
    if "truth" in found:
        figures += regression_figures(found["truth"], found["guess"], problem.label)
    parts.append(side_by_side(figures))
    return "".join(parts)


def _names(results: SplitResults) -> str:
    if len(results.sums) < 2:
        return ""
    keys = zip(("green", "amber"), results.sums, strict=True)
    each = "".join(f'<span class="key" style="--c:var(--{c})"></span>{escape(name)}' for c, (name, _) in keys)
    return f'<p class="note">{each}</p>'


def what_is_shown(problem: Problem) -> str:
    """Say what the pictures show."""
    channels, rank = problem.facts.input_shapes[0][-1], problem.rank
    parts = ["The contrast is that of each picture"]
    if channels > 3:
        parts.append("channels 3, 2 and 1 are red, green and blue")
    elif channels == 2:
        parts.append("the first of two channels is shown")
    if len(problem.facts.input_shapes) > 1:
        parts.append(f"the first of {len(problem.facts.input_shapes)} views is shown")
    if rank == 3:
        parts.append("of a volume the three planes through its middle are shown")
    if problem.by_pixel:
        parts.append("large images are shown reduced, and very large ones in part")
    below = " Below each: its label, the prediction if it is another class, and its confidence where that is known."
    return f"{'; '.join(parts)}.{below if problem.task == 'classification' else ''}"
