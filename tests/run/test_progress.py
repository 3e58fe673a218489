"""The progress line: what it says, on a terminal and elsewhere."""

from __future__ import annotations

import io
import os
import re

import pytest

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.result import Result
from menndl_dask.run.progress import Counts, ProgressLine, progress_bar, progress_line


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


class OldTerminal(io.TextIOWrapper):
    """A terminal that knows ASCII only."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="ascii")

    def isatty(self) -> bool:
        return True


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((100, 24)))


def _counts(*fitness: float | None, asked: int | None = 24, started: float = 0.0) -> Counts:
    counts = Counts(started, asked, workers=2)
    for n, value in enumerate(fitness):
        result = Result.failed("no_learning") if value is None else Result(value)
        counts.add(Individual(n, Genome(())), result, now=60.0 * (n + 1))
    return counts


def _plain(text: str) -> str:
    """Return text without colours."""
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def test_the_line_says_all_that_is_asked_for() -> None:
    line = progress_line(_counts(0.5, None, 0.75, 0.6), now=240.0)
    assert line == (
        "menndl 4/24 evaluations · best 0.7500 (network 2) · 1 failed: no_learning 1 · 2 workers · 60 networks/h · "
        "20 min left"
    )


def test_networks_that_were_stopped_at_a_rung_have_not_failed() -> None:
    counts = _counts(0.5, None)
    counts.add(Individual(2, Genome(())), Result.failed("pruned"), now=180.0)
    assert "· 1 stopped early · 1 failed: no_learning 1 ·" in progress_line(counts, now=180.0)
    counts = _counts(0.5)
    counts.add(Individual(1, Genome(())), Result.failed("pruned"), now=120.0)
    assert "failed" not in progress_line(counts, now=120.0)


def test_without_an_end_the_time_so_far_is_shown() -> None:
    assert progress_line(_counts(0.5, asked=None), now=90.0).endswith("40 networks/h · 1 min 30 s")


def test_the_time_left_is_that_of_whatever_ends_first() -> None:
    counts = _counts(0.5, 0.5)
    counts.deadline = 400.0
    assert counts.seconds_left(120.0) == 280.0
    counts.deadline = 10_000.0
    assert counts.seconds_left(120.0) == pytest.approx(22 * 60)
    assert Counts(0.0).seconds_left(5.0) is None


def test_results_of_an_earlier_process_count_but_do_not_make_it_look_fast() -> None:
    counts = Counts(1000.0, asked=24)
    for n in range(12):
        counts.add(Individual(n, Genome(())), Result(0.5))
    assert counts.per_hour(1001.0) is None
    counts.add(Individual(12, Genome(())), Result(0.6), now=1060.0)
    assert counts.done == 13
    assert counts.per_hour(1060.0) == pytest.approx(60)


def test_the_rate_follows_the_last_arrivals_and_needs_no_memory() -> None:
    counts = Counts(0.0)
    for n in range(5000):
        counts.add(Individual(n, Genome(())), Result(0.5), now=float(n) if n < 4900 else 4900 + (n - 4900) * 10.0)
    assert counts.per_hour(4900 + 99 * 10.0) == pytest.approx(360, rel=0.05)
    assert len(counts.completed_at) == 64


def test_nothing_learnt_is_said() -> None:
    assert "no network has learnt yet" in progress_line(_counts(None, None), now=120.0)
    assert "no result yet" in progress_line(_counts(), now=1.0)


@pytest.mark.parametrize("done", [0, 1, 12, 23, 24, 30])
def test_the_bar_is_as_wide_at_the_start_as_at_the_end(done: int) -> None:
    assert len(progress_bar(Counts(0.0, asked=24, done=done))) == 20
    assert progress_bar(Counts(0.0, done=done)) == ""


@pytest.mark.usefixtures("columns")
def test_a_terminal_has_one_line_that_is_written_again_and_again() -> None:
    stream = Terminal()
    line = ProgressLine(stream)
    for n in range(5):
        line.show(_counts(*[0.5] * n), now=float(n))
    line.close(_counts(*[0.5] * 5), now=5.0)
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    frames = _plain(text[:-1]).split("\r")[1:]
    assert len(frames) == 6
    assert all(frame.endswith("\x1b[K") and len(frame.removesuffix("\x1b[K")) <= 99 for frame in frames)


@pytest.mark.usefixtures("columns")
@pytest.mark.parametrize(("variable", "is_coloured"), [("TERM", True), ("NO_COLOR", False)])
def test_the_best_fitness_is_green_unless_colours_are_unwanted(
    monkeypatch: pytest.MonkeyPatch, variable: str, is_coloured: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv(variable, "xterm")
    stream = Terminal()
    ProgressLine(stream).show(_counts(0.5), now=60.0)
    assert ("\x1b[32mbest 0.5000" in stream.getvalue()) == is_coloured


@pytest.mark.usefixtures("columns")
def test_a_line_that_would_wrap_says_less_but_keeps_rate_and_time_left() -> None:
    stream = Terminal()
    counts = _counts(0.5)
    counts.failures.update(dict.fromkeys(("no_learning", "timed_out", "out_of_memory", "worker_lost"), 3))
    ProgressLine(stream).show(counts, now=60.0)
    shown = _plain(stream.getvalue()).strip("\r").removesuffix("\x1b[K")
    assert "12 failed" in shown
    assert "60/h" in shown
    assert shown.endswith("23 min left")


@pytest.mark.parametrize("width", [40, 60, 79, 99])
@pytest.mark.parametrize("phase", ["search", "comparison"])
def test_nothing_of_rate_and_time_left_is_cut_in_a_narrow_window(width: int, phase: str) -> None:
    counts = _counts(0.5, None, 0.75, started=0.0)
    counts.failures.update({"no_learning": 120, "out_of_memory": 31, "pruned": 204})
    counts.phase = phase
    line = progress_line(counts, 240.0, width)
    assert len(line) <= width
    assert "/h · " in line
    assert line.endswith("28 min left")


def test_a_comparison_counts_trainings() -> None:
    counts = _counts(0.5, asked=4)
    counts.phase = "comparison"
    assert progress_line(counts, 60.0) == "menndl comparison: 1/4 trainings · 2 workers · 60 networks/h · 3 min left"


def test_the_share_of_the_budget_is_that_of_evaluations_or_of_time() -> None:
    assert _counts(0.5, asked=4).share(60.0) == 0.25
    assert Counts(10.0, None, deadline=110.0).share(60.0) == 0.5
    assert Counts(10.0, 4, deadline=110.0, done=3).share(60.0) == 0.75
    assert Counts(0.0).share(60.0) is None


def test_the_line_is_removed_from_a_terminal_before_other_text_and_never_from_a_log() -> None:
    stream, log = Terminal(), io.StringIO()
    ProgressLine(stream).clear()
    ProgressLine(log).clear()
    assert (stream.getvalue(), log.getvalue()) == ("\r\x1b[K", "")


def test_a_log_gets_a_line_now_and_then_and_the_last_state() -> None:
    stream = io.StringIO()
    line = ProgressLine(stream, interval_s=30.0)
    for second in range(0, 100, 10):
        line.show(_counts(0.5), now=float(second))
    line.close(_counts(0.5, 0.9), now=100.0)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 5  # at 0, 30, 60 and 90 seconds, and the end
    assert "best 0.9000" in lines[-1]
    assert "\x1b" not in stream.getvalue()
    assert "\r" not in stream.getvalue()


@pytest.mark.usefixtures("columns")
def test_a_terminal_that_knows_ascii_only_gets_something_to_read() -> None:
    stream = OldTerminal()
    ProgressLine(stream).show(_counts(0.5), now=60.0)
    stream.flush()
    written = stream.buffer.getvalue()  # type: ignore[attr-defined]
    assert b"1/24 evaluations" in written


def test_the_line_says_for_how_long_there_is_no_worker() -> None:
    counts = Counts(0.0, 10, workers=0, no_workers_since=0.0)
    assert "no workers · " in progress_line(counts, 59.0)
    assert "no workers for 2 min · " in progress_line(counts, 120.0)
