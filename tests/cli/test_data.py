"""``menndl convert`` prints what was done, in pipes as on terminals."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from menndl_dask.cli.cli import main
from menndl_dask.data.formats.layouts.layouts import LAYOUTS


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def source(tmp_path: Path) -> Path:
    np.savez(tmp_path / "a.npz", image=np.zeros((6, 8, 9)), label=np.arange(6) % 2)
    return tmp_path / "a.npz"


def test_what_was_done_and_what_comes_next_is_printed(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = source.with_suffix(".zarr")
    assert main(["convert", str(source), str(target), "--classes", "flat", "round"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"written: {target}\n  images       image: 6 samples of 8 y x 9 x, float64\n")
    assert "a class for each image, from array label: flat 50.0%, round 50.0%" in printed.out
    assert printed.out.endswith(f"next: menndl check {target}\n")
    assert printed.err == ""


def test_a_terminal_shows_a_bar(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["convert", str(source), str(source.with_suffix(".zarr"))]) == 0
    assert "writing" in terminal.getvalue()


def test_errors_are_one_line(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(source), str(source.with_suffix(".zarr")), "--label", "truth"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["convert", str(source), str(source.with_suffix(".zarr")), "--chips", "0"]) == 2
    assert "chips: expected a number above 0, got 0" in capsys.readouterr().err


def test_the_help_names_all_layouts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["convert", "--help"])
    said = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert [name for name in LAYOUTS if name not in said] == []
