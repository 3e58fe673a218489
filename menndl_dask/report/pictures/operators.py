"""Pictures of how a search got on: its operators' success, its outcomes over time, and what mattered. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from menndl_dask.evolution.surrogate.features import Features
from menndl_dask.evolution.surrogate.gaussian_process import learn_kernel, rank_scores
from menndl_dask.genome.individual import Evaluation
from menndl_dask.problem import Problem
from menndl_dask.report.chart import Chart, Scale, element, text_width
from menndl_dask.report.figures import is_stopped
from menndl_dask.result import FAILURES
from menndl_dask.space.space import SearchSpace

_WIDTH, _ROW, _TOP = 820, 24, 10
_BINS = 40
_LEAST, _MOST = 40, 120  # networks from which weights are learned
_RESPECTS: Mapping[str, str] = {
    "kinds": "which kinds of layers",
    "values": "settings of the layers",
    "kinds by part": "which kinds of layers, and where",
    "values by part": "settings of the layers, and where",
    "links": "connections",
    "shape": "length and depth",
    "parameters": "number of parameters",
    "flops": "FLOPs",
    "memory": "memory",
}


def operator_figure(evaluations: Sequence[Evaluation]) -> str:
    """Return as SVG how many networks of each operator were fitter than the fittest of their parents; empty if none.

    Those that failed or were stopped early count as not fitter.
    """
    fitness = {individual.id: result.fitness for individual, result in evaluations}
    made, better = Counter[str](), Counter[str]()
    gains: dict[str, list[float]] = {}
    for individual, result in evaluations:
        known = [value for number in individual.parents if (value := fitness.get(number)) is not None]
        if not known:
            continue
        made[individual.origin] += 1
        if result.fitness is not None and result.fitness > max(known):
            better[individual.origin] += 1
            gains.setdefault(individual.origin, []).append(result.fitness - max(known))
    rows = []
    for name, count in sorted(made.items(), key=lambda pair: (-pair[1], pair[0])):
        share = better[name] / count
        gain = f", by {np.mean(gains[name]):.3g} on average" if name in gains else ""
        rows.append((name.replace("_", " "), share, f"{better[name]} of {count}{gain}"))
    return _bars(rows, "share of networks that are fitter than their parents", "Success of the operators")


def importance_figure(evaluations: Sequence[Evaluation], problem: Problem | None) -> str:
    """Return as SVG in which respects fitness differs most between the networks; empty where it cannot be told.

    It is what the surrogate learns: the weight of each group of features in its kernel, times how much the networks
    differ in it. The networks must be of the usual search space of the problem.
    """
    scored = [(i.genome, r.fitness) for i, r in evaluations if r.fitness is not None]
    if problem is None or len(scored) < _LEAST:
        return ""
    space = SearchSpace.image(problem)
    genomes = [genome for genome, _ in scored][:: -(-len(scored) // _MOST)]
    values = np.array([fitness for _, fitness in scored])[:: -(-len(scored) // _MOST)]
    kinds = {type(gene) for genome in genomes for gene in genome.layers}
    if space.fixed or not kinds <= set(space.kinds):
        return ""
    features = Features(space)
    points = features.of(genomes)
    kernel = learn_kernel(points, rank_scores(values), features.group_of_column)
    squares = (kernel.scaled(points) ** 2).mean(axis=0)
    weights = np.bincount(features.group_of_column, squares)
    shares = weights / max(float(weights.sum()), 1e-12)
    order = np.argsort(-shares)
    rows = [
        (_RESPECTS.get(features.groups[n], features.groups[n]), float(shares[n]), f"{shares[n]:.0%}") for n in order
    ]
    return _bars(rows, "share of the differences that the surrogate weighs", "What mattered for the fitness")


def outcome_figure(evaluations: Sequence[Evaluation]) -> str:
    """Return as SVG what became of the networks over the course of the search: a column for each part of it."""
    if not evaluations:
        return ""
    count = len(evaluations)
    width = max(1, -(-count // _BINS))
    kinds = [kind for kind in FAILURES if any(r.failure == kind for _, r in evaluations)]
    kinds.sort(key=lambda kind: kind != "pruned")
    chart = Chart("", Scale(0.5, count + 0.5, whole=True), Scale(0.0, 1.0), "evaluation", "share", size=(_WIDTH, 220))
    x, y = chart.scales()
    parts = []
    for start in range(0, count, width):
        some = [result for _, result in evaluations[start : start + width]]
        below = 0.0
        for kind in ("", *kinds):
            number = sum((result.failure or "") == kind for result in some)
            if not number:
                continue
            title = "stopped early" if kind == "pruned" else kind.replace("_", " ") or "succeeded"
            style = "done" if not kind else "stopped" if kind == "pruned" else f"failed kind{kinds.index(kind) % 4}"
            top, share = y(below + number / len(some)), number / len(some)
            tip = f"evaluations {start + 1} to {start + len(some)}\n{title}: {number} ({share:.0%})"
            left, right = x(start + 0.5), x(start + len(some) + 0.5)
            parts.append(
                f'<rect class="bar {style}" x="{left:.1f}" y="{top:.1f}" width="{max(right - left - 1, 1):.1f}"'
                f' height="{y(below) - top:.1f}"><title>{escape(tip)}</title></rect>'
            )
            below += share
    failed = sum(r.failure is not None and not is_stopped(r) for _, r in evaluations)
    stopped = sum(is_stopped(r) for _, r in evaluations)
    label = f"Outcomes of {count} networks in order: {failed} failed, {stopped} stopped early"
    return chart.with_content(label, "".join(parts))


def _bars(rows: Sequence[tuple[str, float, str]], title: str, label: str) -> str:
    """Return named shares as horizontal bars with a text each; empty without rows."""
    if not rows:
        return ""
    left = 16 + max(text_width(name) for name, *_ in rows)
    right = _WIDTH - 24 - max(text_width(text) for *_, text in rows)
    highest = max(share for _, share, _ in rows) or 1.0
    scale = Scale(0.0, highest, left, right)
    parts = []
    for number, (name, share, text) in enumerate(rows):
        y = _TOP + number * _ROW
        tip = f"<title>{escape(f'{name}: {text}')}</title>"
        parts.append(
            f'<text x="{left - 8:.1f}" y="{y + 14}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="bar done" x="{left:.1f}" y="{y + 3}" width="{max(scale(share) - left, 1):.1f}" height="15"'
            f' rx="2">{tip}</rect>'
            f'<text class="tick" x="{max(scale(share), left + 1) + 8:.1f}" y="{y + 14}">{escape(text)}</text>'
        )
    height = _TOP + len(rows) * _ROW + 22
    parts.append(f'<text class="title" x="{left:.1f}" y="{height - 6}">{escape(title)}</text>')
    return element(label, _WIDTH, height, "".join(parts), "chart wide")
