"""What a benchmark has measured, as a table and as a picture. Runs on the driver."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from importlib.resources import files as resources
from pathlib import Path

from menndl_dask import files
from menndl_dask.errors import RunError
from menndl_dask.performance.benchmark import STRONG, WEAK, Scaling
from menndl_dask.report.chart import Chart, Line, Mark, Scale, element
from menndl_dask.text import MISSING, TextTable, duration, flops_rate

_NAMES = ("scaling.csv", "scaling.md", "scaling.svg")
_SIZE = (440, 290)
_STYLES = {STRONG: "best", WEAK: "validation"}


def scaling_table(scaling: Sequence[Scaling]) -> TextTable:
    """Return the scaling as a table for people.

    >>> print(scaling_table([Scaling("strong", 2, 2.0, 8, 0, 60.0, 480.0, 1e12, 0.95, 1, 0.04)]))
    scaling  workers  networks   time  networks/h        FLOP/s  efficiency  stragglers  idle at the end
    strong         2         8  1 min         480  1.00 TFLOP/s         95%           1             4.0%
    """
    rows = [
        [
            each.kind, f"{each.workers:.3g}", _networks(each), duration(each.wall_s), f"{each.per_hour:,.0f}",
            flops_rate(each.flops_per_s), f"{each.efficiency:.0%}", f"{each.stragglers}",
            MISSING if each.tail is None else f"{each.tail:.1%}",
        ]
        for each in scaling
    ]  # fmt: skip
    head = [
        "scaling", "workers", "networks", "time", "networks/h", "FLOP/s", "efficiency", "stragglers", "idle at the end",
    ]  # fmt: skip
    return TextTable(head, rows, (0,))


def write_scaling(directory: Path, scaling: Sequence[Scaling]) -> list[Path]:
    """Write the table as CSV and Markdown, and the picture, into a directory; return their paths.

    Raises
    ------
    RunError
        If one of them cannot be written.
    """
    table = scaling_table(scaling)
    lines = [table.head, ["---", *["--:"] * (len(table.head) - 1)], *table.rows]
    markdown = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    paths = [directory / name for name in _NAMES]
    for path, text in zip(paths, (_csv(scaling), markdown, picture(scaling)), strict=True):
        try:
            files.write_text(path, text)
        except OSError as error:
            raise RunError(f"{path}: cannot be written: {error.strerror}") from error
    return paths


def picture(scaling: Sequence[Scaling]) -> str:
    """Return networks an hour and efficiency against the number of workers, as one SVG file."""
    charts = [_rate_chart(scaling), _efficiency_chart(scaling)]
    width, height = _SIZE
    # a file of its own needs the style of pictures, and a background
    style = resources("menndl_dask.report").joinpath("chart.css").read_text("utf-8")
    style += "svg svg{max-width:none}.background{fill:var(--card)}"
    placed = "".join(chart.replace("<svg ", f'<svg x="{n * width}" ', 1) for n, chart in enumerate(charts))
    background = f'<rect class="background" width="{2 * width}" height="{height}"/>'
    whole = element("Scaling of a benchmark", 2 * width, height, f"<style>{style}</style>{background}{placed}")
    return whole.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n"


def _rate_chart(scaling: Sequence[Scaling]) -> str:
    lines, marks = [], []
    for kind, each in _kinds(scaling).items():
        points = [(one.workers, one.per_hour) for one in each]
        ideal = [(one.workers, one.workers * each[0].per_hour / each[0].workers) for one in each]
        lines += [Line(ideal, "train", "ideal"), Line(points, _STYLES[kind], kind)]
        marks += [Mark(x, y, f"{kind}: {y:,.0f} networks an hour", _STYLES[kind]) for x, y in points]
    values = [y for line in lines for _, y in line.points]
    return Chart(
        "Networks an hour against the number of workers", _workers_scale(scaling), Scale.around(values, log=True),
        "workers", "networks an hour", marks, lines, size=_SIZE, margin=70,
    ).svg()  # fmt: skip


def _efficiency_chart(scaling: Sequence[Scaling]) -> str:
    lines, marks = [], []
    for kind, each in _kinds(scaling).items():
        points = [(one.workers, 100 * one.efficiency) for one in each]
        lines.append(Line(points, _STYLES[kind], kind))
        marks += [Mark(x, y, f"{kind}: {y:.0f} %", _STYLES[kind]) for x, y in points]
    highest = max(105.0, *(1.05 * y for line in lines for _, y in line.points))
    return Chart(
        "Efficiency against the number of workers", _workers_scale(scaling), Scale(0.0, highest), "workers",
        "efficiency, %", marks, lines, size=_SIZE, margin=70,
    ).svg()  # fmt: skip


def _kinds(scaling: Sequence[Scaling]) -> dict[str, list[Scaling]]:
    found = {kind: [one for one in scaling if one.kind == kind] for kind in (STRONG, WEAK)}
    return {kind: each for kind, each in found.items() if each}


def _workers_scale(scaling: Sequence[Scaling]) -> Scale:
    return Scale.around((one.workers for one in scaling), log=True)


def _networks(each: Scaling) -> str:
    return f"{each.networks}" + (f" ({each.failed} failed)" if each.failed else "")


def _csv(scaling: Sequence[Scaling]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [each.name for each in fields(Scaling)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(each) for each in scaling)
    return text.getvalue()
