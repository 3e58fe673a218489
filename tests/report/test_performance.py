"""The performance of a run: the section of the report, and the table for a paper."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import pytest

from menndl_dask.cli.cli import main
from menndl_dask.errors import UserError
from menndl_dask.report.performance import figures_of, performance_section, write_table
from menndl_dask.report.report import render
from menndl_dask.run.usage.session import Evaluated, Presence, Session
from menndl_dask.run.usage.usage import Usage
from tests import stories
from tests.runs import finished, made_up

W = "tcp://10.0.0.1:1"


def usage(count: int = 6, **values: object) -> Usage:
    """Return the use of one worker that was always busy: 2 GFLOP in each of its 10 s long evaluations."""
    each = [
        Evaluated(n, 10.0 * n + 10, 10.0 * n, 10.0, {"train": 8.0, "build": 2.0}, W, 2e9, 0.5 + n / 100, **values)  # type: ignore[arg-type]
        for n in range(count)
    ]
    return Usage((Session(asked=0.0, evaluated=each, presence=[Presence(0.0, 1, 1, 1)]),))


def value(figures: list, name: str) -> float | None:  # type: ignore[type-arg]
    return next(each.value for each in figures if each.name == name)


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_the_section_says_what_was_measured() -> None:
    text = words(performance_section(usage()))
    assert "200 MFLOP/s sustained by 1 worker in 1 min" in text
    assert "360 networks an hour; workers were evaluating 100.0% of the time" in text
    assert "time: train 80.0% (48 s)" in text
    assert "energy – not measured: no counter could be read on the workers" in text
    assert "best fitness 0.5500 after 6 evaluations, 6 generation equivalents, 0.0167 node-hours" in text
    assert "projected" not in text


def test_the_section_stands_in_the_report_of_a_run_with_results() -> None:
    assert 'id="performance"' in render(replace(stories.story(3), usage=usage()))
    assert performance_section(Usage(())) == "" == performance_section(Usage(()))


def test_energy_is_shown_where_it_was_read() -> None:
    figures = figures_of(usage(gpu_joules=3.6e6), carbon=400.0)
    assert value(figures, "energy") == 6 * 3.6e6
    assert value(figures, "energy by network") == 3.6e6
    few = figures_of(usage(gpu_joules=250.0))
    assert next(each.shown for each in few if each.name == "energy by network") == "250 J"
    assert value(figures, "CO2") == pytest.approx(2400.0)
    assert value(figures, "FLOPs by joule") == pytest.approx(2e9 / 3.6e6)
    assert value(figures_of(usage(), carbon=400.0), "CO2") is None


def test_flops_that_were_not_recorded_are_said_to_be_missing() -> None:
    (session,) = usage().sessions
    unknown = [replace(one, flops=None) for one in session.evaluated]
    session.evaluated[:] = [*unknown[:1], *session.evaluated[1:]]
    figure = next(each for each in figures_of(Usage((session,))) if each.name == "FLOPs of training")
    assert (figure.value, figure.remark) == (1e10, "not recorded for 1 of 6 networks")
    session.evaluated[:] = unknown
    names = [each.name for each in figures_of(Usage((session,)))]
    assert value(figures_of(Usage((session,))), "FLOPs of training") is None and "sustained" not in names


@pytest.mark.parametrize("ending", [".csv", ".md", ".tex"])
def test_the_table_for_a_paper_has_each_figure_once(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"table{ending}"
    figures = figures_of(usage())
    write_table(path, figures)
    text = path.read_text("utf-8")
    if ending == ".csv":
        rows = list(csv.DictReader(text.splitlines()))
        assert [row["measured"] for row in rows] == [each.name for each in figures]
        assert float(next(row["value"] for row in rows if row["measured"] == "sustained")) == pytest.approx(2e8)
    elif ending == ".md":
        assert "| sustained | 200 MFLOP/s | FLOPs of training ÷ wall time |" in text
    else:
        assert r"time: train & 80.0\% (48 s) & steps of the optimiser \\" in text
        assert text.count("\\\\\n") == len(figures) + 1


def test_another_ending_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a file that ends in \.csv, \.md, \.tex, got"):
        write_table(tmp_path / "table.pdf", [])


def test_the_command_writes_and_shows_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished(tmp_path / "run", made_up(6))
    table = tmp_path / "table.md"
    assert main(["report", str(tmp_path / "run"), "--performance", str(table), "--carbon", "380"]) == 0
    assert "networks evaluated" in table.read_text("utf-8")
    assert "not known without the energy" in capsys.readouterr().out
    assert main(["report", str(tmp_path / "run"), "--carbon", "380"]) == 2
    assert "--performance FILE beside it" in capsys.readouterr().err
