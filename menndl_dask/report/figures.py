"""Figures of the report: progress, trade-offs, learning curves and worker timeline. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from html import escape
from typing import TypeVar

from menndl_dask.genome.individual import Evaluation, Individual
from menndl_dask.report.chart import WIDE, Chart, Level, Line, Mark, Scale, element, text_width
from menndl_dask.report.network_drawing import summary
from menndl_dask.report.table import Row
from menndl_dask.result import Result
from menndl_dask.text import duration, fitness_text, milliseconds, quantity

_T = TypeVar("_T")
_DOTS = 1000  # maximum of marks in a figure: keeps the page small after 100,000 evaluations
_TICKS = 1000
_BARS = 2000
_BY_PHASE = 400  # bars up to which they are divided by phases
PHASES: Mapping[str, str] = {
    "start": "grey", "data": "amber", "build": "violet", "train": "blue", "checkpoint": "ink", "measure": "green"
}  # fmt: skip
"""The phases of an evaluation in order, and the colours that they have."""
_ROWS = 24  # maximum of workers in the timeline

_COSTS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("parameters", "parameters", quantity),
    ("flops_forward", "FLOPs per sample, forward", quantity),
    ("latency_ms", "latency per sample, ms", milliseconds),
)


def progress_figure(
    evaluations: Sequence[Evaluation], metric: str, constant: float | None = None, standard: Row | None = None
) -> str:
    """Return the fitness of every evaluation, the best so far, and those that failed or were stopped early."""
    scored = [(n, r.fitness, i, r) for n, (i, r) in enumerate(evaluations, 1) if r.fitness is not None]
    failed = [(n, i, r) for n, (i, r) in enumerate(evaluations, 1) if r.fitness is None]
    levels = []
    if standard is not None and standard.fitness is not None:
        levels.append(Level(standard.fitness, "standard", f"{standard.name} {fitness_text(standard.fitness)}"))
    if constant is not None:
        levels.append(Level(constant, "constant", f"constant {fitness_text(constant)}"))
    best: list[tuple[float, float]] = []  # so far: the steps of a line
    for n, fitness, _, _ in scored:
        if not best or fitness > best[-1][1]:
            best.append((float(n), fitness))
    best += [(float(len(evaluations)), fitness) for _, fitness in best[-1:]]
    marks = [Mark(n, fitness, _tip(i.id, r, summary(i.genome))) for n, fitness, i, r in _thinned(scored, _DOTS)]
    ticks = [
        (float(n), f"network {i.id}: {outcome(r)}{': ' if r.message else ''}{r.message[:160]}", is_stopped(r))
        for n, i, r in _thinned(failed, _TICKS)
    ]
    label = f"best {fitness_text(best[-1][1])}" if best else ""
    stopped = sum(is_stopped(r) for _, _, r in failed)
    state = f"{label or 'none has succeeded'}; {stopped} stopped early, {len(failed) - stopped} failed"
    longest = max(text_width(text) for text in (label, *(level.label for level in levels)))
    chart = Chart(
        f"Fitness of {len(scored)} networks in order of completion; {state}",
        Scale(0.5, max(len(evaluations), 2) + 0.5, whole=True),
        _fitness_scale([fitness for _, fitness, _, _ in scored], [level.value for level in levels]),
        "evaluation",
        metric,
        marks,
        [Line(best, "best", label, step=True)] if best else [],
        levels,
        ticks,
        margin=math.ceil(1.12 * longest) + 20,  # labels are bold
    )
    return chart.svg()


def tradeoff_figures(
    evaluations: Sequence[Evaluation], metric: str, standard: Row | None = None, linked: Collection[int] = ()
) -> list[str]:
    """Return a figure of fitness versus each known cost, with the Pareto front and its knee.

    A click on a network of the front leads to what is said of it, if its number is among those in `linked`; see
    `anchor`.
    """
    figures = []
    for key, title, show in _COSTS:
        points = _points(evaluations, key)
        if not points:
            continue
        places = pareto_front([point[:2] for point in points])
        best = [points[k] for k in places]
        others = [point for k, point in enumerate(points) if k not in set(places)]
        marks = [
            Mark(cost, fitness, f"{_tip(i.id, r, summary(i.genome))}\n{show(cost)} {key.removesuffix('_ms')}")
            for cost, fitness, i, r in _thinned(others, _DOTS)
        ]
        bend = knee([point[:2] for point in best])
        front = [
            Mark(
                cost, fitness, f"{_tip(i.id, r)}\n{show(cost)}{' (knee)' if place == bend else ''}",
                "knee" if place == bend else "front", anchor(i.id) if i.id in linked else "",
            )
            for place, (cost, fitness, i, r) in enumerate(best)
        ]  # fmt: skip
        beside = []
        if standard is not None and standard.fitness is not None and standard.costs.get(key, 0) > 0:
            tip = f"{standard.name}\n{fitness_text(standard.fitness)}"
            beside.append(Mark(float(standard.costs[key]), standard.fitness, tip, "standard"))
        chart = Chart(
            f"{metric} versus {title}; {len(front)} networks on the Pareto front",
            Scale.around([m.x for m in (*marks, *front, *beside)], log=True),
            _fitness_scale([m.y for m in (*marks, *front)], [m.y for m in beside]),
            title,
            metric,
            [*marks, *front, *beside],
            [Line([(m.x, m.y) for m in front], "front", step=True)],
            size=(352, 270),
        )
        figures.append(chart.svg())
    return figures


def front_members(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Return the networks that are on the Pareto front of fitness and any of the known costs, the fittest first."""
    found: dict[int, Evaluation] = {}
    for key, _, _ in _COSTS:
        points = _points(evaluations, key)
        found |= {points[k][2].id: (points[k][2], points[k][3]) for k in pareto_front([point[:2] for point in points])}
    return sorted(found.values(), key=lambda pair: -(pair[1].fitness or 0.0))


def anchor(number: int) -> str:
    """Return the name of the place on a page that is about a network."""
    return f"network-{number}"


def knee(front: Sequence[tuple[float, float]]) -> int | None:
    """Return the place of the knee of a front of (cost, fitness), where more cost begins to gain little.

    It is the point that is farthest above the line between the ends of the front, with the logarithm of the cost
    (Satopää et al. 2011, doi:10.1109/ICDCSW.2011.20). None of fewer than three points.

    >>> knee([(1e3, 0.2), (1e4, 0.8), (1e5, 0.82), (1e6, 0.83)])
    1
    """
    if len(front) < 3:
        return None
    (least, low), (most, high) = front[0], front[-1]
    gains = [
        (fitness - low) / (high - low) - math.log(cost / least) / math.log(most / least) for cost, fitness in front
    ]
    return max(range(1, len(front) - 1), key=gains.__getitem__)


def _points(evaluations: Sequence[Evaluation], key: str) -> list[tuple[float, float, Individual, Result]]:
    """Return cost, fitness, individual and result of each evaluation whose cost is known."""
    return [
        (float(r.costs[key]), r.fitness, i, r)
        for i, r in evaluations
        if r.fitness is not None and r.costs.get(key, 0) > 0
    ]


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the Pareto-optimal points (cost, fitness), cheapest first.

    >>> pareto_front([(1, 0.5), (2, 0.4), (3, 0.9), (3, 0.8)])
    [0, 2]
    """
    front: list[int] = []
    for i in sorted(range(len(points)), key=lambda k: (points[k][0], -points[k][1])):
        if not front or points[i][1] > points[front[-1]][1]:
            front.append(i)
    return front


def curve_figures(result: Result, metric: str) -> list[str]:
    """Return the learning curves of one training: fitness and losses by epoch."""
    fitness, training, validation = (_series(result, key) for key in ("fitness", "loss", "val_loss"))
    losses = [Line(training, "train", "training"), Line(validation, "validation", "validation")]
    return [
        _curves([line for line in lines if line.points], title, label)
        for lines, title, label in (
            ([Line(fitness, "best")], metric, "fitness"),
            (losses, "loss", "training and validation loss"),
        )
        if any(line.points for line in lines)
    ]


def timeline_figure(evaluations: Sequence[Evaluation], completed_at: Mapping[int, float]) -> str:
    """Return a timeline with a bar for each evaluation and a row for each worker; empty if times are unknown.

    A bar has a part for each phase; of many evaluations it has one colour.

    `completed_at` has the time of completion by number of the individual, in seconds since the epoch.
    """
    spans = _spans(evaluations, completed_at)
    if not spans:
        return ""
    workers = sorted({worker for worker, *_ in spans})
    shown = workers[:_ROWS]
    begin, finish = min(s[1] for s in spans), max(s[2] for s in spans)
    names = [worker if len(worker) <= 26 else "…" + worker[-25:] for worker in shown]
    left = 14 + 6.6 * max(len(name) for name in names)
    right = WIDE[0] - 16
    scale = Scale(0.0, max(finish - begin, 1e-3), left, right)
    unit, per = ("min", 60.0) if finish - begin < 3 * 3600 else ("h", 3600.0)
    height = 20.0 * len(shown) + 44
    parts = [
        f'<text class="tick" x="{left - 8:.0f}" y="{20 * row + 22}" text-anchor="end">{escape(name)}</text>'
        for row, name in enumerate(names)
    ]
    rows = {worker: row for row, worker in enumerate(shown)}
    drawn = _thinned([s for s in spans if s[0] in rows], _BARS)
    for worker, start, end, tip, style, phases in drawn:
        y = 20 * rows[worker] + 10
        first, length = scale(start - begin), max(scale(end - begin) - scale(start - begin) - 1, 1)
        kept = _segments(phases, first, length) if len(drawn) <= _BY_PHASE else []
        bars = kept or [(style, first, length)]
        each = "".join(
            f'<rect class="bar {name}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="15"/>' for name, x, width in bars
        )
        if kept and style != "done":  # what became of it, below its phases
            each += f'<rect class="bar {style}" x="{first:.1f}" y="{y + 11}" width="{length:.1f}" height="4"/>'
        parts.append(f"<g><title>{escape(tip)}</title>{each}</g>")
    for value in Scale(0.0, scale.high / per).ticks(8):
        at = scale(value * per)
        parts.append(f'<text class="tick" x="{at:.1f}" y="{height - 22:.0f}" text-anchor="middle">{value:g}</text>')
    middle = f'x="{(left + right) / 2:.0f}" y="{height - 4:.0f}" text-anchor="middle"'
    parts.append(f'<text class="title" {middle}>{unit} since the start</text>')
    more = "" if len(shown) == len(workers) else f", of which {len(shown)} are shown"
    label = f"Timeline of {len(workers)} workers{more}: one bar for each evaluation"
    return element(label, WIDE[0], height, "".join(parts), "chart wide")


def _spans(
    evaluations: Sequence[Evaluation], completed_at: Mapping[int, float]
) -> list[tuple[str, float, float, str, str, Mapping[str, float]]]:
    """Return worker, start, end, tooltip, outcome and seconds by phase of each evaluation."""
    spans: list[tuple[str, float, float, str, str, Mapping[str, float]]] = []
    for individual, result in evaluations:
        end, seconds = completed_at.get(individual.id), _own_seconds(result)
        if end is not None and seconds is not None and result.worker:
            style = "done" if result.succeeded else "stopped" if is_stopped(result) else "failed"
            phases = {name: s for name, s in result.times.items() if name in PHASES and s > 0}
            each = ", ".join(f"{name} {duration(s)}" for name, s in phases.items())
            tip = f"{_tip(individual.id, result)}\n{duration(seconds)} on {result.worker}\n{each}".strip()
            # of version 0.1.0 a part of an evaluation was before its worker's turn
            own: Mapping[str, float] = {} if "wait" in result.times else phases
            spans.append((result.worker, end - seconds, end, tip, style, own))
    return spans


def _segments(phases: Mapping[str, float], left: float, width: float) -> list[tuple[str, float, float]]:
    """Return name, position and width of the phases of a bar, pixels."""
    total, found, at = sum(phases.values()), [], left
    for name in PHASES:
        if name in phases:
            share = width * phases[name] / total
            found.append((name, at, share))
            at += share
    return found


def _own_seconds(result: Result) -> float | None:
    """Return the seconds for which an evaluation had its worker."""
    if "total" not in result.times:
        return None
    # version 0.1.0 could prepare an evaluation while its worker trained another network; it then waited
    prepared = ("start", "data", "build", "wait") if "wait" in result.times else ()
    return result.times["total"] - sum(result.times.get(phase, 0.0) for phase in prepared)


def _curves(lines: Sequence[Line], title: str, label: str) -> str:
    values = [value for line in lines for _, value in line.points]
    end = max(at for line in lines for at, _ in line.points)
    named = any(line.label for line in lines)
    dots = [Mark(at, value, f"epoch {at:g}: {value:.4g}", line.style) for line in lines for at, value in line.points]
    return Chart(
        f"Learning curve: {label}",
        Scale(0.0 if end > 1 else 0.5, max(end, 1.5), whole=True),
        Scale.around(values),
        "epoch",
        title,
        dots if len(dots) <= 120 else (),
        lines,
        size=(440, 250),
        margin=86 if named else 16,
    ).svg()


def _series(result: Result, key: str) -> list[tuple[float, float]]:
    points = ((float(point.get("epoch", n)), point.get(key)) for n, point in enumerate(result.curve, 1))
    return [(at, float(value)) for at, value in points if value is not None and math.isfinite(value)]


def _fitness_scale(values: Sequence[float], levels: Sequence[float]) -> Scale:
    """Return a scale that ignores a few very bad networks; they are drawn at its lower edge."""
    if not values:
        return Scale.around(levels)
    ordered = sorted(values)
    best, tenth = ordered[-1], ordered[len(ordered) // 10]
    spread = best - tenth
    shown = [v for v in ordered if v >= tenth - 0.5 * spread]
    near = [v for v in levels if not spread or v >= tenth - 3 * spread]
    return Scale.around([*shown, *near])


def _thinned(items: Sequence[_T], limit: int) -> Sequence[_T]:
    stride = -(-len(items) // limit)
    return items if stride <= 1 else items[::stride]


def is_stopped(result: Result) -> bool:
    """Return whether a training was stopped early at a rung: that saves time, and is no failure."""
    return result.failure == "pruned"


def outcome(result: Result) -> str:
    """Return the fitness of an evaluation, or what became of it, in words.

    >>> outcome(Result(0.5)), outcome(Result.failed("pruned")), outcome(Result.failed("timed_out"))
    ('0.5000', 'stopped early', 'timed out')
    """
    if result.failure is None:
        return fitness_text(result.fitness)
    return "stopped early" if is_stopped(result) else result.failure.replace("_", " ")


def _tip(number: int, result: Result, text: str = "") -> str:
    head = f"network {number}: {outcome(result)}"
    return f"{head}\n{text}" if text else head
