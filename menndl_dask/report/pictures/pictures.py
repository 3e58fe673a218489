"""Every picture of a search by its name, as SVG or HTML, for a notebook, a live page or a file. Runs on the driver.

A picture needs the style of `menndl_dask.report.page.alone`, which wraps it, or of the report's page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from menndl_dask.report.figures import progress_figure, timeline_figure, tradeoff_figures
from menndl_dask.report.network_drawing import draw_network
from menndl_dask.report.page import side_by_side
from menndl_dask.report.pictures.examples import sample_pictures
from menndl_dask.report.pictures.lineage import lineage, lineage_figure
from menndl_dask.report.pictures.operators import importance_figure, operator_figure, outcome_figure
from menndl_dask.report.pictures.split_results import scores

if TYPE_CHECKING:
    from menndl_dask.report.content import ReportContent


def progress(content: ReportContent) -> str:
    """Return the fitness of each network in order, the best so far, and those that failed or were stopped early."""
    return progress_figure(content.evaluations, content.fitness_title, content.constant, content.standard)


def pareto(content: ReportContent) -> str:
    """Return fitness against each cost, with the Pareto front and its knee."""
    return side_by_side(tradeoff_figures(content.evaluations, content.fitness_title, content.standard))


def ancestors(content: ReportContent) -> str:
    """Return the lineage of the best network, with what each step changed; empty without a network."""
    best = content.best
    return "" if best is None else lineage_figure(lineage(content.evaluations, best[0]), content.fitness_title)


def timeline(content: ReportContent) -> str:
    """Return what each worker did at what time, by phase; empty if times are unknown."""
    return timeline_figure(content.evaluations, content.completed_at)


def outcomes(content: ReportContent) -> str:
    """Return what became of the networks over the course of the search."""
    return outcome_figure(content.evaluations)


def operators(content: ReportContent) -> str:
    """Return how often each operator's networks were fitter than their parents; empty without offspring."""
    return operator_figure(content.evaluations)


def importance(content: ReportContent) -> str:
    """Return in which respects networks of different fitness differ; empty where it cannot be told."""
    return importance_figure(content.evaluations, content.problem)


def network(content: ReportContent) -> str:
    """Return the drawing of the best network; empty without one."""
    return "" if content.best is None else draw_network(content.best[0].genome, content.problem)


def examples(content: ReportContent) -> str:
    """Return test samples with labels and predictions; empty if none were kept."""
    if content.split_results is None or content.problem is None or not content.split_results.examples:
        return ""
    return sample_pictures(content.split_results.examples, content.problem)


def classes(content: ReportContent) -> str:
    """Return scores by class, confusion and calibration on the test split; empty if they are not known."""
    if content.split_results is None or content.problem is None:
        return ""
    return scores(content.split_results, content.problem)


PICTURES: Mapping[str, Callable[[ReportContent], str]] = {
    "progress": progress, "pareto": pareto, "lineage": ancestors, "timeline": timeline, "outcomes": outcomes,
    "operators": operators, "importance": importance, "network": network, "examples": examples, "classes": classes,
}  # fmt: skip
"""The pictures by their names."""
