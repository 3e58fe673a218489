"""The status and the report of runs that are damaged, are being written, or cannot be written to."""

from __future__ import annotations

from pathlib import Path

import pytest

from menndl_dask import files
from menndl_dask.cli.cli import main
from menndl_dask.errors import ExitCode
from menndl_dask.run.recorder import Recorder
from tests.runs import finished, made_up


def test_the_status_says_what_is_damaged_but_not_what_is_being_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finished(tmp_path, made_up(3))
    assert main(["status", str(tmp_path)]) == ExitCode.SUCCESS
    assert "damage" not in capsys.readouterr().out
    with Recorder(tmp_path), (tmp_path / "journal.jsonl").open("ab") as file:
        file.write(b'{"event":"told","time":1.0,"id":7')
        file.flush()
        assert main(["status", str(tmp_path)]) == ExitCode.SUCCESS
        assert "damage" not in capsys.readouterr().out
    assert main(["status", str(tmp_path)]) == ExitCode.SUCCESS
    assert "a torn line at its end (33 bytes); lost: the result of network 7; menndl doctor" in capsys.readouterr().out


def test_the_report_of_a_run_that_cannot_be_written_to_is_written_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, create = tmp_path / "run", files.create
    finished(run, made_up(3))

    def read_only(path: Path) -> int:
        if path.is_relative_to(run):
            raise OSError(30, "Read-only file system")
        return create(path)

    monkeypatch.setattr(files, "create", read_only)
    assert main(["report", str(run)]) == ExitCode.USER_ERROR
    printed = capsys.readouterr()
    assert "report.html: cannot be written: Read-only file system; menndl report RUN --output FILE" in printed.err
    assert main(["report", str(run), "--output", str(tmp_path / "page.html")]) == ExitCode.SUCCESS
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    assert sorted(path.name for path in run.iterdir()) == [".lock", "journal.jsonl", "run.yaml"]
