"""Pictures and tables of a run for notebooks: those of the report, one at a time. Runs on the driver."""

from __future__ import annotations

import re
from importlib.resources import files
from numbers import Integral
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING

from menndl_dask.errors import UserError
from menndl_dask.genome.individual import Individual
from menndl_dask.report import page
from menndl_dask.report.content import ReportContent, read_content
from menndl_dask.report.figures import progress_figure, timeline_figure, tradeoff_figures
from menndl_dask.report.headline import headline
from menndl_dask.report.network_drawing import draw_network
from menndl_dask.report.pictures import pictures
from menndl_dask.report.pictures.lineage import lineage, lineage_figure
from menndl_dask.report.table import best_rows
from menndl_dask.text import fitness_text, html_summary, quantity
from menndl_dask.validation import demand_kind, one_of

if TYPE_CHECKING:
    from menndl_dask.run.run import Run

_COSTS = ("parameters", "flops_forward", "latency_ms")
_BEST = 5  # networks in the overview


class Picture:
    """A picture as SVG: a notebook shows it, `save` writes it, `str` returns its source.

    Parameters
    ----------
    svg
        An ``<svg>`` element of the report.
    """

    def __init__(self, svg: str) -> None:
        self.svg = svg

    def __repr__(self) -> str:
        label = re.search(r'aria-label="([^"]*)"', self.svg)
        return f"<Picture: {label[1] if label else 'of a run'}>"

    def __str__(self) -> str:
        return self._repr_svg_()

    def _repr_html_(self) -> str:
        return page.alone(self.svg)

    def _repr_svg_(self) -> str:
        """Return the picture as a file of its own: with its style inside, on light ground."""
        backdrop = '<rect width="100%" height="100%" fill="#fff"/>'
        start, rest = re.match(r"(<svg[^>]*)>(.*)", self.svg, re.DOTALL).groups()  # type: ignore[union-attr]
        return f'{start} xmlns="http://www.w3.org/2000/svg"><style>{_style()}</style>{backdrop}{rest}'

    def save(self, path: str | Path) -> None:
        """Write the picture as an SVG file."""
        Path(path).write_text(self._repr_svg_(), encoding="utf-8")


class Sheet:
    """Pictures with their texts as HTML: a notebook shows them, `save` writes a page.

    Parameters
    ----------
    title
        What they are.
    html
        A part of the report.
    """

    def __init__(self, title: str, html: str) -> None:
        self.title, self.html = title, html

    def __repr__(self) -> str:
        return f"<Sheet: {self.title}>"

    def _repr_html_(self) -> str:
        return page.alone(self.html)

    def save(self, path: str | Path) -> None:
        """Write the pictures as a page of HTML."""
        written = page.whole(self.title, [page.section(self.title, self.html)], "written by menndl_dask")
        Path(path).write_text(written, encoding="utf-8")


def _style() -> str:
    """Return the style of pictures on light ground: notebooks do not tell which one they have."""
    style = files("menndl_dask.report").joinpath("chart.css").read_text("utf-8")
    return re.sub(r"@media[^{]*\{(?:[^{}]*\{[^{}]*\})*\s*\}", "", style)


class Plots:
    """The pictures of a run; ``run.plot`` is one.

    Parameters
    ----------
    run
        The run, running or ended. It is read again for each picture.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def progress(self) -> Picture:
        """Return the fitness of every evaluation, and the best so far.

        Raises
        ------
        UserError
            If there is no evaluation yet.
        """
        content = self._content()
        return Picture(progress_figure(content.evaluations, content.fitness_title, content.constant, content.standard))

    def pareto(self, cost: str = "parameters") -> Picture:
        """Return fitness against a cost: ``parameters``, ``flops_forward`` or ``latency_ms``, with the Pareto front.

        Raises
        ------
        UserError
            If the cost is another one, or no evaluation has it.
        """
        one_of(_COSTS).demand("pareto", cost)
        content = self._content()
        costs = [result.costs for _, result in content.evaluations if result.succeeded]
        known = [name for name in _COSTS if any(each.get(name, 0) > 0 for each in costs)]
        if cost not in known:
            raise UserError(f"pareto: expected a cost that was measured, got {cost!r}: {self._run.path} has {known}")
        figures = tradeoff_figures(content.evaluations, content.fitness_title, content.standard)
        return Picture(figures[known.index(cost)])

    def timeline(self) -> Picture:
        """Return what each worker did when.

        Raises
        ------
        UserError
            If times are unknown.
        """
        content = self._content()
        figure = timeline_figure(content.evaluations, content.completed_at)
        if not figure:
            raise UserError(f"timeline: expected times of evaluations, got none: {self._run.path}")
        return Picture(figure)

    def lineage(self, number: int | None = None) -> Picture:
        """Return how a network came about, by default the fittest one: its ancestors, and what each step changed.

        Raises
        ------
        UserError
            If the run has no network of this number.
        """
        content = self._content()
        return Picture(lineage_figure(lineage(content.evaluations, self._individual(number)), content.fitness_title))

    def outcomes(self) -> Picture:
        """Return what became of the networks over the course of the search."""
        return Picture(pictures.outcomes(self._content()))

    def operators(self) -> Picture:
        """Return how often each operator's networks were fitter than their parents.

        Raises
        ------
        UserError
            If there are no offspring yet.
        """
        return Picture(self._known("operators", "offspring"))

    def importance(self) -> Picture:
        """Return in which respects networks of different fitness differ, as the surrogate has learned it.

        Raises
        ------
        UserError
            If there are fewer than 40 fitnesses, or the search space is one of your own.
        """
        return Picture(self._known("importance", "40 fitnesses, of networks of the usual search space"))

    def examples(self) -> Sheet:
        """Return test samples with labels, predictions and errors.

        Raises
        ------
        UserError
            If none were kept, as in runs of versions before 0.7.0, or of a search that has not ended.
        """
        return Sheet("Test samples", self._known("examples", "samples that a test has kept"))

    def classes(self) -> Sheet:
        """Return scores by class, confusion and calibration on the test split.

        Raises
        ------
        UserError
            If no network was tested.
        """
        return Sheet("Scores on the test split", self._known("classes", "a network that was tested"))

    def network(self, number: int | None = None) -> Picture:
        """Return the drawing of a network, by default of the fittest one.

        Raises
        ------
        UserError
            If the run has no network of this number.
        """
        individual = self._individual(number)
        return Picture(draw_network(individual.genome, self._run.problem))

    def overview(self) -> str:
        """Return what a notebook shows of the run, as HTML: the conclusion, its best networks and the progress."""
        content = read_content(self._run)
        done = content.evaluations
        failed = sum(1 for _, result in done if result.failure is not None)
        rows = [("conclusion", headline(self._run)), ("evaluations", f"{len(done):,}, {failed} without a fitness")]
        for row in best_rows(done, _BEST):
            weights = f", {quantity(row.costs['parameters'])} parameters" if "parameters" in row.costs else ""
            rows.append((row.name, f"{content.metric} {fitness_text(row.fitness)}{weights}"))
        rows.append(("report", str(self._run.path / "report.html")))
        return html_summary(f"Run {self._run.path}", rows, self.progress()._repr_html_() if done else "")

    def _known(self, name: str, needed: str) -> str:
        """Return a picture by its name; `needed` says what it needs."""
        found = pictures.PICTURES[name](self._content())
        if not found:
            raise UserError(f"{name}: expected {needed}, got none: {self._run.path}")
        return found

    def _content(self) -> ReportContent:
        content = read_content(self._run)
        if not content.evaluations:
            raise UserError(f"{self._run.path}: expected evaluations, got none yet")
        return content

    def _individual(self, number: int | None) -> Individual:
        demand_kind("network", number, (Integral, NoneType), "the number of an evaluation")
        if number is None:
            return self._run.best().individual
        for individual, _ in self._run.evaluations:
            if individual.id == number:
                return individual
        raise UserError(f"network: expected the number of an evaluation of {self._run.path}, got {number!r}")
