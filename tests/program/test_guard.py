"""Whatever goes wrong in a command is one line, and its traceback is kept for its user alone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from menndl_dask.errors import ExitCode, GenomeError, RunError, UserError
from menndl_dask.genome.genome import Genome
from menndl_dask.problem import Budget
from menndl_dask.program import guard

UNEXPECTED = guard.unexpected  # conftest lets it raise


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


def fails(error: Exception) -> None:
    raise error


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(guard, "unexpected", UNEXPECTED)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(sys, "argv", ["menndl"])
    return tmp_path / "state" / "menndl"


ERRORS = ValueError("two\nlines"), UnspeakableError(), KeyError("x" * 10**7), OSError("text"), MemoryError()


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_unexpected_error_is_one_line_that_names_its_type_its_place_and_the_log(
    state: Path, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    assert guard.guarded(lambda: fails(error)) == ExitCode.USER_ERROR  # type: ignore[arg-type,return-value,func-returns-value]
    line = capsys.readouterr().err
    assert line.startswith("menndl: unexpected error: ")
    assert line.count("\n") == 1
    assert len(line) <= 500
    for part in (type(error).__name__, "test_guard.py, line ", str(state / "errors.log")):
        assert part in line
    log = (state / "errors.log").read_text()
    assert "in fails" in log
    assert len(log) < 2**17
    assert stat.S_IMODE((state / "errors.log").stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_the_log_follows_no_link_and_stays_small(state: Path, tmp_path: Path) -> None:
    for _ in range(3):
        log = guard.log_traceback(ValueError())
    assert log is not None
    assert log.read_text().count("ValueError") == 3
    os.truncate(log, 2**20 + 1)
    guard.log_traceback(ValueError())
    assert log.stat().st_size < 1000
    log.unlink()
    log.symlink_to(tmp_path / "other")
    instead = guard.log_traceback(ValueError())
    assert instead is not None
    assert instead.name.startswith("menndl-")
    instead.unlink()
    assert not (tmp_path / "other").exists()


def test_debug_shows_the_traceback_of_each_error(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RunError("run: damaged")
    error.__cause__ = ValueError("the reason")
    monkeypatch.setenv("MENNDL_DEBUG", "1")
    assert guard.guarded(lambda: fails(error)) == 2  # type: ignore[arg-type,return-value,func-returns-value]
    shown = capsys.readouterr().err
    assert "ValueError: the reason" in shown
    assert shown.endswith("menndl: run: damaged\n")


def run(code: str, *, folder: Path, **options: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", f"import sys; from menndl_dask.program.guard import guarded; {code}"]
    environment = {**os.environ, "XDG_STATE_HOME": str(folder), "PYTHONPATH": os.pathsep.join(sys.path), **options}
    return subprocess.run(command, capture_output=True, env=environment, check=False)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_the_output_cannot_show_is_a_replacement_character(tmp_path: Path, encoding: str) -> None:
    done = run("sys.exit(guarded(lambda: print('é – \\udcff')))", folder=tmp_path, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"?" in done.stdout


@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&- >&- 2>&-", "> /dev/full", "2> /dev/full", "> /dev/full 2>&1"])
def test_streams_that_are_closed_or_full_lead_to_no_traceback(tmp_path: Path, streams: str) -> None:
    code = "from menndl_dask.program.guard import guarded; import sys; sys.exit(guarded(lambda: print(1) or [][1]))"
    command = f'"$0" -c "$1" {streams}'
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(["bash", "-c", command, sys.executable, code], capture_output=True, env=environment)
    assert done.returncode == 2
    assert b"Traceback" not in done.stdout + done.stderr
    assert done.stderr.count(b"\n") <= 1


def test_the_message_of_an_error_is_at_most_500_characters_long() -> None:
    text = str(RunError(f"run: expected a number, got {'9' * 10**6}; see the log"))
    assert len(text) <= 500
    assert text.startswith("run: expected a number, got 999")
    assert text.endswith("9; see the log")


def test_a_budget_that_is_no_mapping_is_one_line() -> None:
    with pytest.raises(UserError, match=r"budget: expected keys with values, got 3\.0"):
        Budget.from_dict(3.0)  # type: ignore[arg-type]


def test_a_genome_that_reads_from_far_away_is_refused_at_once() -> None:
    with pytest.raises(GenomeError, match="inputs: expected offsets from 1 to 10,000, got"):
        Genome.from_dict({"genes": [{"kind": "Convolution", "inputs": [10**12]}]})
