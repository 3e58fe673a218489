"""The performance of a run: the section of the report, and the table for a paper. Runs on the driver.

All figures here are measured, see `menndl_dask.run.usage`. What was not recorded, or cannot be read, is said to be
missing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from menndl_dask import files
from menndl_dask.errors import RunError, UserError
from menndl_dask.report import page
from menndl_dask.report.chart import Chart, Level, Line, Scale
from menndl_dask.run.usage.convergence import Improvement, improvements
from menndl_dask.run.usage.time_series import time_series_of
from menndl_dask.run.usage.usage import IDLE, OTHER, WAIT, WAIT_OR_IDLE, Spent, Usage
from menndl_dask.text import MISSING, TextTable, counted, duration, fitness_text, flops_rate, quantity

ENDINGS = (".csv", ".md", ".tex")
_HOUR_S = 3600.0
_WORKERS = 50  # in the table of workers
_MEANING = {
    "train": "steps of the optimiser",
    "measure": "validations, the test and the latency",
    "build": "building and compiling the network",
    "data": "staging and opening the samples",
    "start": "starting the process; the first one of a worker imports Keras",
    "checkpoint": "writing checkpoints",
    OTHER: "in evaluations, in none of these phases",
    WAIT: "between two evaluations of a worker: the result travels, the next network is chosen",
    IDLE: "before the first and after the last evaluation of a worker",
    WAIT_OR_IDLE: "outside evaluations; when each began was not recorded, so waiting and idling are not told apart",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure of a run."""

    name: str
    value: float | None  # None if it was not recorded
    unit: str = ""
    shown: str = MISSING
    remark: str = ""


def figures_of(usage: Usage, carbon: float | None = None) -> list[Figure]:
    """Return the figures of a run in the order of the table; `carbon` is grams of CO2 for a kilowatt hour."""
    if not usage.evaluated:
        return []
    return [*_size(usage), *_speed(usage), *_time(usage), *_losses(usage), *_energy(usage, carbon), *_best(usage)]


def _size(usage: Usage) -> list[Figure]:
    seen = "" if usage.knows_presence else "not recorded; those that returned a result are counted"
    starts = len(usage.clock.intervals)
    pauses = f"in {starts} intervals; what lies between them is not counted" if starts > 1 else ""
    most = f"{usage.most_workers} at most" if abs(usage.workers - usage.most_workers) > 0.005 else ""
    return [
        Figure("networks evaluated", len(usage.evaluated), "", f"{len(usage.evaluated):,}"),
        Figure("workers", usage.workers, "evaluations at a time", f"{usage.workers:.4g}", seen or most),
        Figure("wall time", usage.wall_s, "s", duration(usage.wall_s), pauses),
        _hours("worker-hours", usage.slots.total),
        _hours("node-hours", usage.nodes.total, seen),
    ]


def _speed(usage: Usage) -> list[Figure]:
    of = f"not recorded for {usage.without_flops} of {len(usage.evaluated)} networks" if usage.without_flops else ""
    if usage.without_flops == len(usage.evaluated):
        rates = [Figure("FLOPs of training", None, "FLOP", remark=of)]
    else:
        window = f"over {duration(usage.window_s)}"
        rates = [
            Figure("FLOPs of training", usage.spent.flops, "FLOP", _of(usage.spent.flops, "FLOP"), of),
            _rate("sustained", usage.sustained, "FLOPs of training ÷ wall time"),
            _rate("sustained by a worker", usage.per_worker, "FLOPs of training ÷ worker-hours"),
            _rate("peak", usage.peak, window),
            _rate("while training, by a worker", usage.in_training, "FLOPs ÷ time of the phase train"),
        ]
    per_day = 24 * usage.per_hour
    return [
        *rates,
        Figure("networks an hour", usage.per_hour, "1/h", _number(usage.per_hour)),
        Figure("networks a day", per_day, "1/d", _number(per_day), "" if usage.wall_s >= 86400 else "at this rate"),
        Figure("generation equivalents", usage.generations, "", f"{usage.generations:.3g}", "evaluations ÷ workers"),
    ]


def _time(usage: Usage) -> list[Figure]:
    total = usage.slots.total
    parts = [
        Figure(f"time: {name}", seconds, "s", f"{_share(seconds, total)} ({duration(seconds)})", _MEANING.get(name, ""))
        for name, seconds in usage.parts.items()
        if seconds > 0
    ]
    return [Figure("utilisation", usage.utilisation, "", _share(usage.spent.seconds, total), "in evaluations"), *parts]


def _losses(usage: Usage) -> list[Figure]:
    total, found = usage.slots.total, []
    if usage.early.count:
        share = usage.early_share
        at = f"; on average at {share:.0%} of their budget" if share is not None else ""
        found.append(_spent("ended early", usage.early, total, f"no learning, or stopped early at a rung{at}"))
    kinds = {kind: spent for kind, spent in usage.by_failure.items() if spent.count}
    failed = ", ".join(f"{spent.count} {kind.replace('_', ' ')}" for kind, spent in kinds.items())
    found.append(_spent("failed otherwise", usage.failed, total, failed if usage.failed.count else ""))
    known = sum(loss.seconds is not None for each in usage.sessions for loss in each.losses)
    if not usage.knows_presence:
        found.append(Figure("lost with workers", None, "s", remark="not recorded"))
    elif usage.losses:
        text = f"{counted(usage.losses, 'evaluation')}, {duration(usage.lost_s)}"
        remark = "" if known == usage.losses else f"time known for {known} of them"
        found.append(Figure("lost with workers", usage.lost_s, "s", text, remark))
    else:
        found.append(Figure("lost with workers", 0.0, "s", "none"))
    if usage.retraining.count:
        text = "trained for comparison or for use, after the search; in no other figure"
        found.append(_spent("retrainings", usage.retraining, None, text))
    return found


def _energy(usage: Usage, carbon: float | None) -> list[Figure]:
    energy = usage.energy
    if energy.total is None or energy.kwh is None:
        why = "not measured: no counter could be read on the workers (NVML, ROCm SMI, RAPL)"
        carbon_too = [] if carbon is None else [Figure("CO2", None, "g", remark="not known without the energy")]
        return [Figure("energy", None, "J", remark=why), *carbon_too]
    of = [f"{name} {_of(joules, 'J')}" for name, joules in (("GPUs", energy.gpu), ("processors", energy.cpu)) if joules]
    missing = len(usage.evaluated) - energy.networks
    of += [f"not measured for {missing} of {len(usage.evaluated)} networks"] if missing else []
    each = energy.total / energy.networks
    found = [
        Figure("energy", energy.total, "J", f"{energy.kwh:.3g} kWh", "; ".join([*of, "while evaluations ran"])),
        Figure("energy by network", each, "J", _of(each, "J")),
    ]
    if usage.spent.flops:
        found.append(_rate("FLOPs by joule", usage.spent.flops / energy.total, "", "FLOP/J"))
    grams = None if carbon is None else energy.carbon_g(carbon)
    if grams is not None:
        found.append(Figure("CO2", grams, "g", _of(grams, "g"), f"at {carbon:g} g/kWh, as given"))
    return found


def _best(usage: Usage) -> list[Figure]:
    found = improvements(usage)
    if not found:
        return [Figure("best fitness", None, remark="no network has succeeded")]
    best = next(one for one in found if one.number == found[-1].number)
    after = [counted(best.evaluations, "evaluation"), f"{best.generations:.3g} generation equivalents"]
    after += [f"{best.node_hours:.3g} node-hours"]
    after += [] if best.joules is None else [_of(best.joules, "J")]
    return [Figure("best fitness", best.fitness, "", fitness_text(best.fitness), f"after {', '.join(after)}")]


def performance_table(figures: Sequence[Figure]) -> TextTable:
    """Return figures as a table for people."""
    rows = [[figure.name, figure.shown, figure.remark] for figure in figures]
    return TextTable(["measured", "value", ""], rows, (0, 2))


def write_table(path: Path, figures: Sequence[Figure]) -> None:
    """Write figures as a table for a paper: CSV, Markdown or LaTeX, by the ending of the file.

    Raises
    ------
    UserError
        If the ending is none of these.
    RunError
        If the file cannot be written.
    """
    kinds = {".csv": _csv, ".md": _markdown, ".tex": _latex}
    if path.suffix not in kinds:
        raise UserError(f"--performance: expected a file that ends in {', '.join(ENDINGS)}, got {path}")
    try:
        files.write_text(path, kinds[path.suffix](figures))
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from error


def _csv(figures: Sequence[Figure]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["measured", "value", "unit", "remark"])
    for each in figures:
        writer.writerow([each.name, "" if each.value is None else repr(float(each.value)), each.unit, each.remark])
    return text.getvalue()


def _markdown(figures: Sequence[Figure]) -> str:
    rows = [f"| {each.name} | {each.shown} | {each.remark} |" for each in figures]
    return "\n".join(["| measured | value | |", "|---|--:|---|", *rows, ""])


def _latex(figures: Sequence[Figure]) -> str:
    rows = [f"{_tex(each.name)} & {_tex(each.shown)} & {_tex(each.remark)} \\\\" for each in figures]
    head = ["\\begin{tabular}{lrl}", "measured & value & \\\\", "\\hline"]
    return "\n".join([*head, *rows, "\\end{tabular}", ""])


_TEX = {"%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#", "÷": r"$\div$", "±": r"$\pm$", "–": "--", "CO2": r"CO$_2$"}


def _tex(text: str) -> str:
    for plain, written in _TEX.items():
        text = text.replace(plain, written)
    return text


# --- the section of the report ------------------------------------------------------------------------------------


def performance_section(usage: Usage) -> str:
    """Return the section of the report; empty before the first result."""
    if not usage.evaluated or usage.wall_s <= 0:
        return ""
    parts = [f"<p>{escape(_sentence(usage))}</p>", page.side_by_side(_charts(usage))]
    rows = [
        f"<td>{escape(each.name)}</td><td class=n>{escape(each.shown)}</td><td>{escape(each.remark)}</td>"
        for each in figures_of(usage)
    ]
    parts.append(page.raw_table(["measured", "#value", ""], rows))
    if len(usage.by_worker) > 1:
        parts.append(f"<details><summary>By worker</summary>{page.html_table(_worker_table(usage))}</details>")
    return page.section("Performance", *parts, name="performance")


def _sentence(usage: Usage) -> str:
    rate = f"{flops_rate(usage.sustained)} sustained" if usage.spent.flops else "FLOPs of training not recorded"
    workers = counted(round(usage.workers), "worker")
    return (
        f"Measured, from the journal: {rate} by {workers} in {duration(usage.wall_s)}, {_number(usage.per_hour)} "
        f"networks an hour; workers were evaluating {usage.utilisation:.1%} of the time."
    )


def _charts(usage: Usage) -> list[str]:
    charts = []
    series = time_series_of(usage)
    unit, per = ("min", 60.0) if usage.wall_s < 3 * _HOUR_S else ("h", _HOUR_S)
    ends = [float(end) / per for end in series.ends]
    if usage.spent.flops:
        points = [(0.0, float(series.flops_per_s[0])), *zip(ends, map(float, series.flops_per_s), strict=True)]
        level = Level(usage.sustained, "constant", quantity(usage.sustained))
        high = 1.1 * max(value for _, value in points)
        text = f"FLOP/s of training over time; sustained {flops_rate(usage.sustained)}"
        charts.append(_chart(text, ends[-1], high, f"{unit} of the run", "FLOP/s", points, level))
    points = [(0.0, float(series.busy[0])), *zip(ends, map(float, series.busy), strict=True)]
    level = Level(usage.workers, "constant", f"{usage.workers:.3g} there")
    high = 1.1 * max(usage.workers, *(value for _, value in points))
    text = "evaluations that ran at a time, over the time of the run"
    charts.append(_chart(text, ends[-1], high, f"{unit} of the run", "evaluations at a time", points, level))
    found = improvements(usage)
    if len(found) > 1:
        charts.append(_convergence(found, [one.node_hours for one in found], "node-hours"))
        if found[-1].joules:
            charts.append(_convergence(found, [(one.joules or 0.0) / 3.6e6 for one in found], "kWh"))
    return charts


def _chart(
    text: str, last: float, high: float, x_title: str, y_title: str, points: list[tuple[float, float]], level: Level
) -> str:
    x, y = Scale(0.0, max(last, 1e-6)), Scale(0.0, max(high, 1e-6))
    line = [Line(points, "best")]
    return Chart(text, x, y, x_title, y_title, lines=line, levels=[level], size=(440, 250), margin=86).svg()


def _convergence(found: Sequence[Improvement], at: Sequence[float], unit: str) -> str:
    points = list(zip(at, [one.fitness for one in found], strict=True))
    text = f"Best fitness so far against {unit}"
    scale = Scale.around(one.fitness for one in found)
    line = Line(points, "best", fitness_text(found[-1].fitness), step=True)
    return Chart(
        text, Scale(0.0, max(at[-1], 1e-9)), scale, unit, "best fitness", lines=[line], size=(440, 250), margin=86
    ).svg()


def _worker_table(usage: Usage) -> TextTable:
    rows = [
        [worker or "unknown", f"{spent.count}", duration(spent.seconds), quantity(spent.flops),
         flops_rate(spent.flops / usage.wall_s)]
        for worker, spent in list(usage.by_worker.items())[:_WORKERS]
    ]  # fmt: skip
    more = len(usage.by_worker) - len(rows)
    rows += [[f"… and {more} more", "", "", "", ""]] if more else []
    return TextTable(["worker", "networks", "busy", "FLOPs of training", "sustained"], rows)


def _of(value: float, unit: str) -> str:
    text = quantity(value)
    return f"{text}{unit}" if text[-1].isalpha() else f"{text} {unit}"


def _hours(name: str, seconds: float, remark: str = "") -> Figure:
    return Figure(name, seconds / _HOUR_S, "h", f"{seconds / _HOUR_S:.3g}", remark)


def _rate(name: str, value: float, remark: str, unit: str = "FLOP/s") -> Figure:
    return Figure(name, value, unit, flops_rate(value).replace("FLOP/s", unit), remark)


def _spent(name: str, spent: Spent, total: float | None, remark: str) -> Figure:
    if not spent.count:
        return Figure(name, 0.0, "s", "none", remark)
    share = f", {_share(spent.seconds, total)} of the time" if total else ""
    text = f"{counted(spent.count, 'network')}, {duration(spent.seconds)}{share}"
    flops = _of(spent.flops, "FLOP") if spent.flops else ""
    return Figure(name, spent.seconds, "s", text, "; ".join(filter(None, (flops, remark))))


def _share(value: float, total: float) -> str:
    return f"{value / total:.1%}" if total > 0 else MISSING


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
